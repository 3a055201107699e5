//! The binding of the machine's device tree (docs/device-tree.md): names, and the limits of what
//! they hold.

use core::fmt;

pub use crate::name::{HYPERVISOR_TAG, NAME_MAX, RESERVED_NAMES, is_guest_name};

/// The `compatible` of a guest's node.
pub const GUEST: &str = "xen,domain";
/// The `compatible` of every boot module's node, beside that of its kind.
pub const MODULE: &str = "multiboot,module";
/// The `compatible` of a kernel's node.
pub const KERNEL: &str = "multiboot,kernel";
/// The `compatible` of a RAM disk's node.
pub const RAMDISK: &str = "multiboot,ramdisk";

/// Names of properties.
pub mod property {
    /// /chosen: memory that is not in use is all zeros. No value.
    pub const MEMORY_IS_ZERO: &str = "bulkhead,memory-is-zero";
    /// /chosen: what the hypervisor says; the name of a [`LogLevel`](super::LogLevel).
    pub const LOG_LEVEL: &str = "bulkhead,log-level";
    /// /chosen: randomness, of which the first [`SEED_SIZE`](super::SEED_SIZE) bytes are used.
    pub const RNG_SEED: &str = "rng-seed";

    /// A guest: its memory in KiB, a number of 64 bits.
    pub const MEMORY: &str = "memory";
    /// A guest: how many vCPUs it has, 1 to [`MAX_VCPUS`](super::MAX_VCPUS).
    pub const CPUS: &str = "cpus";
    /// A guest: it has an emulated PL011 as its console. No value.
    pub const VPL011: &str = "vpl011";
    /// A guest: for each vCPU the physical CPU that it runs on, by its index in /cpus.
    pub const VCPU_CPUS: &str = "bulkhead,vcpu-cpus";
    /// A guest: the name of its [`TeeChoice`](super::TeeChoice).
    pub const TEE: &str = "bulkhead,tee";
    /// A guest: the method in the nodes of PSCI and of its TEE.
    pub const TEE_CONDUIT: &str = "bulkhead,tee-conduit";
    /// A guest: bytes that a buffer shared with its TEE may have, a number of 64 bits.
    pub const SHM_BUFFER_MAX: &str = "bulkhead,shm-buffer-max";
    /// A guest: how many buffers it may share at once, 1 to
    /// [`SHM_BUFFERS_MAX`](super::SHM_BUFFERS_MAX).
    pub const SHM_BUFFERS_MAX: &str = "bulkhead,shm-buffers-max";
    /// A guest: bytes of all these buffers together, a number of 64 bits.
    pub const SHM_TOTAL_MAX: &str = "bulkhead,shm-total-max";
    /// A guest: trusted applications that it alone may open, [`UUID_SIZE`](super::UUID_SIZE) bytes
    /// each.
    pub const TA_ALLOW: &str = "bulkhead,ta-allow";
    /// A guest: trusted applications that it may not open, in the same form. With neither list, it
    /// may open all but OP-TEE's own tests.
    pub const TA_DENY: &str = "bulkhead,ta-deny";
    /// A guest: how many instances of trusted applications may run for it at once.
    pub const TA_INSTANCES_MAX: &str = "bulkhead,ta-instances-max";
    /// A guest: how many calls of its TEE it may begin in a second.
    pub const TEE_CALLS_PER_SECOND: &str = "bulkhead,tee-calls-per-second";
    /// A guest: root ports of the machine's PCIe host bridge, by their device number on bus 0. The
    /// guest has the function behind each.
    pub const PCI_ROOT_PORTS: &str = "bulkhead,pci-root-ports";
    /// A guest: calls that go to the firmware; the first and the last function identifier of each
    /// range.
    pub const SMC_FORWARD: &str = "bulkhead,smc-forward";
    /// A guest: calls that are refused in any case, in the same form.
    pub const SMC_DENY: &str = "bulkhead,smc-deny";

    /// A kernel: its command line.
    pub const BOOTARGS: &str = "bootargs";
}

/// Functions of the machine that a guest may have: each is a device of its bus 0.
pub const PCI_FUNCTIONS_MAX: usize = 16;
/// Device numbers of a PCI bus.
pub const PCI_DEVICES: u32 = 32;
/// vCPUs of a guest.
pub const MAX_VCPUS: usize = 8;
/// vCPUs, of all guests together, that share a physical CPU.
pub const MAX_VCPUS_PER_CPU: usize = 16;
/// Guests: VMIDs have 8 bits, and 0 is no guest's.
pub const MAX_GUESTS: usize = 255;
/// Bytes of randomness that make a seed.
pub const SEED_SIZE: usize = 32;
/// Ranges of function identifiers that a list may have.
pub const SMC_RANGES_MAX: usize = 16;
/// Trusted applications that a list may name.
pub const TAS_MAX: usize = 256;
/// Bytes of the name of a trusted application, in the order of the UUID's text.
pub const UUID_SIZE: usize = 16;
/// Instances of trusted applications that all guests together may have: the address space
/// identifiers of OP-TEE.
pub const TA_INSTANCES_MAX: u32 = 64;
/// Buffers that a guest may share at once; all of them are set apart when it starts.
pub const SHM_BUFFERS_MAX: u32 = 1 << 16;
/// The least limit in bytes of what a guest may share.
pub const SHM_BYTES_MIN: u64 = 4 << 10;
/// The largest one.
pub const SHM_BYTES_MAX: u64 = 1 << 40;

/// Bytes that one shared buffer may have where the tree does not say.
pub const DEFAULT_SHM_BUFFER_BYTES: u64 = 64 << 20;
/// Buffers that may be shared at once where the tree does not say.
pub const DEFAULT_SHM_BUFFERS: u32 = 1024;
/// Bytes of all these together where the tree does not say.
pub const DEFAULT_SHM_TOTAL_BYTES: u64 = 256 << 20;

/// What the hypervisor says besides what it promises to programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What stops it.
    Error,
    /// What should not happen.
    Warn,
    /// What becomes of guests.
    #[default]
    Info,
    /// What it decides.
    Debug,
    /// What it does.
    Trace,
}

impl LogLevel {
    /// All levels.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// Its name in the tree.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The TEE that a guest gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TeeChoice {
    /// None, and it sees none.
    None,
    /// A partition of OP-TEE.
    #[default]
    Optee,
}

impl TeeChoice {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::None, Self::Optee];

    /// Its name in the tree and on the console.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optee => "optee",
        }
    }
}

impl fmt::Display for TeeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
