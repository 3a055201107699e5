//! Calls that a VM's policy lets through to the firmware.

use crate::arch::secure_monitor::SecureMonitor;
use crate::cpu::Next;
use crate::smccc::FunctionId;
use crate::vcpu::Vcpu;
use mediator::CallRegisters;

/// Registers of an SMC32 call (DEN0028G, §3.1): W0 to W7 carry arguments and results. Those of an SMC64 call are X0 to
/// X17.
const SMC32_REGISTERS: usize = 8;

/// Issues the guest's call to the firmware, with the registers that SMCCC gives it and zeros in all others.
pub fn forward(vcpu: &mut Vcpu, function: FunctionId) -> Next {
    let guest = vcpu.context.call_registers();
    let mut registers: CallRegisters = *guest;
    if function.is_64_bit() {
        SecureMonitor.call(&mut registers);
        *guest = registers;
    } else {
        registers[..SMC32_REGISTERS]
            .iter_mut()
            .for_each(|register| *register &= 0xffff_ffff);
        registers[SMC32_REGISTERS..].fill(0);
        SecureMonitor.call(&mut registers);
        for (guest, result) in guest.iter_mut().zip(&registers[..SMC32_REGISTERS]) {
            *guest = result & 0xffff_ffff;
        }
    }
    Next::Resume
}
