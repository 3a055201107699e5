//! Sharing a buffer of the guest with OP-TEE, and forgetting it.

use optee_abi::message::command;
use optee_abi::pagelist::pages_spanned;
use optee_abi::result;

use super::Action;
use crate::optee::call::Call;
use crate::optee::partition::Partition;
use crate::optee::shm::buffers::{Removed, ReserveError};
use crate::optee::shm::handle::{Handle, Kind};
use crate::optee::shm::message_area::message_of;
use crate::optee::shm::page_list::{Memory, Progress, TranslateError};
use crate::optee::stage::{Errand, Purpose, Stage, Task, Thread, Until};
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
        kind: Kind,
        buffer: Memory,
    ) -> Result<Handle, Refused> {
        let Memory {
            address,
            size,
            reference,
            ..
        } = buffer;
        let offset = Ipa(address).page_offset();
        let pages = pages_spanned(offset, size).ok_or(Refused::Malformed)?;
        let handle = self
            .buffers
            .reserve(kind, reference, offset, size, pages)
            .map_err(|reason| match reason {
                ReserveError::CookieInUse => Refused::CookieInUse,
                ReserveError::Limit => Refused::Limit,
            })?;
        self.ports.memory.pin(pages);
        if kind == Kind::Rpc {
            match self.window.take_for_rpc(pages) {
                Some(share) => self.buffers.keep_share(handle, share),
                None => {
                    self.forget(handle);
                    return Err(Refused::NoRoom);
                }
            }
        }
        // Messages lie in registered buffers alone.
        call.translation
            .begin(buffer, pages, kind == Kind::Registered);
        Ok(handle)
    }

    /// A translation came so far.
    #[inline(never)]
    pub(super) fn translated(
        &self,
        call: &mut Call,
        progress: Result<Progress, TranslateError>,
    ) -> Action {
        if progress == Ok(Progress::Interrupted) {
            return self.pause();
        }
        let (handle, purpose) = match call.stage {
            Stage::Translates(handle, purpose) => (handle, Some(purpose)),
            Stage::InOptee(_, Thread::Suspended(_, Until::Translated(handle))) => (handle, None),
            // No other stage has a translation.
            _ => return self.settle(call),
        };
        if let Err(error) = progress {
            self.stop_translation(call, handle);
            return match (purpose, error) {
                (None, _) => self.free_refused(call),
                (Some(_), TranslateError::BadList) => self.fail(call, result::BAD_PARAMETERS),
                (Some(_), TranslateError::NoShadowPage) => self.fail(call, result::OUT_OF_MEMORY),
            };
        }
        let shadow = &self.ports.shadow;
        let list = call.translation.parameter(&call.lists, shadow, handle);
        let errand = match purpose {
            None => return self.answer_with_memory(call, handle, list),
            Some(Purpose::Temporary(index)) => Errand::Share(index, handle),
            Some(Purpose::Register) => {
                if let Some(extents) = call.translation.extents() {
                    self.buffers.describe(handle, extents);
                }
                call.task = Task::Register(handle);
                Errand::Message
            }
        };
        self.send(call, errand, &message_of(command::REGISTER_SHM, &[list]))
    }

    /// A buffer whose pages are being translated is not shared after all.
    pub(super) fn stop_translation(&self, call: &mut Call, handle: Handle) {
        self.pool.give_back(&mut call.lists);
        self.forget(handle);
    }

    /// OP-TEE does not know a buffer, or not any more.
    pub(super) fn forget(&self, handle: Handle) {
        let Removed { pages, share } = self.buffers.remove(handle);
        self.ports.memory.unpin(pages);
        if let Some(share) = share {
            self.window.give_back(share);
        }
    }

    /// Takes note of what OP-TEE knows of the guest's buffers, according to whether it has `done`
    /// what comes before the message or after it.
    pub(super) fn note_errand(&self, call: &mut Call, errand: Errand, done: bool) {
        match errand {
            Errand::Share(index, handle) if done => {
                call.parameters.note_shared(index, handle);
                self.buffers.commit(handle);
            }
            Errand::Unshare(handle) | Errand::Replace(handle) if done => self.forget(handle),
            Errand::Share(_, handle) => self.forget(handle),
            Errand::Replace(handle) => self.buffers.keep(handle),
            // Memory that OP-TEE does not let go of stays pinned until the partition ends.
            Errand::Unshare(_) | Errand::Renew(_) | Errand::Retire | Errand::Message => {}
        }
    }
}
