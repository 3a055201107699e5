//! Why guests come to EL2, and what becomes of it.

pub mod id_registers;
#[cfg(target_os = "none")]
pub mod mmio;
#[cfg(target_os = "none")]
pub mod smc;
pub mod system_registers;
#[cfg(target_os = "none")]
pub mod trap;
