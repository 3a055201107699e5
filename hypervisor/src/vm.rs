//! A VM: its vCPUs, its life, and what it starts with.

pub mod accounting;
pub mod call_counts;
pub mod clock;
pub mod console;
pub mod cpus;
pub mod dma_faults;
pub mod entropy;
pub mod image;
mod lifecycle;
pub mod machine;
mod partition;
pub mod passthrough;
pub mod power;
#[cfg(not(target_os = "none"))]
pub mod testing;
pub mod vcpu;
mod virtual_cpu_interface;
pub mod virtual_machine;
