//! The registers that distributor and SGI frame have in common: arrays with a bit, two bits or a
//! byte for each interrupt (IHI0069H, `GICD_IGROUPR<n>` to `GICD_ICFGR<n>` and the GICR registers
//! of the same names).

use crate::devices::gicv3::bank::Bank;

/// GICD_PIDR2 and GICR_PIDR2: architecture revision 3 in bits 7..4, and the JEP106 fields of Arm.
pub const PIDR2: u64 = 0x3b;
/// Where PIDR2 stands in a frame.
pub const PIDR2_OFFSET: u64 = 0xffe8;
/// GICD_IIDR and GICR_IIDR: a product ID of ours, no revision, implementer Arm.
pub const IIDR: u64 = 0x4200_043b;

/// An array of registers, by interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Array {
    Group,
    SetEnable,
    ClearEnable,
    SetPending,
    ClearPending,
    SetActive,
    ClearActive,
    Priority,
    Configuration,
}

impl Array {
    /// The array at `offset` in the frame, and the offset in the array.
    fn at(offset: u64) -> Option<(Self, u64)> {
        let (array, start) = match offset {
            0x0080..0x0100 => (Self::Group, 0x0080),
            0x0100..0x0180 => (Self::SetEnable, 0x0100),
            0x0180..0x0200 => (Self::ClearEnable, 0x0180),
            0x0200..0x0280 => (Self::SetPending, 0x0200),
            0x0280..0x0300 => (Self::ClearPending, 0x0280),
            0x0300..0x0380 => (Self::SetActive, 0x0300),
            0x0380..0x0400 => (Self::ClearActive, 0x0380),
            0x0400..0x0800 => (Self::Priority, 0x0400),
            0x0c00..0x0d00 => (Self::Configuration, 0x0c00),
            _ => return None,
        };
        Some((array, offset - start))
    }

    /// How many interrupts a byte of the array speaks of.
    fn interrupts_per_byte(self) -> u64 {
        match self {
            Self::Priority => 1,
            Self::Configuration => 4,
            _ => 8,
        }
    }
}

/// An access to an array of a bank.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrayAccess {
    array: Array,
    /// The first interrupt of the bank that the access speaks of.
    first: usize,
    /// How many it speaks of.
    count: usize,
}

impl ArrayAccess {
    /// The access of `bytes` bytes at `offset` in a frame, for a bank that holds `interrupts`
    /// interrupts from INTID `first_intid` on. `None` where no such register is, or not for these
    /// interrupts, or not of this size.
    pub(super) fn new(
        offset: u64,
        bytes: usize,
        first_intid: u32,
        interrupts: u32,
    ) -> Option<Self> {
        let (array, within) = Array::at(offset)?;
        let sized = bytes == 4 || bytes == 1 && array == Array::Priority;
        if !sized || !within.is_multiple_of(bytes as u64) {
            return None;
        }
        let per_byte = array.interrupts_per_byte();
        let first = (within * per_byte).checked_sub(u64::from(first_intid))?;
        (first < u64::from(interrupts)).then_some(Self {
            array,
            first: first as usize,
            count: bytes * per_byte as usize,
        })
    }

    pub(super) fn read(self, bank: &Bank) -> u64 {
        let word = |bits: u64| bits >> self.first & 0xffff_ffff;
        match self.array {
            Array::Group => word(bank.group_1),
            Array::SetEnable | Array::ClearEnable => word(bank.enabled),
            Array::SetPending | Array::ClearPending => word(bank.pending()),
            Array::SetActive | Array::ClearActive => word(bank.active()),
            Array::Priority => (0..self.count).rev().fold(0, |value, n| {
                value << 8 | u64::from(bank.priority(self.first + n))
            }),
            // Two bits an interrupt, of which the upper one says edge-triggered.
            Array::Configuration => (0..self.count).rev().fold(0, |value, n| {
                value << 2 | (bank.edge >> (self.first + n) & 1) << 1
            }),
        }
    }

    /// The interrupts of the bank that the access speaks of.
    pub(super) fn covered(self) -> u64 {
        (u64::MAX >> (64 - self.count)) << self.first
    }

    /// Writes; gives the interrupts of the bank that may have changed. `configurable` are those for
    /// which the guest chooses between edge and level.
    pub(super) fn write(self, bank: &mut Bank, value: u64, configurable: u64) -> u64 {
        let covered = self.covered();
        let bits = value << self.first & covered;
        match self.array {
            Array::Group => bank.group_1 = bank.group_1 & !covered | bits,
            Array::SetEnable => bank.enabled |= bits,
            Array::ClearEnable => bank.enabled &= !bits,
            Array::SetPending => bank.set_pending(bits),
            Array::ClearPending => bank.clear_pending(bits),
            Array::SetActive => bank.set_active(bits),
            Array::ClearActive => bank.clear_active(bits),
            Array::Priority => {
                for n in 0..self.count {
                    bank.set_priority(self.first + n, (value >> (8 * n)) as u8);
                }
            }
            Array::Configuration => {
                for n in 0..self.count {
                    let bit = 1 << (self.first + n) & configurable;
                    if value >> (2 * n + 1) & 1 != 0 {
                        bank.edge |= bit;
                    } else {
                        bank.edge &= !bit;
                    }
                }
            }
        }
        covered
    }

    /// Whether a read tells something that the guest may have changed unseen in a list register.
    pub(super) fn reads_listed_state(&self) -> bool {
        matches!(
            self.array,
            Array::SetPending | Array::ClearPending | Array::SetActive | Array::ClearActive
        )
    }
}
