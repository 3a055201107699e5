//! From the firmware's jump to running guests.

#[expect(unsafe_code, reason = "vouches for the first instructions of each CPU")]
pub mod entry;
pub mod start;
