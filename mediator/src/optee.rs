//! The mediator for OP-TEE: each guest believes that OP-TEE is its own.
//!
//! A call of a guest goes through these modules:
//!
//! * `calls` takes the call; `fast_calls` answers it where it is a fast one, and yielding ones get
//!   a slot;
//! * `request` copies the message, checks it and makes the message that OP-TEE gets;
//! * `sharing` counts and pins the memory that it shares, and `shm::page_list` translates the lists
//!   of its pages;
//! * `engine` enters OP-TEE and does what a return asks for, step by step;
//! * `rpc` carries what OP-TEE asks of the guest, and the answers;
//! * `flow` says what comes next, and `call` is what the mediator remembers of a call between two
//!   of its returns to the guest.
//!
//! `partition` is what there is of a guest, from its `creation` to its end, before which `teardown`
//! sees through what it leaves. `shm` has the memory: `buffers` knows the shared ones, by `handle`;
//! `page_pool` has the pages for translated lists; `location` is where in guest memory a message
//! lies; `message_area` is where OP-TEE gets it, which `reregister` keeps near. What OP-TEE has for
//! all guests is kept count of: `sessions` knows which of its numbers are the guest's,
//! `applications` how many identifiers it takes, and `core_window` how far up its mappings may lie.
//! `throttle` gives calls their turns; `index` finds what a guest numbers as it likes, in a bounded
//! number of steps. Files use each other in one direction: data is below, and what steps from one
//! to the next meets in `Partition`'s methods.
//!
//! No lock is held while OP-TEE runs, and nothing is allocated after a partition was created.

mod applications;
mod call;
mod calls;
mod core_window;
mod creation;
mod engine;
mod error;
mod fast_calls;
mod flow;
mod index;
mod limits;
mod notifications;
mod partition;
mod probe;
mod request;
mod reregister;
mod rpc;
mod sessions;
mod sharing;
mod shm;
mod slots;
mod stats;
mod teardown;
mod throttle;

pub use creation::{CreateError, Guest};
pub use index::HashSecret;
pub use limits::{ClientId, IDENTIFIERS, LIVES, Limits};
pub use partition::Partition;
pub use probe::{Optee, ProbeError, Revision};
pub use stats::{Calls, Stats};

#[cfg(test)]
mod tests;
