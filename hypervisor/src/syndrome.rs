//! Why a guest trapped, out of ESR_EL2 (DDI0487J.a, D19.2.37).

/// A synchronous exception from EL1 or EL0 that is no [SMC](smc), decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// WFI or WFE.
    WaitForInterrupt,
    /// HVC with this immediate. The PC is behind it already.
    Hvc(u16),
    /// MSR, MRS or a system instruction.
    SystemRegister(SystemRegisterAccess),
    /// A load or store that stage 2 does not allow.
    DataAbort(DataAbort),
    /// An instruction fetch that stage 2 does not allow.
    InstructionAbort,
    /// Something else, by exception class.
    Other(u8),
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
    /// What is needed to emulate the access; `None` where the architecture does not tell (ISV = 0: pairs, write-back,
    /// SIMD, cache maintenance) or where the fault came from a stage-1 table walk.
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

/// The immediate of an SMC, if ESR_EL2 speaks of one. The PC is still at it.
#[must_use]
#[inline]
pub fn smc(esr: u64) -> Option<u16> {
    (bits(esr, 31, 26) == 0x17).then(|| bits(esr, 15, 0) as u16)
}

/// Decodes ESR_EL2 of another synchronous exception from a guest.
#[must_use]
pub fn decode(esr: u64) -> Trap {
    match bits(esr, 31, 26) as u8 {
        0x01 => Trap::WaitForInterrupt,
        0x16 => Trap::Hvc(bits(esr, 15, 0) as u16),
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
        class => Trap::Other(class),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_smc_and_an_hvc_carry_their_immediate() {
        assert_eq!(smc(0x5e00_0000), Some(0));
        assert_eq!(smc(0x5e00_1234), Some(0x1234));
        assert_eq!(smc(0x5a00_1234), None);
        assert_eq!(decode(0x5a00_1234), Trap::Hvc(0x1234));
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
