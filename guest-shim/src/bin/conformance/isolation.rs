//! What EL1 can't reach, and what ID registers must not promise.

use guest_shim::arch::exceptions::catch;
use guest_shim::arch::registers;
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};

/// The exception class of an undefined instruction (DDI0487J.a, D19.2.37).
const UNKNOWN_REASON: u64 = 0;

/// A four-bit field of an ID register.
pub fn field(value: u64, lowest_bit: u32) -> u64 {
    value >> lowest_bit & 0xf
}

case!(4, guests_run_at_el1);
fn guests_run_at_el1(_: &Environment) -> Outcome {
    check_eq!(registers::current_el() >> 2, 1, "the exception level");
    Ok(())
}

case!(4, registers_of_el2_and_el3_are_undefined);
fn registers_of_el2_and_el3_are_undefined(_: &Environment) -> Outcome {
    for (name, read) in [
        ("HCR_EL2", registers::read_hcr_el2 as fn() -> u64),
        ("VTTBR_EL2", registers::read_vttbr_el2),
        ("SCR_EL3", registers::read_scr_el3),
    ] {
        let caught = catch(|| {
            let _ = read();
        });
        let class = caught.map(|caught| caught.class());
        check_eq!(
            class,
            Some(UNKNOWN_REASON),
            "the exception of reading {name}"
        );
    }
    Ok(())
}

case!(4, id_registers_promise_no_el2_and_no_el3);
fn id_registers_promise_no_el2_and_no_el3(_: &Environment) -> Outcome {
    let pfr0 = registers::id_aa64pfr0();
    check_eq!(field(pfr0, 8), 0, "ID_AA64PFR0_EL1.EL2");
    check_eq!(field(pfr0, 12), 0, "ID_AA64PFR0_EL1.EL3");
    check_eq!(
        field(registers::id_aa64mmfr1(), 8),
        0,
        "ID_AA64MMFR1_EL1.VH"
    );
    Ok(())
}

case!(4, id_registers_promise_no_performance_monitors);
fn id_registers_promise_no_performance_monitors(_: &Environment) -> Outcome {
    let dfr0 = registers::id_aa64dfr0();
    check_eq!(field(dfr0, 8), 0, "ID_AA64DFR0_EL1.PMUVer");
    check_eq!(field(dfr0, 4), 0, "ID_AA64DFR0_EL1.TraceVer");
    Ok(())
}

case!(4, shared_counters_and_the_debugger_s_table_tell_nothing);
fn shared_counters_and_the_debugger_s_table_tell_nothing(_: &Environment) -> Outcome {
    for (name, read) in [
        ("PMCR_EL0", registers::pmcr as fn() -> u64),
        ("PMCEID0_EL0", registers::pmceid0),
        ("MDRAR_EL1", registers::mdrar),
        ("ACTLR_EL1", registers::actlr),
    ] {
        let mut value = 0;
        let caught = catch(|| value = read());
        check!(caught.is_some() || value == 0, "{name} reads {value:#x}");
    }
    Ok(())
}
