//! A VM: its vCPUs, its life, and what it starts with.

pub mod accounting;
pub mod call_counts;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod cpus;
pub mod entropy;
pub mod image;
#[cfg(target_os = "none")]
mod lifecycle;
#[cfg(target_os = "none")]
pub mod machine;
#[cfg(target_os = "none")]
mod partition;
pub mod power;
#[cfg(target_os = "none")]
pub mod vcpu;
#[cfg(target_os = "none")]
mod virtual_cpu_interface;
#[cfg(target_os = "none")]
pub mod virtual_machine;
