//! Memory: who has which physical memory, and what stage 2 grants.

#[expect(
    unsafe_code,
    reason = "vouches for what the boot loader left in memory"
)]
pub mod boot_modules;
pub mod dma;
pub mod frames;
#[expect(
    unsafe_code,
    reason = "vouches for copies from and to the memory of guests"
)]
pub mod guest_memory;
pub mod ownership;
#[expect(unsafe_code, reason = "vouches for pages that the secure world writes")]
pub mod shadow_pages;
pub mod stage2;
pub mod table_pages;
pub mod tables;
