//! The front door for SMCs and HVCs of guests: who owns a function identifier answers it.
//!
//! Both conduits lead here and get the same answers. Results go to x0 to x3; everything else stays as the guest had it
//! (SMCCC, DEN0028G, §3.1).

mod architecture;
mod psci;

use crate::cpu::Next;
use crate::smccc::{FunctionId, NOT_SUPPORTED, Owner};
use crate::vcpu::Vcpu;
use mediator::CallRegisters;

/// The instruction by which a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// SMC.
    Smc,
    /// HVC.
    Hvc,
}

/// Serves a call of `vcpu`, whose PC is behind the instruction already.
pub fn call(vcpu: &mut Vcpu, conduit: Conduit, immediate: u16) -> Next {
    // §2.9: the immediate is zero for calls of this convention; others are reserved.
    if immediate != 0 {
        log::debug!("{}: {conduit:?} with immediate {immediate}", vcpu.vm.name());
        return answer(vcpu, NOT_SUPPORTED);
    }
    let function = FunctionId(vcpu.context.x[0] as u32);
    match function.owner() {
        Owner::Architecture => architecture::call(vcpu, function),
        Owner::StandardSecure => psci::call(vcpu, function),
        Owner::TrustedApplication | Owner::TrustedOs => call_tee(vcpu),
        Owner::Cpu
        | Owner::Sip
        | Owner::Oem
        | Owner::StandardHypervisor
        | Owner::VendorHypervisor
        | Owner::Reserved => answer(vcpu, NOT_SUPPORTED),
    }
}

fn call_tee(vcpu: &mut Vcpu) -> Next {
    let Some(tee) = &vcpu.tee else {
        return answer(vcpu, NOT_SUPPORTED);
    };
    if let Some(registers) = vcpu
        .context
        .x
        .first_chunk_mut::<{ size_of::<CallRegisters>() / 8 }>()
    {
        tee.call(registers);
    }
    Next::Resume
}

/// Puts `result` into x0.
fn answer(vcpu: &mut Vcpu, result: u64) -> Next {
    vcpu.context.x[0] = result;
    Next::Resume
}
