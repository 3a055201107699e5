//! From the first instruction to a payload and back: what a guest knows of itself, its console, its
//! calls and its vCPUs.

pub mod check;
pub mod environment;

#[cfg(target_os = "none")]
pub mod conduit;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
#[expect(
    unsafe_code,
    reason = "the first instructions, before there is a stack or a map"
)]
mod entry;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
pub mod payload;
#[cfg(target_os = "none")]
pub mod psci;
#[cfg(target_os = "none")]
pub mod vcpu;
