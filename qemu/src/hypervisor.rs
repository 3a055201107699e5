//! Builds the hypervisor and makes of it what QEMU's loader puts into memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};
use object::elf::{EM_AARCH64, PT_LOAD};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _};
use thiserror::Error;

use crate::placement::{HYPERVISOR_BASE, HYPERVISOR_SIZE};
use crate::progress::Progress;

/// The target that the hypervisor is built for: EL2 without the FP registers, which are the guests'.
const TARGET: &str = "aarch64-unknown-none-softfloat";

/// Why an image can't be the hypervisor.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// It is an ELF file that can't be read.
    #[error("the ELF file can't be read: {0}")]
    Elf(String),
    /// It is for another machine.
    #[error("the ELF file is not for AArch64")]
    Machine,
    /// The firmware would enter it at the wrong place.
    #[error("the ELF file's entry is at {0:#x}, but the firmware enters at {HYPERVISOR_BASE:#x}")]
    Entry(u64),
    /// There is nothing to load.
    #[error("there is nothing to load in it")]
    Empty,
    /// It does not stay in its place.
    #[error("a segment at {address:#x} of {size:#x} bytes is outside of the hypervisor's memory")]
    Outside {
        /// The segment's physical address.
        address: u64,
        /// Its size in memory.
        size: u64,
    },
}

/// The root of the checkout that this tool was built from.
pub fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Builds the hypervisor of this checkout and returns the path of its ELF file.
pub fn build(progress: &Progress) -> Result<PathBuf> {
    let step = progress.step("Building the hypervisor");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(checkout())
        .args([
            "build",
            "--quiet",
            "--profile",
            "firmware",
            "--package",
            "hypervisor",
        ])
        .args(["--bin", "hypervisor", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .output()
        .context("cargo can't be started")?;
    if !output.status.success() {
        return Err(anyhow!(
            "the hypervisor can't be built:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let elf = executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo built the hypervisor but named no executable")?;
    step.done();
    Ok(elf)
}

/// The executable that cargo's messages, one JSON object a line, name.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "hypervisor")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

/// Reads an ELF file or a flat binary and returns what is to lie at the hypervisor's base.
pub fn flat_image(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    let flat =
        flatten(bytes).with_context(|| format!("{} can't be the hypervisor", path.display()))?;
    Ok(flat)
}

fn flatten(bytes: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let flat = if bytes.starts_with(b"\x7fELF") {
        from_elf(&bytes)?
    } else {
        bytes
    };
    if flat.is_empty() {
        return Err(ImageError::Empty);
    }
    if flat.len() as u64 > HYPERVISOR_SIZE {
        return Err(ImageError::Outside {
            address: HYPERVISOR_BASE,
            size: flat.len() as u64,
        });
    }
    Ok(flat)
}

/// Puts the segments of an ELF file where they belong, by their physical addresses.
fn from_elf(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
    let unreadable = |error: object::Error| ImageError::Elf(error.to_string());
    let elf = ElfFile64::<Endianness>::parse(bytes).map_err(unreadable)?;
    let endian = elf.endian();
    if elf.elf_header().e_machine(endian) != EM_AARCH64 {
        return Err(ImageError::Machine);
    }
    if elf.entry() != HYPERVISOR_BASE {
        return Err(ImageError::Entry(elf.entry()));
    }
    let mut flat = Vec::new();
    for segment in elf.elf_program_headers() {
        let size = segment.p_memsz(endian);
        if segment.p_type(endian) != PT_LOAD || size == 0 {
            continue;
        }
        let address = segment.p_paddr(endian);
        let outside = ImageError::Outside { address, size };
        let offset = address.checked_sub(HYPERVISOR_BASE);
        let end = offset.and_then(|offset| offset.checked_add(size));
        let (Some(offset), Some(end)) = (offset, end) else {
            return Err(outside);
        };
        if end > HYPERVISOR_SIZE {
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
        // Memory without content in the file is the hypervisor's own to clear.
        let (Ok(start), Ok(length)) = (usize::try_from(offset), usize::try_from(end)) else {
            return Err(outside);
        };
        let used = length.min(start.saturating_add(data.len()));
        if flat.len() < used {
            flat.resize(used, 0);
        }
        if let Some(place) = flat.get_mut(start..used) {
            place.copy_from_slice(data);
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
        assert_eq!(flatten(file), Ok(b"text\0\0\0\0data".to_vec()));
    }

    #[test]
    fn a_flat_binary_stays_as_it_is() {
        assert_eq!(flatten(b"flat".to_vec()), Ok(b"flat".to_vec()));
    }

    #[test]
    fn another_machine_is_refused() {
        let mut file = elf(BASE, &[(PT_LOAD.0, BASE, b"x", 1)]);
        file[18] = 62;
        assert_eq!(flatten(file), Err(ImageError::Machine));
    }

    #[test]
    fn another_entry_is_refused() {
        let file = elf(BASE + 4, &[(PT_LOAD.0, BASE, b"x", 1)]);
        assert_eq!(flatten(file), Err(ImageError::Entry(BASE + 4)));
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
            assert_eq!(flatten(file), Err(ImageError::Outside { address, size }));
        }
    }

    #[test]
    fn a_flat_binary_that_is_too_large_is_refused() {
        let size = HYPERVISOR_SIZE + 1;
        let bytes = vec![1; usize::try_from(size).unwrap()];
        let address = BASE;
        assert_eq!(flatten(bytes), Err(ImageError::Outside { address, size }));
    }

    #[test]
    fn nothing_to_load_is_refused() {
        assert_eq!(flatten(Vec::new()), Err(ImageError::Empty));
        assert_eq!(flatten(elf(BASE, &[])), Err(ImageError::Empty));
    }

    #[test]
    fn a_broken_elf_file_is_refused() {
        let whole = elf(BASE, &[(PT_LOAD.0, BASE, b"content", 7)]);
        for cut in [10, 70, whole.len() - 1] {
            let result = flatten(whole[..cut].to_vec());
            assert!(matches!(result, Err(ImageError::Elf(_))), "{cut}");
        }
        let larger = elf(BASE, &[(PT_LOAD.0, BASE, b"content", 3)]);
        assert!(matches!(flatten(larger), Err(ImageError::Elf(_))));
    }

    #[test]
    fn the_executable_is_found_among_cargo_s_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"log"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"hypervisor"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"hypervisor"},"executable":"/t/hypervisor"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/hypervisor")));
        assert_eq!(executable("{}"), None);
    }
}
