//! The devices that a guest sees.

pub mod gicv3;
pub mod pl011;
