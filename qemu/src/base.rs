//! What the other modules stand on: the host's programs and processes, progress, interruption,
//! folders and tables.

pub mod checkout;
pub(crate) mod counted;
pub mod host_tools;
pub mod interrupt;
pub mod json;
pub mod process;
pub mod progress;
pub mod run_folder;
pub mod table;
