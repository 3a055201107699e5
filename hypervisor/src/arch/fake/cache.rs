//! There are no caches to see.

/// Does nothing.
pub fn invalidate_instruction_caches() {}

/// Does nothing.
pub fn invalidate_own_guest_translations() {}

/// Does nothing.
pub fn order_stores() {}
