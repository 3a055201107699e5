//! How far a yielding call has come. Each stage has with it what only it needs.

use super::back::Back;
use super::sessions::Closing;
use super::shm::handle::Handle;
use super::shm::page_list::Memory;
use crate::ta_access::Uuid;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The slot has no call, or one that is only about to begin.
    Idle,
    /// The guest makes more calls than it may: this one begins at this time of the CPU's counter.
    Throttled { start: Start, turn: u64 },
    /// It is to close a session that other calls still use.
    AwaitsClose(Closing),
    /// It is to have OP-TEE forget a buffer that other calls still refer to.
    AwaitsRelease(Handle, Release),
    /// The pages of a buffer that OP-TEE is about to learn of are translated.
    Translates(Handle, Purpose),
    /// OP-TEE does this.
    InOptee(Errand, Thread),
    /// The guest is to free the memory that it provided for RPCs; then the call is over.
    FreesArgument,
}

/// A call of the guest that did not begin yet: the function, and the registers that say where its
/// message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) function: u32,
    pub(super) arguments: [u64; 3],
}

/// Why a buffer is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// The guest's message says so.
    Unregistered,
    /// The guest registers its cookie anew.
    Replaced,
}

/// What a buffer is shared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The guest's message registers it.
    Register,
    /// The parameter with this index is temporary memory.
    Temporary(usize),
}

/// What OP-TEE does at one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// It registers the slot's own memory anew, to be known by this handle.
    Renew(Handle),
    /// It unregisters what that was known as before.
    Retire,
    /// It unregisters a buffer whose cookie the guest registers anew.
    Replace(Handle),
    /// It registers the temporary memory of this parameter.
    Share(usize, Handle),
    /// It does what the message says.
    Message,
    /// It unregisters temporary memory.
    Unshare(Handle),
}

/// OP-TEE's thread for an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thread {
    /// OP-TEE is to begin. It may have no thread at the moment.
    Wanted,
    /// The one with this number is suspended.
    Suspended(u64, Until),
}

/// What a suspended thread goes on after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Nothing: it can go on.
    Now,
    /// The guest took an interrupt.
    InterruptTaken,
    /// The guest did what it is asked for.
    Done(Asked),
    /// The guest provided memory for RPCs, and then did this.
    ArgumentProvided(Asked),
    /// The guest freed memory for RPCs that can't be used. OP-TEE gets an error then.
    ArgumentFreed,
    /// OP-TEE has room to map this memory beside what other calls have, at the latest at this time
    /// of the CPU's counter.
    Room(Memory, u64),
    /// The pages of the buffer that the guest provided are translated.
    Translated(Handle),
}

/// What OP-TEE asks of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To do something that brings this back.
    Command(Back),
    /// To provide memory.
    Memory,
    /// To free memory that it provided and that can't be used. OP-TEE gets an error then.
    FreeRefused,
}

/// What a call is for, with what it holds for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Something of which no trace is left when OP-TEE has done it.
    Other,
    /// To open a session.
    Open,
    /// To find out whether an application is kept alive without a session: the mediator's own.
    FindOut(Uuid),
    /// To close this session.
    Close(Closing),
    /// To register this buffer.
    Register(Handle),
    /// To unregister it.
    Unregister(Handle),
}
