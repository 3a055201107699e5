//! The front door for SMCs and HVCs of guests.
//!
//! Both conduits lead to [`call`] and get the same answers. The VM's policy decides if a call is
//! served here, forwarded to the firmware or refused; what is served goes to the service that owns
//! the function identifier. Results go where SMCCC has them; everything else stays as the guest had
//! it (DEN0028G, §3.1).

mod answer;
mod architecture;
mod firmware;
mod psci;
mod trng;
mod vendor;

use crate::arch::timer;
use crate::console::rate_limit::Pass;
use crate::console::terminal;
use crate::description::policy::Verdict;
use crate::vm::vcpu::{Next, Vcpu};
use answer::answer;
use host_abi::console::{Event, Function};
use smccc::{Conduit, FunctionId, NOT_SUPPORTED, Owner};

/// Serves a call of `vcpu`, whose PC is behind the instruction already.
#[inline]
pub fn call(vcpu: &mut Vcpu, conduit: Conduit, immediate: u16) -> Next {
    let function = FunctionId(vcpu.context.x[0] as u32);
    // §2.9: calls of this convention have an immediate of zero; others are reserved.
    if immediate != 0 {
        return refuse(vcpu, function, conduit);
    }
    match vcpu.vm.description.policy.verdict(function) {
        Verdict::Serve => serve(vcpu, function, conduit),
        Verdict::Forward => {
            vcpu.vm.calls.note_forwarded();
            firmware::forward(vcpu, function)
        }
        Verdict::Refuse => refuse(vcpu, function, conduit),
    }
}

#[inline]
fn serve(vcpu: &mut Vcpu, function: FunctionId, conduit: Conduit) -> Next {
    // A TEE may own a part of another owner's range, too.
    if let Some(tee) = vcpu.tee.as_ref().filter(|tee| tee.owns(function.0)) {
        if tee.call(vcpu.context.call_registers()) {
            vcpu.vm.raise_tee_interrupt();
        }
        return Next::Resume;
    }
    match function.owner() {
        Owner::Architecture => architecture::call(vcpu, function),
        Owner::StandardSecure if psci::owns(function) => psci::call(vcpu, function),
        Owner::StandardSecure => trng::call(vcpu, function),
        Owner::VendorHypervisor => vendor::call(vcpu, function),
        Owner::Cpu
        | Owner::Sip
        | Owner::Oem
        | Owner::StandardHypervisor
        | Owner::TrustedApplication
        | Owner::TrustedOs
        | Owner::Reserved => refuse(vcpu, function, conduit),
    }
}

/// Refuses a call that nobody serves, or that the policy denies: it is counted, and logged unless
/// there were many.
#[cold]
#[inline(never)]
fn refuse(vcpu: &mut Vcpu, function: FunctionId, conduit: Conduit) -> Next {
    if let Pass::Yes { held_back } = vcpu.vm.calls.note_refused(timer::now()) {
        let (name, conduit, function) = (vcpu.vm.name(), conduit.name(), Function(function.0));
        terminal::tell::<&str>(&match held_back {
            0 => Event::Refused {
                name,
                conduit,
                function,
            },
            others => Event::RefusedWithOthers {
                name,
                conduit,
                function,
                others,
            },
        });
    }
    answer(vcpu, NOT_SUPPORTED)
}
