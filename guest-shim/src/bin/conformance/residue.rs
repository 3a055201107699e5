//! Nothing of another guest, of another life or of EL2 is in a register or in memory.

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_shim::arch::memory::SpareMemory;
use guest_shim::arch::residue::Residue;
use guest_shim::arch::{float, registers, timer};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::smc;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::payload::first_residue;
use guest_shim::runtime::vcpu;
use guest_shim::{check, check_eq};

use crate::other_vcpu::on_other_vcpu;

const NOTHING: Residue = Residue {
    general: 0,
    sp_el0: 0,
    thread_pointers: 0,
    addresses: 0,
    tables: 0,
    context_id: 0,
};

/// A value that only this guest uses.
pub fn own_mark(environment: &Environment) -> u64 {
    let name = environment.name.bytes();
    name.fold(0x6b8b_4567_327b_23c6, |mark, byte| {
        mark.rotate_left(7) ^ u64::from(byte)
    })
}

/// Sleeps in small pieces, so that other guests run on this CPU meanwhile, and calls.
pub fn let_others_run(milliseconds: u64) {
    let end = timer::now() + timer::milliseconds(milliseconds);
    while timer::now() < end {
        timer::set(timer::milliseconds(2));
        timer::wait_for_interrupt();
        timer::stop();
        let _ = smc(0x8000_0000, &[]);
    }
    while guest_shim::arch::gic::acknowledge().is_some() {}
}

case!(4, the_first_vcpu_starts_with_clean_registers);
fn the_first_vcpu_starts_with_clean_registers(_: &Environment) -> Outcome {
    let residue = first_residue().ok_or_else(|| String::from("nothing was recorded"))?;
    check_eq!(residue, NOTHING, "what vCPU 0 started with");
    Ok(())
}

case!(4, another_vcpu_starts_with_clean_registers);
fn another_vcpu_starts_with_clean_registers(environment: &Environment) -> Outcome {
    for _ in 0..3 {
        let residue = on_other_vcpu(environment, |residue| {
            registers::set_thread_pointer(0x1234);
            registers::set_context_id(0x77);
            residue
        })?;
        check_eq!(residue, NOTHING, "what vCPU 1 started with");
    }
    Ok(())
}

case!(4, memory_starts_empty);
fn memory_starts_empty(environment: &Environment) -> Outcome {
    let spare = SpareMemory::of(environment.memory);
    let (start, end) = spare.bounds();
    for address in (start..end).step_by(64) {
        let word = spare.read(address);
        check_eq!(word, 0, "the word at {address:#x}");
    }
    Ok(())
}

case!(4, memory_is_written_by_nobody_else);
fn memory_is_written_by_nobody_else(environment: &Environment) -> Outcome {
    // All guests do this at the same addresses, each with a mark of its own, at about the same
    // time.
    let spare = SpareMemory::of(environment.memory);
    let (start, end) = spare.bounds();
    let mark = own_mark(environment);
    let addresses = || (start..end).step_by(4096);
    for address in addresses() {
        spare.write(address, mark ^ address);
    }
    let_others_run(300);
    for address in addresses() {
        check_eq!(
            spare.read(address),
            mark ^ address,
            "the word at {address:#x}"
        );
        spare.write(address, 0);
    }
    Ok(())
}

case!(4, simd_registers_are_kept);
fn simd_registers_are_kept(environment: &Environment) -> Outcome {
    let mark = own_mark(environment);
    check!(
        float::kept_over(mark, || let_others_run(300)),
        "q0 to q31 changed"
    );
    Ok(())
}

case!(4, system_registers_are_kept);
fn system_registers_are_kept(environment: &Environment) -> Outcome {
    let mark = own_mark(environment);
    let context = mark & 0xffff_ffff;
    registers::set_context_id(context);
    for _ in 0..20 {
        // The conduit uses TPIDR_EL0, so no call may lie between.
        registers::set_thread_pointer(mark);
        timer::set(timer::milliseconds(10));
        timer::wait_for_interrupt();
        timer::stop();
        check_eq!(registers::thread_pointer(), mark, "TPIDR_EL0");
        check_eq!(registers::context_id(), context, "CONTEXTIDR_EL1");
        while guest_shim::arch::gic::acknowledge().is_some() {}
    }
    Ok(())
}

case!(4, no_register_changes_while_both_vcpus_call);
fn no_register_changes_while_both_vcpus_call(environment: &Environment) -> Outcome {
    let failures = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&failures);
    let calls = || {
        for n in 0..500u64 {
            smc(0x8200_0000, &[n, !n, n << 32]).keeps_all_but(1)?;
            smc(0x8000_0001, &[0x8000_0000]).keeps_all_but(1)?;
        }
        Ok::<(), String>(())
    };
    vcpu::start(environment, 1, move |_| {
        if calls().is_err() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    calls()?;
    vcpu::wait_until_off(environment, 1)?;
    check_eq!(
        failures.load(Ordering::Relaxed),
        0,
        "the failures on vCPU 1"
    );
    Ok(())
}
