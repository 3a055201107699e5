//! Interrupts that a guest's vCPUs send each other.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_shim::arch::exceptions::take_interrupt;
use guest_shim::arch::{gic, timer};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu;
use guest_shim::{check, check_eq};

case!(7, a_vcpu_interrupts_itself);
fn a_vcpu_interrupts_itself(environment: &Environment) -> Outcome {
    for number in 0..16 {
        gic::send_sgi(number, environment.vcpus[0]);
        check_eq!(u64::from(take_interrupt()), number, "the interrupt");
    }
    Ok(())
}

case!(7, vcpus_interrupt_each_other);
fn vcpus_interrupt_each_other(environment: &Environment) -> Outcome {
    const ROUNDS: u32 = 20;
    let taken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&taken);
    let affinity = environment.vcpus[0];
    let ready = Arc::new(AtomicU32::new(0));
    let up = Arc::clone(&ready);
    vcpu::start(environment, 1, move |_| {
        up.store(1, Ordering::Release);
        for _ in 0..ROUNDS {
            if !vcpu::wait_for(|| gic::acknowledge() == Some(7)) {
                return;
            }
            counter.fetch_add(1, Ordering::Relaxed);
            gic::send_sgi(8, affinity);
        }
    })?;
    // What is sent before the vCPU has set up its interrupts may be lost.
    check!(
        vcpu::wait_for(|| ready.load(Ordering::Acquire) == 1),
        "vCPU 1 did not start"
    );
    for round in 0..ROUNDS {
        gic::send_sgi(7, environment.vcpus[1]);
        check!(
            vcpu::wait_for(|| gic::acknowledge() == Some(8)),
            "no answer in round {round}"
        );
    }
    vcpu::wait_until_off(environment, 1)?;
    check_eq!(
        taken.load(Ordering::Relaxed),
        ROUNDS,
        "the interrupts that vCPU 1 took"
    );
    Ok(())
}

case!(7, no_interrupt_comes_unasked);
fn no_interrupt_comes_unasked(_: &Environment) -> Outcome {
    let end = timer::now() + timer::milliseconds(100);
    while timer::now() < end {
        let interrupt = gic::acknowledge();
        check_eq!(interrupt, None, "the interrupt");
    }
    Ok(())
}
