//! What the prompt's `stats` tells of the heap, of each guest and of its TEE. All are counts of
//! things since the hypervisor's start, unless they say something else.

use core::fmt;

use super::scanner::{Scanner, fields};

/// The hypervisor's heap, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapStats {
    /// Bytes that are allocated.
    pub bytes: u64,
    /// Allocations that hold them.
    pub allocations: u64,
    /// Bytes that are left.
    pub free: u64,
}

fields! {
    impl HeapStats {
        write, read: ["heap: " (bytes) " bytes in " (allocations) " allocations, " (free) " bytes left"];
    }
}

/// A guest, in all its lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestStats {
    /// Times that it was started.
    pub starts: u64,
    /// Calls that were refused: owned by no service, or denied by the guest's policy.
    pub refused: u64,
    /// Calls that were forwarded to the firmware.
    pub forwarded: u64,
    /// Pages of 4 KiB that the secure world knows now.
    pub pages: u64,
}

fields! {
    impl GuestStats {
        write, read: [(starts) " starts, " (refused) " calls refused, " (forwarded) " forwarded, "
            (pages) " pages known to the secure world"];
    }
}

/// Calls of its TEE that a guest began, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TeeCalls {
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

/// What a guest did with its TEE since its partition of it was made, and what it holds there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TeeStats {
    /// Calls, by kind.
    pub calls: TeeCalls,
    /// Commands that the TEE had for the guest.
    pub rpcs: u64,
    /// Returns to the guest for the sake of an interrupt that the TEE saw.
    pub foreign_interrupts: u64,
    /// Returns to the guest for the sake of an interrupt that the mediator saw.
    pub pauses: u64,
    /// Notifications that the TEE had for the guest.
    pub notifications: u64,
    /// Calls that had to wait their turn.
    pub paced: u64,
    /// Sessions that the guest's access to trusted applications does not allow.
    pub opens_denied: u64,
    /// Sessions and trusted applications for which the TEE has no identifier left of the guest's
    /// share.
    pub instances_refused: u64,
    /// Calls and messages that the mediator refused, those sessions among them.
    pub refused: u64,
    /// Bytes copied out of and into guest memory.
    pub bytes_copied: u64,
    /// Entries of page lists translated, a page of 4 KiB each.
    pub entries_translated: u64,
    /// Buffers that the guest shares now, of every kind.
    pub buffers: u64,
    /// Pages of 4 KiB that are pinned for them now.
    pub pinned_pages: u64,
    /// Calls under way now.
    pub calls_in_flight: u64,
}

fields! {
    impl TeeStats {
        write_calls, read_calls: ["calls: " (calls.fast) " fast, " (calls.open_session) " open, "
            (calls.invoke_command) " invoke, " (calls.close_session) " close, " (calls.register) " register, "
            (calls.unregister) " unregister, " (calls.other) " other; "];
        write_events, read_events: [(rpcs) " RPCs, " (foreign_interrupts) " foreign interrupts, " (pauses) " pauses, "
            (notifications) " notifications, " (paced) " paced, " (opens_denied) " opens denied, "
            (instances_refused) " instances refused, " (refused) " refused; "];
        write_amounts, read_amounts: [(bytes_copied) " bytes copied, " (entries_translated) " entries translated; now "
            (buffers) " buffers, " (pinned_pages) " pages, " (calls_in_flight) " calls in flight"];
    }
}

impl TeeStats {
    /// The parts of the text for [`write_part`](Self::write_part).
    pub const PARTS: usize = 3;

    /// Writes part number `part` of the text, below [`PARTS`](Self::PARTS): each takes EL2 no more
    /// than some 3,000 instructions.
    ///
    /// # Errors
    ///
    /// `to` takes no more.
    pub fn write_part(&self, part: usize, to: &mut dyn fmt::Write) -> fmt::Result {
        match part {
            0 => self.write_calls(to),
            1 => self.write_events(to),
            2 => self.write_amounts(to),
            _ => Ok(()),
        }
    }

    /// SMCs that the guest issued to its TEE: each call is one, and so is each return from an RPC,
    /// an interrupt or a pause.
    #[must_use]
    pub fn smcs(&self) -> u64 {
        let calls = &self.calls;
        [
            calls.fast,
            calls.open_session,
            calls.invoke_command,
            calls.close_session,
            calls.register,
            calls.unregister,
            calls.other,
            self.rpcs,
            self.foreign_interrupts,
            self.pauses,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

impl HeapStats {
    pub(super) fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        let mut stats = Self::default();
        stats.read(line).map(|()| stats)
    }
}

impl fmt::Display for HeapStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

impl GuestStats {
    pub(super) fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        let mut stats = Self::default();
        stats.read(line).map(|()| stats)
    }
}

impl fmt::Display for GuestStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

impl TeeStats {
    pub(super) fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        let mut stats = Self::default();
        stats.read_calls(line)?;
        stats.read_events(line)?;
        stats.read_amounts(line)?;
        Some(stats)
    }
}

impl fmt::Display for TeeStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..Self::PARTS).try_for_each(|part| self.write_part(part, f))
    }
}
