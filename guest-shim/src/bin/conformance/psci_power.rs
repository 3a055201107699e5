//! PSCI 1.1: vCPUs on, off and suspended (DEN0022F.b, §5.1 and §5.4).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use guest_shim::arch::secondary::{prepare_secondary, secondary_entry};
use guest_shim::arch::{gic, memory, timer};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::smc;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::psci::{id, status, wide};
use guest_shim::runtime::vcpu::{self, AFFINITY_OFF, AFFINITY_ON};
use guest_shim::{check, check_eq};

use crate::other_vcpu::on_other_vcpu;

/// CPU_SUSPEND's power_state for a power-down state of a core, in the original format (§5.4.2.1).
const POWER_DOWN: u64 = 1 << 16;

fn state_of(affinity: u64) -> i64 {
    smc(wide(id::AFFINITY_INFO), &[affinity, 0]).result()
}

case!(3, cpu_on_starts_a_vcpu_where_it_is_told);
fn cpu_on_starts_a_vcpu_where_it_is_told(environment: &Environment) -> Outcome {
    let affinity = on_other_vcpu(environment, |_| guest_shim::arch::registers::affinity())?;
    check_eq!(affinity, environment.vcpus[1], "MPIDR_EL1 of vCPU 1");
    Ok(())
}

/// Starts vCPU 1 with the SMC32 form, whose upper halves hold `garbage`.
fn start_with_cpu_on_32(environment: &Environment, garbage: u64) -> Outcome {
    let Some(context) = prepare_secondary(1) else {
        return Err("vCPU 1 has no stack".into());
    };
    let arguments = [environment.vcpus[1], secondary_entry(), context].map(|word| word | garbage);
    check_eq!(
        smc(id::CPU_ON, &arguments).result(),
        status::SUCCESS,
        "CPU_ON"
    );
    vcpu::wait_until_off(environment, 1)
}

case!(3, cpu_on_32_starts_a_vcpu);
fn cpu_on_32_starts_a_vcpu(environment: &Environment) -> Outcome {
    start_with_cpu_on_32(environment, 0)
}

case!(3, cpu_on_32_looks_at_32_bits);
fn cpu_on_32_looks_at_32_bits(environment: &Environment) -> Outcome {
    start_with_cpu_on_32(environment, 0xdead_beef_0000_0000)
}

case!(3, a_vcpu_is_on_from_cpu_on_to_cpu_off);
fn a_vcpu_is_on_from_cpu_on_to_cpu_off(environment: &Environment) -> Outcome {
    let affinity = environment.vcpus[1];
    check_eq!(
        state_of(affinity),
        AFFINITY_OFF,
        "AFFINITY_INFO before CPU_ON"
    );
    let stage = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&stage);
    vcpu::start(environment, 1, move |_| {
        seen.store(1, Ordering::Release);
        let _ = vcpu::wait_for(|| seen.load(Ordering::Acquire) == 2);
    })?;
    check!(
        vcpu::wait_for(|| stage.load(Ordering::Acquire) == 1),
        "vCPU 1 did not start"
    );
    check_eq!(
        state_of(affinity),
        AFFINITY_ON,
        "AFFINITY_INFO after CPU_ON"
    );
    let again = smc(wide(id::CPU_ON), &[affinity, secondary_entry(), 0]).result();
    check_eq!(again, status::ALREADY_ON, "CPU_ON while vCPU 1 is on");
    stage.store(2, Ordering::Release);
    vcpu::wait_until_off(environment, 1)
}

case!(3, a_vcpu_can_turn_off_and_on_again);
fn a_vcpu_can_turn_off_and_on_again(environment: &Environment) -> Outcome {
    let runs = Arc::new(AtomicU32::new(0));
    for _ in 0..50 {
        let counter = Arc::clone(&runs);
        vcpu::run(environment, 1, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        })?;
    }
    check_eq!(runs.load(Ordering::Relaxed), 50, "the number of runs");
    Ok(())
}

case!(9, two_vcpus_run_at_the_same_time);
fn two_vcpus_run_at_the_same_time(environment: &Environment) -> Outcome {
    // They hand a ball to and fro, which neither could do alone; the hypervisor had to start the
    // other CPU for that.
    const THROWS: u32 = 200;
    let ball = Arc::new(AtomicU32::new(0));
    let other = Arc::clone(&ball);
    vcpu::start(environment, 1, move |_| {
        for n in 0..THROWS {
            if !vcpu::wait_for(|| other.load(Ordering::Acquire) == 2 * n + 1) {
                return;
            }
            other.store(2 * n + 2, Ordering::Release);
        }
    })?;
    for n in 0..THROWS {
        ball.store(2 * n + 1, Ordering::Release);
        check!(
            vcpu::wait_for(|| ball.load(Ordering::Acquire) == 2 * n + 2),
            "vCPU 1 did not answer throw {n}"
        );
    }
    vcpu::wait_until_off(environment, 1)
}

case!(9, coming_and_going_vcpus_leave_each_other_alone);
fn coming_and_going_vcpus_leave_each_other_alone(environment: &Environment) -> Outcome {
    let calls = Arc::new(AtomicU64::new(0));
    for _ in 0..10 {
        let counter = Arc::clone(&calls);
        vcpu::start(environment, 1, move |_| {
            for _ in 0..200 {
                if smc(0x8000_0000, &[]).keeps_all_but(1).is_ok() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        })?;
        for _ in 0..200 {
            smc(0x8700_0000, &[]).keeps_all_but(1)?;
        }
        vcpu::wait_until_off(environment, 1)?;
    }
    check_eq!(
        calls.load(Ordering::Relaxed),
        2000,
        "the calls of vCPU 1 that kept registers"
    );
    Ok(())
}

/// Suspends until the timer's interrupt is pending, and takes it.
fn suspend_and_wake(form: u32, power_state: u64) -> Outcome {
    while gic::acknowledge().is_some() {}
    let ticks = timer::milliseconds(20);
    let before = timer::now();
    timer::set(ticks);
    // It may wake early (§5.4), but not for ever.
    for _ in 0..1000 {
        let exchange = smc(form, &[power_state, secondary_entry(), 0]);
        check_eq!(
            exchange.result(),
            status::SUCCESS,
            "CPU_SUSPEND of {power_state:#x}"
        );
        exchange.keeps_all_but(1)?;
        if let Some(interrupt) = gic::acknowledge() {
            check_eq!(interrupt, timer::VIRTUAL_TIMER, "the interrupt");
            check!(timer::now() - before >= ticks, "the interrupt was early");
            return Ok(());
        }
    }
    timer::stop();
    Err("CPU_SUSPEND returned 1000 times without an interrupt".into())
}

case!(3, cpu_suspend_wakes_for_the_timer);
fn cpu_suspend_wakes_for_the_timer(_: &Environment) -> Outcome {
    suspend_and_wake(wide(id::CPU_SUSPEND), 0)
}

case!(3, cpu_suspend_32_wakes_for_the_timer);
fn cpu_suspend_32_wakes_for_the_timer(_: &Environment) -> Outcome {
    suspend_and_wake(id::CPU_SUSPEND, 0)
}

case!(3, cpu_suspend_with_an_interrupt_pending_returns);
fn cpu_suspend_with_an_interrupt_pending_returns(environment: &Environment) -> Outcome {
    gic::send_sgi(3, environment.vcpus[0]);
    let result = smc(wide(id::CPU_SUSPEND), &[0, secondary_entry(), 0]).result();
    check_eq!(result, status::SUCCESS, "CPU_SUSPEND");
    check!(
        vcpu::wait_for(|| gic::acknowledge() == Some(3)),
        "the interrupt is lost"
    );
    Ok(())
}

case!(3, cpu_suspend_to_power_down_comes_back);
fn cpu_suspend_to_power_down_comes_back(environment: &Environment) -> Outcome {
    // It comes back as from standby, with SUCCESS, or at the entry as from CPU_ON (§5.4.5); there,
    // nothing is left to do and the vCPU turns itself off.
    let Some(context) = prepare_secondary(1) else {
        return Err("vCPU 1 has no stack".into());
    };
    let outcome = Arc::new(AtomicU64::new(u64::MAX));
    let place = Arc::clone(&outcome);
    vcpu::run(environment, 1, move |_| {
        timer::set(timer::milliseconds(20));
        let arguments = [POWER_DOWN, secondary_entry(), context];
        let result = smc(wide(id::CPU_SUSPEND), &arguments).result();
        timer::stop();
        place.store(result as u64, Ordering::Release);
    })?;
    let returned = outcome.load(Ordering::Acquire);
    check!(
        returned == 0 || returned == u64::MAX,
        "CPU_SUSPEND returned {}",
        returned as i64
    );
    Ok(())
}

case!(
    3,
    cpu_suspend_to_power_down_refuses_entries_outside_of_memory
);
fn cpu_suspend_to_power_down_refuses_entries_outside_of_memory(
    environment: &Environment,
) -> Outcome {
    for entry in [0, 0x900_0000, environment.memory_end(), u64::MAX - 3] {
        timer::set(timer::milliseconds(20));
        let result = smc(wide(id::CPU_SUSPEND), &[POWER_DOWN, entry, 0]).result();
        timer::stop();
        check_eq!(result, status::INVALID_ADDRESS, "CPU_SUSPEND to {entry:#x}");
    }
    Ok(())
}

case!(3, a_sleeping_vcpu_wakes_another_by_cpu_on);
fn a_sleeping_vcpu_wakes_another_by_cpu_on(environment: &Environment) -> Outcome {
    let affinity = environment.vcpus[0];
    vcpu::start(environment, 1, move |_| gic::send_sgi(5, affinity))?;
    let mut woken = false;
    for _ in 0..1000 {
        timer::wait_for_interrupt();
        if gic::acknowledge() == Some(5) {
            woken = true;
            break;
        }
    }
    check!(woken, "vCPU 0 slept on");
    vcpu::wait_until_off(environment, 1)?;
    // What it did is seen by all.
    memory::clean(environment.memory.0, 64);
    Ok(())
}
