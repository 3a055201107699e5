//! The firmware keeps no register for itself.

/// Whether TPIDR2_EL0 can be read.
#[must_use]
pub fn second_thread_pointer_is_readable() -> bool {
    true
}

/// Whether HCRX_EL2 can be read.
#[must_use]
pub fn hcrx_is_readable() -> bool {
    true
}

/// Whether HFGRTR_EL2 and its like can be read.
#[must_use]
pub fn fine_grained_traps_are_readable() -> bool {
    true
}
