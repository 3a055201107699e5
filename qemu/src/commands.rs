//! What the tool does beside a plain run, a module for each command.

pub mod bench;
pub mod conformance;
pub mod detached;
pub mod drm;
pub mod guest_fuzz;
pub mod hostile;
pub mod options;
pub mod running;
pub mod shell;
pub mod ssh;
pub mod xtest;
