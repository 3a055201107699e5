//! The machine: where things lie in its memory, its device tree, and QEMU's command line.

pub mod device_tree;
pub mod devices;
pub mod placement;
pub mod qemu;
