//! The PL031 of a VM, emulated: the real-time clock of revision r1p3 (DDI0224C, chapter 3), without
//! a line for its interrupt.
//!
//! The guest sets its own clock alone. Whoever uses this says what time the machine has.

use super::primecell::identification;

const DR: u64 = 0x000;
const MR: u64 = 0x004;
const LR: u64 = 0x008;
const CR: u64 = 0x00c;
const IMSC: u64 = 0x010;
const RIS: u64 = 0x014;
const MIS: u64 = 0x018;
const ICR: u64 = 0x01c;

/// Part 0x031, designer 0x41 (Arm), revision 0, configuration 0; then the PrimeCell number.
const IDENTIFICATION_BYTES: [u8; 8] = [0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// RTCCR: the clock runs. It can't be stopped.
const RUNS: u32 = 1;

/// The clock. Times are in seconds; the guest's begin anew after 2^32 of them.
#[derive(Debug, Default)]
pub struct VirtualPl031 {
    /// How far the guest's clock is ahead of the machine's.
    ahead: u32,
    match_at: u32,
    /// The guest's time from which on a match is awaited, if it did not come yet.
    awaited_since: Option<u32>,
    matched: bool,
    interrupt_mask: u32,
}

impl VirtualPl031 {
    /// A read of the register at `offset`, which is zero where there is none, when it is `now` on
    /// the machine.
    pub fn read(&mut self, offset: u64, now: u32) -> u32 {
        self.look(now);
        match offset {
            DR => self.time(now),
            MR => self.match_at,
            LR => self.ahead.wrapping_add(now),
            CR => RUNS,
            IMSC => self.interrupt_mask,
            RIS => u32::from(self.matched),
            MIS => u32::from(self.matched) & self.interrupt_mask,
            _ => identification(IDENTIFICATION_BYTES, offset).map_or(0, u32::from),
        }
    }

    /// A write of the register at `offset`, ignored where there is none, when it is `now` on the
    /// machine.
    pub fn write(&mut self, offset: u64, value: u32, now: u32) {
        self.look(now);
        match offset {
            MR => self.match_at = value,
            LR => self.ahead = value.wrapping_sub(now),
            IMSC => self.interrupt_mask = value & 1,
            ICR => self.matched &= value & 1 == 0,
            _ => {}
        }
        if matches!(offset, MR | LR) {
            self.awaited_since = Some(self.time(now));
        }
    }

    fn time(&self, now: u32) -> u32 {
        now.wrapping_add(self.ahead)
    }

    /// Takes note of a match up to `now`.
    fn look(&mut self, now: u32) {
        let Some(since) = self.awaited_since else {
            return;
        };
        if self.match_at.wrapping_sub(since) <= self.time(now).wrapping_sub(since) {
            self.matched = true;
            self.awaited_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::primecell::IDENTIFICATION;

    const NOW: u32 = 1_795_000_000;

    #[test]
    fn it_tells_the_machine_s_time_until_it_is_set() {
        let mut clock = VirtualPl031::default();
        assert_eq!(clock.read(DR, NOW), NOW);
        clock.write(LR, 100, NOW);
        assert_eq!(clock.read(DR, NOW + 7), 107);
        clock.write(LR, u32::MAX, NOW + 7);
        assert_eq!(clock.read(DR, NOW + 9), 1, "it begins anew");
        clock.write(CR, 0, NOW);
        assert_eq!(clock.read(CR, NOW), RUNS);
        for read_only in [DR, RIS, MIS, IDENTIFICATION, 0x20, 0xffc] {
            clock.write(read_only, 5, NOW + 9);
        }
        assert_eq!(clock.read(DR, NOW + 9), 1);
    }

    #[test]
    fn a_match_is_told_until_it_is_cleared() {
        let mut clock = VirtualPl031::default();
        clock.write(MR, NOW + 10, NOW);
        clock.write(IMSC, 0xff, NOW);
        assert_eq!(clock.read(IMSC, NOW), 1);
        assert_eq!(
            [RIS, MIS].map(|register| clock.read(register, NOW + 9)),
            [0, 0]
        );
        // It was passed while nobody looked.
        assert_eq!(
            [RIS, MIS].map(|register| clock.read(register, NOW + 11)),
            [1, 1]
        );
        clock.write(IMSC, 0, NOW + 11);
        assert_eq!(
            [RIS, MIS].map(|register| clock.read(register, NOW + 11)),
            [1, 0]
        );
        clock.write(ICR, 0, NOW + 11);
        assert_eq!(clock.read(RIS, NOW + 11), 1);
        clock.write(ICR, 1, NOW + 11);
        assert_eq!(clock.read(RIS, NOW + 12), 0);
        assert_eq!(clock.read(RIS, NOW + 1_000_000), 0);
        clock.write(MR, NOW, NOW + 20);
        assert_eq!(clock.read(RIS, NOW + 30), 0, "a match in the past is none");
        clock.write(LR, NOW - 1, NOW + 30);
        assert_eq!(clock.read(RIS, NOW + 31), 1, "after the clock was set back");
    }

    #[test]
    fn a_match_in_the_second_in_which_it_was_cleared_counts_once() {
        let mut clock = VirtualPl031::default();
        clock.write(MR, NOW, NOW);
        assert_eq!(clock.read(RIS, NOW), 1);
        clock.write(ICR, 1, NOW);
        assert_eq!(clock.read(RIS, NOW), 0);
        assert_eq!(clock.read(RIS, NOW + 5), 0);
    }

    #[test]
    fn it_says_what_it_is() {
        let mut clock = VirtualPl031::default();
        let bytes = (0..8).map(|number| clock.read(IDENTIFICATION + 4 * number, NOW));
        assert!(bytes.eq(IDENTIFICATION_BYTES.map(u32::from)));
        for odd in [0xfe1, 0x1000, 0x24, u64::MAX] {
            assert_eq!(clock.read(odd, NOW), 0, "{odd:#x}");
        }
    }
}
