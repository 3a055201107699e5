//! What can go wrong when a partition is made.

/// The heap of the hypervisor has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHeap;
