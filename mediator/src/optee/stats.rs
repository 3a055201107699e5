//! What a partition counts.

use crate::sync::atomic::{AtomicU64, Ordering};

use host_abi::console::{TeeCalls, TeeStats};
use optee_abi::message::command;

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

/// The counters behind [`TeeStats`].
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
    pub(super) fn sums(&self) -> TeeStats {
        let message = |command: u32| self.messages[command as usize].get();
        TeeStats {
            calls: TeeCalls {
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
            ..TeeStats::default()
        }
    }
}
