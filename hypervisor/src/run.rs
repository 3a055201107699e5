//! What a physical CPU does: whose turn it is, and the loop that runs vCPUs.

#[cfg(target_os = "none")]
pub mod cpu;
pub mod scheduler;
