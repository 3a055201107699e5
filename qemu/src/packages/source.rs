//! OP-TEE's source, which comes from a newer release of Debian than the guests' parts.
//!
//! The version is resolved once, as that of the other packages, and has a record of its own: a machine that does not
//! build OP-TEE never asks for it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::apt::{Apt, Host, NEWEST, Suite};
use super::{OPTEE, PLATFORM, PackageVersion, deb, download, upstream, versions};
use crate::cache::{Cache, LockedCache};
use crate::host_tools;
use crate::initramfs::tree::Node;
use crate::progress::Progress;

const RECORD: &str = "optee-source.json";
const SUITE: &Suite = &NEWEST;

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

/// What the record holds.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Resolved {
    suite: String,
    package: PackageVersion,
}

/// Gets OP-TEE's source package: from the cache if it is there, else from the mirror that the machine's apt uses or
/// `DEBIAN_MIRROR` names.
///
/// # Errors
///
/// The host lacks a tool, the mirror fails, the package is not what the signed list says, or the disk fails.
pub fn optee_source(cache: &Cache, progress: &Progress) -> Result<OpteeSource> {
    let locked = cache.lock("getting OP-TEE's source", progress)?;
    let package = match cached(&locked)? {
        Some(package) => package,
        None => {
            host_tools::ensure(host_tools::PACKAGES, progress)?;
            fetch(&locked, &Host::from_environment(), progress)
                .context("OP-TEE's source, which optee = \"source\" asks for, can't be had")?
        }
    };
    Ok(OpteeSource {
        folder: locked.path("packages", &package.key()),
        version: upstream(&package.version).to_owned(),
        package,
    })
}

/// The recorded package, if it is there.
pub(super) fn cached(locked: &LockedCache<'_>) -> Result<Option<PackageVersion>> {
    let Some(package) = fs::read(locked.root().join(RECORD))
        .ok()
        .and_then(|text| serde_json::from_slice::<Resolved>(&text).ok())
        .filter(|resolved| resolved.suite == SUITE.name && resolved.package.name == OPTEE)
        .map(|resolved| resolved.package)
    else {
        return Ok(None);
    };
    let is_there = locked.get("packages", &package.key())?.is_some();
    Ok(is_there.then_some(package))
}

/// Resolves the version anew and downloads it if it is missing.
pub(super) fn fetch(
    locked: &LockedCache<'_>,
    host: &Host,
    progress: &Progress,
) -> Result<PackageVersion> {
    let root = locked.temporary()?;
    let apt =
        Apt::start(host, root.path(), SUITE, progress).map_err(|error| locked.blame_disk(error))?;
    let package = versions::source(&apt.show_source(OPTEE)?, OPTEE)?;
    download(locked, &apt, &[&package], progress)?;
    let resolved = Resolved {
        suite: SUITE.name.to_owned(),
        package,
    };
    locked.write_file(RECORD, serde_json::to_string_pretty(&resolved)?.as_bytes())?;
    Ok(resolved.package)
}

/// The key that Debian's TAs are signed with, out of Debian's package of the kit for building TAs.
///
/// # Errors
///
/// The package can't be read or has no such key.
pub(crate) fn ta_sign_key(kit: &std::path::Path) -> Result<Vec<u8>> {
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
