//! Why guests come to EL2, and what becomes of it.

pub mod id_registers;
pub mod mmio;
pub mod smc;
pub mod system_registers;
pub mod trap;
