//! What becomes of calls, without a line of the mediator's.

use stateright::{Model, Property};

/// OP-TEE's threads for a guest, and so its calls.
pub(crate) const THREADS: usize = 2;
/// Places for calls: those of a kernel that is gone keep theirs.
pub(crate) const SLOTS: usize = 2 * THREADS;

/// What a call is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Invoke,
    Open,
    Close,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wait {
    /// Its thread of OP-TEE is suspended, by an interrupt.
    Interrupted(Kind),
    /// By something that OP-TEE asks of the guest.
    Asked(Kind),
    /// OP-TEE has no thread for it.
    NoThread(Kind),
    /// It is to close a session that others use.
    Unused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    Free,
    Own(Wait),
    /// A kernel that is gone made the call.
    Orphan(Wait),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Session {
    None,
    Open,
    Closing,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) slots: [Slot; SLOTS],
    pub(crate) session: Session,
    /// The guest wants to be notified.
    enabled: bool,
    /// OP-TEE has a notification.
    raised: bool,
    /// The guest may fetch one.
    waiting: bool,
    pub(crate) ended: bool,
}

/// What OP-TEE does when it is entered for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Done,
    Interrupt,
    Ask,
    NoThread,
}

/// What the guest, OP-TEE or the hypervisor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The guest calls; what OP-TEE does with that, and with each call of a kernel that is gone.
    Call(Kind, Act, Act),
    /// It returns for the call in this slot.
    Return(usize, Act, Act),
    /// It returns with a thread ID that is not good any more.
    ReturnAgain(Act),
    /// Another kernel's driver begins.
    Probe,
    Enable,
    /// OP-TEE has something to notify of.
    Raise,
    /// The interrupt by which it says so.
    Poll,
    Fetch,
    /// The guest ends; whether it begins anew.
    End(bool),
}

/// What the guest, or the hypervisor, gets to see of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    BadParameters,
    ItemNotFound,
    ThreadLimit,
    /// No call has this thread ID.
    Resume,
    /// It is to take interrupts and to come back.
    TakesInterrupts,
    /// It is asked for something.
    Asked,
    /// Whether there is something new for it.
    Notified(bool),
    Fetched(bool),
    Ended,
    BeginsAnew,
    Nothing,
}

/// All that a step leads to.
pub(crate) struct After {
    pub(crate) state: State,
    /// What OP-TEE does, entry by entry.
    pub(crate) acts: Vec<Act>,
    pub(crate) answer: Answer,
    /// Where the call is that the step is about, if it goes on.
    pub(crate) slot: Option<usize>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            slots: [Slot::Free; SLOTS],
            session: Session::Open,
            enabled: false,
            raised: false,
            waiting: false,
            ended: false,
        }
    }

    fn waits(&self) -> impl Iterator<Item = Wait> {
        self.slots.into_iter().filter_map(|slot| match slot {
            Slot::Free => None,
            Slot::Own(wait) | Slot::Orphan(wait) => Some(wait),
        })
    }

    /// OP-TEE's threads that are suspended.
    pub(crate) fn suspended(&self) -> usize {
        let has_thread = |wait: &Wait| matches!(wait, Wait::Interrupted(_) | Wait::Asked(_));
        self.waits().filter(has_thread).count()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.waits().count()
    }

    fn own(&self) -> usize {
        let own = |slot: &&Slot| matches!(slot, Slot::Own(_));
        self.slots.iter().filter(own).count()
    }

    fn has_orphans(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot, Slot::Orphan(_)))
    }

    fn is_used(&self) -> bool {
        self.waits().any(|wait| match wait {
            Wait::Interrupted(kind) | Wait::Asked(kind) | Wait::NoThread(kind) => {
                kind == Kind::Invoke
            }
            Wait::Unused => false,
        })
    }

    fn opens(&self) -> bool {
        self.waits().any(|wait| match wait {
            Wait::Interrupted(kind) | Wait::Asked(kind) | Wait::NoThread(kind) => {
                kind == Kind::Open
            }
            Wait::Unused => false,
        })
    }

    /// OP-TEE is entered for a call, whose slot is free meanwhile. Gives what it waits for, if it
    /// is not done.
    fn enter(&mut self, kind: Kind, begins: bool, act: Act, acts: &mut Vec<Act>) -> Option<Wait> {
        if begins && self.suspended() == THREADS {
            return Some(Wait::NoThread(kind));
        }
        acts.push(act);
        match act {
            Act::Interrupt => Some(Wait::Interrupted(kind)),
            Act::Ask => Some(Wait::Asked(kind)),
            Act::NoThread => Some(Wait::NoThread(kind)),
            Act::Done => {
                match kind {
                    Kind::Invoke => {}
                    Kind::Open => self.session = Session::Open,
                    Kind::Close => self.session = Session::None,
                }
                None
            }
        }
    }

    /// Each call of a kernel that is gone goes on by a step.
    fn see_orphans_through(&mut self, act: Act, acts: &mut Vec<Act>) {
        for index in 0..SLOTS {
            let Slot::Orphan(wait) = self.slots[index] else {
                continue;
            };
            self.slots[index] = Slot::Free;
            let (Wait::Interrupted(kind) | Wait::Asked(kind)) = wait else {
                unreachable!("what OP-TEE has no thread for is no orphan");
            };
            if let Some(wait) = self.enter(kind, false, act, acts) {
                self.slots[index] = Slot::Orphan(wait);
            }
        }
    }

    /// The call that is to be in slot `index` goes on, or is done.
    fn park(&mut self, index: usize, wait: Option<Wait>) -> (Answer, Option<usize>) {
        let Some(wait) = wait else {
            return (Answer::Success, None);
        };
        self.slots[index] = Slot::Own(wait);
        let answer = match wait {
            Wait::Asked(_) => Answer::Asked,
            _ => Answer::TakesInterrupts,
        };
        (answer, Some(index))
    }

    /// The session is to be closed by the call in slot `index`, once nobody uses it.
    fn close(&mut self, act: Act, acts: &mut Vec<Act>) -> Option<Wait> {
        if self.is_used() {
            return Some(Wait::Unused);
        }
        self.enter(Kind::Close, true, act, acts)
    }

    /// What `step` leads to. `None` where it can't be.
    pub(crate) fn after(&self, step: Step) -> Option<After> {
        let mut state = self.clone();
        let mut acts = Vec::new();
        let mut slot = None;
        let answer = match step {
            Step::Call(kind, act, orphans) => {
                state.see_orphans_through(orphans, &mut acts);
                let free = state.slots.iter().position(|slot| *slot == Slot::Free);
                match (kind, state.session, free) {
                    _ if state.own() == THREADS => Answer::ThreadLimit,
                    (_, _, None) => unreachable!("there is a slot for each thread"),
                    (Kind::Invoke, Session::None | Session::Closing, _) => Answer::BadParameters,
                    (Kind::Close, Session::None | Session::Closing, _) => Answer::ItemNotFound,
                    (Kind::Close, Session::Open, Some(index)) => {
                        state.session = Session::Closing;
                        let wait = state.close(act, &mut acts);
                        let (answer, at) = state.park(index, wait);
                        slot = at;
                        answer
                    }
                    (Kind::Invoke | Kind::Open, _, Some(index)) => {
                        let wait = state.enter(kind, true, act, &mut acts);
                        let (answer, at) = state.park(index, wait);
                        slot = at;
                        answer
                    }
                }
            }
            Step::Return(index, act, orphans) => {
                state.see_orphans_through(orphans, &mut acts);
                let Slot::Own(wait) = state.slots[index] else {
                    return None;
                };
                state.slots[index] = Slot::Free;
                let wait = match wait {
                    Wait::Interrupted(kind) | Wait::Asked(kind) => {
                        state.enter(kind, false, act, &mut acts)
                    }
                    Wait::NoThread(kind) => state.enter(kind, true, act, &mut acts),
                    Wait::Unused => state.close(act, &mut acts),
                };
                let (answer, at) = state.park(index, wait);
                slot = at;
                answer
            }
            Step::ReturnAgain(orphans) => {
                state.see_orphans_through(orphans, &mut acts);
                Answer::Resume
            }
            Step::Probe => {
                for index in 0..SLOTS {
                    match state.slots[index] {
                        Slot::Own(wait @ (Wait::Interrupted(_) | Wait::Asked(_))) => {
                            state.slots[index] = Slot::Orphan(wait);
                        }
                        Slot::Own(Wait::NoThread(kind)) => {
                            state.slots[index] = Slot::Free;
                            if kind == Kind::Close {
                                state.session = Session::Open;
                            }
                        }
                        Slot::Own(Wait::Unused) => {
                            state.slots[index] = Slot::Free;
                            state.session = Session::Open;
                        }
                        Slot::Free | Slot::Orphan(_) => {}
                    }
                }
                Answer::Nothing
            }
            Step::Enable => {
                state.enabled = true;
                Answer::Nothing
            }
            Step::Raise => {
                state.raised = true;
                Answer::Nothing
            }
            Step::Poll => {
                let new = state.enabled && state.raised;
                if new {
                    state.raised = false;
                    state.waiting = true;
                }
                Answer::Notified(new)
            }
            Step::Fetch => Answer::Fetched(core::mem::take(&mut state.waiting)),
            Step::End(again) => {
                let raised = state.raised;
                state = Self {
                    session: Session::None,
                    raised,
                    ended: !again,
                    ..Self::new()
                };
                if again {
                    Answer::BeginsAnew
                } else {
                    Answer::Ended
                }
            }
        };
        Some(After {
            state,
            acts,
            answer,
            slot,
        })
    }
}

/// All guests.
pub(crate) struct Life;

impl Model for Life {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.ended {
            return;
        }
        let goes_on = [Act::Done, Act::Interrupt, Act::Ask];
        let orphans: &[Act] = if state.has_orphans() {
            &goes_on
        } else {
            &[Act::Done]
        };
        for &orphan in orphans {
            for act in [Act::Done, Act::Interrupt, Act::Ask, Act::NoThread] {
                steps.push(Step::Call(Kind::Invoke, act, orphan));
                steps.push(Step::Call(Kind::Close, act, orphan));
                // One session is enough to see what happens to it.
                if state.session == Session::None && !state.opens() {
                    steps.push(Step::Call(Kind::Open, act, orphan));
                }
            }
            for (index, slot) in state.slots.iter().enumerate() {
                let Slot::Own(wait) = slot else {
                    continue;
                };
                steps.extend(goes_on.map(|act| Step::Return(index, act, orphan)));
                // A thread that is suspended is there when the guest returns.
                if matches!(wait, Wait::NoThread(_) | Wait::Unused) {
                    steps.push(Step::Return(index, Act::NoThread, orphan));
                }
            }
            steps.push(Step::ReturnAgain(orphan));
        }
        steps.extend([Step::Probe, Step::Enable, Step::Poll, Step::Fetch]);
        steps.extend([Step::End(false), Step::End(true)]);
        if !state.raised {
            steps.push(Step::Raise);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        state.after(step).map(|after| after.state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "OP-TEE has as many threads suspended as it has",
                |_, state: &State| state.suspended() <= THREADS,
            ),
            Property::always(
                "a kernel has as many calls as threads",
                |_, state: &State| state.own() <= THREADS,
            ),
            Property::always("a session that is used is there", |_, state: &State| {
                state.session != Session::None || !state.is_used()
            }),
            Property::always("one call closes a session", |_, state: &State| {
                let closes = |wait: &Wait| match wait {
                    Wait::Interrupted(kind) | Wait::Asked(kind) | Wait::NoThread(kind) => {
                        *kind == Kind::Close
                    }
                    Wait::Unused => true,
                };
                let closing = usize::from(state.session == Session::Closing);
                state.waits().filter(closes).count() == closing
            }),
            Property::always(
                "nothing is left of a guest that ended",
                |_, state: &State| {
                    !state.ended || (state.in_flight() == 0 && state.session == Session::None)
                },
            ),
            Property::sometimes(
                "a kernel is held up by the one before",
                |_, state: &State| {
                    let waits = |slot: &Slot| matches!(slot, Slot::Own(Wait::NoThread(_)));
                    state.suspended() == THREADS
                        && state.own() == 1
                        && state.slots.iter().any(waits)
                },
            ),
            Property::sometimes("a call waits to close a session", |_, state: &State| {
                state.waits().any(|wait| wait == Wait::Unused)
            }),
            Property::sometimes("a guest is notified", |_, state: &State| state.waiting),
        ]
    }
}
