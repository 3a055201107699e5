//! Why a guest trapped, out of ESR_EL2 (DDI0487J.a, D19.2.37).

use crate::arch::exception_entry;
use core::fmt;
use smccc::Conduit;

/// A synchronous exception from EL1 or EL0 that is no [call], decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// WFI or WFE.
    WaitForInterrupt,
    /// MSR, MRS or a system instruction.
    SystemRegister(SystemRegisterAccess),
    /// A load or store that stage 2 does not allow.
    DataAbort(DataAbort),
    /// An instruction fetch that stage 2 does not allow.
    InstructionAbort,
    /// An instruction that a guest's CPU does not have.
    Undefined,
    /// What no instruction of a guest can cause as EL2 sets the CPU up.
    Unexpected,
}

/// A trapped access to a system register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemRegisterAccess {
    /// Which register.
    pub register: RegisterName,
    /// Whether the guest reads it.
    pub read: bool,
    /// The general-purpose register; 31 is XZR.
    pub transfer: usize,
}

/// A system register's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the architecture's own names")]
pub struct RegisterName {
    pub op0: u8,
    pub op1: u8,
    pub crn: u8,
    pub crm: u8,
    pub op2: u8,
}

/// A trapped load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataAbort {
    /// What is needed to emulate the access; `None` where the architecture does not tell (ISV = 0:
    /// pairs, write-back, SIMD, cache maintenance) or where the fault came from a stage-1 table
    /// walk.
    pub access: Option<MemoryAccess>,
    /// Whether it was a store.
    pub write: bool,
    /// Whether the fault is one of translation, so that nothing is mapped there.
    pub translation: bool,
}

/// A load or store of one general-purpose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryAccess {
    /// 1, 2, 4 or 8.
    pub bytes: usize,
    /// Whether a load extends the sign.
    pub sign_extend: bool,
    /// Whether the register is X rather than W.
    pub wide: bool,
    /// The general-purpose register; 31 is XZR.
    pub transfer: usize,
}

impl MemoryAccess {
    /// What the register holds after a load that gave `value`.
    #[must_use]
    pub fn extend(&self, value: u64) -> u64 {
        let unused = 64 - 8 * self.bytes as u32;
        let value = value << unused;
        let value = if self.sign_extend {
            (value as i64 >> unused) as u64
        } else {
            value >> unused
        };
        if self.wide {
            value
        } else {
            value & 0xffff_ffff
        }
    }

    /// The part of the register that a store writes.
    #[must_use]
    pub fn truncate(&self, value: u64) -> u64 {
        value & (u64::MAX >> (64 - 8 * self.bytes as u32))
    }
}

const fn bits(value: u64, high: u32, low: u32) -> u64 {
    value >> low & ((1 << (high - low + 1)) - 1)
}

/// The instruction and the immediate of a call from AArch64, if ESR_EL2 speaks of one. The PC is
/// still at an SMC, and behind an HVC.
#[must_use]
#[inline]
pub const fn call(esr: u64) -> Option<(Conduit, u16)> {
    let conduit = match class(esr) {
        0x16 => Conduit::Hvc,
        0x17 => Conduit::Smc,
        _ => return None,
    };
    Some((conduit, bits(esr, 15, 0) as u16))
}

/// Decodes ESR_EL2 of another synchronous exception from a guest.
#[must_use]
pub fn decode(esr: u64) -> Trap {
    match class(esr) {
        0x01 => Trap::WaitForInterrupt,
        0x18 => Trap::SystemRegister(SystemRegisterAccess {
            register: RegisterName {
                op0: bits(esr, 21, 20) as u8,
                op1: bits(esr, 16, 14) as u8,
                crn: bits(esr, 13, 10) as u8,
                crm: bits(esr, 4, 1) as u8,
                op2: bits(esr, 19, 17) as u8,
            },
            read: bits(esr, 0, 0) == 1,
            transfer: bits(esr, 9, 5) as usize,
        }),
        0x20 => Trap::InstructionAbort,
        0x24 => Trap::DataAbort(data_abort(esr)),
        // A granule protection fault is the machine's; the others are EL2's own, or EL1's to take.
        0x1e | 0x21 | 0x22 | 0x25 | 0x26 | 0x2f | 0x30..=0x3f => Trap::Unexpected,
        // Accesses and instructions that EL2 traps because guests do not have them, and what later
        // revisions add.
        _ => Trap::Undefined,
    }
}

/// The exception class.
#[must_use]
pub const fn class(esr: u64) -> u8 {
    bits(esr, 31, 26) as u8
}

/// What an exception class is called.
#[must_use]
pub const fn class_name(class: u8) -> &'static str {
    match class {
        0x00 => "unknown reason",
        0x01 => "WFI or WFE",
        0x03 => "MCR or MRC of CP15",
        0x04 => "MCRR or MRRC of CP15",
        0x05 => "MCR or MRC of CP14",
        0x06 => "LDC or STC of CP14",
        0x07 => "SVE, SIMD or floating point",
        0x08 => "VMRS",
        0x09 => "pointer authentication",
        0x0a => "LD64B or ST64B",
        0x0c => "MRRC of CP14",
        0x0d => "branch target",
        0x0e => "illegal execution state",
        0x11 => "SVC from AArch32",
        0x12 => "HVC from AArch32",
        0x13 => "SMC from AArch32",
        0x14 => "MSRR or MRRS",
        0x15 => "SVC",
        0x16 => "HVC",
        0x17 => "SMC",
        0x18 => "MSR, MRS or system instruction",
        0x19 => "SVE",
        0x1a => "ERET",
        0x1b => "TSTART",
        0x1c => "pointer authentication failure",
        0x1d => "SME",
        0x1e => "granule protection",
        0x20 => "instruction abort",
        0x21 => "instruction abort of EL2",
        0x22 => "PC alignment",
        0x24 => "data abort",
        0x25 => "data abort of EL2",
        0x26 => "SP alignment",
        0x27 => "memory copy or set",
        0x28 => "floating point from AArch32",
        0x2c => "floating point",
        0x2d => "guarded control stack",
        0x2f => "SError",
        0x30 | 0x31 => "breakpoint",
        0x32 | 0x33 => "software step",
        0x34 | 0x35 => "watchpoint",
        0x38 => "BKPT",
        0x3a => "vector catch",
        0x3c => "BRK",
        0x3d => "profiling",
        _ => "reserved",
    }
}

/// Bytes of the instruction that trapped (IL): T32 has some of two.
#[must_use]
pub const fn instruction_length(esr: u64) -> u64 {
    if bits(esr, 25, 25) == 1 { 4 } else { 2 }
}

/// Whether the exception is a trap of an instruction that AArch32 may make conditional, so that the
/// syndrome has CV and COND.
#[must_use]
pub const fn may_be_conditional(esr: u64) -> bool {
    matches!(class(esr), 0x01 | 0x03..=0x08 | 0x0c | 0x13)
}

/// COND, where the syndrome of such an instruction has it (CV).
#[must_use]
pub const fn condition(esr: u64) -> Option<u8> {
    if may_be_conditional(esr) && bits(esr, 24, 24) == 1 {
        Some(bits(esr, 23, 20) as u8)
    } else {
        None
    }
}

/// ESR_EL1 of a synchronous external abort, in place of the abort that ESR_EL2 tells of, which came
/// from EL0 or from EL1: the same access, with another status code.
#[must_use]
pub const fn external_abort(esr: u64, from_el0: bool) -> u64 {
    const LENGTH: u64 = 1 << 25;
    const WRITE: u64 = 1 << 6;
    const CACHE_MAINTENANCE: u64 = 1 << 8;
    const SYNCHRONOUS_EXTERNAL_ABORT: u64 = 0b01_0000;
    const ON_TABLE_WALK: u64 = 0b01_0100;
    let in_table_walk = bits(esr, 7, 7) == 1;
    let status = if in_table_walk {
        ON_TABLE_WALK | bits(esr, 1, 0)
    } else {
        SYNCHRONOUS_EXTERNAL_ABORT
    };
    let access = if class(esr) == 0x24 {
        esr & (WRITE | CACHE_MAINTENANCE)
    } else {
        0
    };
    // The class after that of an abort from a lower exception level is the same without a change of
    // level.
    let class = class(esr) as u64 + !from_el0 as u64;
    class << 26 | esr & LENGTH | access | status
}

/// What an exception was and where it came from, for those who debug the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// ESR_EL2.
    pub syndrome: u64,
    /// The guest's PC.
    pub pc: u64,
    /// The guest's PSTATE.
    pub pstate: u64,
    /// FAR_EL2, which means something for aborts alone.
    pub address: u64,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            syndrome,
            pc,
            pstate,
            address,
        } = self;
        let class = class(*syndrome);
        let name = class_name(class);
        let level = match exception_entry::vector_offset(*pstate) {
            0x600 => "EL0 in AArch32",
            0x400 => "EL0",
            _ => "EL1",
        };
        write!(
            formatter,
            "{name} (class {class:#04x}), ESR_EL2 {syndrome:#010x}, PC {pc:#x} at {level}"
        )?;
        if matches!(class, 0x20 | 0x24) {
            write!(formatter, ", virtual address {address:#x}")?;
        }
        Ok(())
    }
}

fn data_abort(esr: u64) -> DataAbort {
    let valid = bits(esr, 24, 24) == 1;
    let in_table_walk = bits(esr, 7, 7) == 1;
    let access = (valid && !in_table_walk).then(|| MemoryAccess {
        bytes: 1 << bits(esr, 23, 22),
        sign_extend: bits(esr, 21, 21) == 1,
        wide: bits(esr, 15, 15) == 1,
        transfer: bits(esr, 20, 16) as usize,
    });
    // DFSC 0b0001LL: translation fault at level LL.
    DataAbort {
        access,
        write: bits(esr, 6, 6) == 1,
        translation: bits(esr, 5, 2) == 0b0001,
    }
}

/// Of a syndrome (ESR_EL2): whether it is of a plain load (`false`) or store (`true`) of one
/// register, without extension of the sign, at an address that stage 2 does not translate, and the
/// number of the register that it goes to or comes from.
#[must_use]
#[inline]
pub const fn plain_device_access(syndrome: u64) -> Option<(bool, usize)> {
    /// A data abort of a lower exception level, IL, ISV, SSE, and DFSC (DDI0487J.a, D19.2.37): a
    /// translation fault, at level 0 to 3; no cache maintenance, no fault of a table walk. What is
    /// left out may have any value.
    const LOOKED_AT: u64 = 0x3f << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 8 | 1 << 7 | 0b11_1100;
    const EXPECTED: u64 = 0x24 << 26 | 1 << 25 | 1 << 24 | 0b00_0100;
    const WRITE: u64 = 1 << 6;
    if syndrome & LOOKED_AT != EXPECTED {
        return None;
    }
    Some((syndrome & WRITE != 0, (syndrome >> 16 & 0x1f) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_device_access_is_told_from_all_others() {
        // str w3, [x0] and ldr w3, [x0] at an address that is not mapped at level 3.
        let store = 0x24 << 26 | 1 << 25 | 1 << 24 | 0b10 << 22 | 3 << 16 | 1 << 6 | 0b000111;
        assert_eq!(plain_device_access(store), Some((true, 3)));
        assert_eq!(plain_device_access(store & !(1 << 6)), Some((false, 3)));
        for size in 0..4 {
            let access = store & !(0b11 << 22) | size << 22;
            assert_eq!(plain_device_access(access), Some((true, 3)), "{size}");
        }
        for (bit, what) in [
            (26, "another class"),
            (25, "an instruction of two bytes"),
            (24, "no register named"),
            (21, "a sign"),
            (8, "cache maintenance"),
            (7, "a table walk"),
            (3, "another fault"),
        ] {
            assert_eq!(plain_device_access(store ^ 1 << bit), None, "{what}");
        }
    }

    #[test]
    fn an_smc_and_an_hvc_carry_their_immediate() {
        assert_eq!(call(0x5e00_0000), Some((Conduit::Smc, 0)));
        assert_eq!(call(0x5e00_1234), Some((Conduit::Smc, 0x1234)));
        assert_eq!(call(0x5a00_1234), Some((Conduit::Hvc, 0x1234)));
        assert_eq!(call(0x6200_0000), None);
    }

    #[test]
    fn a_word_store_to_a_device() {
        // ISV, SAS = 2, SRT = 3, WnR, translation fault level 3.
        let esr = 0x24 << 26 | 1 << 25 | 1 << 24 | 2 << 22 | 3 << 16 | 1 << 6 | 0b00_0111;
        let Trap::DataAbort(abort) = decode(esr) else {
            panic!("not a data abort")
        };
        assert!(abort.write && abort.translation);
        assert_eq!(
            abort.access,
            Some(MemoryAccess {
                bytes: 4,
                sign_extend: false,
                wide: false,
                transfer: 3
            })
        );
    }

    /// Every class: what it becomes, and that it has a name unless the architecture reserves it.
    #[test]
    fn every_exception_class_is_decided() {
        const UNDEFINED: &[u8] = &[
            0x00, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x0e, 0x11, 0x12,
            0x13, 0x14, 0x15, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x27, 0x28, 0x2c, 0x2d,
        ];
        const UNEXPECTED: &[u8] = &[
            0x1e, 0x21, 0x22, 0x25, 0x26, 0x2f, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x38, 0x3a,
            0x3c, 0x3d,
        ];
        const SERVED: &[u8] = &[0x01, 0x18, 0x20, 0x24];
        const CALLS: &[u8] = &[0x16, 0x17];
        for class in 0..64u8 {
            let syndrome = u64::from(class) << 26;
            let trap = decode(syndrome);
            let named = class_name(class) != "reserved";
            let outcome = match trap {
                _ if call(syndrome).is_some() => CALLS,
                Trap::Undefined => UNDEFINED,
                Trap::Unexpected => UNEXPECTED,
                _ => SERVED,
            };
            assert_eq!(
                outcome.contains(&class),
                named,
                "class {class:#x} is {trap:?}"
            );
        }
    }

    #[test]
    fn a_t32_instruction_may_have_two_bytes() {
        assert_eq!(instruction_length(0x01 << 26 | 1 << 25), 4);
        assert_eq!(instruction_length(0x01 << 26), 2);
    }

    #[test]
    fn only_instructions_of_aarch32_have_conditions() {
        // MRCEQ p14; the same without CV; a data abort with ISV, whose bits look alike.
        assert_eq!(condition(0x05 << 26 | 1 << 24), Some(0b0000));
        assert_eq!(condition(0x05 << 26 | 0b1110 << 20), None);
        assert_eq!(condition(0x24 << 26 | 1 << 24), None);
    }

    #[test]
    fn a_cause_is_told_in_words() {
        let cause = Cause {
            syndrome: 0x24 << 26 | 1 << 25 | 0b00_0111,
            pc: 0x4008_1234,
            pstate: 0x3c5,
            address: 0xffff_8000_0901_0000,
        };
        assert_eq!(
            cause.to_string(),
            "data abort (class 0x24), ESR_EL2 0x92000007, PC 0x40081234 at EL1, virtual address 0xffff800009010000"
        );
        let cause = Cause {
            syndrome: 0x05 << 26,
            pc: 0x1_0000,
            pstate: 0x10,
            address: 7,
        };
        assert_eq!(
            cause.to_string(),
            "MCR or MRC of CP14 (class 0x05), ESR_EL2 0x14000000, PC 0x10000 at EL0 in AArch32"
        );
    }

    #[test]
    fn an_external_abort_is_of_the_same_access() {
        // A store of X3 with ISV, translation fault level 3; an instruction fetch; a walk at level
        // 2.
        let store = 0x24 << 26 | 1 << 25 | 1 << 24 | 3 << 22 | 3 << 16 | 1 << 6 | 0b00_0111;
        assert_eq!(
            external_abort(store, true),
            0x24 << 26 | 1 << 25 | 1 << 6 | 0x10
        );
        let fetch = 0x20 << 26 | 1 << 25 | 0b00_0111;
        assert_eq!(external_abort(fetch, true), 0x20 << 26 | 1 << 25 | 0x10);
        assert_eq!(external_abort(fetch, false), 0x21 << 26 | 1 << 25 | 0x10);
        let walk = 0x24 << 26 | 1 << 25 | 1 << 7 | 0b00_0110;
        assert_eq!(external_abort(walk, true), 0x24 << 26 | 1 << 25 | 0x16);
    }

    #[test]
    fn an_access_that_cannot_be_emulated_says_so() {
        let without_syndrome = 0x24 << 26 | 0b00_0111;
        let in_table_walk = 0x24 << 26 | 1 << 24 | 1 << 7 | 0b00_0110;
        for esr in [without_syndrome, in_table_walk] {
            let Trap::DataAbort(abort) = decode(esr) else {
                panic!("not a data abort")
            };
            assert_eq!(abort.access, None);
        }
    }

    #[test]
    fn a_permission_fault_is_no_translation_fault() {
        let Trap::DataAbort(abort) = decode(0x24 << 26 | 0b00_1111) else {
            panic!("not a data abort")
        };
        assert!(!abort.translation);
    }

    #[test]
    fn a_read_of_a_system_register() {
        // MRS x5, ID_AA64PFR0_EL1 (3, 0, 0, 4, 0).
        let esr = 0x18 << 26 | 3 << 20 | 4 << 1 | 5 << 5 | 1;
        let Trap::SystemRegister(access) = decode(esr) else {
            panic!("not a system register")
        };
        assert!(access.read);
        assert_eq!(access.transfer, 5);
        assert_eq!(
            access.register,
            RegisterName {
                op0: 3,
                op1: 0,
                crn: 0,
                crm: 4,
                op2: 0
            }
        );
    }

    #[test]
    fn loads_extend_as_the_instruction_says() {
        let load = |bytes, sign_extend, wide| MemoryAccess {
            bytes,
            sign_extend,
            wide,
            transfer: 0,
        };
        assert_eq!(load(1, false, false).extend(0xabff), 0xff);
        assert_eq!(load(1, true, false).extend(0xff), 0xffff_ffff);
        assert_eq!(load(2, true, true).extend(0x8000), 0xffff_ffff_ffff_8000);
        assert_eq!(load(8, false, true).extend(u64::MAX), u64::MAX);
        assert_eq!(load(2, false, false).truncate(0x1234_5678), 0x5678);
        assert_eq!(load(8, false, true).truncate(u64::MAX), u64::MAX);
    }
}
