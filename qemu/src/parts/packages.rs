//! Debian's parts of a machine: kernel, OP-TEE, its client programs and TF-A's source.
//!
//! Names are resolved once, through a private apt root that checks signatures; which versions were
//! found is recorded in the cache's `versions.json`. As long as the record and the packages are
//! there, nothing asks the network.

mod apt;
mod deb;
mod kernel;
mod mirror;
mod source;
mod stanza;
mod ta_kit;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::base::host_tools;
use crate::base::progress::Progress;
use crate::description::optee_build::OPTEE_IMAGES;
use crate::parts::cache::{Cache, LockedCache, sha256_of_bytes};
use crate::parts::initramfs::tree::Tree;
use crate::parts::initramfs::{self, archive};
use apt::{Apt, Host, STABLE};

pub(crate) use source::ta_sign_key;
pub use source::{OpteeSource, optee_source, pin_newest_optee};
pub(crate) use ta_kit::ta_kit;
pub use versions::PackageVersion;

/// Depends on the current kernel, whose own name has its release in it.
const KERNEL_NAME: &str = "linux-image-arm64";
const KERNEL_PREFIX: &str = "linux-image-";
const OPTEE: &str = "optee-os";
const TA_KIT: &str = "optee-os-dev";
const FIRMWARE_SOURCE: &str = "arm-trusted-firmware";

/// Debian's name of this OP-TEE's platform, built with virtualization.
const PLATFORM: &str = "vexpress-qemu_armv8a-virtualized";
/// The same without virtualization.
const PLATFORM_ALONE: &str = "vexpress-qemu_armv8a";

/// Go into a guest's file system whole, but for what [`initramfs`] leaves out.
const GUEST: &[&str] = &[
    "busybox-static",
    "dropbear-bin",
    "e2fsprogs",
    "libblkid1",
    "libc6",
    "libckteec0t64",
    "libcom-err2",
    "libcrypt1",
    "libext2fs2t64",
    "libgcc-s1",
    "libgmp10",
    "libss2",
    "libssl3t64",
    "libteec2",
    "libtomcrypt1",
    "libtommath1",
    "libuuid1",
    "libzstd1",
    "optee-test-qemu",
    "tee-supplicant",
    "zlib1g",
];

/// Where tee-supplicant looks for TAs.
pub(crate) const TA_FOLDER: &str = "usr/lib/optee_armtz";

/// Goes into the keys of what is made of packages: another number for another way to make it.
const RECIPE: &str = "2";
const VERSIONS_FILE: &str = "versions.json";

/// Debian's parts, unpacked in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianParts {
    /// The raw kernel image.
    pub kernel_image: PathBuf,
    /// What `uname -r` says under that kernel.
    pub kernel_release: String,
    /// A cpio archive, not compressed: the guest programs, the kernel's TEE modules and the first
    /// process.
    pub base_initramfs: PathBuf,
    /// The folder with `tee-header_v2.bin`, `tee-pager_v2.bin` and `tee-pageable_v2.bin`.
    pub optee_dir: PathBuf,
    /// The same of an OP-TEE without virtualization, for a machine without a hypervisor.
    pub optee_alone_dir: PathBuf,
    /// OP-TEE's version, such as `4.5.0`.
    pub optee_version: String,
    /// The package of the kit for building TAs.
    pub ta_kit: PathBuf,
    /// The folder with TF-A's source package: the `.dsc` file and what it names.
    pub firmware_source: PathBuf,
    /// What all this was made of, sorted by name.
    pub versions: Vec<PackageVersion>,
}

/// What `versions.json` holds.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Resolved {
    suite: String,
    /// The real package behind [`KERNEL_NAME`].
    kernel: String,
    /// Sorted by name.
    packages: Vec<PackageVersion>,
}

impl Resolved {
    /// Whether a record has all the packages that this version of the project asks for.
    fn is_complete(&self) -> bool {
        let names = wanted(&self.kernel);
        self.suite == STABLE.name
            && self.packages.len() == names.len()
            && names
                .iter()
                .all(|name| self.packages.iter().any(|package| package.name == *name))
    }

    fn package(&self, name: &str) -> Result<&PackageVersion> {
        self.packages
            .iter()
            .find(|package| package.name == name)
            .with_context(|| format!("{name} was not resolved"))
    }
}

/// The names of all packages, given the kernel's.
fn wanted(kernel: &str) -> Vec<&str> {
    [kernel, OPTEE, TA_KIT, FIRMWARE_SOURCE]
        .into_iter()
        .chain(GUEST.iter().copied())
        .collect()
}

/// Gets Debian's parts: from the cache if they are there, else from the mirror that the machine's
/// apt uses or `DEBIAN_MIRROR` names.
///
/// # Errors
///
/// The host lacks a tool, the mirror fails, a package is not what the signed list says, or the disk
/// fails. The cache then has what was complete before and nothing else.
pub fn debian_parts(cache: &Cache, progress: &Progress) -> Result<DebianParts> {
    let locked = cache.lock("getting Debian's parts", progress)?;
    let resolved = match cached(&locked)? {
        Some(resolved) => resolved,
        None => {
            host_tools::ensure(host_tools::PACKAGES, progress)?;
            fetch(&locked, &Host::from_environment(), progress)?
        }
    };
    unpack(&locked, resolved, progress)
}

/// The record, if it and all packages in it are there.
fn cached(locked: &LockedCache<'_>) -> Result<Option<Resolved>> {
    let Some(resolved) = recorded(locked.root()) else {
        return Ok(None);
    };
    for package in &resolved.packages {
        if locked.get("packages", &package.key())?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(resolved))
}

/// The record; none if it is damaged or of another version of the project.
fn recorded(root: &Path) -> Option<Resolved> {
    let text = fs::read(root.join(VERSIONS_FILE)).ok()?;
    serde_json::from_slice(&text)
        .ok()
        .filter(Resolved::is_complete)
}

/// Resolves the names anew and downloads what is missing.
fn fetch(locked: &LockedCache<'_>, host: &Host, progress: &Progress) -> Result<Resolved> {
    let root = locked.temporary()?;
    let apt = Apt::start(host, root.path(), &STABLE, progress)
        .map_err(|error| locked.blame_disk(error))?;
    let kernel = versions::dependency(&apt.show(&[KERNEL_NAME])?, KERNEL_NAME, KERNEL_PREFIX)?;
    let binaries: Vec<_> = wanted(&kernel)
        .into_iter()
        .filter(|name| *name != FIRMWARE_SOURCE)
        .collect();
    let mut packages = versions::binaries(&apt.show(&binaries)?, &binaries)?;
    packages.push(versions::source(
        &apt.show_source(FIRMWARE_SOURCE)?,
        FIRMWARE_SOURCE,
    )?);
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    let resolved = Resolved {
        suite: STABLE.name.to_owned(),
        kernel,
        packages,
    };

    let (sources, binaries): (Vec<_>, Vec<_>) = resolved
        .packages
        .iter()
        .partition(|package| package.is_source());
    for packages in [binaries, sources] {
        download(locked, &apt, &packages, progress)?;
    }
    locked.write_file(
        VERSIONS_FILE,
        serde_json::to_string_pretty(&resolved)?.as_bytes(),
    )?;
    Ok(resolved)
}

/// Downloads those of `packages`, either all binary or all source, that the cache lacks.
fn download(
    locked: &LockedCache<'_>,
    apt: &Apt<'_>,
    packages: &[&PackageVersion],
    progress: &Progress,
) -> Result<()> {
    let mut missing = Vec::new();
    for package in packages {
        if locked.get("packages", &package.key())?.is_none() {
            missing.push(*package);
        }
    }
    let downloads = locked.temporary()?;
    apt.download(&missing, downloads.path(), progress)
        .map_err(|error| locked.blame_disk(error))?;
    for package in missing {
        locked.get_or_make("packages", &package.key(), |place| {
            apt::take(package, downloads.path(), place)
        })?;
    }
    Ok(())
}

fn unpack(
    locked: &LockedCache<'_>,
    resolved: Resolved,
    progress: &Progress,
) -> Result<DebianParts> {
    let kernel = resolved.package(&resolved.kernel)?;
    let kernel_folder = locked.get_or_make("kernel", &key(&[&kernel.sha256]), |place| {
        let step = progress.step(&format!("Unpacking {}", kernel.name));
        unpack_kernel(&deb_of(locked, kernel)?, place)?;
        step.done();
        Ok(())
    })?;

    let optee = resolved.package(OPTEE)?;
    let package = deb_of(locked, optee)?;
    let optee_key = key(&[&optee.sha256]);
    let optee_dir = locked.get_or_make("optee", &optee_key, |place| {
        unpack_optee(&package, PLATFORM, place)
    })?;
    let optee_alone_dir = locked.get_or_make("optee-alone", &optee_key, |place| {
        unpack_optee(&package, PLATFORM_ALONE, place)
    })?;

    let base_initramfs = base_initramfs(locked, &resolved, &kernel_folder, progress)?;
    let release = fs::read_to_string(kernel_folder.join("release"))
        .context("the kernel's release can't be read")?;
    Ok(DebianParts {
        kernel_image: kernel_folder.join("Image"),
        kernel_release: release,
        base_initramfs,
        optee_dir,
        optee_alone_dir,
        optee_version: upstream(&optee.version).to_owned(),
        ta_kit: deb_of(locked, resolved.package(TA_KIT)?)?,
        firmware_source: locked.path("packages", &resolved.package(FIRMWARE_SOURCE)?.key()),
        versions: resolved.packages,
    })
}

fn unpack_optee(package: &Path, platform: &str, place: &Path) -> Result<()> {
    let folder = format!("usr/lib/optee/{platform}/");
    let files = deb::read(package, |path| path.starts_with(&folder))?;
    for image in OPTEE_IMAGES {
        let content = files
            .content(&format!("{folder}{image}"))
            .with_context(|| format!("the package {OPTEE} has no {folder}{image}"))?;
        write(&place.join(image), content)?;
    }
    Ok(())
}

fn unpack_kernel(package: &Path, place: &Path) -> Result<()> {
    let kernel = kernel::unpack(&deb::read(package, kernel::wanted)?)?;
    write(&place.join("Image"), &kernel.image)?;
    write(&place.join("release"), kernel.release.as_bytes())?;
    let mut modules = Vec::new();
    archive::write(&kernel.modules, &mut modules)?;
    write(&place.join("modules.cpio"), &modules)
}

/// One archive after the other, as Linux takes them: the guest's files, then the kernel's modules.
fn base_initramfs(
    locked: &LockedCache<'_>,
    resolved: &Resolved,
    kernel_folder: &Path,
    progress: &Progress,
) -> Result<PathBuf> {
    let packages: Vec<_> = GUEST
        .iter()
        .chain([&TA_KIT, &resolved.kernel.as_str()])
        .map(|name| resolved.package(name))
        .collect::<Result<_>>()?;
    let ingredients: Vec<_> = packages
        .iter()
        .map(|package| package.sha256.as_str())
        .chain(initramfs::BASE_RECIPE.iter().copied())
        .collect();
    let folder = locked.get_or_make("initramfs", &key(&ingredients), |place| {
        let step = progress.step("Composing the guests' initramfs");
        let mut parts = Vec::new();
        for name in GUEST {
            parts.push(deb::read(
                &deb_of(locked, resolved.package(name)?)?,
                initramfs::base_keeps,
            )?);
        }
        parts.push(trusted_applications(&deb_of(
            locked,
            resolved.package(TA_KIT)?,
        )?)?);
        let mut bytes = Vec::new();
        archive::write(&initramfs::compose_base(parts)?, &mut bytes)?;
        bytes.extend(
            fs::read(kernel_folder.join("modules.cpio"))
                .context("the kernel's modules can't be read")?,
        );
        write(&place.join("base.cpio"), &bytes)?;
        step.done();
        Ok(())
    })?;
    Ok(folder.join("base.cpio"))
}

/// OP-TEE's own TAs, which Debian ships with the kit for building TAs.
fn trusted_applications(kit: &Path) -> Result<Tree> {
    let folder = format!("usr/lib/optee-os-dev/{PLATFORM}/ta/");
    let files = deb::read(kit, |path| {
        path.starts_with(&folder) && path.ends_with(".ta")
    })?;
    let mut applications = Tree::new();
    for (path, node) in files.iter() {
        if let Some(name) = path.strip_prefix(&folder) {
            applications.insert(&format!("{TA_FOLDER}/{name}"), node.clone())?;
        }
    }
    ensure!(
        applications.iter().next().is_some(),
        "the package {TA_KIT} has no TA in {folder}"
    );
    Ok(applications)
}

fn deb_of(locked: &LockedCache<'_>, package: &PackageVersion) -> Result<PathBuf> {
    Ok(locked
        .path("packages", &package.key())
        .join(&package.deb()?.name))
}

/// The version that the makers of a program gave it: without Debian's epoch, repacking mark and
/// revision.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version
        .rsplit_once('-')
        .map_or(version, |(upstream, _)| upstream);
    version
        .split_once('+')
        .map_or(version, |(upstream, _)| upstream)
}

/// The key of an entry made of `ingredients` in the way of today.
fn key(ingredients: &[&str]) -> String {
    let text = [&[RECIPE], ingredients].concat().join("\0");
    sha256_of_bytes(text.as_bytes()).chars().take(16).collect()
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("{} can't be written", path.display()))
}

#[cfg(test)]
mod tests;
