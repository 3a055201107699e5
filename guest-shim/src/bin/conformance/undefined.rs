//! What a CPU of the guest's does not have is undefined, in whatever state it is tried, and ends no
//! guest.

use guest_shim::arch::exceptions::catch;
use guest_shim::arch::user::{self, State};
use guest_shim::arch::{any_register, gic, registers};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};

use super::isolation::field;

/// Exception classes (DDI0487J.a, D19.2.37).
const UNKNOWN_REASON: u64 = 0x00;
const SVC_A32: u64 = 0x11;
const SVC_A64: u64 = 0x15;

const FROM_A64: u64 = 0x400;
const FROM_A32: u64 = 0x600;

/// PSTATE.Z.
const Z: u64 = 1 << 30;

/// `svc #0` in each instruction set; in T32 a word has two.
const SVC_IN_A64: u32 = 0xd400_0001;
const SVC_IN_A32: u32 = 0xef00_0000;
const SVC_IN_T32: u32 = 0xdf00_df00;

/// Whether EL0 may use AArch32: ID_AA64PFR0_EL1.EL0.
fn has_aarch32() -> bool {
    field(registers::id_aa64pfr0(), 0) == 2
}

/// How a program at EL0 that executes `instruction` first and a supervisor call then may end: by
/// the call, because the instruction did something; by an undefined instruction; or by a trap that
/// EL1 itself has asked for.
fn ends_in_el1(name: &str, left: user::Left, vector: u64, svc: u64) -> Outcome {
    check_eq!(left.vector, vector, "the vector after {name}");
    match (left.class(), left.offset) {
        (UNKNOWN_REASON | 0x01 | 0x03..=0x08 | 0x0c | 0x18, 0) => Ok(()),
        (class, 8) if class == svc => Ok(()),
        (class, offset) => Err(alloc::format!(
            "{name} ended with exception class {class:#x} at {offset:#x}"
        )),
    }
}

/// An interrupt that is pending until the returned guard is dropped, so that WFI and WFE end.
fn pending_interrupt(environment: &Environment) -> impl Drop {
    struct Acknowledged;
    impl Drop for Acknowledged {
        fn drop(&mut self) {
            while gic::acknowledge().is_some() {}
        }
    }
    gic::send_sgi(3, environment.vcpus[0]);
    Acknowledged
}

case!(4, a_program_reaches_el1_by_a_supervisor_call);
fn a_program_reaches_el1_by_a_supervisor_call(_: &Environment) -> Outcome {
    let left = user::run(State::A64, &[SVC_IN_A64], 0, 5);
    check_eq!(
        (left.vector, left.class(), left.offset, left.x0),
        (FROM_A64, SVC_A64, 4, 5),
        "how an A64 program ended"
    );
    if has_aarch32() {
        let left = user::run(State::A32, &[SVC_IN_A32], 0, 5);
        check_eq!(
            (left.vector, left.class(), left.offset, left.x0),
            (FROM_A32, SVC_A32, 4, 5),
            "how an A32 program ended"
        );
        let left = user::run(State::T32, &[SVC_IN_T32], 0, 5);
        check_eq!(
            (left.vector, left.class(), left.offset, left.x0),
            (FROM_A32, SVC_A32, 2, 5),
            "how a T32 program ended"
        );
    }
    Ok(())
}

case!(4, no_instruction_of_a_64_bit_program_ends_the_guest);
fn no_instruction_of_a_64_bit_program_ends_the_guest(environment: &Environment) -> Outcome {
    let _pending = pending_interrupt(environment);
    for (name, instruction) in [
        ("WFI", 0xd503_207f),
        ("WFE", 0xd503_205f),
        ("ESB", 0xd503_221f),
        ("PSB CSYNC", 0xd503_223f),
        ("TSB CSYNC", 0xd503_225f),
        ("PACIASP", 0xd503_233f),
        ("MRS MDCCSR_EL0", 0xd533_0100),
        ("MRS DBGDTR_EL0", 0xd533_0400),
        ("MRS DBGDTRRX_EL0", 0xd533_0500),
        ("MSR DBGDTRTX_EL0", 0xd513_0500),
        ("MRS PMCCNTR_EL0", 0xd53b_9d00),
        ("MRS AMCR_EL0", 0xd53b_d200),
        ("MRS TPIDR2_EL0", 0xd53b_d0a0),
        ("MRS SCXTNUM_EL0", 0xd53b_d0e0),
        ("MRS POR_EL0", 0xd53b_a280),
        ("MRS CNTPCTSS_EL0", 0xd53b_e0a0),
        ("MRS CNTP_CTL_EL0", 0xd53b_e220),
        ("MRS RNDR", 0xd53b_2400),
        ("MRS a register of the CPU's own", 0xd53b_f000),
        ("SYS of the CPU's own", 0xd50b_bf00),
        ("MRS MDSCR_EL1", 0xd530_0240),
        ("MRS ID_AA64PFR0_EL1", 0xd538_0400),
        ("MRS HCR_EL2", 0xd53c_1100),
        ("HVC", 0xd400_0002),
        ("SMC", 0xd400_0003),
        ("ERET", 0xd69f_03e0),
        ("UDF", 0x0000_0000),
        ("LD64B", 0xf83f_d000),
        ("CPYFP", 0x1901_0440),
        ("TSTART", 0xd523_3060),
        ("GCSPUSHM", 0xd52b_7700),
    ] {
        let left = user::run(State::A64, &[instruction, SVC_IN_A64], 0, user::word());
        ends_in_el1(name, left, FROM_A64, SVC_A64)?;
    }
    Ok(())
}

case!(4, sve_and_sme_are_undefined_for_programs);
fn sve_and_sme_are_undefined_for_programs(_: &Environment) -> Outcome {
    for (name, instruction) in [
        ("RDVL", 0x04bf_5020),
        ("PTRUE", 0x2518_e3e0),
        ("RDSVL", 0x04bf_5820),
        ("SMSTART", 0xd503_477f),
        ("MRS SVCR", 0xd53b_4240),
    ] {
        let left = user::run_with_vectors(&[instruction, SVC_IN_A64], 0);
        check_eq!(
            (left.vector, left.class(), left.offset),
            (FROM_A64, UNKNOWN_REASON, 0),
            "how {name} ended"
        );
    }
    Ok(())
}

case!(4, no_instruction_of_a_32_bit_program_ends_the_guest);
fn no_instruction_of_a_32_bit_program_ends_the_guest(environment: &Environment) -> Outcome {
    let _pending = pending_interrupt(environment);
    if !has_aarch32() {
        return Ok(());
    }
    for (name, instruction) in [
        ("MRC DBGDIDR", 0xee10_0e10),
        ("MRC DBGDSCRint", 0xee10_0e11),
        ("MRC DBGDTRRXint", 0xee10_0e15),
        ("MCR DBGDTRTXint", 0xee00_0e15),
        ("MRRC DBGDRAR", 0xec51_0e01),
        ("MRC DBGDRAR", 0xee11_0e10),
        ("MRRC DBGDSAR", 0xec51_0e02),
        ("STC DBGDTRRXint", 0xeca0_5e01),
        ("LDC DBGDTRTXint", 0xecb0_5e01),
        ("MRC TRCPROCSEL", 0xee31_0e10),
        ("MRC JIDR", 0xeef0_0e10),
        ("MRC MIDR", 0xee10_0f10),
        ("MRC CTR", 0xee10_0f30),
        ("MRC SCTLR", 0xee11_0f10),
        ("MRC PMCR", 0xee19_0f1c),
        ("MRC PMCCNTR", 0xee19_0f1d),
        ("MRRC PMCCNTR", 0xec51_0f09),
        ("MRC TPIDRPRW", 0xee1d_0f90),
        ("MRC CNTP_CTL", 0xee1e_0f32),
        ("MRRC CNTP_CVAL", 0xec51_0f2e),
        ("MRRC CNTPCT", 0xec51_0f0e),
        ("MRC a register of the CPU's own", 0xee1f_0f10),
        ("MCR a register of the CPU's own", 0xee09_0f10),
        ("VMRS FPSID", 0xeef0_0a10),
        ("WFI", 0xe320_f003),
        ("WFE", 0xe320_f002),
        ("HVC", 0xe140_0070),
        ("SMC", 0xe160_0070),
        ("ERET", 0xe160_006e),
        ("UDF", 0xe7f0_00f0),
    ] {
        let left = user::run(State::A32, &[instruction, SVC_IN_A32], 0, user::word());
        ends_in_el1(name, left, FROM_A32, SVC_A32)?;
    }
    Ok(())
}

case!(4, a_debug_register_of_cp14_is_undefined);
fn a_debug_register_of_cp14_is_undefined(_: &Environment) -> Outcome {
    if !has_aarch32() {
        return Ok(());
    }
    let mrc = 0xee10_0e10;
    let left = user::run(State::A32, &[mrc, SVC_IN_A32], 0, 0);
    check_eq!(
        (left.vector, left.class(), left.offset),
        (FROM_A32, UNKNOWN_REASON, 0),
        "how MRC of DBGDIDR ended"
    );
    check_eq!(left.pstate & 0x1f, 0x10, "the mode that it came from");
    // The same in T32: the halfwords change places.
    let left = user::run(State::T32, &[0x0e10_ee10, SVC_IN_T32], 0, 0);
    check_eq!(
        (left.vector, left.class(), left.offset),
        (FROM_A32, UNKNOWN_REASON, 0),
        "how MRC of DBGDIDR ended in T32"
    );
    Ok(())
}

case!(4, an_instruction_whose_condition_fails_does_nothing);
fn an_instruction_whose_condition_fails_does_nothing(_: &Environment) -> Outcome {
    if !has_aarch32() {
        return Ok(());
    }
    // MRCNE of DBGDIDR while Z is set, then while it is clear.
    let program = [0x1e10_0e10, SVC_IN_A32];
    let left = user::run(State::A32, &program, Z, 0x55);
    check_eq!(
        (left.class(), left.offset, left.x0),
        (SVC_A32, 8, 0x55),
        "how a conditional MRC ended that is not executed"
    );
    let left = user::run(State::A32, &program, 0, 0x55);
    check_eq!(
        (left.class(), left.offset),
        (UNKNOWN_REASON, 0),
        "how a conditional MRC ended that is executed"
    );
    Ok(())
}

case!(4, a_t32_instruction_of_two_bytes_is_passed_over);
fn a_t32_instruction_of_two_bytes_is_passed_over(environment: &Environment) -> Outcome {
    if !has_aarch32() {
        return Ok(());
    }
    let _pending = pending_interrupt(environment);
    // WFI and SVC in one word; IT EQ, WFIEQ and SVC.
    let left = user::run(State::T32, &[0xdf00_bf30], 0, 0);
    check_eq!(
        (left.class(), left.offset),
        (SVC_A32, 4),
        "how WFI and SVC ended"
    );
    for flags in [0, Z] {
        let left = user::run(State::T32, &[0xbf30_bf08, SVC_IN_T32], flags, 0);
        check_eq!(
            (left.class(), left.offset),
            (SVC_A32, 6),
            "how WFI in an IT block and SVC ended"
        );
        check_eq!(left.pstate >> 10 & 0x3f, 0, "what is left of the IT block");
    }
    Ok(())
}

case!(4, a_program_that_touches_nothing_gets_an_abort);
fn a_program_that_touches_nothing_gets_an_abort(_: &Environment) -> Outcome {
    /// A data abort and an instruction abort from EL0, and their status: synchronous external
    /// abort.
    const DATA_ABORT: u64 = 0x24;
    const INSTRUCTION_ABORT: u64 = 0x20;
    const EXTERNAL: u64 = 0x10;
    // Far behind the guest's memory.
    let nowhere = user::word() + (512 << 20);
    for (name, instruction, class, write) in [
        ("LDR", 0xf940_0000, DATA_ABORT, 0),
        ("STR", 0xf900_0000, DATA_ABORT, 1),
        ("BR", 0xd61f_0000, INSTRUCTION_ABORT, 0),
    ] {
        let left = user::run(State::A64, &[instruction, SVC_IN_A64], 0, nowhere & !3);
        check_eq!(
            (
                left.vector,
                left.class(),
                left.esr & 0x3f,
                left.esr >> 6 & 1
            ),
            (FROM_A64, class, EXTERNAL, write),
            "how {name} ended"
        );
        check_eq!(left.far, nowhere & !3, "the address of {name}");
    }
    Ok(())
}

case!(
    4,
    an_undefined_instruction_enters_el1_as_the_architecture_does
);
fn an_undefined_instruction_enters_el1_as_the_architecture_does(_: &Environment) -> Outcome {
    const PAN: u64 = 1 << 22;
    const SSBS: u64 = 1 << 12;
    const TCO: u64 = 1 << 25;
    const DAIF: u64 = 0xf << 6;
    let has_pan = field(registers::id_aa64mmfr1(), 20) != 0;
    let has_ssbs = field(registers::id_aa64pfr1(), 4) >= 2;
    // What EL2 injects, and what the CPU does by itself.
    let trapped = || _ = registers::read_limited_ordering();
    let undefined = || _ = registers::read_hcr_el2();
    for (span, dssbs, pan) in [
        (false, false, false),
        (false, true, false),
        (true, false, false),
        (true, true, true),
        (false, false, true),
    ] {
        let bit = |on: bool, mask: u64| if on { mask } else { 0 };
        let mask = bit(has_pan, registers::SCTLR_SPAN) | bit(has_ssbs, registers::SCTLR_DSSBS);
        let value = bit(span, registers::SCTLR_SPAN) | bit(dssbs, registers::SCTLR_DSSBS);
        registers::set_sctlr_bits(mask, value);
        let handlers = [&trapped as &dyn Fn(), &undefined].map(|action| {
            if has_pan {
                registers::set_pan(pan);
            }
            let caught = catch(action);
            if has_pan {
                registers::set_pan(false);
            }
            caught.map(|caught| (caught.class(), caught.pstate & (PAN | SSBS | TCO | DAIF)))
        });
        registers::set_sctlr_bits(mask, registers::SCTLR_SPAN);
        let expected = DAIF | bit(has_pan && (pan || !span), PAN) | bit(has_ssbs && dssbs, SSBS);
        check_eq!(
            handlers[0].map(|(class, pstate)| (class, pstate & !TCO)),
            Some((UNKNOWN_REASON, expected)),
            "PSTATE in the handler, with SPAN {span}, DSSBS {dssbs}, PAN {pan}"
        );
        check_eq!(
            handlers[0],
            handlers[1],
            "what EL2 injects and what the CPU does"
        );
    }
    Ok(())
}

case!(
    4,
    every_undefined_register_is_undefined_and_nothing_ends_the_guest
);
fn every_undefined_register_is_undefined_and_nothing_ends_the_guest(_: &Environment) -> Outcome {
    // EL1 itself has not opened SVE and SME; with FEAT_IDST ID registers that are not there trap.
    let is_right = |class| matches!(class, UNKNOWN_REASON | 0x18 | 0x19 | 0x1d);
    let sweep = any_register::sweep();
    for (register, caught) in &sweep.first_exceptions {
        check!(
            is_right(caught.class()),
            "the exception of reading {register} is {:#x}",
            caught.class()
        );
    }
    let readable = sweep.readable.len();
    check!(readable > 50, "{readable} registers alone can be read");
    while gic::acknowledge().is_some() {}
    Ok(())
}
