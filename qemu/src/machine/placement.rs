//! Where things lie in physical memory (docs/device-tree.md, "Physical memory").

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use host_abi::memory_map::BLOCK_SIZE;
use host_abi::memory_map::machine::MODULES_BASE;

/// A kernel or an initramfs in physical memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The file that QEMU loads.
    pub path: PathBuf,
    /// Its physical address, a multiple of 2 MiB.
    pub address: u64,
    /// The file's size in bytes.
    pub size: u64,
}

/// The files that a guest starts from.
#[derive(Clone, Debug)]
pub struct GuestFiles {
    /// A raw kernel image.
    pub kernel: PathBuf,
    /// A cpio archive, compressed or not; a payload has none.
    pub initramfs: Option<PathBuf>,
}

/// The modules of a machine, and which guest uses which.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    modules: Vec<Module>,
    by_path: HashMap<PathBuf, usize>,
}

impl Placement {
    /// Places the files of all guests, each file once however many guests name it.
    pub fn of(files: &[GuestFiles]) -> anyhow::Result<Self> {
        let mut placement = Self::default();
        let mut next = MODULES_BASE;
        for path in files
            .iter()
            .flat_map(|files| std::iter::once(&files.kernel).chain(&files.initramfs))
        {
            if placement.by_path.contains_key(path) {
                continue;
            }
            let size = file_size(path)
                .with_context(|| format!("{} can't be placed in memory", path.display()))?;
            let index = placement.modules.len();
            placement.by_path.insert(path.clone(), index);
            placement.modules.push(Module {
                path: path.clone(),
                address: next,
                size,
            });
            next = next
                .checked_add(size)
                .and_then(|end| end.checked_next_multiple_of(BLOCK_SIZE))
                .with_context(|| format!("{} is larger than any memory", path.display()))?;
        }
        Ok(placement)
    }

    /// All modules, in ascending order of address.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The module made of this file.
    pub fn module(&self, path: &Path) -> Option<&Module> {
        self.modules.get(*self.by_path.get(path)?)
    }

    /// What the modules take, in whole blocks.
    pub fn modules_size(&self) -> u64 {
        self.modules.last().map_or(0, |last| {
            (last.address + last.size).next_multiple_of(BLOCK_SIZE) - MODULES_BASE
        })
    }
}

fn file_size(path: &Path) -> io::Result<u64> {
    Ok(path.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, size: u64) -> PathBuf {
        let path = folder.join(name);
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    #[test]
    fn modules_begin_on_blocks_and_are_placed_once() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = file(folder.path(), "Image", (36 << 20) + 5);
        let first = file(folder.path(), "first.cpio", 4096);
        let second = file(folder.path(), "second.cpio", BLOCK_SIZE);
        let guest = |initramfs: &Path| GuestFiles {
            kernel: kernel.clone(),
            initramfs: Some(initramfs.to_owned()),
        };
        let placement = Placement::of(&[guest(&first), guest(&second), guest(&first)]).unwrap();

        let places: Vec<(u64, u64)> = placement
            .modules()
            .iter()
            .map(|module| (module.address, module.size))
            .collect();
        assert_eq!(
            places,
            [
                (0x6200_0000, (36 << 20) + 5),
                (0x6460_0000, 4096),
                (0x6480_0000, BLOCK_SIZE),
            ]
        );
        assert_eq!(placement.module(&second).unwrap().address, 0x6480_0000);
        assert_eq!(placement.modules_size(), 0x64a0_0000 - MODULES_BASE);
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = PathBuf::from("no-such-file");
        let files = GuestFiles {
            kernel: missing.clone(),
            initramfs: Some(missing),
        };
        let error = Placement::of(&[files]).unwrap_err();
        assert!(error.to_string().contains("no-such-file"), "{error}");
    }

    #[test]
    fn no_modules_take_no_memory() {
        assert_eq!(Placement::default().modules_size(), 0);
    }
}
