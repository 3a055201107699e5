//! A machine and its guests, as they are described.

use std::fmt;
use std::path::PathBuf;

use host_abi::binding::{LogLevel, TeeChoice};
use smccc::Conduit;

use crate::base::counted::counted;

use super::devices::{Devices, Forward};
use super::hypervisor::Mediator;
use super::limits::Limits;
use super::size::Size;
use super::smc::SmcPolicy;
use super::tas::TaAccess;

/// A machine and its guests.
#[derive(Clone, Debug)]
pub struct Description {
    /// The file's path as it was given.
    pub file: PathBuf,
    /// What the guests run on.
    pub machine: Machine,
    /// The guests, in the order of the file. At least one.
    pub guests: Vec<Guest>,
}

/// What the guests run on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's name of the CPU model.
    pub cpu: String,
    /// Physical CPUs.
    pub cpus: u32,
    /// Physical memory, from 0x4000_0000 on.
    pub memory: Size,
    /// Where OP-TEE comes from.
    pub optee: Optee,
    /// The user's own firmware image, for QEMU's `-bios`.
    pub firmware: Option<PathBuf>,
    /// The user's own hypervisor, an ELF file or a flat binary.
    pub hypervisor: Option<PathBuf>,
    /// The mediators that the hypervisor is built with.
    pub mediators: Vec<Mediator>,
    /// What the hypervisor logs.
    pub log_level: Option<LogLevel>,
    /// Whether an SMMU stands before its devices, which are guests'.
    pub smmu: bool,
    /// Whether QEMU counts instructions instead of time (`-icount`).
    pub icount: bool,
}

/// Where OP-TEE's images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Optee {
    /// The package of the release of Debian that the guests' parts come from, with virtualization.
    Debian,
    /// Built from the newer source package that `qemu/optee-source.json` names, for as many guests
    /// as the description gives a TEE.
    Source {
        /// The user's own options of the build, `CFG_NAME=VALUE` each.
        flags: Vec<String>,
    },
    /// A folder of the user's with `tee-header_v2.bin`, `tee-pager_v2.bin` and
    /// `tee-pageable_v2.bin`.
    Folder(PathBuf),
}

/// One guest.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its name, which also tags its lines on the console.
    pub name: String,
    /// Its memory, a multiple of 2 MiB.
    pub memory: Size,
    /// For each vCPU the physical CPU it runs on. At least one.
    pub vcpu_cpus: Vec<u32>,
    /// The user's own kernel; `None` is Debian's.
    pub kernel: Option<PathBuf>,
    /// The user's own initramfs; `None` is the one made of Debian's packages.
    pub initramfs: Option<PathBuf>,
    /// The kernel's whole command line.
    pub command_line: String,
    /// The TEE that it may call.
    pub tee: TeeChoice,
    /// How it calls the TEE and PSCI.
    pub tee_conduit: Conduit,
    /// What it may use of the hypervisor's memory and the TEE's.
    pub limits: Limits,
    /// Which of its SMCs and HVCs go to the firmware, and which are denied.
    pub smc: SmcPolicy,
    /// The trusted applications that it may open.
    pub tas: TaAccess,
    /// Its disks, networks and other devices.
    pub devices: Devices,
    /// What it is to do.
    pub work: Work,
    /// Folders whose files are added to its initramfs, later ones over earlier ones.
    pub overlays: Vec<PathBuf>,
}

/// What a guest is to do, and so what its success is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A shell at its console, again and again, until somebody powers it off: a success when that
    /// is so.
    Shell,
    /// Run this shell command and power off: a success when the command's exit status is 0.
    Job(String),
    /// Whatever the user's own initramfs does: a success when the guest powers itself off.
    OwnInitramfs,
    /// Run this payload of `guest-shim/` instead of a kernel: a success when the guest powers
    /// itself off.
    Payload(String),
}

impl Work {
    /// The payload, if it is one.
    pub fn payload(&self) -> Option<&str> {
        match self {
            Self::Payload(name) => Some(name),
            Self::Job(_) | Self::Shell | Self::OwnInitramfs => None,
        }
    }
}

/// What the command line says about a machine, beside its description.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The CPU model instead of the description's.
    pub cpu: Option<String>,
    /// Commands instead of the configured jobs, by guest.
    pub exec: Vec<GuestCommand>,
    /// Folders to add to initramfs images.
    pub overlays: Vec<Overlay>,
    /// Count instructions instead of time.
    pub icount: bool,
    /// Ports of the host that lead to guests, by guest.
    pub forwards: Vec<GuestForward>,
    /// Where disk images are that the description does not name, instead of target/disks.
    pub disks: Option<PathBuf>,
    /// Guests that have a job have a shell instead.
    pub shells: bool,
}

/// `--exec GUEST=COMMAND`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestCommand {
    /// The guest's name.
    pub guest: String,
    /// What its shell runs.
    pub command: String,
}

/// `--forward GUEST=HOST:GUEST`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestForward {
    /// The guest's name.
    pub guest: String,
    /// The ports.
    pub forward: Forward,
}

/// `--overlay [GUEST=]DIR`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The guest's name; `None` is every guest that runs the initramfs made of Debian's packages.
    pub guest: Option<String>,
    /// The folder.
    pub folder: PathBuf,
}

impl Description {
    /// The guest of that name.
    pub fn guest(&self, name: &str) -> Option<&Guest> {
        self.guests.iter().find(|guest| guest.name == name)
    }

    /// How many guests have OP-TEE.
    pub fn optee_guests(&self) -> usize {
        self.guests
            .iter()
            .filter(|guest| guest.tee == TeeChoice::Optee)
            .count()
    }

    /// Whether anything of Debian's packages is needed: TF-A's source, OP-TEE or a guest's part.
    pub fn needs_debian(&self) -> bool {
        self.machine.firmware.is_none()
            || self.guests.iter().any(|guest| {
                guest.work.payload().is_none()
                    && (guest.kernel.is_none() || guest.initramfs.is_none())
            })
    }
}

impl fmt::Display for Description {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            formatter,
            "{}: {} ({}), {}",
            self.file.display(),
            counted(machine.cpus as usize, "CPU"),
            machine.cpu,
            machine.memory
        )?;
        for guest in &self.guests {
            let cpus: Vec<_> = guest.vcpu_cpus.iter().map(u32::to_string).collect();
            writeln!(
                formatter,
                "  {}: {}, {} on {} {}, tee {}, runs {}",
                guest.name,
                guest.memory,
                counted(cpus.len(), "vCPU"),
                if cpus.len() == 1 { "CPU" } else { "CPUs" },
                cpus.join(","),
                guest.tee.name(),
                match &guest.work {
                    Work::Job(command) => command,
                    Work::Shell => "a shell",
                    Work::OwnInitramfs => "its own initramfs",
                    Work::Payload(name) => name,
                }
            )?;
        }
        Ok(())
    }
}
