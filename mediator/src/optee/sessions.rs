//! The sessions that a guest has open, so that they can be closed when it ends, and which of them are with trusted
//! applications that were loaded rather than with pseudo-TAs, which are a part of OP-TEE.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use spin::Mutex;

use super::partition::NoHeap;
use crate::access::Uuid;

/// How many sessions a guest can have: more than OP-TEE's heap has room for.
const SESSIONS_MAX: usize = 2048;

/// How many trusted applications are remembered as loaded.
const LOADED_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Sessions {
    /// The latest is the last.
    open: Mutex<Vec<Session>>,
    /// Those that OP-TEE had the guest load.
    loaded: Mutex<Vec<Uuid>>,
    /// The session with one of these that a call used last, or [`NONE`]. Changes only while `open` is locked.
    recent: AtomicU32,
    /// For each slot, the session with one of these that its call uses, or [`NONE`].
    used: Vec<AtomicU32>,
}

/// No session of OP-TEE's has this number (`new_session_id`, `core/kernel/tee_ta_manager.c`, 4.5.0).
const NONE: u32 = 0;

#[derive(Clone, Copy, Debug)]
struct Session {
    id: u32,
    /// With a trusted application that was loaded.
    loaded: bool,
}

impl Sessions {
    /// None yet, for calls on so many slots.
    pub(super) fn new(slots: usize) -> Result<Self, NoHeap> {
        let mut open = Vec::new();
        // Calls on all slots may find room for a last one.
        open.try_reserve_exact(SESSIONS_MAX + slots)
            .map_err(|_| NoHeap)?;
        let mut loaded = Vec::new();
        loaded.try_reserve_exact(LOADED_MAX).map_err(|_| NoHeap)?;
        let mut used = Vec::new();
        used.try_reserve_exact(slots).map_err(|_| NoHeap)?;
        used.resize_with(slots, || AtomicU32::new(NONE));
        Ok(Self {
            open: Mutex::new(open),
            loaded: Mutex::new(loaded),
            recent: AtomicU32::new(NONE),
            used,
        })
    }

    /// Whether another one may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.open.lock().len() < SESSIONS_MAX
    }

    /// OP-TEE had the guest load this application. It looks for pseudo-TAs first, so that it is none
    /// (`tee_ta_init_session`, `core/kernel/tee_ta_manager.c`, 4.5.0).
    pub(super) fn note_loaded(&self, application: Uuid) {
        let mut loaded = self.loaded.lock();
        if loaded.len() < loaded.capacity() && !loaded.contains(&application) {
            loaded.push(application);
        }
    }

    /// Whether this application is known to be loaded.
    pub(super) fn is_loaded(&self, application: Option<Uuid>) -> bool {
        application.is_some_and(|application| self.loaded.lock().contains(&application))
    }

    /// Whether a session is with an application that is known to be loaded. If it is, it stays so until the call of the slot
    /// at `slot` [lets go](Self::let_go) of it: OP-TEE gives the number of a closed session to the next one, which may be with
    /// a pseudo-TA.
    pub(super) fn hold_if_loaded(&self, slot: usize, session: u32) -> bool {
        let Some(used) = self.used.get(slot) else {
            return false;
        };
        // Before the look, so that who closes the session sees the call or the call sees that it is being closed.
        used.store(session, Ordering::SeqCst);
        let is_loaded = session != NONE
            && (self.recent.load(Ordering::SeqCst) == session || self.look_up_loaded(session));
        if !is_loaded {
            used.store(NONE, Ordering::Relaxed);
        }
        is_loaded
    }

    fn look_up_loaded(&self, session: u32) -> bool {
        let open = self.open.lock();
        // Most are recent.
        let known = open.iter().rfind(|known| known.id == session);
        let is_loaded = known.is_some_and(|known| known.loaded);
        if is_loaded {
            self.recent.store(session, Ordering::SeqCst);
        }
        is_loaded
    }

    /// The call of the slot at `slot` uses no session any more.
    pub(super) fn let_go(&self, slot: usize) {
        if let Some(used) = self.used.get(slot) {
            used.store(NONE, Ordering::Release);
        }
    }

    /// Has no further call take the session for one with an application that was loaded, and says whether none does: only
    /// then may it be closed.
    pub(super) fn may_close(&self, session: u32) -> bool {
        let mut open = self.open.lock();
        open.iter_mut()
            .filter(|known| known.id == session)
            .for_each(|known| known.loaded = false);
        self.forget_recent(session);
        let uses = |used: &AtomicU32| used.load(Ordering::SeqCst) == session;
        session == NONE || !self.used.iter().any(uses)
    }

    /// For when `open` is locked.
    fn forget_recent(&self, session: u32) {
        if self.recent.load(Ordering::Relaxed) == session {
            self.recent.store(NONE, Ordering::SeqCst);
        }
    }

    /// OP-TEE opened a session with `application`.
    pub(super) fn opened(&self, session: u32, application: Option<Uuid>) {
        let loaded = self.is_loaded(application);
        let mut open = self.open.lock();
        if open.len() < open.capacity() {
            open.push(Session {
                id: session,
                loaded,
            });
        }
    }

    /// OP-TEE closed a session.
    pub(super) fn closed(&self, session: u32) {
        let mut open = self.open.lock();
        // Most are short.
        if let Some(at) = open.iter().rposition(|known| known.id == session) {
            open.swap_remove(at);
            self.forget_recent(session);
        }
    }

    /// Takes one out of those that are open.
    pub(super) fn take(&self) -> Option<u32> {
        self.open.lock().pop().map(|session| session.id)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_known_until_they_are_closed() {
        let sessions = Sessions::new(2).unwrap();
        (1..=3).for_each(|session| sessions.opened(session, None));
        sessions.closed(2);
        sessions.closed(7);
        assert_eq!(sessions.count(), 2);
        assert_eq!([(); 3].map(|()| sessions.take()), [Some(3), Some(1), None]);
    }

    #[test]
    fn sessions_with_what_was_loaded_are_known() {
        let sessions = Sessions::new(2).unwrap();
        let [loaded, other] = [Uuid([1; 16]), Uuid([2; 16])];
        sessions.note_loaded(loaded);
        sessions.opened(1, Some(loaded));
        sessions.opened(2, Some(other));
        sessions.opened(3, None);
        assert_eq!(
            [1, 2, 3, 4].map(|id| sessions.hold_if_loaded(0, id)),
            [true, false, false, false]
        );
        sessions.closed(1);
        assert!(!sessions.hold_if_loaded(0, 1));
        (0..=255).for_each(|byte| sessions.note_loaded(Uuid([byte; 16])));
        assert!(sessions.is_loaded(Some(loaded)) && !sessions.is_loaded(Some(Uuid([255; 16]))));
    }

    #[test]
    fn a_session_in_use_stays() {
        let sessions = Sessions::new(2).unwrap();
        let loaded = Uuid([1; 16]);
        sessions.note_loaded(loaded);
        sessions.opened(1, Some(loaded));
        sessions.opened(2, Some(loaded));
        assert!(sessions.hold_if_loaded(0, 1) && sessions.hold_if_loaded(1, 1));
        assert!(sessions.may_close(2) && !sessions.may_close(1));
        sessions.let_go(1);
        assert!(!sessions.may_close(1));
        assert!(!sessions.hold_if_loaded(1, 1), "it is about to be closed");
        sessions.let_go(0);
        assert!(sessions.may_close(1));
        sessions.closed(1);
        sessions.opened(1, None);
        assert!(!sessions.hold_if_loaded(0, 1), "it is another one now");
        assert!(sessions.may_close(1) && sessions.may_close(NONE) && sessions.may_close(9));
        assert!(!sessions.hold_if_loaded(0, NONE) && !sessions.hold_if_loaded(7, 2));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let sessions = Sessions::new(2).unwrap();
        (0..SESSIONS_MAX as u32).for_each(|session| sessions.opened(session, None));
        assert!(!sessions.has_room());
        sessions.closed(0);
        assert!(sessions.has_room());
    }

    #[test]
    fn what_is_under_way_when_the_room_ends_is_known_too() {
        let sessions = Sessions::new(2).unwrap();
        let all = SESSIONS_MAX + 2;
        (0..=all as u32).for_each(|session| sessions.opened(session, None));
        assert_eq!(
            sessions.count(),
            all,
            "and nothing is allocated for one more"
        );
    }
}
