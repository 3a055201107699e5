//! The sessions that a guest has open, so that they can be closed when it ends.

use alloc::vec::Vec;

use spin::Mutex;

use super::partition::NoHeap;
use super::slots::SLOTS_MAX;

/// How many sessions a guest can have: more than OP-TEE's heap has room for.
const SESSIONS_MAX: usize = 2048;

#[derive(Debug)]
pub(super) struct Sessions {
    /// The latest is the last.
    open: Mutex<Vec<u32>>,
}

impl Sessions {
    /// None yet.
    pub(super) fn new() -> Result<Self, NoHeap> {
        let mut open = Vec::new();
        // Calls on all slots may find room for a last one.
        open.try_reserve_exact(SESSIONS_MAX + SLOTS_MAX)
            .map_err(|_| NoHeap)?;
        Ok(Self {
            open: Mutex::new(open),
        })
    }

    /// Whether another one may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.open.lock().len() < SESSIONS_MAX
    }

    /// OP-TEE opened a session.
    pub(super) fn opened(&self, session: u32) {
        let mut open = self.open.lock();
        if open.len() < open.capacity() {
            open.push(session);
        }
    }

    /// OP-TEE closed a session.
    pub(super) fn closed(&self, session: u32) {
        let mut open = self.open.lock();
        // Most are short.
        if let Some(at) = open.iter().rposition(|&known| known == session) {
            open.swap_remove(at);
        }
    }

    /// Takes one out of those that are open.
    pub(super) fn take(&self) -> Option<u32> {
        self.open.lock().pop()
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
        (1..=3).for_each(|session| sessions.opened(session));
        sessions.closed(2);
        sessions.closed(7);
        assert_eq!(sessions.count(), 2);
        assert_eq!([(); 3].map(|()| sessions.take()), [Some(3), Some(1), None]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let sessions = Sessions::new().unwrap();
        (0..SESSIONS_MAX as u32).for_each(|session| sessions.opened(session));
        assert!(!sessions.has_room());
        sessions.closed(0);
        assert!(sessions.has_room());
    }

    #[test]
    fn what_is_under_way_when_the_room_ends_is_known_too() {
        let sessions = Sessions::new().unwrap();
        let all = SESSIONS_MAX + SLOTS_MAX;
        (0..=all as u32).for_each(|session| sessions.opened(session));
        assert_eq!(
            sessions.count(),
            all,
            "and nothing is allocated for one more"
        );
    }
}
