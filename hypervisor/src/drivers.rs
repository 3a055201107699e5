//! What the machine has, and EL2 drives.

pub mod gicv3;
pub mod pl011;
