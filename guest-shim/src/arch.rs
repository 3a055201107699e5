//! The machine: entry, vectors, system registers, interrupt controller, timer, conduits and console registers.
//!
//! All unsafe code of the runtime is in here. Each module offers safe functions whose conditions it holds itself.

pub mod any_register;
pub mod boot;
pub mod conduit;
pub mod debug;
pub mod exceptions;
pub mod float;
pub mod gic;
mod heap;
pub mod memory;
mod mmio;
pub mod registers;
pub mod timer;
pub mod uart;
pub mod user;
pub mod wild;
pub mod writable_registers;
