//! What the hypervisor and the host tool must agree on, each thing written once: the binding of the
//! machine's device tree, where things lie in memory, and what goes over the console.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod binding;
pub mod console;
pub mod memory_map;
mod name;
