//! What the interrupt controller says of interrupts that vCPUs take, end and deactivate.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_shim::arch::gic;
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu;
use guest_shim::{check, check_eq};

/// The vCPU that cases run on, and the one that helps.
const OWN: usize = 0;
const OTHER: usize = 1;

/// A shared interrupt that no device has.
const SHARED: u32 = 60;

/// Steps that two vCPUs take by turns, without calling EL2.
#[derive(Clone, Default)]
struct Turns(Arc<AtomicU32>);

impl Turns {
    fn reach(&self, step: u32) {
        self.0.store(step, Ordering::Release);
    }

    #[must_use]
    fn wait_for(&self, step: u32) -> bool {
        vcpu::wait_for(|| self.0.load(Ordering::Acquire) >= step)
    }
}

case!(7, another_vcpus_interrupts_are_seen_as_they_are);
fn another_vcpus_interrupts_are_seen_as_they_are(environment: &Environment) -> Outcome {
    const INTID: u32 = 7;
    const ROUNDS: u32 = 50;
    let turns = Turns::default();
    let theirs = turns.clone();
    vcpu::start(environment, OTHER, move |_| {
        theirs.reach(1);
        for first in (0..ROUNDS).map(|round| 6 * round + 1) {
            if !theirs.wait_for(first + 1) || gic::take() != Some(INTID) {
                return;
            }
            theirs.reach(first + 2);
            if !theirs.wait_for(first + 3) {
                return;
            }
            gic::end(INTID);
            theirs.reach(first + 4);
            if !theirs.wait_for(first + 5) {
                return;
            }
            theirs.reach(first + 6);
        }
    })?;
    let state = || {
        let bit = |word: u32| word >> INTID & 1;
        (
            bit(gic::private_pending(OTHER)),
            bit(gic::private_active(OTHER)),
        )
    };
    for first in (0..ROUNDS).map(|round| 6 * round + 1) {
        check!(turns.wait_for(first), "vCPU 1 is lost at step {first}");
        check_eq!(state(), (0, 0), "pending and active before");
        gic::send_sgi(u64::from(INTID), environment.vcpus[OTHER]);
        check_eq!(state(), (1, 0), "pending and active when it was sent");
        turns.reach(first + 1);
        check!(turns.wait_for(first + 2), "vCPU 1 did not take it");
        check_eq!(state(), (0, 1), "pending and active when it was taken");
        turns.reach(first + 3);
        check!(turns.wait_for(first + 4), "vCPU 1 did not end it");
        check_eq!(state(), (0, 0), "pending and active when it was ended");
        turns.reach(first + 5);
    }
    vcpu::wait_until_off(environment, OTHER)
}

case!(7, vcpus_that_look_at_each_other_go_on);
fn vcpus_that_look_at_each_other_go_on(environment: &Environment) -> Outcome {
    const READS: u32 = 300;
    const INTID: u32 = 9;
    let turns = Turns::default();
    let theirs = turns.clone();
    let own_affinity = environment.vcpus[OWN];
    vcpu::start(environment, OTHER, move |_| {
        gic::send_sgi(u64::from(INTID), own_affinity);
        theirs.reach(1);
        for _ in 0..READS {
            let _ = gic::private_active(OWN);
        }
        while gic::acknowledge().is_some() {}
    })?;
    check!(turns.wait_for(1), "vCPU 1 did not start");
    gic::send_sgi(u64::from(INTID), environment.vcpus[OTHER]);
    for _ in 0..READS {
        let _ = gic::private_active(OTHER);
    }
    vcpu::wait_until_off(environment, OTHER)?;
    while gic::acknowledge().is_some() {}
    Ok(())
}

case!(7, an_interrupt_ends_in_two_steps);
fn an_interrupt_ends_in_two_steps(environment: &Environment) -> Outcome {
    gic::end_in_two_steps(true);
    let outcome = many_active_at_once(environment);
    gic::end_in_two_steps(false);
    outcome
}

/// All SGIs, more than there are list registers, are active at once: none holds another one back.
fn many_active_at_once(environment: &Environment) -> Outcome {
    for intid in 0..16 {
        gic::send_sgi(intid, environment.vcpus[OWN]);
    }
    for intid in 0..16 {
        let mut taken = None;
        let _ = vcpu::wait_for(|| gic::private_pending(OWN) != 0);
        for _ in 0..1000 {
            taken = gic::take();
            if taken.is_some() {
                break;
            }
        }
        check_eq!(taken, Some(intid), "the interrupt");
        gic::end(intid);
    }
    check_eq!(gic::private_active(OWN), 0xffff, "what is active");
    for intid in [3, 15, 0, 8, 1, 14, 2, 13, 4, 12, 5, 11, 6, 10, 7, 9] {
        gic::deactivate(intid);
    }
    check_eq!(gic::private_active(OWN), 0, "what is active afterwards");
    gic::send_sgi(3, environment.vcpus[OWN]);
    check_eq!(gic::take(), Some(3), "the interrupt once more");
    gic::end(3);
    check_eq!(gic::take(), None, "another interrupt");
    gic::deactivate(3);
    check_eq!(gic::private_active(OWN), 0, "what is active in the end");
    Ok(())
}

case!(7, an_interrupt_is_deactivated_by_another_vcpu);
fn an_interrupt_is_deactivated_by_another_vcpu(environment: &Environment) -> Outcome {
    gic::end_in_two_steps(true);
    gic::enable_shared_edge(SHARED);
    let outcome = deactivated_by_another(environment);
    gic::end_in_two_steps(false);
    outcome
}

fn deactivated_by_another(environment: &Environment) -> Outcome {
    for round in 0..3 {
        gic::set_shared_pending(SHARED);
        check_eq!(gic::take(), Some(SHARED), "the interrupt in round {round}");
        gic::end(SHARED);
        check!(gic::shared_active(SHARED), "it is not active");
        gic::set_shared_pending(SHARED);
        check_eq!(gic::take(), None, "an interrupt while it is active");
        vcpu::run(environment, OTHER, |_| {
            gic::end_in_two_steps(true);
            gic::deactivate(SHARED);
        })?;
        check_eq!(gic::take(), Some(SHARED), "what was pending meanwhile");
        gic::end(SHARED);
        gic::deactivate(SHARED);
        check!(!gic::shared_active(SHARED), "it is still active");
    }
    Ok(())
}
