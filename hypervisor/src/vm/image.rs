//! What a VM starts with: kernel, device tree and RAM disk, their places, and putting them there.

pub mod device_tree;
pub mod loader;
pub mod placement;
