//! A VM: its vCPUs, its life, and what it starts with.

pub mod accounting;
#[cfg(target_os = "none")]
pub mod cpus;
pub mod entropy;
pub mod image;
#[cfg(target_os = "none")]
pub mod machine;
pub mod power;
#[cfg(target_os = "none")]
pub mod vcpu;
#[cfg(target_os = "none")]
mod virtual_cpu_interface;
#[cfg(target_os = "none")]
pub mod virtual_machine;
