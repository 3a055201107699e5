//! A machine description as it stands in its TOML file, before anything is checked but form.

use std::path::PathBuf;

use serde::Deserialize;

use host_abi::binding::{LogLevel, TeeChoice};
use smccc::Conduit;

use super::devices::{DiskTable, NetworkTable, PciTable};
use super::{Mediator, Size, SmcPolicy, TaAccess, choice};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    #[serde(default)]
    pub(super) machine: MachineTable,
    #[serde(default)]
    pub(super) guest: Vec<GuestTable>,
}

/// `[machine]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MachineTable {
    pub(super) cpu: Option<String>,
    pub(super) cpus: Option<u32>,
    pub(super) memory: Option<Size>,
    pub(super) optee: Option<String>,
    pub(super) optee_flags: Option<Vec<String>>,
    pub(super) firmware: Option<PathBuf>,
    pub(super) hypervisor: Option<PathBuf>,
    pub(super) mediators: Option<Vec<Mediator>>,
    #[serde(default, deserialize_with = "choice::log_level")]
    pub(super) log_level: Option<LogLevel>,
}

/// `[[guest]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GuestTable {
    pub(super) name: String,
    pub(super) memory: Size,
    pub(super) vcpus: Option<u32>,
    pub(super) cpus: Option<Vec<u32>>,
    pub(super) kernel: Option<PathBuf>,
    pub(super) initramfs: Option<PathBuf>,
    pub(super) command_line: Option<String>,
    pub(super) command_line_extra: Option<String>,
    #[serde(default, deserialize_with = "choice::tee")]
    pub(super) tee: TeeChoice,
    #[serde(default = "smc", deserialize_with = "choice::conduit")]
    pub(super) tee_conduit: Conduit,
    #[serde(default)]
    pub(super) limits: LimitsTable,
    #[serde(default)]
    pub(super) tas: TaAccess,
    #[serde(default)]
    pub(super) smc: SmcPolicy,
    #[serde(default)]
    pub(super) disk: Vec<DiskTable>,
    #[serde(default)]
    pub(super) network: Vec<NetworkTable>,
    #[serde(default)]
    pub(super) pci: Vec<PciTable>,
    pub(super) job: Option<String>,
    pub(super) payload: Option<String>,
}

fn smc() -> Conduit {
    Conduit::Smc
}

/// `[guest.limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsTable {
    pub(super) shm_buffer_max: Option<Size>,
    pub(super) shm_buffers_max: Option<u32>,
    pub(super) shm_total_max: Option<Size>,
    pub(super) tee_calls_per_second: Option<u32>,
    pub(super) ta_instances_max: Option<u32>,
}
