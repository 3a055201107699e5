//! The sessions that a guest has open.
//!
//! OP-TEE's numbers for them pass through the guest, so a guest can name any number. OP-TEE gets to
//! see those alone that it gave this guest for sessions that are open: it lists a session before it
//! has opened it, and up to 4.9 halts for all guests when one is used then (`tee_ta_init_session`,
//! `core/kernel/tee_ta_manager.c`). From the first message that closes a session on, nothing else
//! reaches it, and that message waits for the calls that use the session: OP-TEE gives the number
//! of a closed session to another one.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use alloc::vec::Vec;

use crate::sync::Mutex;

use super::applications::{Applications, Charge};
use super::error::NoHeap;
use super::index::{HashSecret, Index};
use crate::ta_access::Uuid;

/// How many sessions a guest can have: more than OP-TEE's heap has room for.
const SESSIONS_MAX: u32 = 2048;

/// Places that are looked at for a session to close before interrupts get their turn.
const LOOK_AT_ONCE: usize = 128;

/// No session of OP-TEE's has this number (`new_session_id`, `core/kernel/tee_ta_manager.c`,
/// 4.5.0).
const NONE: u32 = 0;

/// Marks the end of the list of free places.
const END: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Sessions {
    table: Mutex<Table>,
    /// The session that a call used last and whether its application is loaded ([`LOADED`]).
    /// Changes only while the table is locked.
    recent: AtomicU64,
    /// For each slot, the session that its call uses, or [`NONE`].
    used: Vec<AtomicU32>,
}

#[derive(Debug)]
struct Table {
    /// Room for all is there from the start; it is filled as it is needed.
    places: Vec<Session>,
    free: u32,
    by_number: Index,
    /// Sessions, and calls that open one.
    count: u32,
    applications: Applications,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Open,
    /// A message to close it is on its way.
    Closing,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    number: u32,
    state: State,
    /// Tells the sessions that had this place one after the other apart.
    life: u32,
    next_free: u32,
    /// With a trusted application that was loaded, rather than a pseudo-TA, which is a part of
    /// OP-TEE.
    loaded: bool,
    charge: Charge,
}

/// A session that is open and used by a call, which lets go of it when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// It is with a trusted application that was loaded.
    pub(super) loaded: bool,
}

/// The right to close a session: of several messages that would, one gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    place: u32,
    life: u32,
    number: u32,
}

impl Closing {
    /// OP-TEE's number of the session.
    pub(super) fn session(self) -> u32 {
        self.number
    }
}

/// A session to close, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    Found(Closing),
    /// There may be one farther on.
    LookOn,
    None,
}

/// How [`Sessions::recent`] holds a session.
const LOADED: u64 = 1 << 32;

impl Sessions {
    /// None yet, for calls on `slots` slots, with trusted applications that may have
    /// `identifiers_max` of OP-TEE's identifiers.
    pub(super) fn new(
        slots: usize,
        identifiers_max: u32,
        secret: HashSecret,
    ) -> Result<Self, NoHeap> {
        // Calls on all slots may find room for a last one.
        let capacity = SESSIONS_MAX + u32::try_from(slots).unwrap_or(u32::MAX >> 1);
        let mut places = Vec::new();
        places
            .try_reserve_exact(capacity as usize)
            .map_err(|_| NoHeap)?;
        let mut used = Vec::new();
        used.try_reserve_exact(slots).map_err(|_| NoHeap)?;
        used.resize_with(slots, || AtomicU32::new(NONE));
        Ok(Self {
            table: Mutex::new(Table {
                places,
                free: END,
                by_number: Index::new(capacity, secret)?,
                count: 0,
                applications: Applications::new(identifiers_max, secret)?,
            }),
            recent: AtomicU64::new(NONE.into()),
            used,
        })
    }

    /// Whether another one may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.table.lock().count < SESSIONS_MAX
    }

    /// Has the call of the slot at `slot` use `session`, if that is open, until the call [lets
    /// go](Self::let_go) of it.
    pub(super) fn hold(&self, slot: usize, session: u32) -> Option<Used> {
        let used = self.used.get(slot)?;
        // Before the look, so that who closes the session sees the call or the call sees that it is
        // being closed.
        used.store(session, Ordering::SeqCst);
        let recent = self.recent.load(Ordering::SeqCst);
        if recent as u32 == session && session != NONE {
            return Some(Used {
                loaded: recent & LOADED != 0,
            });
        }
        let found = self.look_up(session);
        if found.is_none() {
            used.store(NONE, Ordering::Relaxed);
        }
        found
    }

    #[inline(never)]
    fn look_up(&self, session: u32) -> Option<Used> {
        let table = self.table.lock();
        let place = table.find(session)?;
        let known = table.places.get(place as usize)?;
        if known.state != State::Open {
            return None;
        }
        let loaded = if known.loaded { LOADED } else { 0 };
        self.recent
            .store(u64::from(session) | loaded, Ordering::SeqCst);
        Some(Used {
            loaded: known.loaded,
        })
    }

    /// The call of the slot at `slot` uses no session any more.
    pub(super) fn let_go(&self, slot: usize) {
        if let Some(used) = self.used.get(slot) {
            used.store(NONE, Ordering::Release);
        }
    }

    /// A message is to close `session`, if that is open: from now on no call can use it.
    pub(super) fn begin_close(&self, session: u32) -> Option<Closing> {
        let mut table = self.table.lock();
        let place = table.find(session)?;
        let known = table.places.get_mut(place as usize)?;
        if known.state != State::Open {
            return None;
        }
        known.state = State::Closing;
        let life = known.life;
        self.forget_recent(session);
        Some(Closing {
            place,
            life,
            number: session,
        })
    }

    /// Whether no call uses the session any more.
    pub(super) fn is_unused(&self, closing: Closing) -> bool {
        let uses = |used: &AtomicU32| used.load(Ordering::SeqCst) == closing.number;
        !self.used.iter().any(uses)
    }

    /// OP-TEE closed the session.
    pub(super) fn closed(&self, closing: Closing) {
        let mut table = self.table.lock();
        if table.closing(closing).is_some() {
            table.remove(closing.place);
        }
    }

    /// OP-TEE did not close the session: it is open as before.
    pub(super) fn not_closed(&self, closing: Closing) {
        if let Some(session) = self.table.lock().closing(closing) {
            session.state = State::Open;
        }
    }

    /// OP-TEE opened a session with `application`, for which it took what `charge` says.
    pub(super) fn opened(&self, session: u32, application: Option<Uuid>, charge: Charge) {
        let mut table = self.table.lock();
        let table = &mut *table;
        // OP-TEE has closed an earlier one of this number, and whoever closed it does not know yet.
        if let Some(earlier) = table.find(session) {
            table.remove(earlier);
            self.forget_recent(session);
        }
        if session == NONE {
            return table.applications.give_back(charge);
        }
        let (charge, loaded) = table.applications.opened(application, charge);
        table.insert(Session {
            number: session,
            state: State::Open,
            life: 0,
            next_free: END,
            loaded,
            charge,
        });
    }

    /// For when the table is locked.
    fn forget_recent(&self, session: u32) {
        if self.recent.load(Ordering::Relaxed) as u32 == session {
            self.recent.store(NONE.into(), Ordering::SeqCst);
        }
    }

    /// Gives the right to close a session that no call uses, beginning at `place`, which moves on.
    pub(super) fn take_idle(&self, place: &mut usize) -> Idle {
        let mut table = self.table.lock();
        for _ in 0..LOOK_AT_ONCE {
            let Some(session) = table.places.get_mut(*place) else {
                return Idle::None;
            };
            let closing = Closing {
                place: *place as u32,
                life: session.life,
                number: session.number,
            };
            *place += 1;
            if session.state == State::Open && self.is_unused(closing) {
                session.state = State::Closing;
                self.forget_recent(closing.number);
                return Idle::Found(closing);
            }
        }
        Idle::LookOn
    }

    /// How many are open.
    pub(super) fn count(&self) -> u32 {
        self.table.lock().count
    }

    /// What is known of the trusted applications that the guest's sessions are with.
    pub(super) fn applications<T>(&self, look: impl FnOnce(&mut Applications) -> T) -> T {
        look(&mut self.table.lock().applications)
    }
}

impl Table {
    fn find(&self, session: u32) -> Option<u32> {
        let is = |place: u32| {
            self.places
                .get(place as usize)
                .is_some_and(|known| known.number == session)
        };
        self.by_number.find(session.into(), is)
    }

    /// The session that `closing` is for, unless it is closed already.
    fn closing(&mut self, closing: Closing) -> Option<&mut Session> {
        self.places
            .get_mut(closing.place as usize)
            .filter(|session| session.state == State::Closing && session.life == closing.life)
    }

    fn insert(&mut self, session: Session) {
        let has_place = self.places.len() < self.places.capacity();
        let place = match self.places.get_mut(self.free as usize) {
            Some(free) => {
                let place = core::mem::replace(&mut self.free, free.next_free);
                let life = free.life.wrapping_add(1);
                *free = Session { life, ..session };
                place
            }
            None if has_place => {
                self.places.push(session);
                self.places.len() as u32 - 1
            }
            // Not noted, it can't be used.
            None => return,
        };
        self.by_number.insert(session.number.into(), place);
        self.count += 1;
    }

    fn remove(&mut self, place: u32) {
        let Some(session) = self.places.get_mut(place as usize) else {
            return;
        };
        session.state = State::Free;
        session.next_free = core::mem::replace(&mut self.free, place);
        self.count -= 1;
        self.by_number.remove(session.number.into(), place);
        self.applications.closed(session.charge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLICATION: Uuid = Uuid([1; 16]);

    fn sessions() -> Sessions {
        Sessions::new(2, 32, HashSecret::default()).unwrap()
    }

    fn open(sessions: &Sessions, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            sessions.opened(number, Some(APPLICATION), Charge::default());
        }
    }

    fn close(sessions: &Sessions, number: u32) {
        let closing = sessions.begin_close(number).expect("it is open");
        assert!(sessions.is_unused(closing));
        sessions.closed(closing);
    }

    #[test]
    fn sessions_are_known_until_they_are_closed() {
        let sessions = sessions();
        open(&sessions, 1..=3);
        close(&sessions, 2);
        assert_eq!(sessions.count(), 2);
        assert_eq!(
            [1, 2, 3, 4, NONE].map(|number| sessions.hold(0, number).is_some()),
            [true, false, true, false, false]
        );
        assert_eq!(sessions.begin_close(2), None);
        assert_eq!(sessions.begin_close(NONE), None);
    }

    #[test]
    fn one_message_gets_to_close_a_session_and_waits_for_its_calls() {
        let sessions = sessions();
        open(&sessions, [1, 2]);
        for slot in [0, 1] {
            assert!(sessions.hold(slot, 1).is_some());
        }
        let closing = sessions.begin_close(1).unwrap();
        assert_eq!(sessions.begin_close(1), None, "a second one");
        assert!(!sessions.is_unused(closing));
        sessions.let_go(1);
        assert_eq!(sessions.hold(1, 1), None, "it is about to be closed");
        assert!(!sessions.is_unused(closing));
        sessions.let_go(0);
        assert!(sessions.is_unused(closing));
        sessions.not_closed(closing);
        assert!(sessions.hold(1, 1).is_some(), "OP-TEE did not close it");
    }

    #[test]
    fn a_number_given_anew_carries_nothing_of_its_earlier_life() {
        let sessions = sessions();
        sessions.applications(|known| assert!(known.note_loaded(APPLICATION)));
        open(&sessions, [1]);
        assert_eq!(sessions.hold(0, 1), Some(Used { loaded: true }));
        sessions.let_go(0);
        // The message that closes it is back from OP-TEE, but not noted yet.
        let closing = sessions.begin_close(1).unwrap();
        sessions.opened(1, None, Charge::default());
        sessions.closed(closing);
        assert_eq!(sessions.hold(0, 1), Some(Used { loaded: false }));
        // OP-TEE gives a number anew of which the mediator never saw the end.
        sessions.opened(1, Some(APPLICATION), Charge::default());
        assert_eq!(sessions.hold(0, 1), Some(Used { loaded: true }));
        sessions.opened(1, None, Charge::default());
        assert_eq!(sessions.hold(0, 1), Some(Used { loaded: false }));
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn there_is_room_for_so_many_and_what_is_under_way() {
        let sessions = sessions();
        open(&sessions, 1..SESSIONS_MAX);
        assert!(sessions.has_room());
        let all = SESSIONS_MAX + 2;
        open(&sessions, SESSIONS_MAX..=all + 1);
        assert!(!sessions.has_room());
        assert_eq!(sessions.count(), all, "nothing is allocated for one more");
        (1..=3).for_each(|number| close(&sessions, number));
        assert!(sessions.has_room());
    }

    #[test]
    fn all_that_are_idle_are_found() {
        let sessions = sessions();
        open(&sessions, 1..=300);
        sessions.hold(1, 17);
        sessions.begin_close(20);
        close(&sessions, 30);
        let (mut place, mut found, mut looks) = (0, 0, 0);
        loop {
            match sessions.take_idle(&mut place) {
                Idle::Found(closing) => {
                    assert!(![17, 20, 30].contains(&closing.session()));
                    sessions.closed(closing);
                    found += 1;
                }
                Idle::LookOn => looks += 1,
                Idle::None => break,
            }
        }
        assert_eq!((found, sessions.count()), (297, 2));
        let mut place = 0;
        while sessions.take_idle(&mut place) == Idle::LookOn {
            looks += 1;
        }
        assert_eq!(looks, 2, "128 at a time");
    }
}
