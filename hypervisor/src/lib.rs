//! A partitioning hypervisor for AArch64: several unmodified guests on one machine, each in its own partition, each
//! with the use of one TEE.
//!
//! `docs/architecture.md` is the map. What needs the CPU's registers lives in [`arch`]; everything else is plain code,
//! and what decides something without touching the machine is tested on the host.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod aarch32;
pub mod accounting;
pub mod debug_registers;
pub mod description;
pub mod entropy;
pub mod exception_entry;
pub mod frames;
pub mod guest_image;
pub mod guest_tree;
pub mod id_registers;
pub mod line_buffer;
pub mod output;
pub mod pace;
pub mod policy;
pub mod power;
pub mod prompt;
pub mod rate_limit;
pub mod scheduler;
pub mod stage2;
pub mod syndrome;
pub mod trapped_registers;
pub mod vgic;
pub mod vpl011;

#[cfg(target_os = "none")]
#[expect(
    unsafe_code,
    reason = "the one module that vouches for registers, page tables and assembly"
)]
pub mod arch;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod filling;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod mmio;
#[cfg(target_os = "none")]
mod operator;
#[cfg(target_os = "none")]
mod services;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod tee;
#[cfg(target_os = "none")]
mod vcpu;
#[cfg(target_os = "none")]
mod vm;
