//! Gets the parts of a machine, composes it from a description, runs it under QEMU and judges the result.
//!
//! This crate alone knows QEMU, Debian's packages and TF-A. [`config`] says what a user may ask for, [`run`] does it,
//! [`report`] says what came of it.

pub mod config;
pub mod console;
pub mod device_tree;
pub mod kernel_image;
pub mod placement;
