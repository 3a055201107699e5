//! Memory: who has which physical memory, and what stage 2 grants.

pub mod frames;
#[cfg(target_os = "none")]
#[expect(
    unsafe_code,
    reason = "vouches for copies from and to the memory of guests"
)]
pub mod guest_memory;
pub mod stage2;
