//! OP-TEE, built from Debian's source package for as many guests as a machine has.
//!
//! Debian's binary package has room for two guests. How much each guest can use shrinks with their
//! number: OP-TEE divides the secure memory that is left to it evenly when it is built (OP-TEE
//! 4.10, `core/arch/arm/kernel/virtualization.c`, `get_ta_ram_size`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::base::host_tools::{self, PYTHON};
use crate::base::process;
use crate::base::progress::{Progress, Step};
use crate::description::optee_build::{self, OPTEE_IMAGES};
use crate::parts::cache::{Cache, LockedCache, sha256_of_bytes, sha256_of_file};
use crate::parts::packages;
use crate::parts::source_package;

/// An OP-TEE to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpteeRequest {
    /// The folder with OP-TEE's Debian source package.
    pub source: PathBuf,
    /// OP-TEE's own version, such as `4.10.0`.
    pub version: String,
    /// Debian's package of the kit for building TAs. It holds the key that Debian's TAs are signed
    /// with, so that this OP-TEE loads them.
    pub ta_kit: PathBuf,
    /// How many guests it is to have room for.
    pub guests: usize,
    /// The user's own options, `CFG_NAME=VALUE` each.
    pub flags: Vec<String>,
}

impl OpteeRequest {
    /// Everything that decides how OP-TEE is built, as make takes it.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        optee_build::options(&self.version, self.guests, &self.flags)
    }

    fn key(&self) -> Result<String> {
        let mut ingredients = self.options();
        ingredients.push(sha256_of_file(&source_package::description(&self.source)?)?);
        ingredients.push(sha256_of_file(&self.ta_kit)?);
        Ok(sha256_of_bytes(ingredients.join("\0").as_bytes())
            .chars()
            .take(16)
            .collect())
    }
}

/// Builds OP-TEE, or finds it in the cache: a folder with the images.
///
/// # Errors
///
/// The host lacks a tool, an input can't be read, the build fails, or the disk does.
pub fn optee(cache: &Cache, request: &OpteeRequest, progress: &Progress) -> Result<PathBuf> {
    let key = request.key()?;
    let locked = cache.lock("building OP-TEE", progress)?;
    locked.get_or_make("optee-built", &key, |place| {
        host_tools::ensure(host_tools::OPTEE, progress)?;
        let step = progress.step(&format!(
            "Building OP-TEE {} with room for {}",
            request.version,
            match request.guests {
                1 => "one guest".to_owned(),
                guests => format!("{guests} guests"),
            }
        ));
        build(&locked, request, place, &step).context("OP-TEE can't be built")?;
        step.done();
        Ok(())
    })
}

fn build(
    locked: &LockedCache<'_>,
    request: &OpteeRequest,
    place: &Path,
    step: &Step,
) -> Result<()> {
    let workshop = locked.temporary()?;
    let folder = workshop.path();
    let source = source_package::unpack(&request.source, folder)?;
    let key = folder.join("ta.pem");
    fs::write(&key, packages::ta_sign_key(&request.ta_kit)?)
        .with_context(|| format!("{} can't be written", key.display()))?;

    let core = |image: &str| format!("out/core/{image}");
    let mut make = source_package::make(&source);
    make.args(request.options())
        .args(["O=out", &format!("PYTHON3={PYTHON}")])
        .arg(format!("TA_SIGN_KEY={}", key.display()))
        // The same inputs give the same image: the date of the build is in it.
        .env("SOURCE_DATE_EPOCH", "0")
        // The images alone: the TAs that go with them are Debian's.
        .args(OPTEE_IMAGES.map(core));
    process::run(&mut make, |_| step.tick())?;
    for image in OPTEE_IMAGES {
        let built = source.join(core(image));
        fs::rename(&built, place.join(image))
            .with_context(|| format!("the build left no {}", built.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn request(folder: &Path) -> OpteeRequest {
        for name in ["optee_1.dsc", "kit.deb"] {
            fs::write(folder.join(name), name).unwrap();
        }
        OpteeRequest {
            source: folder.to_owned(),
            version: "4.10.0".to_owned(),
            ta_kit: folder.join("kit.deb"),
            guests: 4,
            flags: Vec::new(),
        }
    }

    #[test]
    fn key_depends_on_every_input() {
        let folder = TempDir::new().unwrap();
        let request = request(folder.path());
        let mut keys = vec![request.key().unwrap()];
        assert_eq!(request.key().unwrap(), keys[0]);
        let mut other = request.clone();
        other.guests = 3;
        keys.push(other.key().unwrap());
        let mut other = request.clone();
        other.flags = vec!["CFG_CRYPTO_WITH_CE=n".to_owned()];
        keys.push(other.key().unwrap());
        for name in ["optee_1.dsc", "kit.deb"] {
            fs::write(folder.path().join(name), "another").unwrap();
            keys.push(request.key().unwrap());
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn guests_and_aes_instructions_are_among_the_options() {
        let folder = TempDir::new().unwrap();
        let options = request(folder.path()).options();
        for option in ["CFG_VIRT_GUEST_COUNT=4", "CFG_CRYPTO_WITH_CE=y"] {
            assert!(options.iter().any(|other| other == option), "{options:?}");
        }
    }

    #[test]
    fn the_user_s_option_replaces_the_default() {
        let folder = TempDir::new().unwrap();
        let mut request = request(folder.path());
        request.flags = vec!["CFG_CRYPTO_WITH_CE=n".to_owned()];
        let options = request.options();
        let set: Vec<_> = options
            .iter()
            .filter(|option| option.starts_with("CFG_CRYPTO_WITH_CE="))
            .collect();
        assert_eq!(set, ["CFG_CRYPTO_WITH_CE=n"]);
    }

    #[test]
    fn failed_build_leaves_nothing() {
        let folder = TempDir::new().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let locked = cache.lock("test", &Progress::silent()).unwrap();
        let step = Progress::silent().step("test");
        let request = request(folder.path());
        locked
            .get_or_make("optee-built", "key", |place| {
                build(&locked, &request, place, &step)
            })
            .unwrap_err();
        assert!(!locked.path("optee-built", "key").exists());
        assert_eq!(fs::read_dir(cache.root().join("tmp")).unwrap().count(), 0);
    }
}
