//! What a call refers to.

use optee_abi::message::CAPACITY;

use super::handle::Handle;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The registered buffers that the call of a slot refers to, one for each of its parameters at
/// most.
#[derive(Debug, Default)]
pub(super) struct References {
    count: AtomicUsize,
    handles: [AtomicU64; CAPACITY],
}

impl References {
    /// The call refers to one more buffer; `None` if it refers to as many as it can. Only the CPU
    /// that has the call adds to them.
    #[inline]
    pub(super) fn add(&self, handle: Handle) -> Option<()> {
        let count = self.count.load(Ordering::Relaxed);
        let place = self.handles.get(count)?;
        place.store(handle.get(), Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Release);
        Some(())
    }

    /// The call refers to nothing any more.
    #[inline]
    pub(super) fn clear(&self) {
        self.count.store(0, Ordering::Release);
    }

    /// Whether the call may refer to this buffer: of one that changes what it refers to meanwhile,
    /// earlier ones may still count.
    pub(super) fn have(&self, handle: Handle) -> bool {
        let count = self.count.load(Ordering::Acquire);
        let is = |place: &AtomicU64| place.load(Ordering::Relaxed) == handle.get();
        self.handles.iter().take(count).any(is)
    }
}
