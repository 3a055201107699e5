//! The person at the machine's console.

#[cfg(target_os = "none")]
pub mod commands;
pub mod prompt;
#[cfg(target_os = "none")]
pub mod report;
