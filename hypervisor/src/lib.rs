//! A partitioning hypervisor for AArch64: several unmodified guests on one machine, each in its own
//! partition, each with the use of one TEE.
//!
//! Its rooms, from the top: `boot`, [`run`], [`exits`] and [`operator`], [`vm`], [`tee`],
//! [`description`], [`console`] and [`mm`], [`drivers`], [`devices`] and [`arch`]. A room uses
//! those below it, never one above: `docs/architecture.md` is the map.

#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

extern crate alloc;

#[expect(unsafe_code, reason = "vouches for registers and assembly")]
pub mod arch;
#[cfg(target_os = "none")]
pub mod boot;
pub mod console;
pub mod description;
pub mod devices;
#[expect(
    unsafe_code,
    reason = "vouches for the registers of the machine's devices"
)]
pub mod drivers;
pub mod exits;
pub mod mm;
pub mod operator;
pub mod run;
pub mod tee;
pub mod vm;
