//! What a machine is made of: the user's own files, and Debian's packages for the rest.

pub mod cache;
pub(crate) mod cargo;
pub mod firmware;
pub mod image;
pub mod initramfs;
pub(crate) mod instruction_counter;
pub mod optee_source;
pub mod packages;
pub mod payload;
mod source_package;
pub mod ssh_key;
mod trusted_application;
pub mod versions;
pub mod workloads;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use host_abi::binding::TeeChoice;

use crate::base::host_tools;
use crate::base::progress::Progress;
use crate::base::run_folder::RunFolder;
use crate::description::devices::{InterfaceAddress, Network};
use crate::description::optee_build;
use crate::description::{Description, Guest, Optee, Work};
use crate::machine::placement::GuestFiles;
use crate::machine::qemu;
use crate::parts::cache::Cache;
use crate::parts::firmware::{FirmwareRequest, OpteeImages, firmware};
use crate::parts::initramfs::{Addressing, Job, guest_initramfs};
use crate::parts::optee_source::{OpteeRequest, optee};
use crate::parts::packages::{DebianParts, debian_parts, optee_source};
use crate::parts::versions::{OpteeVersion, PackageVersion, Versions};

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
        let (firmware, versions) = match (&description.machine.firmware, &debian) {
            (Some(own), debian) => (own.clone(), versions(debian.as_ref(), None)?),
            (None, debian) => {
                let debian = debian
                    .as_ref()
                    .context("TF-A is built from Debian's source, which was not fetched")?;
                let optee = OpteeParts::get(&cache, description, debian, progress)?;
                let request = FirmwareRequest {
                    source: debian.firmware_source.clone(),
                    optee: OpteeImages::in_folder(&optee.folder),
                };
                let firmware = firmware(&cache, &request, progress)?;
                (firmware, versions(Some(debian), Some(optee))?)
            }
        };
        Ok(Self {
            firmware,
            debian,
            versions,
        })
    }

    /// Gets everything that a machine of Debian's parts needs, so that later runs need no network.
    pub fn fetch(progress: &Progress) -> Result<Versions> {
        host_tools::ensure(host_tools::MACHINE, progress)?;
        let cache = Cache::from_environment()?;
        let debian = debian_parts(&cache, progress)?;
        let optee = OpteeParts::built(&cache, &debian, 0, &[], progress)?;
        let request = FirmwareRequest {
            source: debian.firmware_source.clone(),
            optee: OpteeImages::in_folder(&optee.folder),
        };
        firmware(&cache, &request, progress)?;
        versions(Some(&debian), Some(optee))
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
        progress: &Progress,
    ) -> Result<Vec<GuestFiles>> {
        let mut payloads = HashMap::new();
        description
            .guests
            .iter()
            .zip(tokens)
            .map(|(guest, token)| {
                if let Some(name) = guest.work.payload() {
                    // Built once, however many guests run it.
                    let kernel = match payloads.get(name) {
                        Some(image) => PathBuf::clone(image),
                        None => payload::image(name, folder, progress)?,
                    };
                    payloads.insert(name, kernel.clone());
                    return Ok(GuestFiles {
                        kernel,
                        initramfs: None,
                    });
                }
                Ok(GuestFiles {
                    kernel: self.own_or(guest.kernel.as_deref(), |debian| &debian.kernel_image)?,
                    initramfs: Some(self.initramfs(guest, token.as_deref(), folder, progress)?),
                })
            })
            .collect()
    }

    fn initramfs(
        &self,
        guest: &Guest,
        token: Option<&str>,
        folder: &RunFolder,
        progress: &Progress,
    ) -> Result<PathBuf> {
        let base = self.own_or(guest.initramfs.as_deref(), |debian| &debian.base_initramfs)?;
        let job = match (&guest.work, token) {
            (Work::Job(command), Some(token)) => Some((command.as_str(), token)),
            (Work::Shell, _) => Some((SHELL, SHELL_TOKEN)),
            _ => None,
        };
        let devices = &guest.devices;
        let authorized_key = match devices.forwarded(SSH_PORT) {
            Some(_) if job.is_some() => Some(ssh_key::public(progress)?),
            _ => None,
        };
        let job = job.map(|(command, token)| Job {
            command: command.to_owned(),
            token: token.to_owned(),
            disks: devices
                .disks
                .iter()
                .map(|disk| disk.mount.clone())
                .collect(),
            networks: devices.networks.iter().map(addressing).collect(),
            authorized_key,
            needs_tee: guest.tee == TeeChoice::Optee,
        });
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

/// OP-TEE's images, and what they are.
struct OpteeParts {
    folder: PathBuf,
    version: OpteeVersion,
    /// The package that they were built from, where that is not among Debian's parts.
    source: Option<packages::PackageVersion>,
}

impl OpteeParts {
    fn get(
        cache: &Cache,
        description: &Description,
        debian: &DebianParts,
        progress: &Progress,
    ) -> Result<Self> {
        match &description.machine.optee {
            Optee::Debian => Ok(Self::of_debian(debian)),
            Optee::Folder(folder) => Ok(Self {
                folder: folder.clone(),
                version: OpteeVersion {
                    from: "folder",
                    version: None,
                    options: Vec::new(),
                },
                source: None,
            }),
            Optee::Source { flags } => {
                Self::built(cache, debian, description.optee_guests(), flags, progress)
            }
        }
    }

    fn built(
        cache: &Cache,
        debian: &DebianParts,
        guests: usize,
        flags: &[String],
        progress: &Progress,
    ) -> Result<Self> {
        let source = optee_source(cache, progress)?;
        let request = OpteeRequest {
            source: source.folder,
            version: source.version,
            ta_kit: debian.ta_kit.clone(),
            guests: guests.max(optee_build::GUESTS_MIN),
            flags: flags.to_owned(),
        };
        Ok(Self {
            folder: optee(cache, &request, progress)?,
            version: OpteeVersion {
                from: "source",
                options: request.options(),
                version: Some(request.version),
            },
            source: Some(source.package),
        })
    }

    fn of_debian(debian: &DebianParts) -> Self {
        Self {
            folder: debian.optee_dir.clone(),
            version: OpteeVersion {
                from: "debian",
                version: Some(debian.optee_version.clone()),
                options: Vec::new(),
            },
            source: None,
        }
    }
}

fn versions(debian: Option<&DebianParts>, optee: Option<OpteeParts>) -> Result<Versions> {
    let (optee, source) = optee.map_or((None, None), |optee| (Some(optee.version), optee.source));
    let packages = debian.map_or(&[][..], |debian| &debian.versions);
    Ok(Versions {
        bulkhead: env!("CARGO_PKG_VERSION").to_owned(),
        qemu: qemu::version()?,
        optee,
        packages: packages
            .iter()
            .chain(&source)
            .map(|package| PackageVersion {
                name: package.name.clone(),
                version: package.version.clone(),
                architecture: package.architecture.clone(),
                sha256: package.sha256.clone(),
            })
            .collect(),
    })
}

/// A guest to which a port of the host leads so has a server there.
const SSH_PORT: u16 = 22;

/// The job of a guest that has a shell until somebody powers it off, and what its lines for the
/// host tool begin with, which nobody waits for.
const SHELL: &str = "export PS1='\\h:\\w\\$ '; while :; do setsid cttyhack sh -l; done";
const SHELL_TOKEN: &str = "shell";

/// How the initramfs gives a guest its address in a network.
fn addressing(network: &Network) -> Addressing {
    match network {
        Network::User { .. } => Addressing::Dhcp,
        Network::Segment { address: None, .. } => Addressing::None,
        Network::Segment {
            address: Some(InterfaceAddress { address, prefix }),
            ..
        } => Addressing::Fixed(format!("{address}/{prefix}")),
    }
}
