//! EL2's own address space: an identity map in which no page is both writable and executable.

use aarch64_paging::descriptor::El23Attributes as Attributes;
use aarch64_paging::idmap::IdMap;
use aarch64_paging::paging::{El2, MemoryRegion};
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

const COMMON: Attributes = Attributes::VALID
    .union(Attributes::ACCESSED)
    .union(Attributes::USER_RES1);
const NORMAL: Attributes = COMMON
    .union(Attributes::ATTRIBUTE_INDEX_1)
    .union(Attributes::INNER_SHAREABLE);
const CODE: Attributes = NORMAL.union(Attributes::READ_ONLY);
const CONSTANTS: Attributes = CODE.union(Attributes::XN);
const DATA: Attributes = NORMAL.union(Attributes::XN);
const DEVICE: Attributes = COMMON
    .union(Attributes::ATTRIBUTE_INDEX_0)
    .union(Attributes::XN);

/// Makes the tables that map the image less the stacks' guard pages, `memory` as data and `devices` as devices, enters
/// them on this CPU and gives the root table for the other CPUs. Ranges are (start, bytes).
///
/// # Errors
///
/// The ranges can't be mapped: they lie beyond 39 bits, or overlap what is mapped already.
pub fn enter(memory: &[(Pa, u64)], devices: &[(Pa, u64)]) -> Result<u64, aarch64_paging::MapError> {
    let image = image();
    let mut map = IdMap::new(crate::boot::entry::ROOT_LEVEL, El2);
    let mut add = |start: u64, end: u64, attributes: Attributes| {
        map.map_range(&MemoryRegion::new(start as usize, end as usize), attributes)
    };
    for &(Pa(start), len) in devices {
        add(start, start + len, DEVICE)?;
    }
    let (Pa(region_start), region_len) = image.region();
    for &(Pa(start), len) in memory {
        // Everything but the image's own region, which is mapped part by part.
        let (end, region_end) = (start + len, region_start + region_len);
        if start < region_start.min(end) {
            add(start, region_start.min(end), DATA)?;
        }
        if region_end.max(start) < end {
            add(region_end.max(start), end, DATA)?;
        }
    }
    add(image.text.0, image.text.1, CODE)?;
    add(image.rodata.0, image.rodata.1, CONSTANTS)?;
    let mut start = image.data.0;
    for (guard, behind) in crate::arch::stacks::guards() {
        if start < guard {
            add(start, guard, DATA)?;
        }
        start = behind;
    }
    add(start, image.heap.1, DATA)?;

    let root = map.root_address().0 as u64;
    // The tables stay for as long as the machine runs.
    core::mem::forget(map);
    // SAFETY: what runs lies in the image and its region, mapped above where it was; the stack is data of the image.
    unsafe { crate::boot::entry::switch_tables(root) };
    Ok(root)
}
