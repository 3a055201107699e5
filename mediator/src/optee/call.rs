//! What the mediator remembers of a call between two of its returns to the guest.

use optee_abi::message::{CAPACITY, Message};
use optee_abi::smc::status;

use super::applications::Charge;
use super::back::Back;
use super::core_window::Share;
use super::error::NoHeap;
use super::fallible_box::FallibleBox;
use super::shm::handle::Handle;
use super::shm::location::Location;
use super::shm::message_area::{Known, slot};
use super::shm::page_list::{Translation, Words};
use super::shm::page_pool::Chain;
use super::stage::{Errand, Stage, Task, Thread, Until};

/// A yielding call. It lives in a slot that is made once and used for one call after the other.
#[derive(Debug)]
pub(super) struct Call {
    /// The slot.
    pub(super) index: usize,
    /// How OP-TEE knows the slot's memory.
    pub(super) known: Known,
    /// Counts the thread IDs of this slot.
    pub(super) generation: u32,
    /// How far it has come.
    pub(super) stage: Stage,
    /// What it is for.
    pub(super) task: Task,
    /// Who made it. `None` for one of the mediator's own, and when its kernel is gone.
    pub(super) caller: Option<Caller>,

    /// The guest's message, as copied once; what comes back goes in here.
    pub(super) message: Message,
    /// The same as OP-TEE gets it.
    pub(super) posted: Message,
    pub(super) parameters: Parameters,
    /// What OP-TEE has in its own address space of its parameters.
    pub(super) core_share: Option<Share>,
    /// What OP-TEE takes for trusted applications on its behalf.
    pub(super) charge: Charge,
    /// What the guest gets in a0 in the end.
    pub(super) status: u32,

    /// The shadow page and the offset in it where OP-TEE has the RPC argument.
    pub(super) rpc_slot: (usize, usize),
    /// What OP-TEE asked for, or replied in the end, as copied once.
    pub(super) request: Message,
    /// The same as the guest gets it, then as it comes back.
    pub(super) command: Message,

    /// The translation that is under way in two of the stages.
    pub(super) translation: Translation,
    /// The copy that it works on.
    pub(super) words: FallibleBox<Words>,
    /// Lists that are being made, or that OP-TEE may still be reading.
    pub(super) lists: Chain,
    /// A buffer that OP-TEE may still be about to forget.
    pub(super) forgetting: Option<Handle>,
    /// An RPC argument that the guest left with the mediator.
    pub(super) cached: Option<Allocated>,
}

/// The side of a call that is in guest memory.
#[derive(Debug)]
pub(super) struct Caller {
    /// Where the guest has its message, and whatever may follow that: room for RPCs, in two of the
    /// three ways to call.
    pub(super) location: Location,
    /// Where it has room for RPCs.
    pub(super) argument: Argument,
}

impl Caller {
    /// One that has its message here.
    pub(super) fn at(location: Location) -> Self {
        Self {
            location,
            argument: Argument::Missing,
        }
    }
}

/// Where a guest has room for RPCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// Behind its message; it was not needed yet.
    Follows,
    /// Behind its message, here.
    Here(Location),
    /// Where it said when it was asked.
    Allocated(Allocated),
    /// It was not asked yet.
    Missing,
}

/// Memory that a guest provided for an RPC argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allocated {
    pub(super) location: Location,
    pub(super) cookie: u64,
}

/// The parameters of a message. Sets of them have a bit for each.
#[derive(Debug)]
pub(super) struct Parameters {
    /// How many are to be looked at.
    pub(super) count: usize,
    /// What they bring back.
    pub(super) back: Back,
    /// Which are temporary memory.
    pub(super) temporary: u8,
    /// Which of those OP-TEE knows.
    pub(super) shared: u8,
    /// How OP-TEE knows them.
    handles: [Handle; CAPACITY],
}

impl Parameters {
    /// OP-TEE knows the temporary memory of the parameter at `index`.
    pub(super) fn note_shared(&mut self, index: usize, handle: Handle) {
        if let Some(known) = self.handles.get_mut(index) {
            *known = handle;
            self.shared |= 1 << index;
        }
    }

    /// The first that is temporary memory and not shared yet.
    pub(super) fn to_share(&self) -> Option<usize> {
        let left = self.temporary & !self.shared;
        (left != 0).then_some(left.trailing_zeros() as usize)
    }

    /// Whether OP-TEE knows some of it.
    pub(super) fn has_shared(&self) -> bool {
        self.shared != 0
    }

    /// The next temporary memory that OP-TEE still knows, to be taken back.
    pub(super) fn take_shared(&mut self) -> Option<Handle> {
        let index = self.shared.trailing_zeros() as usize;
        self.shared &= self.shared.checked_sub(1)?;
        self.handles.get(index).copied()
    }
}

impl Call {
    /// The call of the slot `index`, not under way.
    pub(super) fn new(index: usize) -> Result<Self, NoHeap> {
        Ok(Self {
            index,
            known: Known::from_creation(index),
            generation: 0,
            stage: Stage::Idle,
            task: Task::Other,
            caller: None,
            message: Message::default(),
            posted: Message::default(),
            parameters: Parameters {
                count: 0,
                back: Back::default(),
                temporary: 0,
                shared: 0,
                handles: [Handle::MESSAGES; CAPACITY],
            },
            core_share: None,
            charge: Charge::default(),
            status: status::OK,
            rpc_slot: slot(index),
            request: Message::default(),
            command: Message::default(),
            translation: Translation::default(),
            words: FallibleBox::new([0; _])?,
            lists: Chain::new(),
            forgetting: None,
            cached: None,
        })
    }

    /// Makes the slot ready for another call.
    pub(super) fn begin(&mut self) {
        self.stage = Stage::Idle;
        self.task = Task::Other;
        self.parameters.count = 0;
        self.parameters.back = Back::default();
        self.parameters.temporary = 0;
        self.parameters.shared = 0;
        self.status = status::OK;
    }

    /// Whether a thread of OP-TEE is suspended for the call, which is parked.
    fn is_in_optee(&self) -> bool {
        matches!(self.stage, Stage::InOptee(_, Thread::Suspended(..)))
    }

    /// Whether OP-TEE has something of the call that only an entry into OP-TEE ends: a suspended
    /// thread, temporary memory, or what memory for messages was known as before.
    pub(super) fn has_left_something(&self) -> bool {
        let takes_back = matches!(
            self.stage,
            Stage::InOptee(Errand::Unshare(_) | Errand::Retire, _)
        );
        self.is_in_optee() || takes_back || self.parameters.has_shared()
    }

    /// Whether OP-TEE does what the message says, rather than something that comes before or after.
    #[inline]
    pub(super) fn is_at_message(&self) -> bool {
        matches!(self.stage, Stage::InOptee(Errand::Message, _))
    }

    /// Says what its suspended thread of OP-TEE goes on after.
    #[inline]
    pub(super) fn wait(&mut self, what: Until) {
        if let Stage::InOptee(_, Thread::Suspended(_, until)) = &mut self.stage {
            *until = what;
        }
    }
}
