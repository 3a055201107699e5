//! The machine: stacks and map, vectors, system registers, interrupt controller, timer, conduits
//! and console registers.
//!
//! Each module offers safe functions whose conditions it holds itself. Beside this module,
//! `runtime/entry.rs` alone, the entry, is written in assembly.

pub mod exchange;

#[cfg(target_os = "none")]
pub mod any_register;
#[cfg(target_os = "none")]
pub mod conduit;
#[cfg(target_os = "none")]
pub mod debug;
#[cfg(target_os = "none")]
pub mod exceptions;
#[cfg(target_os = "none")]
pub mod float;
#[cfg(target_os = "none")]
pub mod gic;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
pub mod layout;
#[cfg(target_os = "none")]
pub mod memory;
#[cfg(target_os = "none")]
mod mmio;
#[cfg(target_os = "none")]
pub mod registers;
#[cfg(target_os = "none")]
pub mod residue;
#[cfg(target_os = "none")]
pub mod rtc;
#[cfg(target_os = "none")]
pub mod secondary;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod uart;
#[cfg(target_os = "none")]
pub mod user;
#[cfg(target_os = "none")]
pub mod wild;
#[cfg(target_os = "none")]
pub mod writable_registers;
