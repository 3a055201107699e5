//! What a machine is made of: the user's own files, and Debian's packages for the rest.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::config::{Description, Guest, Optee, Tee, Work};
use crate::firmware::{FirmwareRequest, OpteeImages, firmware};
use crate::host_tools;
use crate::initramfs::{Job, guest_initramfs};
use crate::logs::RunFolder;
use crate::machine;
use crate::packages::{DebianParts, debian_parts};
use crate::placement::GuestFiles;
use crate::progress::Progress;
use crate::report::{PackageVersion, Versions};

/// The parts of one machine.
#[derive(Debug)]
pub struct Parts {
    firmware: PathBuf,
    /// `None` when every part is the user's own.
    debian: Option<DebianParts>,
    versions: Versions,
}

impl Parts {
    /// Gets what the description needs, from the cache where it has it.
    pub fn get(description: &Description, progress: &Progress) -> Result<Self> {
        host_tools::ensure(host_tools::MACHINE, progress)?;
        let cache = Cache::from_environment()?;
        let debian = description
            .needs_debian()
            .then(|| debian_parts(&cache, progress))
            .transpose()?;
        let firmware = match (&description.machine.firmware, &debian) {
            (Some(own), _) => own.clone(),
            (None, debian) => {
                let debian = debian
                    .as_ref()
                    .context("TF-A is built from Debian's source, which was not fetched")?;
                build_firmware(&cache, &description.machine.optee, debian, progress)?
            }
        };
        Ok(Self {
            firmware,
            versions: versions(debian.as_ref())?,
            debian,
        })
    }

    /// Gets everything that a machine of Debian's parts needs, so that later runs need no network.
    pub fn fetch(progress: &Progress) -> Result<Versions> {
        host_tools::ensure(host_tools::MACHINE, progress)?;
        let cache = Cache::from_environment()?;
        let debian = debian_parts(&cache, progress)?;
        build_firmware(&cache, &Optee::Debian, &debian, progress)?;
        versions(Some(&debian))
    }

    /// The image with TF-A and OP-TEE.
    pub fn firmware(&self) -> &Path {
        &self.firmware
    }

    /// What the parts are.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The files that each guest starts from; `tokens` has the token of each guest's job.
    pub(crate) fn guest_files(
        &self,
        description: &Description,
        tokens: &[Option<String>],
        folder: &RunFolder,
    ) -> Result<Vec<GuestFiles>> {
        description
            .guests
            .iter()
            .zip(tokens)
            .map(|(guest, token)| {
                Ok(GuestFiles {
                    kernel: self.own_or(guest.kernel.as_deref(), |debian| &debian.kernel_image)?,
                    initramfs: self.initramfs(guest, token.as_deref(), folder)?,
                })
            })
            .collect()
    }

    fn initramfs(&self, guest: &Guest, token: Option<&str>, folder: &RunFolder) -> Result<PathBuf> {
        let base = self.own_or(guest.initramfs.as_deref(), |debian| &debian.base_initramfs)?;
        let job = match (&guest.work, token) {
            (Work::Job(command), Some(token)) => Some(Job {
                command: command.clone(),
                token: token.to_owned(),
                needs_tee: guest.tee == Tee::Optee,
            }),
            _ => None,
        };
        if job.is_none() && guest.overlays.is_empty() {
            return Ok(base);
        }
        let out = folder.machine_file(&format!("{}.cpio", guest.name));
        guest_initramfs(&out, &base, &guest.overlays, job.as_ref())
            .with_context(|| format!("the initramfs of guest {} can't be made", guest.name))?;
        Ok(out)
    }

    fn own_or(
        &self,
        own: Option<&Path>,
        of_debian: impl FnOnce(&DebianParts) -> &PathBuf,
    ) -> Result<PathBuf> {
        match (own, &self.debian) {
            (Some(own), _) => Ok(own.to_owned()),
            (None, Some(debian)) => Ok(of_debian(debian).clone()),
            (None, None) => anyhow::bail!("Debian's parts were not fetched"),
        }
    }
}

fn build_firmware(
    cache: &Cache,
    optee: &Optee,
    debian: &DebianParts,
    progress: &Progress,
) -> Result<PathBuf> {
    let folder = match optee {
        Optee::Debian => &debian.optee_dir,
        Optee::Folder(folder) => folder,
    };
    let request = FirmwareRequest {
        source: debian.firmware_source.clone(),
        optee: OpteeImages::in_folder(folder),
    };
    firmware(cache, &request, progress)
}

fn versions(debian: Option<&DebianParts>) -> Result<Versions> {
    let packages = debian.map_or(&[][..], |debian| &debian.versions);
    Ok(Versions {
        bulkhead: env!("CARGO_PKG_VERSION").to_owned(),
        qemu: machine::version()?,
        packages: packages
            .iter()
            .map(|package| PackageVersion {
                name: package.name.clone(),
                version: package.version.clone(),
                architecture: package.architecture.clone(),
                sha256: package.sha256.clone(),
            })
            .collect(),
    })
}
