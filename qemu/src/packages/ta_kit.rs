//! OP-TEE's kit for building trusted applications.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{DebianParts, PLATFORM, deb, key, write};
use crate::cache::{Cache, sha256_of_file};
use crate::initramfs::tree::Node;
use crate::progress::Progress;

/// What a program is linked with: libraries, and how its parts are to lie in memory.
const WANTED: &[&str] = &["lib", "src"];

/// Unpacks the kit for OP-TEE with virtualization, or finds it in the cache.
///
/// # Errors
///
/// The package can't be read, or the disk fails.
pub(crate) fn ta_kit(cache: &Cache, parts: &DebianParts, progress: &Progress) -> Result<PathBuf> {
    let locked = cache.lock("unpacking OP-TEE's kit", progress)?;
    let key = key(&[&sha256_of_file(&parts.ta_kit)?]);
    locked.get_or_make("ta-kit", &key, |place| {
        let folder = format!("usr/lib/optee-os-dev/{PLATFORM}/");
        let wanted = |path: &str| {
            path.strip_prefix(&folder)
                .and_then(|path| path.split_once('/'))
                .is_some_and(|(first, _)| WANTED.contains(&first))
        };
        for name in WANTED {
            let folder = place.join(name);
            fs::create_dir(&folder)
                .with_context(|| format!("{} can't be made", folder.display()))?;
        }
        for (path, node) in deb::read(&parts.ta_kit, wanted)?.iter() {
            // The files lie side by side in the wanted folders.
            if let (Some(name), Node::File { content, .. }) = (path.strip_prefix(&folder), node) {
                write(&place.join(name), content)?;
            }
        }
        Ok(())
    })
}
