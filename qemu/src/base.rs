//! What the other modules stand on: the host's programs and processes, progress, interruption, folders and tables.

pub mod checkout;
pub mod host_tools;
pub mod interrupt;
pub mod process;
pub mod progress;
