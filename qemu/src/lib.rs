//! Gets the parts of a machine, composes it from a description, runs it under QEMU and judges the
//! result.
//!
//! This crate alone knows QEMU, Debian's packages and TF-A. [`description`] says what a user may
//! ask for, [`run`] does it, [`run::report`] says what came of it. Modules use those below them in
//! this order: [`cli`], [`commands`], [`run`], [`parts`], [`machine`], [`description`], [`base`].

#![forbid(unsafe_code)]

pub mod base;
pub mod cli;
pub mod commands;
pub mod description;
pub mod machine;
pub mod parts;
pub mod run;
