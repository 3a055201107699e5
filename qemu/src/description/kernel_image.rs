//! The header of a Linux kernel image for arm64 (Linux, `Documentation/arch/arm64/booting.rst`,
//! "Call the kernel image").

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use thiserror::Error;

use host_abi::memory_map::BLOCK_SIZE;

/// What the header says about where a kernel may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelImage {
    text_offset: u64,
    image_size: u64,
    file_size: u64,
}

/// Why a file is no kernel that can be started.
#[derive(Debug, Error)]
pub enum KernelImageError {
    /// It can't be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is an image in an envelope.
    #[error("is compressed ({0}), and nothing would unpack it")]
    Compressed(&'static str),
    /// It is something else.
    #[error("is no arm64 kernel image: the magic number at offset 0x38 is missing")]
    Magic,
}

impl KernelImageError {
    /// What the user can do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Read(_) => "Paths are relative to the folder of the machine description.",
            Self::Compressed(_) => {
                "Give the unpacked kernel, which the kernel's build leaves in arch/arm64/boot/Image."
            }
            Self::Magic => "Give a raw arm64 kernel, such as arch/arm64/boot/Image.",
        }
    }
}

const HEADER_SIZE: usize = 64;
const MAGIC_OFFSET: usize = 0x38;
const MAGIC: &[u8] = b"ARM\x64";
/// Where an image compressed as an EFI application says so.
const ZBOOT_OFFSET: usize = 4;

impl KernelImage {
    /// Reads the header of a file.
    pub fn read(path: &Path) -> Result<Self, KernelImageError> {
        let file = File::open(path)?;
        let file_size = file.metadata()?.len();
        let mut header = Vec::with_capacity(HEADER_SIZE);
        file.take(HEADER_SIZE as u64).read_to_end(&mut header)?;
        Self::parse(&header, file_size)
    }

    /// Reads the header that begins a file of this length in bytes.
    fn parse(header: &[u8], file_size: u64) -> Result<Self, KernelImageError> {
        if header.starts_with(&[0x1f, 0x8b]) {
            return Err(KernelImageError::Compressed("gzip"));
        }
        let at = |offset: usize| header.get(offset..);
        if at(ZBOOT_OFFSET).is_some_and(|rest| rest.starts_with(b"zimg")) {
            return Err(KernelImageError::Compressed("EFI zboot"));
        }
        if !at(MAGIC_OFFSET).is_some_and(|rest| rest.starts_with(MAGIC)) {
            return Err(KernelImageError::Magic);
        }
        let number = |offset: usize| {
            at(offset)
                .and_then(|rest| rest.first_chunk())
                .map(|bytes| u64::from_le_bytes(*bytes))
                .ok_or(KernelImageError::Magic)
        };
        Ok(Self {
            text_offset: number(8)?,
            image_size: number(16)?,
            file_size,
        })
    }

    /// The bytes from the start of a 2 MiB block that the kernel needs before it knows of any other
    /// memory: its image and what comes after it, such as the BSS. A multiple of 2 MiB; `u64::MAX`
    /// when the header is nonsense.
    pub fn footprint(self) -> u64 {
        self.image_size
            .max(self.file_size)
            .checked_add(self.text_offset)
            .and_then(|end| end.checked_next_multiple_of(BLOCK_SIZE))
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header, and nothing behind it, that asks for so much memory.
    pub(crate) fn header(text_offset: u64, image_size: u64) -> Vec<u8> {
        let mut header = vec![0; HEADER_SIZE];
        header[8..16].copy_from_slice(&text_offset.to_le_bytes());
        header[16..24].copy_from_slice(&image_size.to_le_bytes());
        header[MAGIC_OFFSET..MAGIC_OFFSET + MAGIC.len()].copy_from_slice(MAGIC);
        header
    }

    fn parse(header: &[u8]) -> Result<KernelImage, KernelImageError> {
        KernelImage::parse(header, header.len() as u64)
    }

    #[test]
    fn the_footprint_has_the_bss_and_whole_blocks() {
        let image = parse(&header(0, (34 << 20) + 1)).unwrap();
        assert_eq!(image.footprint(), 36 << 20);
    }

    #[test]
    fn the_footprint_counts_from_the_block_below_the_text_offset() {
        let image = parse(&header(0x8_0000, 2 << 20)).unwrap();
        assert_eq!(image.footprint(), 4 << 20);
    }

    #[test]
    fn a_header_that_overflows_fits_nowhere() {
        let image = parse(&header(u64::MAX, u64::MAX)).unwrap();
        assert_eq!(image.footprint(), u64::MAX);
    }

    #[test]
    fn a_compressed_kernel_is_refused_by_name() {
        let error = parse(&[0x1f, 0x8b, 8, 0]).unwrap_err();
        assert!(matches!(error, KernelImageError::Compressed("gzip")));
        let error = parse(b"MZ\0\0zimg\0\0\0\0").unwrap_err();
        assert!(matches!(error, KernelImageError::Compressed("EFI zboot")));
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [&b""[..], b"\x7fELF", &[0; 64], &header(0, 0)[..0x3a]] {
            assert!(matches!(parse(bytes), Err(KernelImageError::Magic)));
        }
    }
}
