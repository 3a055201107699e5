//! Keeping the memory for messages near the front of OP-TEE's list.
//!
//! OP-TEE finds registered memory by walking a list, the newest first
//! (`mobj_reg_shm_get_by_cookie`, `core/mm/mobj_dyn_shm.c`, 4.5.0). The memory for messages is
//! registered before all else, so each buffer that a guest registers would make each of its calls a
//! little slower. Therefore a slot whose memory has fallen far behind registers it anew under
//! another handle before its next call, then takes the old handle back.

use crate::sync::atomic::Ordering;

use optee_abi::message::{Direction, Parameter, command};
use optee_abi::pagelist::PAGE_SIZE;

use super::Action;
use crate::optee::call::Call;
use crate::optee::partition::Partition;
use crate::optee::shm::handle::Handle;
use crate::optee::shm::message_area::{
    Known, MESSAGE_PAGE_SLOTS, SLOT_BYTES, message_of, unregister_message,
};
use crate::optee::stage::Errand;
use crate::ports::{Platform, ShadowMemory};

/// How many buffers may stand before a slot's memory. Passing one takes OP-TEE about six
/// instructions, and renewing the memory as much as two calls.
const BUFFERS_BEFORE: u64 = 64;
/// With more than these it is renewed where their number was found out.
const WORTH_RENEWING: u64 = 32;

impl<P: Platform> Partition<P> {
    /// Does what the call's message says, after renewing the slot's memory if that has fallen
    /// behind.
    pub(super) fn renew_or_dispatch(&self, call: &mut Call) -> Action {
        let registered = self.buffers.registrations();
        if registered.saturating_sub(call.known.at_most_since) <= BUFFERS_BEFORE {
            return self.dispatch(call);
        }
        // Many of them may be gone again.
        let before = u64::from(self.buffers.newer_than(call.index));
        if before <= WORTH_RENEWING {
            call.known.at_most_since = registered.saturating_sub(before);
            return self.dispatch(call);
        }
        let Some(list) = self.pool.take(&mut call.lists) else {
            return self.dispatch(call);
        };
        let number = self
            .renewals
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        let renewed = Handle::for_messages(number);
        let shadow = &self.ports.shadow;
        let page = shadow.pa(call.index / MESSAGE_PAGE_SLOTS).0;
        shadow.write(list, 0, &page.to_le_bytes());
        let buffer = Parameter::Temporary {
            direction: Direction::Output,
            list: true,
            address: shadow.pa(list).0,
            size: PAGE_SIZE,
            reference: renewed.get(),
        };
        let message = message_of(command::REGISTER_SHM, &[buffer]);
        self.send(call, Errand::Renew(renewed), &message)
    }

    /// OP-TEE knows the slot's memory anew, by `handle`, or refused to.
    pub(super) fn renewed(&self, call: &mut Call, handle: Handle, done: bool) -> Action {
        let at_most_since = self.buffers.registrations();
        if !done {
            // Not to try again at each call.
            call.known.at_most_since = at_most_since;
            return self.dispatch_if_wanted(call);
        }
        self.buffers.renewed(call.index);
        let renewed = Known {
            handle,
            offset: (call.index % MESSAGE_PAGE_SLOTS * SLOT_BYTES) as u64,
            at_most_since,
        };
        let old = core::mem::replace(&mut call.known, renewed).handle;
        if old == Handle::MESSAGES {
            // The other slots may still be using it.
            return self.dispatch_if_wanted(call);
        }
        self.send(call, Errand::Retire, &unregister_message(old))
    }

    /// Does what the call's message says, unless nobody waits for it any more.
    pub(super) fn dispatch_if_wanted(&self, call: &mut Call) -> Action {
        match call.caller {
            Some(_) => self.dispatch(call),
            None => self.settle(call),
        }
    }
}
