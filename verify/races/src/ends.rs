//! Ends: of the guest's kernel, and of the guest, while interrupts and other vCPUs call.

use mediator::optee::fakes::{Act, invoke, smc_with};
use mediator::{Teardown, Tee as _};
use optee_abi::smc::{self, RpcFunction, status};

use crate::race::{Race, Vcpu, in_many_orders};

/// A call that OP-TEE is interrupted in; the kernel may be gone when it goes on.
fn calls(vcpu: &Vcpu) -> u32 {
    vcpu.world().act(Act::Interrupt);
    let code = vcpu.see_through(vcpu.send(&invoke(&[])));
    let may = [status::OK, status::ERESUME, status::ETHREAD_LIMIT];
    assert!(may.contains(&code), "{code:#x}");
    code
}

/// Another kernel's driver begins.
fn probes(vcpu: &Vcpu) -> u32 {
    let registers = smc_with(vcpu.guest(), &[u64::from(smc::EXCHANGE_CAPABILITIES), 0]);
    assert_eq!(registers[0], u64::from(status::OK));
    let _ = vcpu.see_through(vcpu.send(&invoke(&[])));
    registers[0] as u32
}

#[test]
fn another_kernel_begins_under_calls() {
    in_many_orders(|| {
        let race = Race::new();
        race.world.optee().lenient = true;
        race.at_once([calls, probes, calls]);
        let vcpu = race.vcpu(0);
        race.world.optee().acts.clear();
        for _ in 0..10 {
            let _ = vcpu.see_through(vcpu.send(&invoke(&[])));
        }
        assert_eq!(race.guest.stats().calls_in_flight, 0, "calls under way");
        race.ends();
    });
}

#[test]
fn the_guest_ends_while_others_are_notified() {
    fn ends(vcpu: &Vcpu) -> u32 {
        while vcpu.guest().tear_down(false) == Teardown::Interrupted {}
        vcpu.guest().destroy();
        0
    }
    fn polls(vcpu: &Vcpu) -> u32 {
        // The interrupt by which OP-TEE notifies comes on any CPU. What is asked in the name of a
        // guest that OP-TEE forgot makes the made-up OP-TEE panic.
        for _ in 0..3 {
            vcpu.guest().poll_notifications();
        }
        0
    }
    in_many_orders(|| {
        let race = Race::new();
        smc_with(&race.guest, &[u64::from(smc::ENABLE_ASYNC_NOTIF)]);
        race.world.optee().notifications.extend([1, 2, 65]);
        race.world.act(Act::Interrupt);
        let vcpu = race.vcpu(0);
        let registers = vcpu.send(&invoke(&[]));
        assert_eq!(registers[0], u64::from(RpcFunction::ForeignInterrupt.a0()));
        race.at_once([ends, polls, polls]);
        assert_eq!(race.world.suspended(), 0, "OP-TEE's threads");
        mediator::optee::fakes::assert_nothing_left(&race.world, &race.guest);
    });
}

#[test]
fn the_guest_is_notified_once_of_each_value() {
    fn fetches(vcpu: &Vcpu) -> Vec<u64> {
        vcpu.guest().poll_notifications();
        let mut values = Vec::new();
        loop {
            let registers = smc_with(vcpu.guest(), &[u64::from(smc::GET_ASYNC_NOTIF_VALUE)]);
            assert_eq!(registers[0], u64::from(status::OK));
            if registers[2] & 1 == 0 {
                return values;
            }
            values.push(registers[1]);
        }
    }
    in_many_orders(|| {
        let race = Race::new();
        smc_with(&race.guest, &[u64::from(smc::ENABLE_ASYNC_NOTIF)]);
        race.world.optee().notifications.extend([1, 2, 65]);
        let mut values = race.at_once([fetches, fetches]).concat();
        values.extend(fetches(&race.vcpu(0)));
        values.sort_unstable();
        assert_eq!(values, [1, 2, 65]);
        race.ends();
    });
}
