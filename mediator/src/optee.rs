//! The mediator for OP-TEE: each guest believes that OP-TEE is its own.
//!
//! A call of a guest goes through these modules:
//!
//! * `partition` takes the call: it answers fast calls itself and finds a slot for yielding ones;
//! * `request` copies the message, checks it and makes the message that OP-TEE gets;
//! * `shm::page_list` translates the lists of pages that describe shared buffers;
//! * `engine` enters OP-TEE and does what a return asks for, step by step;
//! * `rpc` carries what OP-TEE asks of the guest, and the answers;
//! * `call` is what the mediator remembers of a call between two of its returns to the guest.
//!
//! `shm::buffers` knows the shared buffers, `shm::page_pool` the pages for translated lists, `shm::location` where in guest memory a message
//! lies; `reregister` keeps OP-TEE's way to the messages short; `teardown` sees through what a guest leaves. What OP-TEE has for all
//! guests is kept count of: `sessions` knows which of its numbers are the guest's, `applications` how many identifiers it takes, and
//! `core_window` how far up its mappings may lie. `index` finds what a guest numbers as it likes, in a bounded number of steps.
//!
//! No lock is held while OP-TEE runs, and nothing is allocated after a partition was created.

mod applications;
mod call;
mod core_window;
mod engine;
mod error;
mod index;
mod limits;
mod notifications;
mod partition;
mod probe;
mod request;
mod reregister;
mod rpc;
mod sessions;
mod shm;
mod slots;
mod stats;
mod teardown;
mod throttle;

pub use index::HashSecret;
pub use limits::{ClientId, IDENTIFIERS, LIVES, Limits};
pub use partition::{CreateError, Guest, Partition};
pub use probe::{Optee, ProbeError, Revision};
pub use stats::{Calls, Stats};

#[cfg(test)]
mod tests;
