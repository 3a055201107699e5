//! What goes over the machine's one console (docs/console.md): tags that tell whose a line is, what
//! the hypervisor says, and what a person or a program types at its prompt.

mod bill;
mod command;
mod event;
mod scanner;
mod stats;
mod summary;
mod tag;

pub use crate::name::HYPERVISOR_TAG;
pub use bill::{Bill, Cause, Charge, Instructions};
pub use command::{Command, DETACH, LINE_MAX, NoCommand, Topic};
pub use event::{Event, Function, Severity};
pub use stats::{GuestStats, HeapStats, TeeCalls, TeeStats};
pub use summary::{CpuList, GuestState, Summary, TooManyCpus};
pub use tag::{Mark, PIECE_OVERHEAD_MAX, Tagged};
