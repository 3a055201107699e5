//! The mediator for OP-TEE: each guest believes that OP-TEE is its own.
//!
//! A call of a guest goes through these modules:
//!
//! * `calls` takes the call; `fast_calls` answers it where it is a fast one, and yielding ones get
//!   a slot;
//! * `engine` leads it from stage to stage, by what happens to it: the guest made it or came back,
//!   OP-TEE was left, a list is translated, or the guest is gone;
//! * `request` reads the guest's message and makes the one that OP-TEE gets; `rpc` does the same
//!   with what OP-TEE asks of the guest, and with the replies. Both only say what is;
//! * `call` is what the mediator remembers of a call between two of its returns to the guest, and
//!   `stage` how far it has come.
//!
//! `partition` is what there is of a guest, from its `creation` to its end, before which `teardown`
//! sees through what it leaves. `shm` has the memory: `buffers` knows the shared ones, by `handle`;
//! `page_pool` has the pages for the lists that `page_list` translates; `location` is where in
//! guest memory a message lies, and `message_area` where OP-TEE gets it. What OP-TEE has for all
//! guests is kept count of: `sessions` knows which of its numbers are the guest's, `applications`
//! how many identifiers it takes, and `core_window` how far up its mappings may lie. `throttle`
//! gives calls their turns; `index` finds what a guest numbers as it likes, in a bounded number of
//! steps. Files use each other in one direction: data is below, and what steps from one to the next
//! meets in `Partition`'s methods.
//!
//! No lock is held while OP-TEE runs, and nothing is allocated after a partition was created.

mod applications;
mod back;
mod call;
mod calls;
mod core_window;
mod creation;
mod engine;
mod error;
mod fallible_box;
mod fast_calls;
mod index;
mod limits;
mod notifications;
mod partition;
mod probe;
mod request;
mod rpc;
mod sessions;
mod shm;
mod slots;
mod stage;
mod stats;
mod teardown;
mod throttle;

pub use creation::{CreateError, Guest};
pub use index::HashSecret;
pub use limits::{ClientId, IDENTIFIERS, LIVES, Limits};
pub use partition::Partition;
pub use probe::{Optee, ProbeError, Revision};

#[cfg(any(test, feature = "fakes"))]
pub mod fakes;
#[cfg(test)]
mod tests;
