//! Every register that a guest can write is its own, and starts anew with its vCPU.

use alloc::vec::Vec;

use guest_shim::arch::writable_registers::{self, WritableRegister};
use guest_shim::arch::{gic, timer};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};

use super::residue::own_mark;
use crate::other_vcpu::on_other_vcpu;

/// The least number of registers that a CPU lets EL1 write, besides those that the payload rests
/// on.
const REGISTERS_MIN: usize = 30;

/// Writes the mark to all of them; gives what each holds then.
fn mark_all(registers: &[WritableRegister], mark: u64) -> Vec<u64> {
    registers
        .iter()
        .map(|register| register.set(mark))
        .collect()
}

case!(4, every_register_that_a_guest_writes_is_its_own);
fn every_register_that_a_guest_writes_is_its_own(environment: &Environment) -> Outcome {
    // Other guests do this at the same time on the same CPUs, each with a mark of its own.
    let registers = writable_registers::find();
    check!(
        registers.len() >= REGISTERS_MIN,
        "{} registers alone can be written",
        registers.len()
    );
    let before: Vec<u64> = registers.iter().map(WritableRegister::value).collect();
    let mut changed = None;
    for round in 0..12 {
        let mark = own_mark(environment).rotate_left(round);
        let written = mark_all(&registers, mark);
        // No call in between: the conduit uses some of them.
        timer::set(timer::milliseconds(8));
        timer::wait_for_interrupt();
        timer::stop();
        let differs = |(register, &value): (&WritableRegister, &u64)| {
            let now = register.value();
            ((now ^ value) & register.mask != 0).then_some((register.register, value, now))
        };
        changed = changed.or(registers.iter().zip(&written).find_map(differs));
        while gic::acknowledge().is_some() {}
    }
    for (register, &value) in registers.iter().zip(&before) {
        let _ = register.set(value);
    }
    if let Some((register, written, now)) = changed {
        return Err(alloc::format!(
            "{register} was {written:#x} and is {now:#x}"
        ));
    }
    guest_shim::println!("{} registers can be written", registers.len());
    Ok(())
}

case!(
    4,
    every_register_that_a_guest_writes_starts_anew_with_its_vcpu
);
fn every_register_that_a_guest_writes_starts_anew_with_its_vcpu(
    environment: &Environment,
) -> Outcome {
    let mark = own_mark(environment);
    let life = move |_| {
        let registers = writable_registers::find();
        let found: Vec<u64> = registers.iter().map(WritableRegister::value).collect();
        let _ = mark_all(&registers, mark);
        let names: Vec<_> = registers.iter().map(|register| register.register).collect();
        (names, found)
    };
    let (names, first) = on_other_vcpu(environment, life)?;
    for _ in 0..2 {
        let (_, next) = on_other_vcpu(environment, life)?;
        for ((name, first), next) in names.iter().zip(&first).zip(&next) {
            check_eq!(next, first, "what {name} starts with");
        }
    }
    Ok(())
}
