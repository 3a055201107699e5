//! The one console of the machine: the lines of all guests and of the hypervisor, and what a person
//! types.

pub mod line_buffer;
pub mod output;
pub mod pace;
pub mod rate_limit;
pub mod terminal;
