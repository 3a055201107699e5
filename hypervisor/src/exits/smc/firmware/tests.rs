use super::*;
use crate::arch::fake;
use crate::description::policy::CallPolicy;
use crate::exits::smc::call;
use crate::vm::testing::{Bench, description};
use smccc::Conduit;
use smccc::IdRange;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

const SIP_32: u32 = 0x8200_0001;
const SIP_64: u32 = 0xc200_0001;

/// A VM that may call the silicon partner, and what came to the firmware.
fn bench() -> (Bench, Rc<RefCell<Vec<CallRegisters>>>) {
    let mut description = description(1);
    let forward = [SIP_32, SIP_64].map(|id| IdRange {
        first: id,
        last: id,
    });
    description.policy = CallPolicy::new(&forward, &[]).expect("a policy");
    let bench = Bench::started(description);
    let came = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&came);
    fake::set_firmware(move |registers| {
        log.borrow_mut().push(*registers);
        registers[..4].copy_from_slice(&[1, 2, 3, 0xffff_ffff_ffff_ffff]);
        registers[5] = 55;
    });
    (bench, came)
}

fn issue(bench: &mut Bench, id: u32) {
    let vcpu = &mut bench.vcpus[0];
    for (n, register) in vcpu.context.x.iter_mut().enumerate() {
        *register = 0xabcd_0000_0000 + n as u64;
    }
    vcpu.context.x[0] = u64::from(id);
    assert_eq!(call(vcpu, Conduit::Smc, 0), Next::Resume);
}

#[test]
fn a_64_bit_call_has_all_registers() {
    let (mut bench, came) = bench();
    issue(&mut bench, SIP_64);
    let came = came.borrow();
    let [arguments] = came.as_slice() else {
        panic!("one call comes")
    };
    assert_eq!(arguments[0], u64::from(SIP_64));
    for (n, &argument) in arguments.iter().enumerate().skip(1) {
        assert_eq!(argument, 0xabcd_0000_0000 + n as u64);
    }
    let x = &bench.vcpus[0].context.x;
    assert_eq!(x[..4], [1, 2, 3, u64::MAX]);
    assert_eq!(
        (x[4], x[5], x[18]),
        (0xabcd_0000_0004, 55, 0xabcd_0000_0012)
    );
}

#[test]
fn a_32_bit_call_has_the_lower_halves_of_eight_registers() {
    let (mut bench, came) = bench();
    issue(&mut bench, SIP_32);
    let came = came.borrow();
    let [arguments] = came.as_slice() else {
        panic!("one call comes")
    };
    for (n, &argument) in arguments.iter().enumerate().skip(1) {
        assert_eq!(argument, if n < 8 { n as u64 } else { 0 });
    }
    let x = &bench.vcpus[0].context.x;
    assert_eq!(x[..4], [1, 2, 3, 0xffff_ffff], "results have 32 bits");
    assert_eq!(x[5], 55);
    for n in [4, 6, 7, 8, 17] {
        assert_eq!(x[n], 0xabcd_0000_0000 + n as u64, "x{n} is no result");
    }
}

#[test]
fn what_no_rule_forwards_does_not_leave() {
    let (mut bench, came) = bench();
    for id in [
        0x8200_0002,
        0x8300_0001,
        0xb000_0000,
        0xb200_0001,
        0x8500_0001,
    ] {
        issue(&mut bench, id);
        assert_eq!(bench.vcpus[0].context.x[0], NOT_SUPPORTED, "{id:#x}");
    }
    assert!(came.borrow().is_empty());
    assert_eq!(
        (bench.vm.calls.refused(), bench.vm.calls.forwarded()),
        (5, 0)
    );
}

#[test]
fn what_is_el2s_alone_is_never_forwarded() {
    let (_bench, came) = bench();
    for id in [
        0xc400_0003,
        0x8400_0008,
        0xb200_000d,
        0x3200_0004,
        0x8600_0001,
        0x9000_0000,
    ] {
        let mut registers: CallRegisters = [0; 18];
        registers[0] = id;
        assert_eq!(smc::forward(&mut registers), Err(NotForwardable), "{id:#x}");
    }
    assert!(came.borrow().is_empty());
}

#[test]
fn questions_about_workarounds_go_to_the_firmware() {
    let (mut bench, came) = bench();
    let vcpu = &mut bench.vcpus[0];
    vcpu.context.x[..2].copy_from_slice(&[0x8000_0001, 0x8000_8000]);
    assert_eq!(call(vcpu, Conduit::Hvc, 0), Next::Resume);
    assert_eq!(vcpu.context.x[0], 1);
    assert_eq!(came.borrow()[0][..2], [0x8000_0001, 0x8000_8000]);
}
