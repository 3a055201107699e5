//! The smallest guest that speaks SMCCC, PSCI and the TEE ABI: a runtime for payloads that run at EL1 without an
//! operating system.
//!
//! A payload is a binary in `src/bin/`. It has a function for [`payload!`], and functions that are cases
//! ([`case!`]); [`cases::run`] runs them and reports in lines that the host tool reads:
//!
//! ```text
//! @@plan COUNT
//! @@run REQUIREMENT NAME
//! @@case REQUIREMENT NAME pass
//! @@case REQUIREMENT NAME fail REASON
//! @@done passed=COUNT failed=COUNT
//! ```
//!
//! What needs the CPU's registers is in [`arch`].

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod cases;
pub mod environment;
pub mod exchange;
pub mod random;
pub mod words;

#[cfg(target_os = "none")]
#[expect(
    unsafe_code,
    reason = "the one module that vouches for registers, devices and assembly"
)]
pub mod arch;
#[cfg(target_os = "none")]
pub mod conduit;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod optee;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
pub mod payload;
#[cfg(target_os = "none")]
pub mod psci;
#[cfg(target_os = "none")]
pub mod vcpu;
