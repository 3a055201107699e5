//! The CPU: its registers, its translation tables, its caches, and the assembly that enters and leaves guests; and, without
//! any register, what the architecture says of them.
//!
//! Each module offers safe functions whose conditions it holds itself, or unsafe ones that name what the caller must hold.

pub mod aarch32;
pub mod debug_registers;
pub mod exception_entry;
pub mod syndrome;
pub mod this_cpu;

#[cfg(target_os = "none")]
pub mod cache;
#[cfg(target_os = "none")]
pub mod context;
#[cfg(target_os = "none")]
pub mod debug;
#[cfg(target_os = "none")]
pub mod fatal;
#[cfg(target_os = "none")]
pub mod guest_registers;
#[cfg(target_os = "none")]
pub mod heap;
#[cfg(target_os = "none")]
pub mod layout;
#[cfg(target_os = "none")]
pub mod memory;
#[cfg(target_os = "none")]
pub mod mmu;
#[cfg(target_os = "none")]
pub mod pmu;
#[cfg(target_os = "none")]
mod probe;
#[cfg(target_os = "none")]
pub mod registers;
#[cfg(target_os = "none")]
pub mod smc;
#[cfg(target_os = "none")]
pub mod stacks;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod virtual_interface;
