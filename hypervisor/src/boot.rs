//! From the firmware's jump to running guests.

#[expect(
    unsafe_code,
    reason = "vouches for the registers of the host bridge and its SMMU"
)]
mod devices;
#[expect(unsafe_code, reason = "vouches for the first instructions of each CPU")]
pub mod entry;
#[expect(unsafe_code, reason = "vouches that nothing goes on after a panic")]
mod panic;
#[expect(unsafe_code, reason = "vouches for what another CPU starts with")]
pub mod secondary;
pub mod start;
