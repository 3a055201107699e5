//! Entering a guest that is a function.

use crate::arch::context::{Context, Exit};
use crate::arch::fake;

impl Context {
    /// Runs the guest until it leaves.
    ///
    /// # Safety
    ///
    /// None here: on the machine there are conditions.
    pub unsafe fn run(&mut self) -> Exit {
        fake::run_guest(self)
    }
}
