//! TF-A, built from Debian's source package with OP-TEE's images in it.
//!
//! The hypervisor is not part of the firmware: QEMU puts it into memory, so that a change of it
//! needs no new firmware.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::base::host_tools;
use crate::base::process;
use crate::base::progress::{Progress, Step};
use crate::description::optee_build::OPTEE_IMAGES;
use crate::parts::cache::{Cache, LockedCache, sha256_of_bytes, sha256_of_file};
use crate::parts::source_package;
use host_abi::memory_map::machine::{HYPERVISOR_BASE, MEMORY_BASE};

/// TF-A's image for QEMU's `-bios`.
const BIOS: &str = "qemu_fw.bios";
/// OP-TEE's images as TF-A's makefile calls them, in the order of [`OPTEE_IMAGES`].
const OPTEE_VARIABLES: [&str; 3] = ["BL32", "BL32_EXTRA1", "BL32_EXTRA2"];

/// How TF-A is built (TF-A 2.12, `docs/plat/qemu.rst` and
/// `docs/getting_started/build-options.rst`).
const OPTIONS: &[&str] = &[
    "CROSS_COMPILE=aarch64-linux-gnu-",
    "PLAT=qemu",
    "SPD=opteed",
    "QEMU_USE_GIC_DRIVER=QEMU_GICV3",
    "BL32_RAM_LOCATION=tdram",
    // Notices only: the console belongs to the guests.
    "LOG_LEVEL=20",
    "DEBUG=0",
    // The same inputs give the same image.
    "BUILD_MESSAGE_TIMESTAMP=\"reproducible\"",
    // The image tool needs OpenSSL for certificates alone, which this image has none of, and leaves
    // it out when it is linked statically.
    "STATIC=1",
    // Otherwise the version is taken from the git checkout that the build happens to lie in.
    "BUILD_STRING=debian",
    // With SVE for the normal world TF-A takes floating point away from the secure world, which
    // OP-TEE uses. Guests see neither SVE nor SME.
    "ENABLE_SVE_FOR_NS=0",
    "ENABLE_SME_FOR_NS=0",
    // x0 is the device tree's address, as Linux expects it, instead of the CPU's number.
    "ARM_LINUX_KERNEL_AS_BL33=1",
];

/// What a firmware is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareRequest {
    /// The folder with TF-A's Debian source package.
    pub source: PathBuf,
    /// OP-TEE's images.
    pub optee: OpteeImages,
}

/// OP-TEE as its build leaves it for a loader, in version 2 of the format (OP-TEE 4.5,
/// `scripts/gen_tee_bin.py`; TF-A 2.12, `lib/optee/optee_utils.c`): the header says where the other
/// two go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpteeImages {
    /// `tee-header_v2.bin`.
    pub header: PathBuf,
    /// `tee-pager_v2.bin`.
    pub pager: PathBuf,
    /// `tee-pageable_v2.bin`; empty for an OP-TEE without paging.
    pub pageable: PathBuf,
}

impl OpteeImages {
    /// The images in a folder, under the names that OP-TEE's build gives them.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let [header, pager, pageable] = OPTEE_IMAGES.map(|name| folder.join(name));
        Self {
            header,
            pager,
            pageable,
        }
    }

    /// In the order of [`OPTEE_IMAGES`].
    fn paths(&self) -> [&Path; 3] {
        [&self.header, &self.pager, &self.pageable]
    }
}

/// Builds the firmware, or finds it in the cache: an image for QEMU's `-bios`. It enters at
/// [`HYPERVISOR_BASE`] what QEMU loaded there.
///
/// # Errors
///
/// The host lacks a tool, an input can't be read, the build fails, or the disk does.
pub fn firmware(cache: &Cache, request: &FirmwareRequest, progress: &Progress) -> Result<PathBuf> {
    let key = key(request)?;
    let locked = cache.lock("building TF-A", progress)?;
    let folder = locked.get_or_make("firmware", &key, |place| {
        host_tools::ensure(host_tools::FIRMWARE, progress)?;
        let step = progress.step("Building TF-A");
        build(&locked, request, place, &step).context("TF-A can't be built")?;
        step.done();
        Ok(())
    })?;
    Ok(folder.join(BIOS))
}

fn key(request: &FirmwareRequest) -> Result<String> {
    let mut ingredients: Vec<String> = options(OPTIONS).collect();
    ingredients.push(sha256_of_file(&source_package::description(
        &request.source,
    )?)?);
    for image in request.optee.paths() {
        ingredients.push(sha256_of_file(image).context("an OP-TEE image can't be used")?);
    }
    Ok(sha256_of_bytes(ingredients.join("\0").as_bytes())
        .chars()
        .take(16)
        .collect())
}

/// The options that are always the same.
fn options(options: &[&str]) -> impl Iterator<Item = String> {
    let addresses = [
        ("PRELOADED_BL33_BASE", HYPERVISOR_BASE),
        ("ARM_PRELOADED_DTB_BASE", MEMORY_BASE),
    ];
    options
        .iter()
        .map(|option| (*option).to_owned())
        .chain(addresses.map(|(name, address)| format!("{name}={address:#x}")))
}

fn build(
    locked: &LockedCache<'_>,
    request: &FirmwareRequest,
    place: &Path,
    step: &Step,
) -> Result<()> {
    let workshop = locked.temporary()?;
    let folder = workshop.path();
    let source = source_package::unpack(&request.source, folder)?;
    let mut make = source_package::make(&source);
    make.args(options(OPTIONS));
    for ((variable, name), image) in OPTEE_VARIABLES
        .iter()
        .zip(OPTEE_IMAGES)
        .zip(request.optee.paths())
    {
        let copy = folder.join(name);
        fs::copy(image, &copy).with_context(|| format!("{} can't be copied", image.display()))?;
        make.arg(format!("{variable}={}", copy.display()));
    }
    process::run(make.arg(BIOS), |_| step.tick())?;
    let built = source.join("build/qemu/release").join(BIOS);
    fs::rename(&built, place.join(BIOS))
        .with_context(|| format!("the build left no {}", built.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn request(folder: &Path) -> FirmwareRequest {
        for name in OPTEE_IMAGES.into_iter().chain(["tf_1.dsc"]) {
            fs::write(folder.join(name), name).unwrap();
        }
        FirmwareRequest {
            source: folder.to_owned(),
            optee: OpteeImages::in_folder(folder),
        }
    }

    #[test]
    fn key_depends_on_every_input() {
        let folder = TempDir::new().unwrap();
        let request = request(folder.path());
        let mut keys = vec![key(&request).unwrap()];
        assert_eq!(key(&request).unwrap(), keys[0]);
        for name in OPTEE_IMAGES.into_iter().chain(["tf_1.dsc"]) {
            fs::write(folder.path().join(name), "another").unwrap();
            keys.push(key(&request).unwrap());
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn missing_image_is_named() {
        let folder = TempDir::new().unwrap();
        let request = request(folder.path());
        fs::remove_file(&request.optee.pager).unwrap();
        let error = format!("{:#}", key(&request).unwrap_err());
        assert!(error.contains("tee-pager_v2.bin"), "{error}");
    }

    #[test]
    fn failed_build_leaves_nothing() {
        let folder = TempDir::new().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let locked = cache.lock("test", &Progress::silent()).unwrap();
        let step = Progress::silent().step("test");
        let request = request(folder.path());
        locked
            .get_or_make("firmware", "key", |place| {
                build(&locked, &request, place, &step)
            })
            .unwrap_err();
        assert!(!locked.path("firmware", "key").exists());
        assert_eq!(fs::read_dir(cache.root().join("tmp")).unwrap().count(), 0);
    }
}
