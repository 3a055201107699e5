//! How the CPUs besides the first one get to EL2.

use crate::arch::{cache, smc};
use addresses::Pa;

/// What a CPU that PSCI starts needs before it has an MMU.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct SecondaryStart {
    pub(super) stack_top: u64,
    pub(super) root_table: u64,
    pub(super) index: u64,
}

impl SecondaryStart {
    /// For CPU number `index`, with the stack that ends at `stack_top` and the tables at
    /// `root_table`.
    #[must_use]
    pub fn new(stack_top: u64, root_table: u64, index: usize) -> Self {
        Self {
            stack_top,
            root_table,
            index: index as u64,
        }
    }

    /// Starts the CPU with affinity `mpidr`, which goes on in
    /// [`start::secondary`](crate::boot::start::secondary).
    ///
    /// # Errors
    ///
    /// PSCI's error code.
    ///
    /// # Safety
    ///
    /// The stack is this CPU's alone, and the tables are EL2's own.
    pub unsafe fn start(&'static self, mpidr: u64) -> Result<(), i32> {
        unsafe extern "C" {
            fn secondary_entry();
        }
        let entry = secondary_entry as *const () as u64;
        let context = core::ptr::from_ref(self) as u64;
        // SAFETY: the structure lies in memory that EL2 maps; a CPU without MMU sees it once it is
        // cleaned. The entry expects it in x0, and the caller vouches for what is in it.
        unsafe {
            cache::clean_and_invalidate(Pa(context), size_of::<Self>() as u64);
            smc::cpu_on(mpidr, entry, context)
        }
    }
}
