//! What a partition counts.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use optee_abi::message::command;

/// How many calls of each kind a guest made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Fast calls.
    pub fast: u64,
    /// Messages that open a session.
    pub open_session: u64,
    /// Messages that invoke a command.
    pub invoke_command: u64,
    /// Messages that close a session.
    pub close_session: u64,
    /// Messages that register a buffer.
    pub register: u64,
    /// Messages that take a buffer back.
    pub unregister: u64,
    /// Other messages.
    pub other: u64,
}

/// What a partition did since it was created, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls, by kind.
    pub calls: Calls,
    /// Commands that OP-TEE had for the guest.
    pub rpcs: u64,
    /// Returns to the guest for the sake of an interrupt that OP-TEE saw.
    pub foreign_interrupts: u64,
    /// Returns to the guest for the sake of an interrupt that the mediator saw.
    pub pauses: u64,
    /// Notifications that OP-TEE had for the guest.
    pub notifications: u64,
    /// Calls that had to wait their turn.
    pub paced: u64,
    /// Sessions that the guest's access to trusted applications does not allow.
    pub opens_denied: u64,
    /// Sessions and trusted applications for which OP-TEE has no identifier left of the guest's
    /// share.
    pub instances_refused: u64,
    /// Calls and messages that the mediator refused, those sessions among them.
    pub refused: u64,
    /// Bytes copied out of and into guest memory.
    pub bytes_copied: u64,
    /// Entries of page lists translated.
    pub entries_translated: u64,
    /// Buffers that the guest shares now, of every kind.
    pub buffers: u64,
    /// Pages that are pinned for them now.
    pub pinned_pages: u64,
    /// Calls under way now.
    pub calls_in_flight: u64,
}

impl Stats {
    /// Writes a part of the text, of which there are [`STATS_PARTS`](crate::STATS_PARTS).
    pub(super) fn write_part(&self, part: usize, to: &mut dyn fmt::Write) -> fmt::Result {
        match part {
            0 => self.write_calls(to),
            1 => self.write_events(to),
            2 => self.write_amounts(to),
            _ => Ok(()),
        }
    }

    fn write_calls(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        let calls = &self.calls;
        write!(
            to,
            "calls: {} fast, {} open, {} invoke, {} close, {} register, {} unregister, {} other; ",
            calls.fast,
            calls.open_session,
            calls.invoke_command,
            calls.close_session,
            calls.register,
            calls.unregister,
            calls.other,
        )
    }

    fn write_events(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        write!(
            to,
            "{} RPCs, {} foreign interrupts, {} pauses, {} notifications, {} paced, {} opens denied, {} instances refused, {} refused; ",
            self.rpcs,
            self.foreign_interrupts,
            self.pauses,
            self.notifications,
            self.paced,
            self.opens_denied,
            self.instances_refused,
            self.refused,
        )
    }

    fn write_amounts(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        write!(
            to,
            "{} bytes copied, {} entries translated; now {} buffers, {} pages, {} calls in flight",
            self.bytes_copied,
            self.entries_translated,
            self.buffers,
            self.pinned_pages,
            self.calls_in_flight,
        )
    }
}

/// A counter that costs as little as it can: what matters is the sum.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) fast: Counter,
    /// One for each message command up to the last, then one for all others.
    messages: [Counter; 7],
    pub(super) rpcs: Counter,
    pub(super) foreign_interrupts: Counter,
    pub(super) pauses: Counter,
    pub(super) notifications: Counter,
    pub(super) paced: Counter,
    pub(super) opens_denied: Counter,
    pub(super) instances_refused: Counter,
    pub(super) refused: Counter,
    pub(super) bytes_copied: Counter,
    pub(super) entries_translated: Counter,
}

impl Counters {
    /// Counts a message with this command.
    pub(super) fn message(&self, command: u32) {
        let last = self.messages.len() - 1;
        let index = usize::try_from(command).map_or(last, |command| command.min(last));
        self.messages[index].add(1);
    }

    /// The sums so far; what is held now is for the caller to fill in.
    pub(super) fn sums(&self) -> Stats {
        let message = |command: u32| self.messages[command as usize].get();
        Stats {
            calls: Calls {
                fast: self.fast.get(),
                open_session: message(command::OPEN_SESSION),
                invoke_command: message(command::INVOKE_COMMAND),
                close_session: message(command::CLOSE_SESSION),
                register: message(command::REGISTER_SHM),
                unregister: message(command::UNREGISTER_SHM),
                other: message(command::CANCEL) + message(command::DO_BOTTOM_HALF),
            },
            rpcs: self.rpcs.get(),
            foreign_interrupts: self.foreign_interrupts.get(),
            pauses: self.pauses.get(),
            notifications: self.notifications.get(),
            paced: self.paced.get(),
            opens_denied: self.opens_denied.get(),
            instances_refused: self.instances_refused.get(),
            refused: self.refused.get(),
            bytes_copied: self.bytes_copied.get(),
            entries_translated: self.entries_translated.get(),
            ..Stats::default()
        }
    }
}
