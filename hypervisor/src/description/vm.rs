//! What the description says of a VM.

use crate::description::policy::CallPolicy;
use addresses::Pa;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use host_abi::binding::{self, TeeChoice};
use mediator::ta_access::TaAccess;
use smccc::Conduit;

/// A file that the host put into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where it lies; a multiple of the page size.
    pub pa: Pa,
    /// Its length in bytes.
    pub len: u64,
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
    fn default() -> Self {
        Self {
            buffer_bytes_max: binding::DEFAULT_SHM_BUFFER_BYTES,
            buffers_max: binding::DEFAULT_SHM_BUFFERS,
            total_bytes_max: binding::DEFAULT_SHM_TOTAL_BYTES,
        }
    }
}

/// A function of a guest's, behind a root port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciFunction {
    /// The port's device number on bus 0.
    pub port: u8,
    /// The INTID of the line by which it interrupts, which no other guest's function has.
    pub line: u32,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmDescription {
    /// Its name ([`binding::is_guest_name`]); no other guest has it.
    pub name: String,
    /// Bytes of its memory, a multiple of 2 MiB.
    pub memory: u64,
    /// For each vCPU the physical CPU it runs on, as an index into
    /// [`Machine::cpus`](crate::description::Machine::cpus); 1 to
    /// [`binding::MAX_VCPUS`].
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
    /// Its functions.
    pub pci: Vec<PciFunction>,
}

impl VmDescription {
    /// The lines of its functions, each once.
    #[must_use]
    pub fn pci_lines(&self) -> Vec<u32> {
        let mut lines = Vec::new();
        for function in &self.pci {
            if !lines.contains(&function.line) {
                lines.push(function.line);
            }
        }
        lines
    }
}
