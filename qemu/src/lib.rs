//! Gets the parts of a machine, composes it from a description, runs it under QEMU and judges the result.
//!
//! This crate alone knows QEMU, Debian's packages and TF-A. [`config`] says what a user may ask for, [`run`] does it,
//! [`report`] says what came of it.

#![forbid(unsafe_code)]

pub mod bench;
pub mod cache;
mod cargo;
pub mod cli;
pub mod config;
pub mod conformance;
pub mod console;
pub mod device_tree;
pub mod drm;
pub mod firmware;
pub mod guest_fuzz;
pub mod host_tools;
pub mod hypervisor;
pub mod initramfs;
mod instruction_counter;
pub mod interrupt;
pub mod kernel_image;
pub mod logs;
pub mod machine;
pub mod marker;
pub mod operator;
pub mod optee_source;
pub mod outcome;
pub mod packages;
pub mod parts;
pub mod payload;
pub mod placement;
pub mod process;
pub mod progress;
pub mod report;
pub mod run;
pub mod shell;
mod source_package;
mod trusted_application;
pub mod workloads;
pub mod xtest;
