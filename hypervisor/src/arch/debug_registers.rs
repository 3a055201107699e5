//! The debug registers of a vCPU (DDI0487J.a, D19.3): what a guest reads and writes, and what of it
//! the CPU gets.
//!
//! All accesses trap (MDCR_EL2.TDA, TDOSA and TDRA), so a vCPU that debugs nothing costs nothing,
//! and the CPU holds exactly what [`DebugRegisters::hardware_mdscr`], [`Pair::hardware_breakpoint`]
//! and [`Pair::hardware_watchpoint`] say. Debug exceptions then go to the guest's EL1 without EL2
//! (MDCR_EL2.TDE = 0).
//!
//! No external debugger is there: the debug communications channel takes one word and never
//! empties, and the OS double lock is not implemented.

use crate::arch::syndrome::RegisterName;

/// The most breakpoints, and the most watchpoints, that the architecture has.
pub const PAIRS_MAX: usize = 16;

/// A debug register, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugRegister {
    /// MDSCR_EL1.
    Control,
    /// `DBGBVR<n>_EL1`.
    BreakpointValue(usize),
    /// `DBGBCR<n>_EL1`.
    BreakpointControl(usize),
    /// `DBGWVR<n>_EL1`.
    WatchpointValue(usize),
    /// `DBGWCR<n>_EL1`.
    WatchpointControl(usize),
    /// OSLAR_EL1, which is only written.
    OsLockAccess,
    /// OSLSR_EL1.
    OsLockStatus,
    /// MDCCINT_EL1.
    ChannelInterrupts,
    /// MDCCSR_EL0.
    ChannelStatus,
    /// DBGDTR_EL0, and DBGDTRRX_EL0 with DBGDTRTX_EL0.
    ChannelData,
    /// DBGCLAIMSET_EL1.
    ClaimSet,
    /// DBGCLAIMCLR_EL1.
    ClaimClear,
    /// OSDTRRX_EL1, OSDTRTX_EL1, OSECCR_EL1, OSDLR_EL1, DBGPRCR_EL1, MDRAR_EL1 and
    /// DBGAUTHSTATUS_EL1, which matter to an external debugger alone: they read as zero and ignore
    /// writes.
    External,
}

/// How many breakpoints and watchpoints a CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairCounts {
    /// Breakpoints.
    pub breakpoints: usize,
    /// Watchpoints.
    pub watchpoints: usize,
}

impl PairCounts {
    /// Out of the CPU's ID_AA64DFR0_EL1 (BRPs and WRPs, each less one).
    #[must_use]
    pub const fn of(dfr0: u64) -> Self {
        Self {
            breakpoints: (dfr0 >> 12 & 0xf) as usize + 1,
            watchpoints: (dfr0 >> 20 & 0xf) as usize + 1,
        }
    }
}

impl DebugRegister {
    /// What `name`, whose op0 is 2, is. `None` if a guest's CPU does not have it.
    #[must_use]
    pub fn of(name: RegisterName) -> Option<Self> {
        let RegisterName {
            op0,
            op1,
            crn,
            crm,
            op2,
        } = name;
        let n = usize::from(crm);
        Some(match (op0, op1, crn, crm, op2) {
            (2, 0, 0, 2, 2) => Self::Control,
            (2, 0, 0, _, 4) => Self::BreakpointValue(n),
            (2, 0, 0, _, 5) => Self::BreakpointControl(n),
            (2, 0, 0, _, 6) => Self::WatchpointValue(n),
            (2, 0, 0, _, 7) => Self::WatchpointControl(n),
            (2, 0, 1, 0, 4) => Self::OsLockAccess,
            (2, 0, 1, 1, 4) => Self::OsLockStatus,
            (2, 0, 0, 2, 0) => Self::ChannelInterrupts,
            (2, 3, 0, 1, 0) => Self::ChannelStatus,
            (2, 3, 0, 4 | 5, 0) => Self::ChannelData,
            (2, 0, 7, 8, 6) => Self::ClaimSet,
            (2, 0, 7, 9, 6) => Self::ClaimClear,
            (2, 0, 0, 0 | 3 | 6, 2) | (2, 0, 1, 0, 0) | (2, 0, 1, 3 | 4, 4) | (2, 0, 7, 14, 6) => {
                Self::External
            }
            _ => return None,
        })
    }
}

/// MDSCR_EL1 (DDI0487J.a, D19.3.20).
mod mdscr {
    pub(super) const SS: u64 = 1;
    pub(super) const TDCC: u64 = 1 << 12;
    pub(super) const KDE: u64 = 1 << 13;
    pub(super) const MDE: u64 = 1 << 15;
    pub(super) const TX_FULL: u64 = 1 << 29;
    pub(super) const RX_FULL: u64 = 1 << 30;
    /// Bits that a guest writes at any time.
    pub(super) const WRITABLE: u64 = SS | TDCC | KDE | MDE;
    /// Bits that it writes while the OS lock is locked, to save and restore: ERR, HDE, SC2, TDA,
    /// INTdis, TXU, RXO, and the channel's.
    pub(super) const WRITABLE_LOCKED: u64 =
        1 << 6 | 1 << 14 | 1 << 19 | 1 << 21 | 0b11 << 22 | 1 << 26 | 1 << 27 | TX_FULL | RX_FULL;
    /// Bits that cause debug exceptions.
    pub(super) const EXCEPTIONS: u64 = SS | KDE | MDE;
}

/// `DBGBCR<n>_EL1` and `DBGWCR<n>_EL1` (DDI0487J.a, D19.3.2 and D19.3.12).
mod control {
    pub(super) const ENABLED: u64 = 1;
    pub(super) const HIGHER_MODE: u64 = 1 << 13;
    pub(super) const SECURITY_STATE: u64 = 0b11 << 14;
    pub(super) const NON_SECURE: u64 = 0b01 << 14;
    /// The bits of a breakpoint's control: BT, LBN, SSC, HMC, BAS, PMC and E.
    pub(super) const BREAKPOINT: u64 = 0x00ff_e1e7;
    /// Breakpoint types that look at EL2's registers: VMID and CONTEXTIDR_EL2.
    pub(super) const LOOKS_AT_EL2: u64 = 1 << 23;
    /// The bits of a watchpoint's control: MASK, WT, LBN, SSC, HMC, BAS, LSC, PAC and E.
    pub(super) const WATCHPOINT: u64 = 0x1f1f_ffff;
}

/// A breakpoint's or watchpoint's value and control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// `DBGBVR<n>_EL1` or `DBGWVR<n>_EL1`.
    pub value: u64,
    /// `DBGBCR<n>_EL1` or `DBGWCR<n>_EL1`.
    pub control: u64,
}

impl Pair {
    /// What the CPU's breakpoint gets.
    #[must_use]
    pub fn hardware_breakpoint(&self) -> Self {
        if self.control & control::LOOKS_AT_EL2 != 0 {
            return Self::default();
        }
        self.confined()
    }

    /// What the CPU's watchpoint gets.
    #[must_use]
    pub fn hardware_watchpoint(&self) -> Self {
        self.confined()
    }

    /// It matches at the guest's EL1 and EL0, never at EL2 nor in the secure world: HMC is 0 and
    /// SSC says non-secure.
    fn confined(&self) -> Self {
        // SSC: 0 is either state, 1 non-secure; what matches in the secure state alone never does
        // for a guest.
        let in_reach = matches!((self.control & control::SECURITY_STATE) >> 14, 0 | 1);
        if self.control & control::ENABLED == 0 || !in_reach {
            return Self::default();
        }
        let control = self.control & !(control::HIGHER_MODE | control::SECURITY_STATE);
        Self {
            value: self.value,
            control: control | control::NON_SECURE,
        }
    }
}

/// The debug registers of a vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugRegisters {
    control: u64,
    os_locked: bool,
    breakpoints: [Pair; PAIRS_MAX],
    watchpoints: [Pair; PAIRS_MAX],
    channel_interrupts: u64,
    claim: u64,
}

/// DBGCLAIMSET_EL1.CLAIM: eight bits, all implemented.
const CLAIM: u64 = 0xff;
/// MDCCINT_EL1: RX and TX.
const CHANNEL_INTERRUPTS: u64 = 0b11 << 29;

impl DebugRegisters {
    /// Those of a vCPU that starts: the OS lock is locked.
    #[must_use]
    pub const fn start() -> Self {
        const OFF: Pair = Pair {
            value: 0,
            control: 0,
        };
        Self {
            control: 0,
            os_locked: true,
            breakpoints: [OFF; PAIRS_MAX],
            watchpoints: [OFF; PAIRS_MAX],
            channel_interrupts: 0,
            claim: 0,
        }
    }

    /// What the guest reads, on a CPU with `counts` breakpoints and watchpoints. `None` for what
    /// can't be read or is not there.
    #[must_use]
    pub fn read(&self, register: DebugRegister, counts: PairCounts) -> Option<u64> {
        /// OSLSR_EL1.OSLM = 0b10: the OS lock is implemented.
        const OS_LOCK_IMPLEMENTED: u64 = 1 << 3;
        Some(match register {
            DebugRegister::Control => self.control,
            DebugRegister::BreakpointValue(n) => self.breakpoint(n, counts)?.value,
            DebugRegister::BreakpointControl(n) => self.breakpoint(n, counts)?.control,
            DebugRegister::WatchpointValue(n) => self.watchpoint(n, counts)?.value,
            DebugRegister::WatchpointControl(n) => self.watchpoint(n, counts)?.control,
            DebugRegister::OsLockAccess => return None,
            DebugRegister::OsLockStatus => OS_LOCK_IMPLEMENTED | u64::from(self.os_locked) << 1,
            DebugRegister::ChannelInterrupts => self.channel_interrupts,
            DebugRegister::ChannelStatus => self.control & (mdscr::TX_FULL | mdscr::RX_FULL),
            DebugRegister::ChannelData | DebugRegister::External => 0,
            DebugRegister::ClaimSet => CLAIM,
            DebugRegister::ClaimClear => self.claim,
        })
    }

    /// Takes what the guest writes. `None` for what can't be written or is not there.
    pub fn write(&mut self, register: DebugRegister, value: u64, counts: PairCounts) -> Option<()> {
        match register {
            DebugRegister::Control => {
                let mut writable = mdscr::WRITABLE;
                if self.os_locked {
                    writable |= mdscr::WRITABLE_LOCKED;
                }
                self.control = self.control & !writable | value & writable;
            }
            DebugRegister::BreakpointValue(n) => {
                self.breakpoint_mut(n, counts)?.value = value;
            }
            DebugRegister::BreakpointControl(n) => {
                self.breakpoint_mut(n, counts)?.control = value & control::BREAKPOINT;
            }
            DebugRegister::WatchpointValue(n) => {
                self.watchpoint_mut(n, counts)?.value = value & !0b11;
            }
            DebugRegister::WatchpointControl(n) => {
                self.watchpoint_mut(n, counts)?.control = value & control::WATCHPOINT;
            }
            DebugRegister::OsLockAccess => self.os_locked = value & 1 == 1,
            DebugRegister::OsLockStatus | DebugRegister::ChannelStatus => return None,
            DebugRegister::ChannelInterrupts => {
                self.channel_interrupts = value & CHANNEL_INTERRUPTS;
            }
            DebugRegister::ChannelData => self.control |= mdscr::TX_FULL,
            DebugRegister::ClaimSet => self.claim |= value & CLAIM,
            DebugRegister::ClaimClear => self.claim &= !value,
            DebugRegister::External => {}
        }
        Some(())
    }

    fn breakpoint(&self, n: usize, counts: PairCounts) -> Option<&Pair> {
        self.breakpoints.iter().take(counts.breakpoints).nth(n)
    }

    fn breakpoint_mut(&mut self, n: usize, counts: PairCounts) -> Option<&mut Pair> {
        self.breakpoints.iter_mut().take(counts.breakpoints).nth(n)
    }

    fn watchpoint(&self, n: usize, counts: PairCounts) -> Option<&Pair> {
        self.watchpoints.iter().take(counts.watchpoints).nth(n)
    }

    fn watchpoint_mut(&mut self, n: usize, counts: PairCounts) -> Option<&mut Pair> {
        self.watchpoints.iter_mut().take(counts.watchpoints).nth(n)
    }

    /// What MDSCR_EL1 of the CPU gets: under the OS lock there are no debug exceptions (DDI0487J.a,
    /// D2.4.1).
    #[must_use]
    pub fn hardware_mdscr(&self) -> u64 {
        let mdscr = self.control & mdscr::WRITABLE;
        if self.os_locked {
            mdscr & !mdscr::EXCEPTIONS
        } else {
            mdscr
        }
    }

    /// Whether a breakpoint or a watchpoint can fire, so that the CPU has to have them.
    #[must_use]
    pub fn uses_pairs(&self) -> bool {
        let mut pairs = self.breakpoints.iter().chain(&self.watchpoints);
        self.hardware_mdscr() & mdscr::MDE != 0
            && pairs.any(|pair| pair.control & control::ENABLED != 0)
    }

    /// What the CPU's breakpoints get.
    pub fn hardware_breakpoints(&self) -> impl Iterator<Item = Pair> {
        self.breakpoints.iter().map(Pair::hardware_breakpoint)
    }

    /// What the CPU's watchpoints get.
    pub fn hardware_watchpoints(&self) -> impl Iterator<Item = Pair> {
        self.watchpoints.iter().map(Pair::hardware_watchpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DebugRegister::*;

    const COUNTS: PairCounts = PairCounts {
        breakpoints: 6,
        watchpoints: 4,
    };

    fn unlocked() -> DebugRegisters {
        let mut registers = DebugRegisters::start();
        write(&mut registers, OsLockAccess, 0);
        registers
    }

    fn write(registers: &mut DebugRegisters, register: DebugRegister, value: u64) {
        assert_eq!(
            registers.write(register, value, COUNTS),
            Some(()),
            "{register:?}"
        );
    }

    fn read(registers: &DebugRegisters, register: DebugRegister) -> u64 {
        registers.read(register, COUNTS).unwrap()
    }

    #[test]
    fn registers_are_found_by_their_encodings() {
        let of = |op1, crn, crm, op2| {
            DebugRegister::of(RegisterName {
                op0: 2,
                op1,
                crn,
                crm,
                op2,
            })
        };
        assert_eq!(of(0, 0, 2, 2), Some(Control));
        assert_eq!(of(0, 0, 5, 4), Some(BreakpointValue(5)));
        assert_eq!(of(0, 0, 15, 5), Some(BreakpointControl(15)));
        assert_eq!(of(0, 0, 3, 6), Some(WatchpointValue(3)));
        assert_eq!(of(0, 0, 0, 7), Some(WatchpointControl(0)));
        assert_eq!(of(0, 1, 0, 4), Some(OsLockAccess));
        assert_eq!(of(0, 1, 1, 4), Some(OsLockStatus));
        assert_eq!(of(0, 1, 3, 4), Some(External), "OSDLR_EL1");
        assert_eq!(of(3, 0, 1, 0), Some(ChannelStatus));
        assert_eq!(of(3, 0, 5, 0), Some(ChannelData));
        assert_eq!(of(1, 0, 1, 0), None, "TRCPRGCTLR: there is no trace unit");
        assert_eq!(of(4, 0, 7, 0), None, "DBGVCR32_EL2");
    }

    #[test]
    fn a_vcpu_starts_with_everything_off_and_the_os_lock_locked() {
        let registers = DebugRegisters::start();
        assert_eq!(read(&registers, OsLockStatus), 0b1010);
        assert_eq!(read(&registers, Control), 0);
        assert_eq!(registers.hardware_mdscr(), 0);
        assert!(!registers.uses_pairs());
    }

    #[test]
    fn the_os_lock_holds_debug_exceptions_back() {
        let mut registers = unlocked();
        assert_eq!(read(&registers, OsLockStatus), 0b1000);
        let all = mdscr::SS | mdscr::KDE | mdscr::MDE | mdscr::TDCC;
        write(&mut registers, Control, all);
        write(&mut registers, BreakpointControl(0), 0x1e5);
        assert_eq!(registers.hardware_mdscr(), all);
        assert!(registers.uses_pairs());
        write(&mut registers, OsLockAccess, 1);
        assert_eq!(registers.hardware_mdscr(), mdscr::TDCC);
        assert!(!registers.uses_pairs());
        assert_eq!(read(&registers, Control), all, "it is not forgotten");
    }

    #[test]
    fn what_is_for_restoring_is_written_under_the_os_lock_alone() {
        let mut registers = unlocked();
        write(&mut registers, Control, mdscr::TX_FULL | mdscr::MDE);
        assert_eq!(read(&registers, Control), mdscr::MDE);
        write(&mut registers, OsLockAccess, 1);
        write(&mut registers, Control, mdscr::TX_FULL | 1 << 14);
        assert_eq!(read(&registers, Control), mdscr::TX_FULL | 1 << 14);
        write(&mut registers, OsLockAccess, 0);
        assert_eq!(registers.hardware_mdscr(), 0, "HDE is not the CPU's");
    }

    #[test]
    fn pairs_are_kept_and_those_beyond_the_cpu_s_are_not_there() {
        let mut registers = unlocked();
        for n in 0..COUNTS.breakpoints {
            write(&mut registers, BreakpointValue(n), 0x1000 + n as u64 * 4);
            write(&mut registers, BreakpointControl(n), u64::MAX);
            assert_eq!(read(&registers, BreakpointValue(n)), 0x1000 + n as u64 * 4);
            assert_eq!(read(&registers, BreakpointControl(n)), control::BREAKPOINT);
        }
        for n in 0..COUNTS.watchpoints {
            write(&mut registers, WatchpointValue(n), u64::MAX);
            write(&mut registers, WatchpointControl(n), u64::MAX);
            assert_eq!(read(&registers, WatchpointValue(n)), !0b11);
            assert_eq!(read(&registers, WatchpointControl(n)), control::WATCHPOINT);
        }
        for beyond in [
            BreakpointValue(6),
            BreakpointControl(15),
            WatchpointValue(4),
            WatchpointControl(4),
        ] {
            assert_eq!(registers.read(beyond, COUNTS), None);
            assert_eq!(registers.write(beyond, 0, COUNTS), None);
        }
    }

    #[test]
    fn the_cpu_matches_neither_at_el2_nor_in_the_secure_world() {
        // Kernel breakpoint as Linux sets it: BAS, EL1, E.
        let pair = |control| Pair {
            value: 0x8000,
            control,
        };
        let kernel = pair(0x1e3);
        assert_eq!(kernel.hardware_breakpoint(), pair(0x1e3 | 0b01 << 14));
        for ssc in 0..4u64 {
            for hmc in 0..2u64 {
                let control = 0x1e3 | ssc << 14 | hmc << 13;
                for got in [
                    pair(control).hardware_breakpoint(),
                    pair(control).hardware_watchpoint(),
                ] {
                    let off = got == Pair::default();
                    assert!(off || got.control >> 13 & 0b111 == 0b010, "HMC 0, SSC 1");
                    assert_eq!(off, ssc >= 2);
                }
            }
        }
        assert_eq!(
            pair(0x1e2).hardware_breakpoint(),
            Pair::default(),
            "E is clear"
        );
        let by_vmid = pair(0x1e3 | 0b1000 << 20);
        assert_eq!(by_vmid.hardware_breakpoint(), Pair::default());
    }

    #[test]
    fn the_channel_takes_one_word_that_nobody_reads() {
        let mut registers = unlocked();
        assert_eq!(read(&registers, ChannelStatus), 0);
        write(&mut registers, ChannelData, 0x41);
        assert_eq!(read(&registers, ChannelStatus), mdscr::TX_FULL);
        assert_eq!(read(&registers, ChannelData), 0);
    }

    #[test]
    fn claims_are_set_and_cleared() {
        let mut registers = unlocked();
        write(&mut registers, ClaimSet, 0x1ff);
        assert_eq!(read(&registers, ClaimClear), 0xff);
        write(&mut registers, ClaimClear, 0x0f);
        assert_eq!(read(&registers, ClaimClear), 0xf0);
        assert_eq!(read(&registers, ClaimSet), 0xff);
    }

    #[test]
    fn directions_that_do_not_exist_are_undefined() {
        let mut registers = unlocked();
        assert_eq!(registers.read(OsLockAccess, COUNTS), None);
        assert_eq!(registers.write(OsLockStatus, 0, COUNTS), None);
        assert_eq!(registers.write(ChannelStatus, 0, COUNTS), None);
    }

    #[test]
    fn the_counts_come_from_the_id_register() {
        assert_eq!(PairCounts::of(0x1030_5106), COUNTS);
        assert_eq!(PairCounts::of(0xf0_f000).breakpoints, PAIRS_MAX);
    }
}
