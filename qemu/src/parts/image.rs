//! Builds the hypervisor, and makes of it and of payloads what QEMU's loader puts into memory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use object::elf::{EM_AARCH64, PT_LOAD};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _};
use thiserror::Error;

use crate::base::progress::Progress;
use crate::description::Mediator;
use crate::parts::cargo::build_bare_metal;
use host_abi::memory_map::machine::{HYPERVISOR_BASE, HYPERVISOR_SIZE};

/// Why an image can't be the hypervisor.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// It is an ELF file that can't be read.
    #[error("the ELF file can't be read: {0}")]
    Elf(String),
    /// It is for another machine.
    #[error("the ELF file is not for AArch64")]
    Machine,
    /// It would be entered at the wrong place.
    #[error("the ELF file's entry is at {entry:#x}, but it is entered at {base:#x}")]
    Entry {
        /// The ELF file's entry.
        entry: u64,
        /// Where its place starts.
        base: u64,
    },
    /// There is nothing to load.
    #[error("there is nothing to load in it")]
    Empty,
    /// It does not stay in its place.
    #[error("a segment at {address:#x} of {size:#x} bytes is outside of its place in memory")]
    Outside {
        /// The segment's physical address.
        address: u64,
        /// Its size in memory.
        size: u64,
    },
}

/// Where an image lies in memory, which is also where it is entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its first address.
    pub(crate) base: u64,
    /// Bytes that it may have, with memory that has no content in the file.
    pub(crate) size: u64,
}

const HYPERVISOR: Place = Place {
    base: HYPERVISOR_BASE,
    size: HYPERVISOR_SIZE,
};

/// Builds the hypervisor of this checkout with these mediators and returns the path of its ELF
/// file.
pub fn build(mediators: &[Mediator], progress: &Progress) -> Result<PathBuf> {
    let step = progress.step("Building the hypervisor");
    let features: Vec<_> = mediators.iter().map(|mediator| mediator.name()).collect();
    let features = features.join(",");
    let elf = build_bare_metal(
        "hypervisor",
        "hypervisor",
        &["--no-default-features", "--features", &features],
    )?;
    step.done();
    Ok(elf)
}

/// Reads an ELF file or a flat binary and returns what is to lie at the hypervisor's base.
pub fn flat_image(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    flatten(bytes, HYPERVISOR)
        .with_context(|| format!("{} can't be the hypervisor", path.display()))
}

/// Makes a flat binary of an ELF file; another file is one already.
pub(crate) fn flatten(bytes: Vec<u8>, place: Place) -> Result<Vec<u8>, ImageError> {
    let flat = if bytes.starts_with(b"\x7fELF") {
        from_elf(&bytes, place)?
    } else {
        bytes
    };
    if flat.is_empty() {
        return Err(ImageError::Empty);
    }
    if flat.len() as u64 > place.size {
        return Err(ImageError::Outside {
            address: place.base,
            size: flat.len() as u64,
        });
    }
    Ok(flat)
}

/// Puts the segments of an ELF file where they belong, by their physical addresses.
fn from_elf(bytes: &[u8], place: Place) -> Result<Vec<u8>, ImageError> {
    let unreadable = |error: object::Error| ImageError::Elf(error.to_string());
    let elf = ElfFile64::<Endianness>::parse(bytes).map_err(unreadable)?;
    let endian = elf.endian();
    if elf.elf_header().e_machine(endian) != EM_AARCH64 {
        return Err(ImageError::Machine);
    }
    if elf.entry() != place.base {
        return Err(ImageError::Entry {
            entry: elf.entry(),
            base: place.base,
        });
    }
    let mut flat = Vec::new();
    for segment in elf.elf_program_headers() {
        let size = segment.p_memsz(endian);
        if segment.p_type(endian) != PT_LOAD || size == 0 {
            continue;
        }
        let address = segment.p_paddr(endian);
        let outside = ImageError::Outside { address, size };
        let offset = address.checked_sub(place.base);
        let end = offset.and_then(|offset| offset.checked_add(size));
        let (Some(offset), Some(end)) = (offset, end) else {
            return Err(outside);
        };
        if end > place.size {
            return Err(outside);
        }
        let data = segment
            .data(endian, bytes)
            .map_err(|()| ImageError::Elf("a segment is not in the file".to_owned()))?;
        if data.len() as u64 > size {
            return Err(ImageError::Elf(
                "a segment is larger in the file than in memory".to_owned(),
            ));
        }
        // Memory without content in the file is the program's own to clear.
        let (Ok(start), Ok(length)) = (usize::try_from(offset), usize::try_from(end)) else {
            return Err(outside);
        };
        let used = length.min(start.saturating_add(data.len()));
        if flat.len() < used {
            flat.resize(used, 0);
        }
        if let Some(part) = flat.get_mut(start..used) {
            part.copy_from_slice(data);
        }
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;

    /// An ELF file for AArch64 with segments of (type, physical address, content, size in memory).
    fn elf(entry: u64, segments: &[(u32, u64, &[u8], u64)]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(2u16.to_le_bytes());
        file.extend(183u16.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(entry.to_le_bytes());
        file.extend((HEADER as u64).to_le_bytes());
        file.extend(0u64.to_le_bytes());
        file.extend(0u32.to_le_bytes());
        for half in [HEADER, PROGRAM_HEADER, segments.len(), 64, 0, 0] {
            file.extend((half as u16).to_le_bytes());
        }
        let mut offset = HEADER + PROGRAM_HEADER * segments.len();
        for (kind, address, content, memory) in segments {
            file.extend(kind.to_le_bytes());
            file.extend(5u32.to_le_bytes());
            for word in [
                offset as u64,
                *address,
                *address,
                content.len() as u64,
                *memory,
                8,
            ] {
                file.extend(word.to_le_bytes());
            }
            offset += content.len();
        }
        for (_, _, content, _) in segments {
            file.extend(*content);
        }
        file
    }

    const BASE: u64 = HYPERVISOR_BASE;

    #[test]
    fn segments_lie_where_they_belong_and_nothing_else_does() {
        let file = elf(
            BASE,
            &[
                (PT_LOAD.0, BASE, b"text", 4),
                (4, 0, b"note", 4),
                (PT_LOAD.0, BASE + 8, b"data", 4096),
            ],
        );
        assert_eq!(flatten(file, HYPERVISOR), Ok(b"text\0\0\0\0data".to_vec()));
    }

    #[test]
    fn a_flat_binary_stays_as_it_is() {
        assert_eq!(flatten(b"flat".to_vec(), HYPERVISOR), Ok(b"flat".to_vec()));
    }

    #[test]
    fn another_machine_is_refused() {
        let mut file = elf(BASE, &[(PT_LOAD.0, BASE, b"x", 1)]);
        file[18] = 62;
        assert_eq!(flatten(file, HYPERVISOR), Err(ImageError::Machine));
    }

    #[test]
    fn another_entry_is_refused() {
        let file = elf(BASE + 4, &[(PT_LOAD.0, BASE, b"x", 1)]);
        assert_eq!(
            flatten(file, HYPERVISOR),
            Err(ImageError::Entry {
                entry: BASE + 4,
                base: BASE
            })
        );
    }

    #[test]
    fn a_segment_outside_of_the_hypervisor_s_memory_is_refused() {
        for (address, size) in [
            (BASE - 8, 8),
            (BASE + HYPERVISOR_SIZE - 4, 8),
            (BASE, HYPERVISOR_SIZE + 1),
            (u64::MAX - 2, 8),
        ] {
            let file = elf(BASE, &[(PT_LOAD.0, address, b"x", size)]);
            assert_eq!(
                flatten(file, HYPERVISOR),
                Err(ImageError::Outside { address, size })
            );
        }
    }

    #[test]
    fn a_flat_binary_that_is_too_large_is_refused() {
        let size = HYPERVISOR_SIZE + 1;
        let bytes = vec![1; usize::try_from(size).unwrap()];
        let address = BASE;
        assert_eq!(
            flatten(bytes, HYPERVISOR),
            Err(ImageError::Outside { address, size })
        );
    }

    #[test]
    fn nothing_to_load_is_refused() {
        assert_eq!(flatten(Vec::new(), HYPERVISOR), Err(ImageError::Empty));
        assert_eq!(flatten(elf(BASE, &[]), HYPERVISOR), Err(ImageError::Empty));
    }

    #[test]
    fn a_broken_elf_file_is_refused() {
        let whole = elf(BASE, &[(PT_LOAD.0, BASE, b"content", 7)]);
        for cut in [10, 70, whole.len() - 1] {
            let result = flatten(whole[..cut].to_vec(), HYPERVISOR);
            assert!(matches!(result, Err(ImageError::Elf(_))), "{cut}");
        }
        let larger = elf(BASE, &[(PT_LOAD.0, BASE, b"content", 3)]);
        assert!(matches!(
            flatten(larger, HYPERVISOR),
            Err(ImageError::Elf(_))
        ));
    }
}
