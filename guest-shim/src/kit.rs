//! What payloads are made of: cases, trials, and random numbers.

pub mod cases;
pub mod random;
#[cfg(target_os = "none")]
pub mod trials;
