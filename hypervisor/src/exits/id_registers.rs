//! What the ID registers tell a guest: the CPU it runs on, less what the hypervisor does not keep
//! for each vCPU.
//!
//! HCR_EL2.TID3 traps reads of op0 = 3, op1 = 0, CRn = 0, CRm = 1 to 7 (DDI0487J.a, D19.2.48). A
//! guest sees the fields of [`REGISTERS`] and no others: what a later revision of the architecture
//! adds is hidden until it is known to work. `docs/id-registers.md` says why each is as it is.

use crate::arch::syndrome::RegisterName;

/// What a guest sees in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What the CPU says.
    Kept,
    /// Zero.
    Hidden,
    /// What the CPU says, but no more than this.
    AtMost(u64),
    /// This.
    Is(u64),
}

/// A field of an ID register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the architecture; `all` for a register as a whole.
    pub name: &'static str,
    /// Its highest bit.
    pub high: u32,
    /// Its lowest bit.
    pub low: u32,
    /// What a guest sees.
    pub rule: Rule,
}

impl Field {
    /// A field of four bits, as nearly all are.
    const fn new(name: &'static str, low: u32, rule: Rule) -> Self {
        Self {
            name,
            high: low + 3,
            low,
            rule,
        }
    }

    /// A register of `bits` bits that is one field.
    const fn all(bits: u32, rule: Rule) -> Self {
        Self {
            name: "all",
            high: bits - 1,
            low: 0,
            rule,
        }
    }

    /// The field's part of what a guest reads, where the CPU's own register holds `value`.
    fn for_guest(&self, value: u64) -> u64 {
        let mask = u64::MAX >> (63 - (self.high - self.low));
        let own = value >> self.low & mask;
        let seen = match self.rule {
            Rule::Kept => own,
            Rule::Hidden => 0,
            Rule::AtMost(most) => own.min(most),
            Rule::Is(this) => this,
        };
        seen << self.low
    }
}

/// An ID register that traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRegister {
    /// Its name in the architecture.
    pub name: &'static str,
    /// CRm and op2 of its encoding.
    pub encoding: (u8, u8),
    /// What a guest sees of it; all other bits are zero.
    pub fields: &'static [Field],
}

/// All that a guest sees.
pub const REGISTERS: &[IdRegister] = &{
    use Rule::{AtMost, Hidden, Is, Kept};
    [
        IdRegister {
            name: "ID_PFR0_EL1",
            encoding: (1, 0),
            fields: &[
                Field::new("State0", 0, Kept),
                Field::new("State1", 4, Kept),
                Field::new("State2", 8, Kept),
                Field::new("State3", 12, Kept),
                Field::new("CSV2", 16, AtMost(1)),
                Field::new("AMU", 20, Hidden),
                Field::new("DIT", 24, Kept),
                Field::new("RAS", 28, Hidden),
            ],
        },
        IdRegister {
            name: "ID_PFR1_EL1",
            encoding: (1, 1),
            fields: &[
                Field::new("ProgMod", 0, Hidden),
                Field::new("Security", 4, Hidden),
                Field::new("MProgMod", 8, Hidden),
                Field::new("Virtualization", 12, Hidden),
                Field::new("GenTimer", 16, Kept),
                Field::new("Sec_frac", 20, Hidden),
                Field::new("Virt_frac", 24, Hidden),
                Field::new("GIC", 28, Hidden),
            ],
        },
        IdRegister {
            name: "ID_DFR0_EL1",
            encoding: (1, 2),
            fields: &[
                Field::new("CopDbg", 0, AtMost(9)),
                Field::new("CopSDbg", 4, Hidden),
                Field::new("MMapDbg", 8, Hidden),
                Field::new("CopTrc", 12, Hidden),
                Field::new("MMapTrc", 16, Hidden),
                Field::new("MProfDbg", 20, Hidden),
                Field::new("PerfMon", 24, Hidden),
                Field::new("TraceFilt", 28, Hidden),
            ],
        },
        IdRegister {
            name: "ID_AFR0_EL1",
            encoding: (1, 3),
            fields: &[Field::all(32, Hidden)],
        },
        IdRegister {
            name: "ID_MMFR0_EL1",
            encoding: (1, 4),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_MMFR1_EL1",
            encoding: (1, 5),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_MMFR2_EL1",
            encoding: (1, 6),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_MMFR3_EL1",
            encoding: (1, 7),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_ISAR0_EL1",
            encoding: (2, 0),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_ISAR1_EL1",
            encoding: (2, 1),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_ISAR2_EL1",
            encoding: (2, 2),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_ISAR3_EL1",
            encoding: (2, 3),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_ISAR4_EL1",
            encoding: (2, 4),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_ISAR5_EL1",
            encoding: (2, 5),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_MMFR4_EL1",
            encoding: (2, 6),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_ISAR6_EL1",
            encoding: (2, 7),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "MVFR0_EL1",
            encoding: (3, 0),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "MVFR1_EL1",
            encoding: (3, 1),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "MVFR2_EL1",
            encoding: (3, 2),
            fields: &[Field::all(32, Kept)],
        },
        IdRegister {
            name: "ID_PFR2_EL1",
            encoding: (3, 4),
            fields: &[
                Field::new("CSV3", 0, Kept),
                Field::new("SSBS", 4, Kept),
                Field::new("RAS_frac", 8, Hidden),
            ],
        },
        IdRegister {
            name: "ID_DFR1_EL1",
            encoding: (3, 5),
            fields: &[Field::all(32, Hidden)],
        },
        IdRegister {
            name: "ID_MMFR5_EL1",
            encoding: (3, 6),
            fields: &[Field::new("ETS", 0, Kept), Field::new("nTLBPA", 4, Kept)],
        },
        IdRegister {
            name: "ID_AA64PFR0_EL1",
            encoding: (4, 0),
            fields: &[
                Field::new("EL0", 0, Kept),
                Field::new("EL1", 4, AtMost(1)),
                Field::new("EL2", 8, Hidden),
                Field::new("EL3", 12, Hidden),
                Field::new("FP", 16, Kept),
                Field::new("AdvSIMD", 20, Kept),
                Field::new("GIC", 24, AtMost(1)),
                Field::new("RAS", 28, Hidden),
                Field::new("SVE", 32, Hidden),
                Field::new("SEL2", 36, Hidden),
                Field::new("MPAM", 40, Hidden),
                Field::new("AMU", 44, Hidden),
                Field::new("DIT", 48, Kept),
                Field::new("RME", 52, Hidden),
                Field::new("CSV2", 56, AtMost(1)),
                Field::new("CSV3", 60, Kept),
            ],
        },
        IdRegister {
            name: "ID_AA64PFR1_EL1",
            encoding: (4, 1),
            fields: &[
                Field::new("BT", 0, Kept),
                Field::new("SSBS", 4, Kept),
                Field::new("MTE", 8, Hidden),
                Field::new("RAS_frac", 12, Hidden),
                Field::new("MPAM_frac", 16, Hidden),
                Field::new("SME", 24, Hidden),
                Field::new("RNDR_trap", 28, Hidden),
                Field::new("CSV2_frac", 32, AtMost(1)),
                Field::new("NMI", 36, Hidden),
                Field::new("MTE_frac", 40, Hidden),
                Field::new("GCS", 44, Hidden),
                Field::new("THE", 48, Hidden),
                Field::new("MTEX", 52, Hidden),
                Field::new("DF2", 56, Hidden),
                Field::new("PFAR", 60, Hidden),
            ],
        },
        IdRegister {
            name: "ID_AA64PFR2_EL1",
            encoding: (4, 2),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64ZFR0_EL1",
            encoding: (4, 4),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64SMFR0_EL1",
            encoding: (4, 5),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64FPFR0_EL1",
            encoding: (4, 7),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64DFR0_EL1",
            encoding: (5, 0),
            fields: &[
                Field::new("DebugVer", 0, AtMost(9)),
                Field::new("TraceVer", 4, Hidden),
                Field::new("PMUVer", 8, Hidden),
                Field::new("BRPs", 12, Kept),
                Field::new("PMSS", 16, Hidden),
                Field::new("WRPs", 20, Kept),
                Field::new("SEBEP", 24, Hidden),
                Field::new("CTX_CMPs", 28, Kept),
                Field::new("PMSVer", 32, Hidden),
                Field::new("DoubleLock", 36, Is(0xf)),
                Field::new("TraceFilt", 40, Hidden),
                Field::new("TraceBuffer", 44, Hidden),
                Field::new("MTPMU", 48, Hidden),
                Field::new("BRBE", 52, Hidden),
                Field::new("ExtTrcBuff", 56, Hidden),
                Field::new("HPMN0", 60, Hidden),
            ],
        },
        IdRegister {
            name: "ID_AA64DFR1_EL1",
            encoding: (5, 1),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64DFR2_EL1",
            encoding: (5, 2),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64AFR0_EL1",
            encoding: (5, 4),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64AFR1_EL1",
            encoding: (5, 5),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64ISAR0_EL1",
            encoding: (6, 0),
            fields: &[
                Field::new("AES", 4, Kept),
                Field::new("SHA1", 8, Kept),
                Field::new("SHA2", 12, Kept),
                Field::new("CRC32", 16, Kept),
                Field::new("Atomic", 20, Kept),
                Field::new("TME", 24, Hidden),
                Field::new("RDM", 28, Kept),
                Field::new("SHA3", 32, Kept),
                Field::new("SM3", 36, Kept),
                Field::new("SM4", 40, Kept),
                Field::new("DP", 44, Kept),
                Field::new("FHM", 48, Kept),
                Field::new("TS", 52, Kept),
                Field::new("TLB", 56, Kept),
                Field::new("RNDR", 60, Kept),
            ],
        },
        IdRegister {
            name: "ID_AA64ISAR1_EL1",
            encoding: (6, 1),
            fields: &[
                Field::new("DPB", 0, Kept),
                Field::new("APA", 4, Kept),
                Field::new("API", 8, Kept),
                Field::new("JSCVT", 12, Kept),
                Field::new("FCMA", 16, Kept),
                Field::new("LRCPC", 20, Kept),
                Field::new("GPA", 24, Kept),
                Field::new("GPI", 28, Kept),
                Field::new("FRINTTS", 32, Kept),
                Field::new("SB", 36, Kept),
                Field::new("SPECRES", 40, Kept),
                Field::new("BF16", 44, Kept),
                Field::new("DGH", 48, Kept),
                Field::new("I8MM", 52, Kept),
                Field::new("XS", 56, Kept),
                Field::new("LS64", 60, Hidden),
            ],
        },
        IdRegister {
            name: "ID_AA64ISAR2_EL1",
            encoding: (6, 2),
            fields: &[
                Field::new("WFxT", 0, Hidden),
                Field::new("RPRES", 4, Kept),
                Field::new("GPA3", 8, Kept),
                Field::new("APA3", 12, Kept),
                Field::new("MOPS", 16, Hidden),
                Field::new("BC", 20, Kept),
                Field::new("PAC_frac", 24, Kept),
                Field::new("CLRBHB", 28, Kept),
                Field::new("SYSREG_128", 32, Hidden),
                Field::new("SYSINSTR_128", 36, Hidden),
                Field::new("RPRFM", 48, Kept),
                Field::new("CSSC", 52, Kept),
                Field::new("ATS1A", 60, Hidden),
            ],
        },
        IdRegister {
            name: "ID_AA64ISAR3_EL1",
            encoding: (6, 3),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64MMFR0_EL1",
            encoding: (7, 0),
            fields: &[
                Field::new("PARange", 0, Kept),
                Field::new("ASIDBits", 4, Kept),
                Field::new("BigEnd", 8, Hidden),
                Field::new("SNSMem", 12, Hidden),
                Field::new("BigEndEL0", 16, Kept),
                Field::new("TGran16", 20, Kept),
                Field::new("TGran64", 24, Kept),
                Field::new("TGran4", 28, Kept),
                Field::new("TGran16_2", 32, Hidden),
                Field::new("TGran64_2", 36, Hidden),
                Field::new("TGran4_2", 40, Hidden),
                Field::new("ExS", 44, Kept),
                Field::new("FGT", 56, Hidden),
                Field::new("ECV", 60, AtMost(1)),
            ],
        },
        IdRegister {
            name: "ID_AA64MMFR1_EL1",
            encoding: (7, 1),
            fields: &[
                Field::new("HAFDBS", 0, AtMost(2)),
                Field::new("VMIDBits", 4, Hidden),
                Field::new("VH", 8, Hidden),
                Field::new("HPDS", 12, Kept),
                Field::new("LO", 16, Hidden),
                Field::new("PAN", 20, Kept),
                Field::new("SpecSEI", 24, Kept),
                Field::new("XNX", 28, Hidden),
                Field::new("TWED", 32, Hidden),
                Field::new("ETS", 36, Kept),
                Field::new("HCX", 40, Hidden),
                Field::new("AFP", 44, Kept),
                Field::new("nTLBPA", 48, Kept),
                Field::new("TIDCP1", 52, Hidden),
                Field::new("CMOW", 56, Kept),
                Field::new("ECBHB", 60, Kept),
            ],
        },
        IdRegister {
            name: "ID_AA64MMFR2_EL1",
            encoding: (7, 2),
            fields: &[
                Field::new("CnP", 0, Kept),
                Field::new("UAO", 4, Kept),
                Field::new("LSM", 8, Kept),
                Field::new("IESB", 12, Hidden),
                Field::new("VARange", 16, Kept),
                Field::new("CCIDX", 20, Kept),
                Field::new("NV", 24, Hidden),
                Field::new("ST", 28, Kept),
                Field::new("AT", 32, Kept),
                Field::new("IDS", 36, Kept),
                Field::new("FWB", 40, Hidden),
                Field::new("TTL", 48, Kept),
                Field::new("BBM", 52, Kept),
                Field::new("EVT", 56, Hidden),
                Field::new("E0PD", 60, Kept),
            ],
        },
        IdRegister {
            name: "ID_AA64MMFR3_EL1",
            encoding: (7, 3),
            fields: &[Field::all(64, Hidden)],
        },
        IdRegister {
            name: "ID_AA64MMFR4_EL1",
            encoding: (7, 4),
            fields: &[Field::all(64, Hidden)],
        },
    ]
};

/// Whether a register is one of those that HCR_EL2.TID3 traps.
#[must_use]
pub fn is_id_register(register: RegisterName) -> bool {
    let RegisterName {
        op0, op1, crn, crm, ..
    } = register;
    (op0, op1, crn) == (3, 0, 0) && (1..=7).contains(&crm)
}

/// What a guest reads from the ID register (CRm, op2), where the CPU's own holds `value`.
#[must_use]
pub fn for_guest(crm: u8, op2: u8, value: u64) -> u64 {
    let register = REGISTERS
        .iter()
        .find(|register| register.encoding == (crm, op2));
    let fields = register.map_or(&[] as &[Field], |register| register.fields);
    fields
        .iter()
        .fold(0, |seen, field| seen | field.for_guest(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_sees_no_sve_no_ras_and_no_el2_but_its_floating_point() {
        let pfr0 = for_guest(4, 0, 0x0000_0001_1111_2222);
        assert_eq!(pfr0, 0x0000_0000_0111_0012);
    }

    #[test]
    fn a_guest_sees_breakpoints_and_no_performance_monitors() {
        assert_eq!(
            for_guest(5, 0, 0x0000_0000_1030_5106),
            0x0000_00f0_1030_5006
        );
    }

    #[test]
    fn cryptography_and_atomics_stay() {
        assert_eq!(
            for_guest(6, 0, 0x0221_1110_1021_2120),
            0x0221_1110_1021_2120
        );
    }

    #[test]
    fn speculation_is_told_of_as_far_as_it_goes_without_context_numbers() {
        for (own, seen) in [(0, 0), (1, 1), (2, 1), (3, 1)] {
            assert_eq!(for_guest(4, 0, own << 56) >> 56, seen);
        }
    }

    #[test]
    fn what_is_not_known_is_hidden() {
        assert_eq!(for_guest(4, 6, u64::MAX), 0, "no such register yet");
        assert_eq!(for_guest(7, 3, u64::MAX), 0, "ID_AA64MMFR3_EL1");
        assert_eq!(for_guest(4, 1, 0xf << 20), 0, "no such field yet");
    }

    #[test]
    fn fields_do_not_overlap() {
        for register in REGISTERS {
            let mut bits = 0u64;
            for field in register.fields {
                let own = Field {
                    rule: Rule::Kept,
                    ..*field
                }
                .for_guest(u64::MAX);
                assert_eq!(bits & own, 0, "{} {}", register.name, field.name);
                bits |= own;
            }
        }
    }

    #[test]
    fn the_documentation_says_the_same() {
        let documentation = include_str!("../../../docs/id-registers.md");
        let rows = documentation.lines().filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, register, field, bits, seen, why, _] = cells.as_slice() else {
                return None;
            };
            register.ends_with("_EL1").then(|| {
                assert!(!why.is_empty(), "{register} {field} has no reason");
                [register, field, bits, seen].map(ToString::to_string)
            })
        });
        let code = REGISTERS.iter().flat_map(|register| {
            register.fields.iter().map(|field| {
                let seen = match field.rule {
                    Rule::Kept => "the CPU's".to_owned(),
                    Rule::Hidden => "0".to_owned(),
                    Rule::AtMost(most) => format!("at most {most}"),
                    Rule::Is(this) => this.to_string(),
                };
                let bits = format!("{}:{}", field.high, field.low);
                [register.name.to_owned(), field.name.to_owned(), bits, seen]
            })
        });
        assert_eq!(rows.collect::<Vec<_>>(), code.collect::<Vec<_>>());
    }

    #[test]
    fn only_the_trapped_group_counts() {
        let name = |op0, crm| RegisterName {
            op0,
            op1: 0,
            crn: 0,
            crm,
            op2: 0,
        };
        assert!(is_id_register(name(3, 4)));
        assert!(!is_id_register(name(3, 0)), "MIDR_EL1 does not trap");
        assert!(!is_id_register(name(2, 4)), "a debug register");
    }
}
