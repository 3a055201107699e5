//! What the description says of a VM.

use crate::description::policy::CallPolicy;
use addresses::Pa;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;
use mediator::ta_access::TaAccess;
use smccc::Conduit;

/// The most vCPUs of a guest.
pub const MAX_VCPUS: u32 = 8;
/// The most vCPUs, of all guests together, that share a physical CPU.
pub const MAX_VCPUS_PER_CPU: usize = 16;
/// The most guests: VMIDs have 8 bits, and 0 is no guest's.
pub const MAX_GUESTS: usize = 255;

/// A file that the host put into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where it lies; a multiple of the page size.
    pub pa: Pa,
    /// Its length in bytes.
    pub len: u64,
}

/// The TEE that a guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeeChoice {
    /// None.
    None,
    /// A partition of OP-TEE.
    Optee,
}

impl fmt::Display for TeeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Optee => "optee",
        })
    }
}

/// How much memory a guest may share with its TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShmLimits {
    /// Bytes that one buffer may have.
    pub buffer_bytes_max: u64,
    /// Buffers at once.
    pub buffers_max: u32,
    /// Bytes of all buffers together; not less than those of one.
    pub total_bytes_max: u64,
}

impl Default for ShmLimits {
    /// 64 MiB a buffer, 1024 buffers, 256 MiB in all.
    fn default() -> Self {
        Self {
            buffer_bytes_max: 64 << 20,
            buffers_max: 1024,
            total_bytes_max: 256 << 20,
        }
    }
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmDescription {
    /// Its name: a letter, then letters, digits and `-`, all lower case, at most 31 in all; no
    /// other guest has it.
    pub name: String,
    /// Bytes of its memory, a multiple of 2 MiB.
    pub memory: u64,
    /// For each vCPU the physical CPU it runs on, as an index into
    /// [`Machine::cpus`](crate::description::Machine::cpus); 1 to [`MAX_VCPUS`].
    pub vcpu_cpus: Vec<usize>,
    /// Its kernel.
    pub kernel: Module,
    /// Its initial RAM disk.
    pub ramdisk: Option<Module>,
    /// The kernel's command line.
    pub bootargs: String,
    /// Its TEE.
    pub tee: TeeChoice,
    /// How it calls.
    pub conduit: Conduit,
    /// The trusted applications that it may open.
    pub ta_access: TaAccess,
    /// How many of OP-TEE's identifiers for instances of trusted applications are its own; all
    /// guests with OP-TEE have some.
    pub ta_instances_max: Option<NonZeroU32>,
    /// How many calls of its TEE it may begin in a second, if not any number.
    pub tee_calls_per_second: Option<NonZeroU32>,
    /// What it may share with its TEE.
    pub shm_limits: ShmLimits,
    /// Which of its calls are forwarded to the firmware or denied.
    pub policy: CallPolicy,
}
