//! Where downloads and what is made of them are kept between runs.
//!
//! An *entry* is a folder named by its kind and a key, with files and a record of their sizes and
//! hashes. It is made under a temporary name and renamed when complete, so that an entry is whole
//! or absent. The record is checked at each use: an entry that was cut or changed is made again.
//!
//! ```text
//! lock             held by the one run that changes the cache; says which
//! versions.json    which version of each Debian package is in use
//! apt/             the private apt root
//! KIND/KEY/        an entry
//! tmp/             entries in the making; emptied by the next run that takes the lock
//! ```

mod hash;
mod record;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result};
use tempfile::TempDir;

use crate::base::progress::Progress;

pub(crate) use hash::{sha256_of_bytes, sha256_of_file};

/// How programs say that the disk is full: strerror(3) for ENOSPC, and apt, which looks before it
/// writes.
const NO_SPACE: &[&str] = &[
    "No space left on device",
    "You don't have enough free space",
];

/// The cache's folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache that `BULKHEAD_CACHE` names; without it, the folder `.cache` of the checkout.
    ///
    /// # Errors
    ///
    /// The folder can't be made.
    pub fn from_environment() -> Result<Self> {
        let root = std::env::var_os("BULKHEAD_CACHE")
            .filter(|value| !value.is_empty())
            .map_or_else(
                || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".cache"),
                PathBuf::from,
            );
        Self::open(&root)
    }

    /// The cache in a folder, which is made if it does not exist.
    ///
    /// # Errors
    ///
    /// The folder can't be made.
    pub fn open(root: &Path) -> Result<Self> {
        let explain = || {
            format!(
                "the cache folder {} can't be made; set BULKHEAD_CACHE to a folder that you can write to",
                root.display()
            )
        };
        fs::create_dir_all(root).with_context(explain)?;
        // Paths into the cache go to programs that run in other folders.
        let root = fs::canonicalize(root).with_context(explain)?;
        Ok(Self { root })
    }

    /// The cache's folder, as an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes the cache for this run alone, to do `purpose`. Waits, and says for whom, while another
    /// run has it.
    ///
    /// # Errors
    ///
    /// The lock file can't be used, or what an interrupted run left can't be removed.
    pub fn lock(&self, purpose: &str, progress: &Progress) -> Result<LockedCache<'_>> {
        let path = self.root.join("lock");
        let context = || format!("the cache can't be locked through {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).with_context(context)?;
                let holder = holder.lines().next().unwrap_or("it has not said which");
                progress.say(&format!(
                    "Waiting for another run ({holder}) that holds {}",
                    path.display()
                ));
                file.lock().with_context(context)?;
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        // Cut after writing, so that a run that looks at the wrong moment finds a name all the
        // same.
        let holder = format!("process {}: {purpose}\n", std::process::id());
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(holder.as_bytes()))
            .and_then(|()| file.set_len(holder.len() as u64))
            .with_context(context)?;

        let locked = LockedCache {
            cache: self,
            progress: progress.clone(),
            _lock: file,
        };
        let temporary = locked.temporary_root();
        if temporary.exists() {
            fs::remove_dir_all(&temporary).with_context(|| {
                format!(
                    "{}, left by an interrupted run, can't be removed",
                    temporary.display()
                )
            })?;
        }
        Ok(locked)
    }

    fn blame_disk(&self, error: Error) -> Error {
        let is_full = error.chain().any(|cause| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            matches!(
                kind,
                Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            ) || NO_SPACE.iter().any(|text| cause.to_string().contains(text))
        });
        if !is_full {
            return error;
        }
        error.context(format!(
            "the disk is full. Make room where the cache is ({}), or set BULKHEAD_CACHE to a folder elsewhere",
            self.root.display()
        ))
    }
}

/// A cache that no other run changes as long as this lives.
#[derive(Debug)]
pub struct LockedCache<'a> {
    cache: &'a Cache,
    progress: Progress,
    // The kernel drops the lock with the file, also when the process dies.
    _lock: File,
}

impl LockedCache<'_> {
    /// The cache's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.cache.root
    }

    /// The folder of an entry, which may be absent or broken.
    #[must_use]
    pub fn path(&self, kind: &str, key: &str) -> PathBuf {
        self.cache.root.join(kind).join(key)
    }

    /// The folder of an entry if it is there and sound. A broken one is removed.
    ///
    /// # Errors
    ///
    /// A broken entry can't be removed.
    pub fn get(&self, kind: &str, key: &str) -> Result<Option<PathBuf>> {
        let path = self.path(kind, key);
        if fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        let Err(flaw) = record::check(&path) else {
            return Ok(Some(path));
        };
        self.progress.say(&format!(
            "{} is broken and will be made again: {flaw:#}",
            path.display()
        ));
        let grave = self.temporary()?;
        fs::rename(&path, grave.path().join("broken"))
            .with_context(|| format!("the broken entry {} can't be removed", path.display()))?;
        Ok(None)
    }

    /// The folder of an entry, which `make` fills in a folder that it is given if there is no sound
    /// one.
    ///
    /// # Errors
    ///
    /// `make` fails, or the disk does. The cache is then as if nothing had been tried.
    pub fn get_or_make(
        &self,
        kind: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(path) = self.get(kind, key)? {
            return Ok(path);
        }
        self.make(kind, key, make)
            .map_err(|error| self.cache.blame_disk(error))
    }

    fn make(
        &self,
        kind: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let workshop = self.temporary()?;
        let unfinished = workshop.path().join("entry");
        fs::create_dir(&unfinished)
            .with_context(|| format!("{} can't be made", unfinished.display()))?;
        make(&unfinished)?;
        record::write(&unfinished)?;
        let path = self.path(kind, key);
        let parent = path.parent().context("a cache entry has a parent folder")?;
        fs::create_dir_all(parent)
            .with_context(|| format!("{} can't be made", parent.display()))?;
        fs::rename(&unfinished, &path)
            .with_context(|| format!("{} can't be put in place", path.display()))?;
        Ok(path)
    }

    /// A folder in the cache's file system that goes when it is dropped.
    ///
    /// # Errors
    ///
    /// It can't be made.
    pub fn temporary(&self) -> Result<TempDir> {
        let parent = self.temporary_root();
        fs::create_dir_all(&parent)
            .and_then(|()| TempDir::new_in(&parent))
            .with_context(|| format!("no temporary folder can be made in {}", parent.display()))
            .map_err(|error| self.cache.blame_disk(error))
    }

    /// Writes a file of the cache's root, whole or not at all.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub fn write_file(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.cache.root.join(name);
        let workshop = self.temporary()?;
        let unfinished = workshop.path().join("file");
        fs::write(&unfinished, content)
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("{} can't be written", path.display()))
            .map_err(|error| self.cache.blame_disk(error))
    }

    /// Names the full disk if that is what made `error`.
    pub(crate) fn blame_disk(&self, error: Error) -> Error {
        self.cache.blame_disk(error)
    }

    fn temporary_root(&self) -> PathBuf {
        self.cache.root.join("tmp")
    }
}

#[cfg(test)]
mod tests;
