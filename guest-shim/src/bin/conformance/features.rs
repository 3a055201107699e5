//! What the ID registers promise works, and what they hide is not there (docs/id-registers.md).

use guest_shim::arch::any_register::Encoding;
use guest_shim::arch::user::{self, State};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};

use super::isolation::field;

/// Exception classes (DDI0487J.a, D19.2.37).
const UNKNOWN_REASON: u64 = 0x00;
const SVC: u64 = 0x15;
const SVC_CODE: u32 = 0xd400_0001;

fn id(crm: u8, op2: u8) -> u64 {
    Encoding::new(3, 0, 0, crm, op2).read().unwrap_or_default()
}

/// A field of an ID register: CRm, op2, lowest bit.
type Place = (u8, u8, u32);

/// Fields, the least value of each that promises something, and an instruction that it promises.
const PROMISES: &[(&str, Place, u64, u32)] = &[
    ("AES: AESE", (6, 0, 4), 1, 0x4e28_4800),
    ("SHA1: SHA1H", (6, 0, 8), 1, 0x5e28_0800),
    ("SHA2: SHA256H", (6, 0, 12), 1, 0x5e00_4000),
    ("SHA2: SHA512H", (6, 0, 12), 2, 0xce60_8000),
    ("CRC32: CRC32B", (6, 0, 16), 1, 0x1ac0_4001),
    ("Atomic: LDADD", (6, 0, 20), 2, 0xf821_0001),
    ("RDM: SQRDMLAH", (6, 0, 28), 1, 0x2e80_8400),
    ("DP: UDOT", (6, 0, 44), 1, 0x2e80_9400),
    ("TS: CFINV", (6, 0, 52), 2, 0xd500_401f),
    ("RNDR: MRS", (6, 0, 60), 1, 0xd53b_2401),
    ("JSCVT: FJCVTZS", (6, 1, 12), 1, 0x1e7e_0001),
    ("FCMA: FCADD", (6, 1, 16), 1, 0x2e80_e400),
    ("LRCPC: LDAPR", (6, 1, 20), 1, 0xf8bf_c001),
    ("FRINTTS: FRINT32Z", (6, 1, 32), 1, 0x1e28_4000),
    ("SB", (6, 1, 36), 1, 0xd503_30ff),
    ("DIT: MRS", (4, 0, 48), 1, 0xd53b_42a1),
    ("SSBS: MRS", (4, 1, 4), 2, 0xd53b_42c1),
];

case!(4, what_id_registers_promise_works);
fn what_id_registers_promise_works(_: &Environment) -> Outcome {
    for &(name, (crm, op2, low), least, instruction) in PROMISES {
        if field(id(crm, op2), low) < least {
            continue;
        }
        let left = user::run_with_vectors(&[instruction, SVC_CODE], user::word());
        check_eq!((left.class(), left.offset), (SVC, 8), "how {name} ended");
    }
    let apa_and_api = id(6, 1) >> 4 & 0xff;
    if apa_and_api != 0 {
        // PACGA x1, x0, x0: the keys are there. It depends on SCTLR_EL1 for nothing.
        let left = user::run(State::A64, &[0x9ac0_3001, SVC_CODE], 0, 1);
        check_eq!((left.class(), left.offset), (SVC, 8), "how PACGA ended");
    }
    Ok(())
}

/// Registers that are hidden along with their features.
const HIDDEN: &[(&str, Encoding)] = &[
    ("LORID_EL1", Encoding::new(3, 0, 10, 4, 7)),
    ("LORSA_EL1", Encoding::new(3, 0, 10, 4, 0)),
    ("ERRIDR_EL1", Encoding::new(3, 0, 5, 3, 0)),
    ("ERRSELR_EL1", Encoding::new(3, 0, 5, 3, 1)),
    ("SCXTNUM_EL1", Encoding::new(3, 0, 13, 0, 7)),
    ("SCXTNUM_EL0", Encoding::new(3, 3, 13, 0, 7)),
    ("RGSR_EL1", Encoding::new(3, 0, 1, 0, 5)),
    ("GCR_EL1", Encoding::new(3, 0, 1, 0, 6)),
    ("TFSR_EL1", Encoding::new(3, 0, 5, 6, 0)),
    ("TFSRE0_EL1", Encoding::new(3, 0, 5, 6, 1)),
    ("GMID_EL1", Encoding::new(3, 1, 0, 0, 4)),
    ("MPAM0_EL1", Encoding::new(3, 0, 10, 5, 1)),
    ("AMCR_EL0", Encoding::new(3, 3, 13, 2, 0)),
    ("PMSIDR_EL1", Encoding::new(3, 0, 9, 9, 7)),
    ("TRFCR_EL1", Encoding::new(3, 0, 1, 2, 1)),
    ("TRBIDR_EL1", Encoding::new(3, 0, 9, 11, 7)),
    ("TRCIDR0", Encoding::new(2, 1, 0, 8, 7)),
    ("BRBCR_EL1", Encoding::new(2, 1, 9, 0, 0)),
    ("TCR2_EL1", Encoding::new(3, 0, 2, 0, 3)),
    ("SCTLR2_EL1", Encoding::new(3, 0, 1, 0, 3)),
    ("PIR_EL1", Encoding::new(3, 0, 10, 2, 3)),
    ("POR_EL1", Encoding::new(3, 0, 10, 2, 4)),
    ("ALLINT", Encoding::new(3, 0, 4, 3, 0)),
    ("HCR_EL2", Encoding::new(3, 4, 1, 1, 0)),
];

case!(4, what_id_registers_hide_is_undefined);
fn what_id_registers_hide_is_undefined(_: &Environment) -> Outcome {
    for (name, register) in HIDDEN {
        let outcome = register.read();
        // With FEAT_IDST an ID register that is not there may trap to EL1.
        let is_undefined =
            matches!(outcome, Err(caught) if matches!(caught.class(), UNKNOWN_REASON | 0x18));
        check!(
            is_undefined,
            "the outcome of reading {name} is {outcome:x?}"
        );
    }
    Ok(())
}

case!(4, id_registers_hide_what_is_not_kept_for_a_vcpu);
fn id_registers_hide_what_is_not_kept_for_a_vcpu(_: &Environment) -> Outcome {
    for (name, (crm, op2, low), most) in [
        ("AArch32 at EL1", (4, 0, 4), 1),
        ("RAS", (4, 0, 28), 0),
        ("SVE", (4, 0, 32), 0),
        ("SEL2", (4, 0, 36), 0),
        ("MPAM", (4, 0, 40), 0),
        ("AMU", (4, 0, 44), 0),
        ("CSV2", (4, 0, 56), 1),
        ("MTE", (4, 1, 8), 0),
        ("SME", (4, 1, 24), 0),
        ("CSV2_frac", (4, 1, 32), 1),
        ("NMI", (4, 1, 36), 0),
        ("PMSVer", (5, 0, 32), 0),
        ("MOPS", (6, 2, 16), 0),
        ("BigEnd", (7, 0, 8), 0),
        ("FGT", (7, 0, 56), 0),
        ("LO", (7, 1, 16), 0),
        ("IESB", (7, 2, 12), 0),
        ("NV", (7, 2, 24), 0),
    ] {
        let value = field(id(crm, op2), low);
        check!(value <= most, "{name} is {value:#x}");
    }
    check_eq!(id(7, 3), 0, "ID_AA64MMFR3_EL1");
    Ok(())
}
