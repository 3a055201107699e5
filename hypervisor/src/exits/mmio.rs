//! Loads and stores of guests outside of their memory: their emulated devices.

use crate::arch::exception_entry::{self, pstate};
use crate::arch::registers;
use crate::arch::syndrome::{self, DataAbort};
use crate::arch::this_cpu::ThisCpu;
use crate::devices::bus::{Access, Load};
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::vcpu::{Next, Vcpu};
use addresses::{Ipa, PAGE_SIZE};
use core::fmt;

/// Serves what a guest does for each character that it writes to its UART, if `syndrome` (ESR_EL2)
/// is of that: an A64 load of 32 bits from UARTFR, or a store to UARTDR that changes nothing but
/// the line. Returns whether it did; else [`serve`] does.
#[inline]
pub fn serve_plain_console_access(vcpu: &mut Vcpu, syndrome: u64) -> bool {
    let Some((write, transfer)) = syndrome::plain_device_access(syndrome) else {
        return false;
    };
    if registers::faulting_ipa_page() != GuestLayout::UART.0
        || vcpu.context.pstate() & pstate::AARCH32 != 0
    {
        return false;
    }
    let offset = registers::far() & (PAGE_SIZE - 1);
    let served = if write {
        vcpu.vm
            .console
            .store_plain(offset, vcpu.register(transfer) as u8)
    } else if let Some(value) = vcpu.vm.console.load_plain(offset) {
        vcpu.set_register(transfer, u64::from(value));
        true
    } else {
        false
    };
    if served {
        vcpu.context.skip_a64();
    }
    served
}

/// Serves an access that stage 2 stopped, of which ESR_EL2 says `syndrome` and that is `abort`, of
/// a vCPU that is loaded into this CPU.
pub fn serve(vcpu: &mut Vcpu, cpu: &ThisCpu, syndrome: u64, abort: DataAbort) -> Next {
    let ipa = registers::faulting_ipa_page() | registers::far() & (PAGE_SIZE - 1);
    let direction = if abort.write { "wrote to" } else { "read from" };
    let vm = vcpu.vm;
    let Some((device, offset)) = vm.bus.find(Ipa(ipa)).filter(|_| abort.translation) else {
        let reason = format_args!("it {direction} IPA {ipa:#x}, which it does not have");
        return refuse_access(vcpu, reason, syndrome);
    };
    let Some(access) = abort.access else {
        let reason =
            format_args!("it {direction} a device at IPA {ipa:#x} in a way that can't be emulated");
        return refuse_access(vcpu, reason, syndrome);
    };
    if device.follows_list_registers() {
        vcpu.sync_interrupts(cpu);
    }
    let at = Access {
        vcpu: vcpu.index,
        offset,
        bytes: access.bytes,
    };
    if abort.write {
        let value = access.truncate(vcpu.register(access.transfer));
        vm.deliver(device.store(at, value), vcpu.index);
    } else {
        let Load { value, kicks } = device.load(at);
        vm.deliver(kicks, vcpu.index);
        let Some(value) = value else {
            // The guest executes the load again, and takes its interrupts between.
            return Next::Resume;
        };
        vcpu.set_register(access.transfer, access.extend(value));
    }
    vcpu.context.skip_instruction(syndrome);
    Next::Resume
}

/// What becomes of a load or store that stage 2 stopped and that no device serves: of a program's,
/// the kernel hears as of one to an address where nothing is; a kernel's own stops the VM.
fn refuse_access(vcpu: &mut Vcpu, reason: fmt::Arguments<'_>, syndrome: u64) -> Next {
    if exception_entry::is_el0(vcpu.context.pstate()) {
        vcpu.context
            .inject_external_abort(syndrome, registers::far());
        return Next::Resume;
    }
    vcpu.stop_vm(reason, syndrome)
}
