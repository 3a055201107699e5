//! The CPU: its registers, its translation tables, its caches, and the assembly that enters and
//! leaves guests; and, without any register, what the architecture says of them.
//!
//! Each module offers safe functions whose conditions it holds itself, or unsafe ones that name
//! what the caller must hold.
//!
//! On the host, `fake` stands in for what needs instructions of the machine.

pub mod aarch32;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/access.rs")]
pub mod access;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/cache.rs")]
pub mod cache;
pub mod context;
pub mod debug;
pub mod debug_registers;
pub mod exception_entry;
#[cfg(not(target_os = "none"))]
pub mod fake;
#[cfg(target_os = "none")]
pub mod fatal;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/float.rs")]
pub mod float;
pub mod guest_registers;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/heap.rs")]
pub mod heap;
#[cfg(target_os = "none")]
pub mod layout;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/memory.rs")]
pub mod memory;
#[cfg(target_os = "none")]
pub mod mmu;
pub mod pmu;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/probe.rs")]
mod probe;
pub mod registers;
pub mod smc;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/smc_instruction.rs")]
mod smc_instruction;
#[cfg(target_os = "none")]
pub mod stacks;
pub mod syndrome;
pub mod this_cpu;
pub mod timer;
pub mod virtual_interface;
#[cfg_attr(not(target_os = "none"), path = "arch/fake/world_switch.rs")]
mod world_switch;
