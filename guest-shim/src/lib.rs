//! The smallest guest that speaks SMCCC, PSCI and the TEE ABI: a runtime for payloads that run at
//! EL1 without an operating system.
//!
//! A payload is a binary in `src/bin/`. It has a function for [`payload!`], and functions that are
//! cases ([`case!`]); [`kit::cases::run`] runs them and reports in lines that the host tool reads:
//!
//! ```text
//! @@plan COUNT
//! @@run REQUIREMENT NAME
//! @@case REQUIREMENT NAME pass
//! @@case REQUIREMENT NAME fail REASON
//! @@done passed=COUNT failed=COUNT
//! ```
//!
//! [`kit::trials::run`] does the same for attacks, whose answers are known beforehand:
//!
//! ```text
//! @@trials COUNT
//! @@trial AREA | WHAT IS DONE | WHAT MUST COME | WHAT CAME
//! @@tried failed=COUNT
//! ```
//!
//! Modules use those below them in this order: payloads, [`kit`], [`optee`], [`runtime`], [`arch`].

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

#[cfg_attr(
    target_os = "none",
    expect(
        unsafe_code,
        reason = "the one module that vouches for registers, devices and assembly"
    )
)]
pub mod arch;
pub mod kit;
pub mod optee;
pub mod runtime;
