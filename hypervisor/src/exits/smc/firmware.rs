//! Calls that a VM's policy lets through to the firmware.

use crate::arch::smc::{self, NotForwardable};
use crate::exits::smc::answer::answer;
use crate::vm::vcpu::{Next, Vcpu};
use smccc::{CallRegisters, FunctionId, NOT_SUPPORTED};

/// Registers of an SMC32 call (DEN0028G, §3.1): W0 to W7 carry arguments and results. Those of an
/// SMC64 call are X0 to X17.
const SMC32_REGISTERS: usize = 8;
/// Results that every call has: the rest is preserved where it is no result (§3.1).
const RESULTS: usize = 4;

/// Issues the guest's call to the firmware, with the registers that SMCCC gives it and zeros in all
/// others.
#[inline(never)]
pub fn forward(vcpu: &mut Vcpu, function: FunctionId) -> Next {
    let guest = vcpu.context.call_registers();
    let issued = if function.is_64_bit() {
        smc::forward(guest)
    } else {
        forward_32_bit(guest)
    };
    match issued {
        Ok(()) => Next::Resume,
        Err(NotForwardable) => answer(vcpu, NOT_SUPPORTED),
    }
}

fn forward_32_bit(guest: &mut CallRegisters) -> Result<(), NotForwardable> {
    let mut registers: CallRegisters = [0; _];
    for (register, argument) in registers.iter_mut().zip(&guest[..SMC32_REGISTERS]) {
        *register = argument & 0xffff_ffff;
    }
    let arguments = registers;
    smc::forward(&mut registers)?;
    for n in 0..SMC32_REGISTERS {
        // What is no result keeps its upper half, which the firmware did not get to see.
        if n < RESULTS || registers[n] != arguments[n] {
            guest[n] = registers[n] & 0xffff_ffff;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
