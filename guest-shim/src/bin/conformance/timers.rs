//! The two timers of a guest: the virtual one and the EL1 physical one.

use guest_shim::arch::exceptions::take_interrupt;
use guest_shim::arch::gic;
use guest_shim::arch::timer::{self, ENABLE, MASK, STATUS, Timer};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu;
use guest_shim::{check, check_eq};

/// The vCPU that cases run on.
const OWN: usize = 0;

fn is_pending(timer: Timer) -> bool {
    gic::private_pending(OWN) >> timer.interrupt() & 1 == 1
}

/// Stays on the CPU for so long.
fn pass_time(milliseconds: u64) {
    let end = timer::now() + timer::milliseconds(milliseconds);
    while timer::now() < end {}
}

case!(7, each_timer_interrupts);
fn each_timer_interrupts(_: &Environment) -> Outcome {
    for timer in Timer::ALL {
        for milliseconds in [1, 5, 10] {
            let ticks = timer::milliseconds(milliseconds);
            let before = timer.now();
            timer.set(ticks);
            check_eq!(take_interrupt(), timer.interrupt(), "the interrupt");
            let waited = timer.now() - before;
            check!(
                waited >= ticks,
                "{timer:?} came after {waited} ticks, not {ticks}"
            );
        }
    }
    Ok(())
}

case!(7, each_timer_interrupts_in_a_number_of_ticks);
fn each_timer_interrupts_in_a_number_of_ticks(_: &Environment) -> Outcome {
    for timer in Timer::ALL {
        for ticks in [0, -1, 100_000] {
            timer.set_timer_value(ticks);
            timer.set_control(ENABLE);
            check_eq!(take_interrupt(), timer.interrupt(), "the interrupt");
        }
    }
    Ok(())
}

case!(7, each_timer_wakes_a_vcpu_that_waits);
fn each_timer_wakes_a_vcpu_that_waits(_: &Environment) -> Outcome {
    for (timer, other) in [
        (Timer::Physical, Timer::Virtual),
        (Timer::Virtual, Timer::Physical),
    ] {
        let due = timer.now() + timer::milliseconds(20);
        // The other one is armed, too, and far away.
        other.set(timer::milliseconds(60_000));
        timer.set_compare_value(due);
        timer.set_control(ENABLE);
        let mut interrupt = None;
        while interrupt.is_none() {
            timer::wait_for_interrupt();
            interrupt = gic::acknowledge();
        }
        let now = timer.now();
        other.stop();
        check_eq!(interrupt, Some(timer.interrupt()), "the interrupt");
        check!(now >= due, "{timer:?} woke the vCPU too early");
    }
    Ok(())
}

case!(7, a_timer_that_is_turned_off_is_not_pending_any_more);
fn a_timer_that_is_turned_off_is_not_pending_any_more(_: &Environment) -> Outcome {
    for timer in Timer::ALL {
        gic::enable_private(OWN, timer.interrupt(), false);
        timer.set(timer::milliseconds(60_000));
        check!(!is_pending(timer), "{timer:?} is pending before its time");
        timer.set_compare_value(timer.now() - 1);
        let rose = vcpu::wait_for(|| is_pending(timer));
        timer.stop();
        let fell = vcpu::wait_for(|| !is_pending(timer));
        gic::enable_private(OWN, timer.interrupt(), true);
        pass_time(5);
        let interrupt = gic::acknowledge();
        check!(rose, "{timer:?} did not become pending");
        check!(fell, "{timer:?} stayed pending");
        check_eq!(interrupt, None, "the interrupt of a timer that is off");
        // It still works.
        timer.set(0);
        check_eq!(take_interrupt(), timer.interrupt(), "the interrupt");
    }
    Ok(())
}

case!(7, a_timer_that_is_turned_off_does_not_interrupt_any_more);
fn a_timer_that_is_turned_off_does_not_interrupt_any_more(_: &Environment) -> Outcome {
    for timer in Timer::ALL {
        // Its interrupt waits for the vCPU, which has interrupts masked.
        timer.set(0);
        pass_time(5);
        timer.stop();
        check!(!is_pending(timer), "{timer:?} is pending");
        check_eq!(gic::acknowledge(), None, "the interrupt");
    }
    Ok(())
}

case!(7, a_masked_timer_does_not_interrupt);
fn a_masked_timer_does_not_interrupt(_: &Environment) -> Outcome {
    for timer in Timer::ALL {
        timer.set_compare_value(timer.now() - 1);
        timer.set_control(ENABLE | MASK);
        pass_time(5);
        let (control, pending, interrupt) =
            (timer.control(), is_pending(timer), gic::acknowledge());
        timer.stop();
        check_eq!(
            control,
            ENABLE | MASK | STATUS,
            "{timer:?}'s control register"
        );
        check!(!pending, "{timer:?} is pending");
        check_eq!(interrupt, None, "the interrupt");
    }
    Ok(())
}

case!(7, the_counters_count_alike);
fn the_counters_count_alike(_: &Environment) -> Outcome {
    for _ in 0..1000 {
        let (before, between, after) = (
            Timer::Virtual.now(),
            Timer::Physical.now(),
            Timer::Virtual.now(),
        );
        check!(
            before <= between && between <= after,
            "the physical counter is {between:#x} between {before:#x} and {after:#x}"
        );
    }
    Ok(())
}
