//! Sharing a buffer of the guest with OP-TEE, and forgetting it.

use optee_abi::pagelist::pages_spanned;
use optee_abi::result;

use super::call::Call;
use super::partition::Partition;
use super::shm::buffers::{Removed, ReserveError};
use super::shm::handle::{Handle, Kind};
use super::shm::page_list::{Memory, Purpose, Source, Translation};
use crate::ports::{GuestMemory, Platform};
use addresses::Ipa;

/// Why memory can't be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its size is none.
    Malformed,
    /// Its cookie stands for another buffer.
    CookieInUse,
    /// It is more than the guest may share.
    Limit,
    /// OP-TEE has no room for it in its own address space.
    NoRoom,
}

impl Refused {
    /// What the message comes back with.
    pub(super) fn result(self) -> u32 {
        match self {
            Self::Malformed | Self::CookieInUse => result::BAD_PARAMETERS,
            Self::Limit | Self::NoRoom => result::OUT_OF_MEMORY,
        }
    }
}

impl<P: Platform> Partition<P> {
    /// Counts and pins the pages of a buffer that OP-TEE is about to learn of, and gets its
    /// translation ready.
    pub(super) fn announce(
        &self,
        call: &mut Call,
        purpose: Purpose,
        buffer: Memory,
    ) -> Result<(), Refused> {
        let Memory {
            list,
            address,
            size,
            reference,
        } = buffer;
        let start = Ipa(address);
        let offset = start.page_offset();
        let pages = pages_spanned(offset, size).ok_or(Refused::Malformed)?;
        let kind = match purpose {
            Purpose::Register => Kind::Registered,
            Purpose::Temporary(_) => Kind::Temporary,
            Purpose::RpcAlloc => Kind::Rpc,
        };
        let handle = self
            .buffers
            .reserve(kind, reference, offset, size, pages)
            .map_err(|reason| match reason {
                ReserveError::CookieInUse => Refused::CookieInUse,
                ReserveError::Limit => Refused::Limit,
            })?;
        self.ports.memory.pin(pages);
        if purpose == Purpose::RpcAlloc {
            match self.window.take_for_rpc(pages) {
                Some(share) => self.buffers.keep_share(handle, share),
                None => {
                    self.forget(handle);
                    return Err(Refused::NoRoom);
                }
            }
        }
        let source = if list {
            Source::List(start.page())
        } else {
            Source::Contiguous(start.page())
        };
        call.translation = Some(Translation::new(
            purpose, handle, source, offset, size, pages,
        ));
        Ok(())
    }

    /// OP-TEE does not know a buffer, or not any more.
    pub(super) fn forget(&self, handle: Handle) {
        let Removed { pages, share } = self.buffers.remove(handle);
        self.ports.memory.unpin(pages);
        if let Some(share) = share {
            self.window.give_back(share);
        }
    }
}
