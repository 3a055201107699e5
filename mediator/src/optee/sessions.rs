//! The sessions that a guest has open, so that they can be closed when it ends, and which of them are with trusted
//! applications that were loaded rather than with pseudo-TAs, which are a part of OP-TEE.

use alloc::vec::Vec;

use spin::Mutex;

use super::partition::NoHeap;
use super::slots::SLOTS_MAX;
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
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: u32,
    /// With a trusted application that was loaded.
    loaded: bool,
}

impl Sessions {
    /// None yet.
    pub(super) fn new() -> Result<Self, NoHeap> {
        let mut open = Vec::new();
        // Calls on all slots may find room for a last one.
        open.try_reserve_exact(SESSIONS_MAX + SLOTS_MAX)
            .map_err(|_| NoHeap)?;
        let mut loaded = Vec::new();
        loaded.try_reserve_exact(LOADED_MAX).map_err(|_| NoHeap)?;
        Ok(Self {
            open: Mutex::new(open),
            loaded: Mutex::new(loaded),
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

    /// Whether a session is with an application that is known to be loaded.
    pub(super) fn is_with_loaded(&self, session: u32) -> bool {
        let open = self.open.lock();
        // Most are recent.
        let known = open.iter().rfind(|known| known.id == session);
        known.is_some_and(|known| known.loaded)
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
        let sessions = Sessions::new().unwrap();
        (1..=3).for_each(|session| sessions.opened(session, None));
        sessions.closed(2);
        sessions.closed(7);
        assert_eq!(sessions.count(), 2);
        assert_eq!([(); 3].map(|()| sessions.take()), [Some(3), Some(1), None]);
    }

    #[test]
    fn sessions_with_what_was_loaded_are_known() {
        let sessions = Sessions::new().unwrap();
        let [loaded, other] = [Uuid([1; 16]), Uuid([2; 16])];
        sessions.note_loaded(loaded);
        sessions.opened(1, Some(loaded));
        sessions.opened(2, Some(other));
        sessions.opened(3, None);
        assert_eq!(
            [1, 2, 3, 4].map(|id| sessions.is_with_loaded(id)),
            [true, false, false, false]
        );
        sessions.closed(1);
        assert!(!sessions.is_with_loaded(1));
        (0..=255).for_each(|byte| sessions.note_loaded(Uuid([byte; 16])));
        assert!(sessions.is_loaded(Some(loaded)) && !sessions.is_loaded(Some(Uuid([255; 16]))));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let sessions = Sessions::new().unwrap();
        (0..SESSIONS_MAX as u32).for_each(|session| sessions.opened(session, None));
        assert!(!sessions.has_room());
        sessions.closed(0);
        assert!(sessions.has_room());
    }

    #[test]
    fn what_is_under_way_when_the_room_ends_is_known_too() {
        let sessions = Sessions::new().unwrap();
        let all = SESSIONS_MAX + SLOTS_MAX;
        (0..=all as u32).for_each(|session| sessions.opened(session, None));
        assert_eq!(
            sessions.count(),
            all,
            "and nothing is allocated for one more"
        );
    }
}
