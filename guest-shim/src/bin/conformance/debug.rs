//! A guest debugs its programs and itself: single steps, breakpoints, watchpoints, the OS lock.

use guest_shim::arch::any_register::Encoding;
use guest_shim::arch::debug::{self, Debugged};
use guest_shim::arch::registers;
use guest_shim::arch::user::{self, Left, State};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};

use super::isolation::field;
use crate::other_vcpu::on_other_vcpu;

/// Exception classes (DDI0487J.a, D19.2.37).
const SVC: u64 = 0x15;
const BREAKPOINT: u64 = 0x30;
const STEP: u64 = 0x32;
const WATCHPOINT: u64 = 0x34;
const BREAKPOINT_AT_EL1: u64 = 0x31;

/// PSTATE.SS.
const SS: u64 = 1 << 21;

const NOP_CODE: u32 = 0xd503_201f;
const SVC_CODE: u32 = 0xd400_0001;
/// `str x0, [x0]`.
const STORE_CODE: u32 = 0xf900_0000;
/// `mrs x1, mdccsr_el0`, which EL2 serves.
const TRAPPED_CODE: u32 = 0xd533_0101;

fn run(instructions: &[u32], flags: u64) -> Left {
    user::run(State::A64, instructions, flags, user::word())
}

fn counts() -> (u64, u64) {
    let dfr0 = registers::id_aa64dfr0();
    (field(dfr0, 12) + 1, field(dfr0, 20) + 1)
}

case!(4, every_breakpoint_of_the_id_register_stops_a_program);
fn every_breakpoint_of_the_id_register_stops_a_program(_: &Environment) -> Outcome {
    let program = [NOP_CODE, NOP_CODE, SVC_CODE];
    let debugged = Debugged::new();
    for n in 0..counts().0 {
        debug::set_breakpoint(n, user::program() + 4, debug::AT_EL0);
        let left = run(&program, 0);
        check_eq!(
            (left.class(), left.offset),
            (BREAKPOINT, 4),
            "what stopped the program at breakpoint {n}"
        );
        debug::set_breakpoint(n, 0, debug::OFF);
        check_eq!(
            run(&program, 0).class(),
            SVC,
            "the end without breakpoint {n}"
        );
    }
    drop(debugged);
    debug::set_breakpoint(0, user::program() + 4, debug::AT_EL0);
    let class = run(&program, 0).class();
    debug::set_breakpoint(0, 0, debug::OFF);
    check_eq!(class, SVC, "the end with MDSCR_EL1.MDE clear");
    Ok(())
}

case!(4, every_watchpoint_of_the_id_register_stops_a_program);
fn every_watchpoint_of_the_id_register_stops_a_program(_: &Environment) -> Outcome {
    let program = [NOP_CODE, STORE_CODE, SVC_CODE];
    let _debugged = Debugged::new();
    for n in 0..counts().1 {
        debug::set_watchpoint(n, user::word(), debug::AT_EL0);
        let left = run(&program, 0);
        check_eq!(
            (left.class(), left.offset, left.far),
            (WATCHPOINT, 4, user::word()),
            "what stopped the program at watchpoint {n}"
        );
        debug::set_watchpoint(n, 0, debug::OFF);
        check_eq!(
            run(&program, 0).class(),
            SVC,
            "the end without watchpoint {n}"
        );
    }
    Ok(())
}

case!(4, a_breakpoint_stops_the_kernel);
fn a_breakpoint_stops_the_kernel(_: &Environment) -> Outcome {
    let _debugged = Debugged::new();
    let caught = debug::caught_at_own_breakpoint();
    check_eq!(
        caught.map(|caught| caught.class()),
        Some(BREAKPOINT_AT_EL1),
        "the exception at the payload's own breakpoint"
    );
    Ok(())
}

case!(4, a_program_is_stepped_one_instruction_at_a_time);
fn a_program_is_stepped_one_instruction_at_a_time(_: &Environment) -> Outcome {
    let stepping = Debugged::stepping();
    for (name, program) in [
        ("NOP", [NOP_CODE, NOP_CODE, SVC_CODE]),
        ("a store", [STORE_CODE, NOP_CODE, SVC_CODE]),
        ("a read that EL2 serves", [TRAPPED_CODE, NOP_CODE, SVC_CODE]),
    ] {
        let left = run(&program, SS);
        check_eq!(
            (left.class(), left.offset),
            (STEP, 4),
            "what stopped the program after {name}"
        );
    }
    drop(stepping);
    let left = run(&[NOP_CODE, NOP_CODE, SVC_CODE], SS);
    check_eq!(
        left.class(),
        SVC,
        "the end of the program without MDSCR_EL1.SS"
    );
    Ok(())
}

case!(
    4,
    the_os_lock_is_locked_at_the_start_and_holds_exceptions_back
);
fn the_os_lock_is_locked_at_the_start_and_holds_exceptions_back(
    environment: &Environment,
) -> Outcome {
    let at_start = on_other_vcpu(environment, |_| debug::os_lock_status())?;
    check_eq!(at_start, 0b1010, "OSLSR_EL1 of a vCPU that starts");
    let program = [NOP_CODE, NOP_CODE, SVC_CODE];
    let _debugged = Debugged::new();
    check_eq!(
        debug::os_lock_status(),
        0b1000,
        "OSLSR_EL1 when it is unlocked"
    );
    debug::set_breakpoint(0, user::program() + 4, debug::AT_EL0);
    debug::set_os_lock(true);
    let locked = run(&program, 0).class();
    debug::set_os_lock(false);
    let unlocked = run(&program, 0).class();
    debug::set_breakpoint(0, 0, debug::OFF);
    check_eq!(locked, SVC, "the end under the OS lock");
    check_eq!(unlocked, BREAKPOINT, "the end without the OS lock");
    Ok(())
}

case!(4, breakpoints_beyond_the_id_register_s_are_undefined);
fn breakpoints_beyond_the_id_register_s_are_undefined(_: &Environment) -> Outcome {
    let (breakpoints, watchpoints) = counts();
    for n in 0..16u8 {
        for (op2, count) in [
            (4, breakpoints),
            (5, breakpoints),
            (6, watchpoints),
            (7, watchpoints),
        ] {
            let register = Encoding::new(2, 0, 0, n, op2);
            check_eq!(
                register.read().is_ok(),
                u64::from(n) < count,
                "whether {register} is there"
            );
        }
    }
    Ok(())
}

case!(4, breakpoints_are_the_vcpu_s_own);
fn breakpoints_are_the_vcpu_s_own(environment: &Environment) -> Outcome {
    // Other guests run this at the same time, on the same CPUs, with programs at the same
    // addresses.
    let program = [NOP_CODE, NOP_CODE, SVC_CODE];
    for _ in 0..10 {
        check_eq!(
            run(&program, 0).class(),
            SVC,
            "the end of a program that nobody debugs"
        );
        let _debugged = Debugged::new();
        debug::set_breakpoint(1, user::program() + 4, debug::AT_EL0);
        let others = on_other_vcpu(environment, |_| {
            [1, 0].map(|op2| Encoding::new(2, 0, 0, 1, 4 + op2).read().ok())
        })?;
        super::residue::let_others_run(10);
        let left = run(&program, 0);
        debug::set_breakpoint(1, 0, debug::OFF);
        check_eq!(
            left.class(),
            BREAKPOINT,
            "the end of a program that is debugged"
        );
        check_eq!(others, [Some(0); 2], "breakpoint 1 of vCPU 1");
    }
    Ok(())
}

case!(4, the_debugger_s_channel_tells_nothing);
fn the_debugger_s_channel_tells_nothing(_: &Environment) -> Outcome {
    for register in [
        Encoding::new(2, 3, 0, 4, 0),
        Encoding::new(2, 3, 0, 5, 0),
        Encoding::new(2, 0, 0, 0, 2),
        Encoding::new(2, 0, 0, 3, 2),
        Encoding::new(2, 0, 1, 0, 0),
    ] {
        let value = register.read().unwrap_or(0);
        check!(value == 0, "{register} reads {value:#x}");
    }
    Ok(())
}
