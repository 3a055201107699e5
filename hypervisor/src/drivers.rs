//! What the machine has, and EL2 drives. On the host, `fake` stands in for it.

#[cfg_attr(not(target_os = "none"), path = "drivers/fake/gicv3.rs")]
pub mod gicv3;
pub mod interrupt;
pub mod pcie;
#[cfg_attr(not(target_os = "none"), path = "drivers/fake/pl011.rs")]
pub mod pl011;
#[cfg(target_os = "none")]
pub mod pl031;
pub mod smmuv3;
