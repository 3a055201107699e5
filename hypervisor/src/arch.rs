//! The machine: registers, page tables, caches, interrupt controller, and the assembly that enters and leaves guests.
//!
//! All unsafe code of the hypervisor is in here. Each module offers safe functions whose conditions it holds itself, or
//! unsafe ones that name what the caller must hold.

pub mod boot;
pub mod context;
pub mod debug;
pub mod fatal;
pub mod gic;
pub mod guest_ram;
pub mod heap;
pub mod list_registers;
pub mod memory;
pub mod paging;
pub mod performance_monitor;
mod probe;
pub mod registers;
pub mod secure_monitor;
pub mod stacks;
pub mod system_registers;
pub mod timer;
pub mod uart;
