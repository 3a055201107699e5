//! Where the parts of the image lie, as the linker script says.

use addresses::Pa;

/// Where the parts of the image lie: start and end addresses, from the linker script.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Code.
    pub text: (u64, u64),
    /// Constants.
    pub rodata: (u64, u64),
    /// Variables.
    pub data: (u64, u64),
    /// What is left for the heap.
    pub heap: (u64, u64),
}

impl Image {
    /// The whole of the hypervisor's region.
    #[must_use]
    pub fn region(&self) -> (Pa, u64) {
        (Pa(self.text.0), self.heap.1 - self.text.0)
    }
}

/// The image's parts.
#[must_use]
pub fn image() -> Image {
    unsafe extern "C" {
        static text_start: u8;
        static text_end: u8;
        static rodata_start: u8;
        static rodata_end: u8;
        static data_start: u8;
        static heap_start: u8;
        static region_end: u8;
    }
    let address = |symbol: *const u8| symbol as u64;
    Image {
        text: (address(&raw const text_start), address(&raw const text_end)),
        rodata: (
            address(&raw const rodata_start),
            address(&raw const rodata_end),
        ),
        data: (
            address(&raw const data_start),
            address(&raw const heap_start),
        ),
        heap: (
            address(&raw const heap_start),
            address(&raw const region_end),
        ),
    }
}
