//! What the mediator remembers of a call between two of its returns to the guest.

use alloc::boxed::Box;

use optee_abi::message::{CAPACITY, Direction, Message};
use optee_abi::smc::status;

use super::applications::Charge;
use super::core_window::Share;
use super::flow::{Entry, Start};
use super::sessions::Closing;
use super::shm::handle::Handle;
use super::shm::location::Location;
use super::shm::message_area::Known;
use super::shm::page_list::{Memory, Purpose, Translation, Words};
use super::shm::page_pool::Chain;

/// A yielding call. It lives in a slot that is made once and used for one call after the other.
#[derive(Debug)]
pub(super) struct Call {
    /// The slot.
    pub(super) index: usize,
    /// How OP-TEE knows the slot's memory.
    pub(super) known: Known,
    /// Counts the thread IDs of this slot.
    pub(super) generation: u32,
    /// What the guest was asked to do, while the call is parked.
    pub(super) waiting: Waiting,
    /// What OP-TEE is doing.
    pub(super) stage: Stage,

    /// The guest's message, as copied once; what comes back goes in here.
    pub(super) message: Message,
    /// How many parameters of it are to be looked at.
    pub(super) count: usize,
    /// The same as OP-TEE gets it.
    pub(super) posted: Message,
    /// Where the guest has its message, and whatever may follow that: room for RPCs, in two of the
    /// three ways to call.
    pub(super) location: Location,
    /// Where the guest has room for RPCs.
    pub(super) argument: Argument,
    /// What stands on the secure side for the buffer that the message is about, or for the
    /// temporary memory of each parameter.
    pub(super) handles: [Option<Handle>; CAPACITY],
    /// What its parameters bring back.
    pub(super) back: Back,
    /// What OP-TEE has in its own address space of its parameters.
    pub(super) core_share: Option<Share>,
    /// The session that it is to close.
    pub(super) closing: Option<Closing>,
    /// What OP-TEE takes for trusted applications on its behalf.
    pub(super) charge: Charge,
    /// It is the mediator's own, to find out whether an application is kept alive.
    pub(super) finds_out: bool,
    /// A bit for each parameter that is temporary memory.
    pub(super) temporary: u8,
    /// A bit for each of them that OP-TEE knows.
    pub(super) shared: u8,
    /// What the guest gets in a0 in the end.
    pub(super) status: u32,

    /// The thread of OP-TEE that is suspended.
    pub(super) thread: u64,
    /// How many parameters the message has that OP-TEE was given: the RPC argument follows it.
    pub(super) sent_count: usize,
    /// What OP-TEE asked for, or replied in the end, as copied once.
    pub(super) request: Message,
    /// How many parameters that has.
    pub(super) request_count: usize,
    /// What those bring back.
    pub(super) request_back: Back,
    /// The same as the guest gets it, then as it comes back.
    pub(super) command: Message,

    /// A translation under way.
    pub(super) translation: Option<Translation>,
    /// The copy that it works on.
    pub(super) words: Box<Words>,
    /// Lists that OP-TEE may still be reading.
    pub(super) lists: Chain,
    /// A buffer that OP-TEE may still be about to forget.
    pub(super) forgetting: Option<Handle>,
    /// An RPC argument that the guest left with the mediator.
    pub(super) cached: Option<Allocated>,
}

/// What the guest was asked to do for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing: the call is not parked.
    Nothing,
    /// To take an interrupt that OP-TEE saw.
    Interrupt,
    /// To take an interrupt that the mediator saw, then to let it go on.
    Pause(Paused),
    /// To do what OP-TEE commands.
    Command,
    /// To provide memory for an RPC argument.
    ArgumentAlloc,
    /// To free that memory; the call is over then.
    ArgumentFree,
    /// To free that memory, because it is none; OP-TEE gets an error then.
    BadArgumentFree,
    /// To free a buffer that OP-TEE had asked for and that could not be used; OP-TEE gets an error
    /// then.
    RefusedFree,
}

/// What the mediator stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paused {
    /// A translation.
    Translation,
    /// OP-TEE had no thread; this is for another try.
    Enter(Entry),
    /// The session that is to be closed is in use.
    CloseSession,
    /// OP-TEE has no room to map this memory for an RPC beside what other calls have; until this
    /// time of the CPU's counter.
    Room(Memory, u64),
    /// The guest makes more calls than it may: this one begins at this time of the CPU's counter.
    Turn(Start, u64),
}

/// What OP-TEE is doing for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Registering the slot's own memory anew, to be known like this.
    Renew(Known),
    /// Unregistering what that was known as before.
    Retire,
    /// Unregistering a buffer whose cookie the guest registers anew.
    Replace(Handle),
    /// Registering the temporary memory of this parameter.
    Share(usize),
    /// What the guest's message says.
    Message,
    /// Unregistering the temporary memory of this parameter.
    Unshare(usize),
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

impl Call {
    /// The call of the slot `index`, not under way.
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            known: Known::from_creation(index),
            generation: 0,
            waiting: Waiting::Nothing,
            stage: Stage::Message,
            message: Message::default(),
            count: 0,
            posted: Message::default(),
            location: Location::contiguous(addresses::Ipa(0), 0),
            argument: Argument::Missing,
            handles: [None; CAPACITY],
            back: Back::default(),
            core_share: None,
            closing: None,
            charge: Charge::default(),
            finds_out: false,
            temporary: 0,
            shared: 0,
            status: status::OK,
            thread: 0,
            sent_count: 0,
            request: Message::default(),
            request_count: 0,
            request_back: Back::default(),
            command: Message::default(),
            translation: None,
            words: Box::new([0; _]),
            lists: Chain::new(),
            forgetting: None,
            cached: None,
        }
    }

    /// Whether OP-TEE was at work for the call, which is parked, on the guest's behalf, when an
    /// interrupt came.
    pub(super) fn computes(&self) -> bool {
        let own = self.closing.is_some() || self.finds_out;
        self.waiting == Waiting::Interrupt && !own
    }

    /// Whether a thread of OP-TEE is suspended for the call, which is parked.
    pub(super) fn is_in_optee(&self) -> bool {
        match self.waiting {
            Waiting::Nothing | Waiting::ArgumentFree => false,
            Waiting::Pause(Paused::Translation) => self
                .translation
                .as_ref()
                .is_some_and(|translation| translation.purpose == Purpose::RpcAlloc),
            Waiting::Pause(Paused::Room(..)) => true,
            // OP-TEE has no thread, or was not asked yet.
            Waiting::Pause(Paused::Enter(_) | Paused::CloseSession | Paused::Turn(..)) => false,
            Waiting::Interrupt
            | Waiting::Command
            | Waiting::ArgumentAlloc
            | Waiting::BadArgumentFree
            | Waiting::RefusedFree => true,
        }
    }

    /// Makes the slot ready for another call.
    pub(super) fn begin(&mut self) {
        self.waiting = Waiting::Nothing;
        self.stage = Stage::Message;
        self.count = 0;
        self.argument = Argument::Missing;
        self.handles = [None; CAPACITY];
        self.back = Back::default();
        self.finds_out = false;
        self.temporary = 0;
        self.shared = 0;
        self.status = status::OK;
    }
}

/// Which parameters of a message bring something back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Back {
    /// A bit for each that is a value.
    values: u8,
    /// A bit for each that is memory, of which the size comes back.
    sizes: u8,
}

impl Back {
    /// The value with this bit goes in `direction`.
    pub(super) fn note_value(&mut self, bit: u8, direction: Direction) {
        if direction.brings_back() {
            self.values |= bit;
        }
    }

    /// The memory with this bit goes in `direction`.
    pub(super) fn note_memory(&mut self, bit: u8, direction: Direction) {
        if direction.brings_back() {
            self.sizes |= bit;
        }
    }

    /// How many parameters there are up to the last one that brings something back.
    pub(super) fn count(self) -> usize {
        (u8::BITS - (self.values | self.sizes).leading_zeros()) as usize
    }

    /// The same for a reply of the guest: OP-TEE takes a size for that of what there is in a
    /// buffer, so that it gets none that is larger than the buffer. Of a reference to nothing the
    /// size says how much there would be.
    pub(super) fn take_within(self, message: &mut Message, reply: &Message) {
        self.take_values(message, reply);
        for index in indices(self.sizes) {
            let [_, size, reference] = message.words(index);
            let [_, replied, _] = reply.words(index);
            let most = if reference == 0 { u64::MAX } else { size };
            message.set_size(index, replied.min(most));
        }
    }

    fn take_values(self, message: &mut Message, reply: &Message) {
        for index in indices(self.values) {
            message.set_words(index, reply.words(index));
        }
    }

    /// Takes over from `reply` what they bring back, field by field, and nothing else.
    pub(super) fn take(self, message: &mut Message, reply: &Message) {
        self.take_values(message, reply);
        for index in indices(self.sizes) {
            message.set_size(index, reply.words(index)[1]);
        }
    }
}

/// The indices of the bits that are set in `bits`, from the lowest on.
fn indices(mut bits: u8) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let index = bits.trailing_zeros() as usize;
        bits &= bits.checked_sub(1)?;
        Some(index)
    })
}
