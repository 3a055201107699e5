//! The names of shared buffers on the secure side.

use core::num::{NonZeroU32, NonZeroU64};

/// What stands for a buffer on the secure side (`shm_ref`): generation and index + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) struct Handle(NonZeroU64);

impl Handle {
    /// The mediator's own buffer, which holds the messages. No guest cookie stands for it.
    pub(in crate::optee) const MESSAGES: Self = Self::mint(u32::MAX - 1, 0);

    /// Another one for the same purpose.
    pub(in crate::optee) const fn for_messages(number: u32) -> Self {
        Self::mint(u32::MAX - 1, number)
    }

    pub(super) const fn mint(index: u32, generation: u32) -> Self {
        let place = NonZeroU32::MIN.saturating_add(index).get() as u64;
        match NonZeroU64::new((generation as u64) << 32 | place) {
            Some(handle) => Self(handle),
            None => unreachable!(),
        }
    }

    pub(super) fn index(self) -> Option<usize> {
        let place = self.0.get() as u32;
        Some(place.checked_sub(1)? as usize)
    }

    pub(super) fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// The number that OP-TEE gets to see.
    pub(in crate::optee) fn get(self) -> u64 {
        self.0.get()
    }

    /// Takes a number that OP-TEE names for a handle; whether it is one, each use checks.
    pub(in crate::optee) fn claimed(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

/// How a buffer came to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) enum Kind {
    /// By a message to register it.
    Registered,
    /// By a memory reference for one call. Its cookie is no name: the guest can't refer to it
    /// again.
    Temporary,
    /// By the guest's answer to OP-TEE's request for memory.
    Rpc,
}
