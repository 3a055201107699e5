//! The trusted applications that OP-TEE runs for a guest, and how many of its identifiers they
//! take.
//!
//! Each instance of a loaded trusted application has one of 64 address space identifiers, which all
//! guests share (`g_asid`, `core/arch/arm/mm/core_mmu.c`, OP-TEE 4.5 to 4.10), until its last
//! session is closed, or for good where it is kept alive (`TA_FLAG_INSTANCE_KEEP_ALIVE`). What is
//! not closed when the guest ends never comes back. So each guest has a share, and what is counted
//! here is never less than what it takes; but for a trusted application that is kept alive, between
//! its sessions, until the guest ends; and for one that keeps sessions with others open between two
//! of its calls: a guest is to be given none that does so for whoever asks
//! (`docs/configuration.md`).

use alloc::vec::Vec;

use super::error::NoHeap;
use super::index::{HashSecret, Index};
use crate::ta_access::Uuid;

/// How many trusted applications and libraries of theirs a guest can have OP-TEE load in a life.
const APPLICATIONS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Applications {
    secret: HashSecret,
    /// Room for all is there from the start; none is taken out in a life.
    known: Vec<Application>,
    by_name: Index,
    identifiers_max: u32,
    identifiers: u32,
}

#[derive(Debug)]
struct Application {
    name: Uuid,
    /// OP-TEE had the guest load it: it is no pseudo-TA.
    asked_for: bool,
    /// So that a session with it can be opened: it is no library.
    loaded: bool,
    /// OP-TEE read files to open a session with it: it is no pseudo-TA.
    reads_files: bool,
    /// A session with it was opened.
    is_used: bool,
    sessions: u32,
    identifiers: u32,
    kept_alive: bool,
    /// Whether it is kept alive is known, or does not matter.
    settled: bool,
}

impl Application {
    /// Whether OP-TEE opened a session with it without doing anything that it does for others.
    fn is_pseudo(&self) -> bool {
        self.is_used && !self.asked_for && !self.reads_files
    }

    fn is_unsettled(&self) -> bool {
        !self.settled && !self.is_pseudo() && self.identifiers == 0
    }
}

/// What a call has OP-TEE take for trusted applications, and its session then holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charge {
    /// For the application that the call opens.
    own: bool,
    /// The guest was asked for that application.
    loads: bool,
    /// For others that it might open, or libraries of it.
    others: u8,
    /// The place of the application's record, which counts `own`, if there is one.
    record: Option<u16>,
}

impl Charge {
    fn count(self) -> u32 {
        u32::from(self.own) + u32::from(self.others)
    }
}

/// The guest has no identifier left, or had more loaded than can be kept in mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoIdentifier;

impl Applications {
    /// None yet, with a share of `identifiers_max` identifiers.
    pub(super) fn new(identifiers_max: u32, secret: HashSecret) -> Result<Self, NoHeap> {
        let mut known = Vec::new();
        known
            .try_reserve_exact(APPLICATIONS_MAX)
            .map_err(|_| NoHeap)?;
        Ok(Self {
            secret,
            known,
            by_name: Index::new(APPLICATIONS_MAX as u32, secret)?,
            identifiers_max,
            identifiers: 0,
        })
    }

    /// A number for the name. Which names share one depends on the secret.
    fn number(&self, name: Uuid) -> u64 {
        let HashSecret([added, factor]) = self.secret;
        let name = u128::from_le_bytes(name.0);
        let product = u128::from(name as u64 ^ added) * u128::from(factor | 1);
        (product as u64) ^ (product >> 64) as u64 ^ (name >> 64) as u64
    }

    fn place(&self, number: u64, name: Uuid) -> Option<u32> {
        let known = &self.known;
        self.by_name.find(number, |place| {
            known
                .get(place as usize)
                .is_some_and(|known| known.name == name)
        })
    }

    fn find(&mut self, name: Uuid) -> Option<&mut Application> {
        let place = self.place(self.number(name), name)?;
        self.known.get_mut(place as usize)
    }

    /// The record of an application, made if there is room for one, and its place.
    fn record(&mut self, name: Uuid) -> Option<(u16, &mut Application)> {
        let number = self.number(name);
        let place = match self.place(number, name) {
            Some(place) => place,
            None if self.known.len() < APPLICATIONS_MAX => {
                let place = self.known.len() as u32;
                self.known.push(Application {
                    name,
                    asked_for: false,
                    loaded: false,
                    reads_files: false,
                    is_used: false,
                    sessions: 0,
                    identifiers: 0,
                    kept_alive: false,
                    settled: false,
                });
                self.by_name.insert(number, place);
                place
            }
            None => return None,
        };
        let application = self.known.get_mut(place as usize)?;
        Some((place as u16, application))
    }

    fn has_identifier(&self) -> Result<(), NoIdentifier> {
        match self.identifiers < self.identifiers_max {
            true => Ok(()),
            false => Err(NoIdentifier),
        }
    }

    /// The guest wants to open a session with an application, which takes an identifier unless it
    /// is a pseudo-TA or runs. One that runs may come to run once more: that is seen when OP-TEE
    /// has the guest load it, or, where it comes out of secure storage, when it is too late. So
    /// there is no other try until what is too much is given back.
    pub(super) fn may_open(&mut self, name: Option<Uuid>) -> Result<(), NoIdentifier> {
        self.has_identifier().or_else(|none| {
            let too_many = self.identifiers > self.identifiers_max;
            let known = name.and_then(|name| self.find(name)).ok_or(none)?;
            let runs = known.sessions > 0 || known.kept_alive;
            let takes_none = known.is_pseudo() || runs && !too_many;
            takes_none.then_some(()).ok_or(none)
        })
    }

    /// OP-TEE does for a call that opens a session what it does for none with a pseudo-TA: it reads
    /// files, or loads. It has taken an identifier by then, and to keep it from files would have it
    /// give up what it has stored for the guest (`docs/optee-versions.md`).
    pub(super) fn note_own(&mut self, charge: &mut Charge) {
        self.identifiers += u32::from(!core::mem::replace(&mut charge.own, true));
    }

    /// OP-TEE has the guest load the application that the call opens. It looks for pseudo-TAs
    /// first, so that it is none (`tee_ta_init_session`, `core/kernel/tee_ta_manager.c`, 4.5.0). It
    /// asks twice, for the size and for the bytes; `first` tells the first time, of which nothing
    /// is kept in mind: the guest may not have it.
    pub(super) fn note_own_loaded(
        &mut self,
        charge: &mut Charge,
        name: Uuid,
        first: bool,
    ) -> Result<(), NoIdentifier> {
        self.note_own(charge);
        if self.identifiers > self.identifiers_max || !first && !self.note_loaded(name) {
            return Err(NoIdentifier);
        }
        charge.loads = true;
        Ok(())
    }

    /// OP-TEE has the guest load something else for a call: a library, or an application that an
    /// application opens. `first` is as above.
    pub(super) fn note_other_loaded(
        &mut self,
        charge: &mut Charge,
        name: Uuid,
        first: bool,
    ) -> Result<(), NoIdentifier> {
        if !first {
            self.record(name).ok_or(NoIdentifier)?.1.asked_for = true;
        } else if charge.others < u8::MAX {
            self.has_identifier()?;
            self.identifiers += 1;
            charge.others += 1;
        }
        Ok(())
    }

    /// This application is loaded. `false` if it can't be kept in mind.
    pub(super) fn note_loaded(&mut self, name: Uuid) -> bool {
        match self.record(name) {
            Some((_, application)) => {
                application.asked_for = true;
                application.loaded = true;
                true
            }
            None => false,
        }
    }

    /// Whether this application is known to be loaded.
    pub(super) fn is_loaded(&mut self, name: Uuid) -> bool {
        self.find(name).is_some_and(|known| known.loaded)
    }

    /// A session is open for which OP-TEE took what `charge` says; gives what the session holds,
    /// and whether the application is known to be loaded.
    pub(super) fn opened(&mut self, name: Option<Uuid>, charge: Charge) -> (Charge, bool) {
        let Some((record, application)) = name.and_then(|name| self.record(name)) else {
            return (charge, false);
        };
        let mut charge = Charge {
            record: Some(record),
            ..charge
        };
        let mut given_back = 0;
        let mut found_kept = 0;
        // It came out of secure storage for each session, if OP-TEE never had the guest load it.
        let is_new = charge.own && !application.asked_for;
        let ran = (application.asked_for || application.reads_files) && !charge.loads && !is_new;
        if ran && application.sessions == 0 && application.identifiers == 0 {
            given_back = u32::from(core::mem::take(&mut charge.own));
            application.kept_alive = true;
            application.settled = true;
            application.identifiers = 1;
            found_kept = 1;
        }
        // Of one that ran and for which OP-TEE read files it is not known whether it is another
        // instance, out of secure storage, or the same one that has files.
        application.sessions += 1;
        application.identifiers += u32::from(charge.own);
        application.reads_files |= charge.own;
        application.is_used = true;
        let loaded = application.loaded;
        self.identifiers = self.identifiers - given_back + found_kept;
        (charge, loaded)
    }

    /// A session that held `charge` is closed.
    pub(super) fn closed(&mut self, charge: Charge) {
        let Some(record) = charge.record else {
            return self.give_back(charge);
        };
        let Some(application) = self.known.get_mut(usize::from(record)) else {
            return;
        };
        application.sessions = application.sessions.saturating_sub(1);
        // One for each session, or one for all of them.
        let left = application
            .sessions
            .max(u32::from(application.kept_alive))
            .min(application.identifiers);
        let freed = core::mem::replace(&mut application.identifiers, left) - left;
        self.identifiers = self
            .identifiers
            .saturating_sub(freed + u32::from(charge.others));
    }

    /// A call is over that opened no session, and OP-TEE has let go of what it took for it.
    pub(super) fn give_back(&mut self, charge: Charge) {
        self.identifiers = self.identifiers.saturating_sub(charge.count());
    }

    /// An application of which it is not known whether it is kept alive without a session. It is
    /// not named again.
    pub(super) fn take_unsettled(&mut self) -> Option<Uuid> {
        let unsettled = |known: &&mut Application| known.is_unsettled();
        let application = self.known.iter_mut().find(unsettled)?;
        application.settled = true;
        Some(application.name)
    }

    /// Whether so many are known that the guest's next life might have too little room: what is
    /// kept alive of them is to be found out now, so that the others are out of mind.
    pub(super) fn are_many(&self) -> bool {
        self.known.len() > APPLICATIONS_MAX / 2
    }

    /// Another life of the guest begins, without a call or a session: what OP-TEE has nothing of is
    /// out of mind, so that no life takes the room for it from the next.
    pub(super) fn begin_life(&mut self) {
        let mut place = 0;
        while let Some(known) = self.known.get(place) {
            if known.sessions > 0 || known.identifiers > 0 || known.is_unsettled() {
                place += 1;
                continue;
            }
            self.unlist(place);
            // The last one takes its place.
            let last = self.known.len() - 1;
            if place != last {
                self.unlist(last);
            }
            self.known.swap_remove(place);
            if let Some(moved) = self.known.get(place) {
                self.by_name.insert(self.number(moved.name), place as u32);
            }
        }
    }

    fn unlist(&mut self, place: usize) {
        if let Some(known) = self.known.get(place) {
            self.by_name.remove(self.number(known.name), place as u32);
        }
    }

    /// The application is kept alive without a session.
    pub(super) fn note_kept_alive(&mut self, name: Uuid) {
        if let Some(application) = self.find(name)
            && application.identifiers == 0
        {
            application.kept_alive = true;
            application.identifiers = 1;
            self.identifiers += 1;
        }
    }

    /// How many identifiers OP-TEE has given to applications of the guest, at most.
    pub(super) fn identifiers(&self) -> u32 {
        self.identifiers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const NAME: Uuid = Uuid([7; 16]);
    const OTHER: Uuid = Uuid([8; 16]);

    fn applications(identifiers_max: u32) -> Applications {
        Applications::new(identifiers_max, HashSecret::default()).unwrap()
    }

    /// A session with `NAME`, of which OP-TEE had another instance loaded, or not.
    fn open(applications: &mut Applications, loads: bool) -> Result<Charge, NoIdentifier> {
        let mut charge = Charge::default();
        if loads {
            applications.note_own(&mut charge);
            applications.note_own_loaded(&mut charge, NAME, true)?;
            applications.note_own_loaded(&mut charge, NAME, false)?;
        }
        Ok(applications.opened(Some(NAME), charge).0)
    }

    #[test]
    fn instances_take_an_identifier_each_until_they_are_closed() {
        let mut applications = applications(3);
        let sessions: Vec<Charge> = (0..3)
            .map(|_| open(&mut applications, true).unwrap())
            .collect();
        assert_eq!(applications.identifiers(), 3);
        let mut one_more = Charge::default();
        applications.note_own(&mut one_more);
        assert_eq!(
            applications.note_own_loaded(&mut one_more, NAME, true),
            Err(NoIdentifier)
        );
        applications.give_back(one_more);
        for (closed, charge) in sessions.into_iter().enumerate() {
            applications.closed(charge);
            assert_eq!(applications.identifiers(), 2 - closed as u32);
        }
        assert!(open(&mut applications, true).is_ok());
    }

    #[test]
    fn sessions_with_one_instance_share_its_identifier() {
        let mut applications = applications(3);
        let first = open(&mut applications, true).unwrap();
        let others: Vec<Charge> = (0..10)
            .map(|_| open(&mut applications, false).unwrap())
            .collect();
        assert_eq!(applications.identifiers(), 1);
        applications.closed(first);
        assert_eq!(applications.identifiers(), 1, "it runs on");
        for charge in others {
            assert_eq!(applications.identifiers(), 1);
            applications.closed(charge);
        }
        assert_eq!(applications.identifiers(), 0);
    }

    #[test]
    fn an_instance_that_reads_a_file_for_a_session_may_be_another_one() {
        let mut applications = applications(3);
        open(&mut applications, true).unwrap();
        let mut charge = Charge::default();
        applications.note_own(&mut charge);
        let (charge, _) = applications.opened(Some(NAME), charge);
        assert_eq!(applications.identifiers(), 2, "out of secure storage");
        applications.closed(charge);
        assert_eq!(applications.identifiers(), 1);
    }

    #[test]
    fn one_that_is_kept_alive_is_found_out() {
        let mut applications = applications(3);
        let charge = open(&mut applications, true).unwrap();
        applications.closed(charge);
        assert_eq!(applications.identifiers(), 0, "nobody knows yet");
        let charge = open(&mut applications, false).unwrap();
        assert_eq!(applications.identifiers(), 1);
        applications.closed(charge);
        assert_eq!(applications.identifiers(), 1);
        assert_eq!(applications.take_unsettled(), None);
    }

    #[test]
    fn what_is_not_known_is_asked_for_once() {
        let mut applications = applications(9);
        let charge = open(&mut applications, true).unwrap();
        let mut others = Charge::default();
        for first in [true, false] {
            applications
                .note_other_loaded(&mut others, OTHER, first)
                .unwrap();
        }
        assert_eq!(
            applications.take_unsettled(),
            Some(OTHER),
            "the other is open"
        );
        applications.closed(charge);
        assert_eq!(applications.take_unsettled(), Some(NAME));
        assert_eq!(applications.take_unsettled(), None);
        applications.note_kept_alive(NAME);
        applications.note_kept_alive(NAME);
        applications.give_back(others);
        assert_eq!(applications.identifiers(), 1);
    }

    #[test]
    fn without_an_identifier_what_takes_none_is_opened() {
        let mut applications = applications(1);
        assert_eq!(applications.may_open(None), Ok(()));
        applications.opened(Some(OTHER), Charge::default());
        open(&mut applications, true).unwrap();
        assert_eq!(applications.may_open(Some(NAME)), Ok(()), "it runs");
        assert_eq!(
            applications.may_open(Some(OTHER)),
            Ok(()),
            "it is a pseudo-TA"
        );
        assert_eq!(
            applications.may_open(Some(Uuid([9; 16]))),
            Err(NoIdentifier)
        );
        assert_eq!(applications.may_open(None), Err(NoIdentifier));
    }

    #[test]
    fn what_a_call_might_take_is_counted_and_comes_back() {
        let mut applications = applications(3);
        let mut charge = Charge::default();
        applications
            .note_own_loaded(&mut charge, NAME, false)
            .unwrap();
        for first in [true, false] {
            applications
                .note_other_loaded(&mut charge, OTHER, first)
                .unwrap();
        }
        assert_eq!(applications.identifiers(), 2);
        assert!(
            applications
                .note_other_loaded(&mut charge, NAME, true)
                .is_ok()
        );
        assert_eq!(
            applications.note_other_loaded(&mut charge, NAME, true),
            Err(NoIdentifier)
        );
        applications.give_back(charge);
        assert_eq!(applications.identifiers(), 0);
    }

    #[test]
    fn more_than_can_be_kept_in_mind_are_not_loaded() {
        let mut applications = applications(u32::MAX);
        let name = |number: u16| {
            let mut name = [0; 16];
            name[..2].copy_from_slice(&number.to_le_bytes());
            Uuid(name)
        };
        let capacity = applications.known.capacity();
        assert!((0..256).all(|number| applications.note_loaded(name(number))));
        assert!(!applications.note_loaded(name(256)));
        assert!(applications.note_loaded(name(255)) && applications.is_loaded(name(0)));
        assert!(!applications.is_loaded(name(256)));
        assert_eq!(applications.known.capacity(), capacity);
        // Of a session with one that has no record, what it holds is counted all the same.
        let mut charge = Charge::default();
        applications.note_own(&mut charge);
        let (charge, _) = applications.opened(Some(name(300)), charge);
        assert_eq!(applications.identifiers(), 1);
        applications.closed(charge);
        assert_eq!(applications.identifiers(), 0);
    }
}
