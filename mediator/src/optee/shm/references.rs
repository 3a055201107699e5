//! What a call refers to.

use optee_abi::message::CAPACITY;

use super::handle::Handle;
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The registered buffers that the call of a slot refers to.
#[derive(Debug, Default)]
pub(super) struct References {
    /// A bit for each parameter that is one.
    parameters: AtomicU8,
    handles: [AtomicU64; CAPACITY],
}

const _: () = assert!(CAPACITY <= u8::BITS as usize);

impl References {
    /// The parameter at `index` is to refer to a buffer; `None` if there is no such parameter. Only
    /// the CPU that has the call says so.
    #[inline]
    pub(super) fn note(&self, index: usize, handle: Handle) -> Option<()> {
        let place = self.handles.get(index)?;
        place.store(handle.get(), Ordering::Relaxed);
        Some(())
    }

    /// The call refers to the buffers that are noted for these parameters, a bit each.
    #[inline]
    pub(super) fn hold(&self, parameters: u8) {
        self.parameters.store(parameters, Ordering::Release);
    }

    /// The call refers to nothing any more.
    #[inline]
    pub(super) fn clear(&self) {
        self.parameters.store(0, Ordering::Release);
    }

    /// Whether the call may refer to this buffer: of one that changes what it refers to meanwhile,
    /// earlier ones may still count.
    pub(super) fn have(&self, handle: Handle) -> bool {
        let parameters = self.parameters.load(Ordering::Acquire);
        let is = |(index, place): (usize, &AtomicU64)| {
            parameters >> index & 1 == 1 && place.load(Ordering::Relaxed) == handle.get()
        };
        self.handles.iter().enumerate().any(is)
    }
}
