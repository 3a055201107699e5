//! Linux's interface to a TEE, for programs that measure what it costs, and to the TEE's wishes of
//! the normal world.
//!
//! Not through libteec, whose own work would be measured, too, and which registers memory of its
//! own for some calls.

mod memory;
mod supplicant;
mod tee;

pub use memory::Pages;
pub use supplicant::{Request, Supplicant};
pub use tee::{Answer, Parameter, Session, SharedBuffer, Tee};
