//! What the hypervisor and the host tool must agree on, each thing written once: the binding of the
//! machine's device tree, and where things lie in memory.

#![no_std]
#![forbid(unsafe_code)]

pub mod binding;
pub mod memory_map;
mod name;
