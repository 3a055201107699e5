//! A machine with one guest and an OP-TEE. Physical addresses are far from all others, so that one
//! that escapes is seen.

#![expect(
    clippy::unwrap_used,
    missing_docs,
    reason = "for tests: what is not as it should be ends in a panic"
)]

pub mod anything;
pub mod attacker;
pub mod first_fit;
mod guest;
mod lookup;
mod machine;
pub mod model;
mod optee;

pub use guest::*;
pub use machine::{NOWHERE, RAM, RAM_PAGES, TICKS_PER_SECOND, World, is_secret, pa_of};
pub use optee::*;
