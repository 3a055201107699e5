//! Where the parts of a guest's image go in its memory.

use crate::vm::image::device_tree::GuestLayout;
use addresses::Ipa;
use host_abi::memory_map::BLOCK_SIZE;

/// The place of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where the kernel goes, and where the first vCPU starts.
    pub kernel: Ipa,
    /// Where the initial RAM disk goes, if there is one.
    pub ramdisk: Ipa,
    /// Where the device tree goes; it may have up to 2 MiB.
    pub device_tree: Ipa,
}

/// The header of an arm64 Linux image (Linux, Documentation/arch/arm64/booting.rst, "Call the
/// kernel image").
struct ImageHeader {
    text_offset: u64,
    image_size: u64,
}

impl ImageHeader {
    fn parse(kernel: &[u8]) -> Option<Self> {
        let word = |offset: usize| {
            let bytes = kernel.get(offset..offset + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let magic = kernel.get(56..60)?;
        (magic == b"ARM\x64").then_some(())?;
        Some(Self {
            text_offset: word(8)?,
            image_size: word(16)?,
        })
    }
}

/// Places a kernel and a RAM disk of `ramdisk_len` bytes in `memory` bytes of RAM. `None` where
/// they do not fit.
///
/// An image without a Linux header goes to the start of RAM and is entered there.
#[must_use]
pub fn place(kernel: &[u8], ramdisk_len: u64, memory: u64) -> Option<Placement> {
    let header = ImageHeader::parse(kernel);
    let text_offset = header.as_ref().map_or(0, |header| header.text_offset);
    // Kernels before 3.17 say 0 here; then the file's size has to do.
    let size = header
        .map_or(0, |header| header.image_size)
        .max(kernel.len() as u64);

    let end_of_kernel = text_offset.checked_add(size)?;
    let device_tree = end_of_kernel.checked_next_multiple_of(BLOCK_SIZE)?;
    let ramdisk = device_tree.checked_add(BLOCK_SIZE)?;
    (ramdisk.checked_add(ramdisk_len)? <= memory).then_some(())?;
    let at = |offset: u64| GuestLayout::RAM.checked_add(offset);
    Some(Placement {
        kernel: at(text_offset)?,
        ramdisk: at(ramdisk)?,
        device_tree: at(device_tree)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(text_offset: u64, image_size: u64) -> [u8; 4096] {
        let mut image = [0; 4096];
        image[8..16].copy_from_slice(&text_offset.to_le_bytes());
        image[16..24].copy_from_slice(&image_size.to_le_bytes());
        image[56..60].copy_from_slice(b"ARM\x64");
        image
    }

    #[test]
    fn a_linux_image_gets_the_room_it_asks_for() {
        let placed = place(&linux(0x8_0000, 5 << 20), 1 << 20, 64 << 20).unwrap();
        let at = |offset: u64| Ipa(GuestLayout::RAM.0 + offset);
        assert_eq!(
            placed,
            Placement {
                kernel: at(0x8_0000),
                device_tree: at(6 << 20),
                ramdisk: at(8 << 20)
            }
        );
    }

    #[test]
    fn another_image_starts_where_memory_starts() {
        let placed = place(&[0; 100], 0, 8 << 20).unwrap();
        assert_eq!(placed.kernel, GuestLayout::RAM);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(place(&linux(0, 60 << 20), 4 << 20, 64 << 20), None);
        assert_eq!(
            place(&linux(u64::MAX, 1), 0, 64 << 20),
            None,
            "sizes that wrap"
        );
        assert_eq!(
            place(&linux(0, u64::MAX), 0, 64 << 20),
            None,
            "sizes that wrap"
        );
        assert_eq!(
            place(&linux(0, 0), u64::MAX, 64 << 20),
            None,
            "sizes that wrap"
        );
    }
}
