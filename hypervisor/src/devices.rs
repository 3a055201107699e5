//! The devices that a guest sees.

pub mod bus;
pub mod gicv3;
pub mod pci;
pub mod pl011;
pub mod pl031;
mod primecell;
