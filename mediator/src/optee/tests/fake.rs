//! A machine with one guest and an OP-TEE. Physical addresses are far from all others, so that one
//! that escapes is seen.

mod guest;
mod machine;
pub mod model;
mod optee;

pub use guest::*;
pub use machine::{NOWHERE, RAM, RAM_PAGES, TICKS_PER_SECOND, World, pa_of};
pub use optee::*;
