//! Synchronous exceptions of guests: calls, device accesses, system registers, and what nobody has
//! a use for.

use crate::arch::exception_entry::{self, pstate};
use crate::arch::syndrome::{self, Trap};
use crate::arch::this_cpu::ThisCpu;
use crate::arch::{aarch32, registers};
use crate::exits::{mmio, smc, system_registers};
use crate::vm::accounting::cause_of_call;
use crate::vm::vcpu::{Next, Vcpu};
use host_abi::console::Cause;
use smccc::{Conduit, FunctionId};

/// Serves a synchronous exception of a vCPU that is loaded into this CPU.
#[inline]
pub fn serve(vcpu: &mut Vcpu, cpu: &ThisCpu) -> (Cause, Next) {
    let syndrome = registers::esr();
    if let Some((conduit, immediate)) = syndrome::call(syndrome) {
        if conduit == Conduit::Smc {
            vcpu.context.skip_a64();
        }
        let cause = cause_of_call(FunctionId(vcpu.context.x[0] as u32));
        return (cause, smc::call(vcpu, conduit, immediate));
    }
    if mmio::serve_plain_console_access(vcpu, syndrome) {
        return (Cause::Device, Next::Resume);
    }
    serve_other_trap(vcpu, cpu, syndrome)
}

/// Serves a synchronous exception that is no call.
#[inline(never)]
fn serve_other_trap(vcpu: &mut Vcpu, cpu: &ThisCpu, syndrome: u64) -> (Cause, Next) {
    if is_skipped(vcpu.context.pstate(), syndrome) {
        vcpu.context.skip_instruction(syndrome);
        return (Cause::Other, Next::Resume);
    }
    match syndrome::decode(syndrome) {
        Trap::WaitForInterrupt => {
            vcpu.context.skip_instruction(syndrome);
            (Cause::Wait, Next::Wait)
        }
        Trap::DataAbort(abort) => (Cause::Device, mmio::serve(vcpu, cpu, syndrome, abort)),
        Trap::SystemRegister(access) => (Cause::Register, system_registers::serve(vcpu, access)),
        Trap::InstructionAbort => (Cause::Other, serve_instruction_abort(vcpu, syndrome)),
        Trap::Undefined => {
            vcpu.context.inject_undefined();
            (Cause::Other, Next::Resume)
        }
        Trap::Unexpected => {
            let reason = format_args!("an exception came that no guest can cause");
            (Cause::Other, vcpu.stop_vm(reason, syndrome))
        }
    }
}

/// A jump to where the guest has no memory is answered as a bus would, unless it is the guest's own
/// vector that lies there: it would jump there without end.
fn serve_instruction_abort(vcpu: &mut Vcpu, syndrome: u64) -> Next {
    let from_el1 = !exception_entry::is_el0(vcpu.context.pstate());
    if from_el1 && vcpu.context.is_at_vector() {
        let ipa = registers::faulting_ipa_page();
        let reason =
            format_args!("its exception vectors lie at IPA {ipa:#x}, which is not its memory");
        return vcpu.stop_vm(reason, syndrome);
    }
    vcpu.context
        .inject_external_abort(syndrome, registers::far());
    Next::Resume
}

/// Whether the instruction that trapped is one of AArch32 whose condition fails.
fn is_skipped(pstate: u64, syndrome: u64) -> bool {
    pstate & pstate::AARCH32 != 0
        && syndrome::may_be_conditional(syndrome)
        && !aarch32::condition_holds(pstate, syndrome::condition(syndrome))
}

#[cfg(test)]
mod tests;
