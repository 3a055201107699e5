//! OP-TEE's kit for building trusted applications.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{PLATFORM, deb, key, write};
use crate::base::progress::Progress;
use crate::parts::cache::{Cache, sha256_of_file};
use crate::parts::initramfs::tree::Node;

/// What a program is linked with: libraries, and how its parts are to lie in memory.
const WANTED: &[&str] = &["lib", "src"];

/// Unpacks the kit for OP-TEE with virtualization out of its package, or finds it in the cache.
///
/// # Errors
///
/// The package can't be read, or the disk fails.
pub(crate) fn ta_kit(cache: &Cache, package: &Path, progress: &Progress) -> Result<PathBuf> {
    let locked = cache.lock("unpacking OP-TEE's kit", progress)?;
    let key = key(&[&sha256_of_file(package)?]);
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
        for (path, node) in deb::read(package, wanted)?.iter() {
            // The files lie side by side in the wanted folders.
            if let (Some(name), Node::File { content, .. }) = (path.strip_prefix(&folder), node) {
                write(&place.join(name), content)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::packages::deb::tests::package;

    #[test]
    fn the_kit_of_the_platform_is_unpacked_as_far_as_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let kits = "usr/lib/optee-os-dev";
        let deb = folder.path().join("kit.deb");
        let files = package(&[
            (&format!("{kits}/{PLATFORM}/lib/libutee.a"), b"library"),
            (&format!("{kits}/{PLATFORM}/src/ta.ld.S"), b"script"),
            (&format!("{kits}/{PLATFORM}/keys/default.pem"), b"secret"),
            (&format!("{kits}/another/lib/libutee.a"), b"another"),
        ]);
        fs::write(&deb, files).unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let kit = ta_kit(&cache, &deb, &Progress::silent()).unwrap();
        assert_eq!(fs::read(kit.join("lib/libutee.a")).unwrap(), b"library");
        assert_eq!(fs::read(kit.join("src/ta.ld.S")).unwrap(), b"script");
        assert!(!kit.join("keys").exists());
    }
}
