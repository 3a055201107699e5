//! OP-TEE's source, which comes from a newer release of Debian than the guests' parts.
//!
//! Which version it is, with the hashes of its files, stands in a file of the checkout, so that
//! everybody builds the same. A mirror drops a version when Debian has a newer one; what is in the
//! cache stays usable.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, Host, NEWEST, NEWEST_OR_OLDER};
use super::{OPTEE, PLATFORM, PackageVersion, deb, download, upstream, versions};
use crate::base::checkout::checkout;
use crate::base::host_tools;
use crate::base::progress::Progress;
use crate::parts::cache::{Cache, LockedCache};
use crate::parts::initramfs::tree::Node;

/// The file that names the version, in the checkout.
const PIN: &str = "qemu/optee-source.json";

/// OP-TEE's source package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpteeSource {
    /// The folder with the `.dsc` file and what it names.
    pub folder: PathBuf,
    /// OP-TEE's own version, such as `4.10.0`.
    pub version: String,
    /// The package.
    pub package: PackageVersion,
}

/// Gets the source package that the checkout names: from the cache if it is there, else from the
/// mirror that the machine's apt uses or `DEBIAN_MIRROR` names.
///
/// # Errors
///
/// The host lacks a tool, the mirror fails or has that version no more, a file is not the one that
/// was named, or the disk fails.
pub fn optee_source(cache: &Cache, progress: &Progress) -> Result<OpteeSource> {
    let package = pinned(&checkout().join(PIN))?;
    let locked = cache.lock("getting OP-TEE's source", progress)?;
    if !is_there(&locked, &package)? {
        host_tools::ensure(host_tools::PACKAGES, progress)?;
        fetch(&locked, &Host::from_environment(), &package, progress)
            .context("OP-TEE's source can't be had")?;
    }
    Ok(OpteeSource {
        folder: locked.path("packages", &package.key()),
        version: upstream(&package.version).to_owned(),
        package,
    })
}

/// Names the newest source package of the mirror's as the one to use from now on, and returns it.
///
/// # Errors
///
/// The host lacks a tool, the mirror fails, or the checkout can't be written.
pub fn pin_newest_optee(cache: &Cache, progress: &Progress) -> Result<PackageVersion> {
    host_tools::ensure(host_tools::PACKAGES, progress)?;
    let locked = cache.lock("looking for OP-TEE's source", progress)?;
    pin_newest(
        &locked,
        &Host::from_environment(),
        &checkout().join(PIN),
        progress,
    )
}

pub(super) fn pin_newest(
    locked: &LockedCache<'_>,
    host: &Host,
    pin: &Path,
    progress: &Progress,
) -> Result<PackageVersion> {
    let root = locked.temporary()?;
    let apt = Apt::start(host, root.path(), &NEWEST, progress)
        .map_err(|error| locked.blame_disk(error))?;
    let mut packages = versions::sources(&apt.show_source(OPTEE)?, OPTEE)?;
    // apt lists the newest first.
    let package = packages.swap_remove(0);
    let text = serde_json::to_string_pretty(&package)? + "\n";
    fs::write(pin, text).with_context(|| format!("{} can't be written", pin.display()))?;
    Ok(package)
}

/// The package that a file names.
pub(super) fn pinned(pin: &Path) -> Result<PackageVersion> {
    let read = || -> Result<PackageVersion> { Ok(serde_json::from_slice(&fs::read(pin)?)?) };
    read().with_context(|| format!("{} names no source package of OP-TEE's", pin.display()))
}

pub(super) fn is_there(locked: &LockedCache<'_>, package: &PackageVersion) -> Result<bool> {
    Ok(locked.get("packages", &package.key())?.is_some())
}

/// Downloads the package.
pub(super) fn fetch(
    locked: &LockedCache<'_>,
    host: &Host,
    package: &PackageVersion,
    progress: &Progress,
) -> Result<()> {
    let root = locked.temporary()?;
    let apt = Apt::start(host, root.path(), &NEWEST_OR_OLDER, progress)
        .map_err(|error| locked.blame_disk(error))?;
    let offered = versions::sources(&apt.show_source(OPTEE)?, OPTEE)?;
    if !offered.contains(package) {
        let offered: Vec<_> = offered.iter().map(PackageVersion::specification).collect();
        bail!(
            "{PIN} names {} with SHA-256 {}, which this mirror does not have: it has {}. Set DEBIAN_MIRROR to an archive that has \
             it, such as one of Debian's past days; or take the mirror's version, by `cargo run --release -p qemu -- pin-optee` \
             (docs/optee-versions.md)",
            package.specification(),
            package.sha256,
            offered.join(" and ")
        );
    }
    download(locked, &apt, &[package], progress)
}

/// The key that Debian's TAs are signed with, out of Debian's package of the kit for building TAs.
///
/// # Errors
///
/// The package can't be read or has no such key.
pub(crate) fn ta_sign_key(kit: &Path) -> Result<Vec<u8>> {
    let folder = format!("usr/lib/optee-os-dev/{PLATFORM}/keys");
    let keys = deb::read(kit, |path| path.starts_with(&folder))?;
    let mut name = "default_ta.pem";
    // The key for TAs is a link to the key for everything.
    for _ in 0..2 {
        match keys.get(&format!("{folder}/{name}")) {
            Some(Node::File { content, .. }) => return Ok(content.clone()),
            Some(Node::Symlink { target }) => name = target,
            Some(Node::Folder { .. }) | None => break,
        }
    }
    bail!(
        "the package {} has no {folder}/default_ta.pem",
        kit.display()
    )
}
