//! Loads and stores of guests outside of their memory: their emulated devices.

use crate::arch::exception_entry::{self, pstate};
use crate::arch::registers;
use crate::arch::syndrome::{self, DataAbort};
use crate::arch::this_cpu::ThisCpu;
use crate::devices::gicv3::{DISTRIBUTOR_SIZE, REDISTRIBUTOR_STRIDE, Register};
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::vcpu::{Next, Vcpu};
use addresses::{Ipa, PAGE_SIZE};
use core::fmt;

/// A device of a guest, and where in it an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Gic(Register),
    Uart(u64),
}

fn device_at(ipa: u64, vcpus: usize) -> Option<Device> {
    let inside =
        |Ipa(start): Ipa, size: u64| ipa.checked_sub(start).filter(|&offset| offset < size);
    if let Some(offset) = inside(GuestLayout::UART, PAGE_SIZE) {
        Some(Device::Uart(offset))
    } else if let Some(offset) = inside(
        GuestLayout::REDISTRIBUTORS,
        vcpus as u64 * REDISTRIBUTOR_STRIDE,
    ) {
        Some(Device::Gic(Register::Redistributor(
            (offset / REDISTRIBUTOR_STRIDE) as usize,
            offset % REDISTRIBUTOR_STRIDE,
        )))
    } else {
        inside(GuestLayout::DISTRIBUTOR, DISTRIBUTOR_SIZE)
            .map(|offset| Device::Gic(Register::Distributor(offset)))
    }
}

/// Serves what a guest does for each character that it writes to its UART, if `syndrome` (ESR_EL2) is of that: an A64 load of
/// 32 bits from UARTFR, or a store to UARTDR that changes nothing but the line. Says whether it did; else [`serve`] does.
#[inline]
pub fn serve_plain_console_access(vcpu: &mut Vcpu, syndrome: u64) -> bool {
    let Some((write, transfer)) = syndrome::plain_device_access(syndrome) else {
        return false;
    };
    if registers::faulting_ipa_page() != GuestLayout::UART.0
        || vcpu.context.pstate & pstate::AARCH32 != 0
    {
        return false;
    }
    let offset = registers::far() & (PAGE_SIZE - 1);
    let served = if write {
        vcpu.vm
            .uart_write_plain(offset, vcpu.register(transfer) as u8)
    } else if let Some(value) = vcpu.vm.uart_read_plain(offset) {
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

/// Serves an access that stage 2 stopped, of which ESR_EL2 says `syndrome` and that is `abort`, of a vCPU that is loaded into
/// this CPU.
pub fn serve(vcpu: &mut Vcpu, cpu: &ThisCpu, syndrome: u64, abort: DataAbort) -> Next {
    let ipa = registers::faulting_ipa_page() | registers::far() & (PAGE_SIZE - 1);
    let direction = if abort.write { "wrote to" } else { "read from" };
    let Some(device) =
        device_at(ipa, vcpu.vm.description.vcpu_cpus.len()).filter(|_| abort.translation)
    else {
        let reason = format_args!("it {direction} IPA {ipa:#x}, which it does not have");
        return refuse_access(vcpu, reason, syndrome);
    };
    let Some(access) = abort.access else {
        let reason =
            format_args!("it {direction} a device at IPA {ipa:#x} in a way that can't be emulated");
        return refuse_access(vcpu, reason, syndrome);
    };
    let vm = vcpu.vm;
    if let Device::Gic(register) = device {
        // What the guest did with its interrupts meanwhile is in the list registers.
        vcpu.sync_interrupts(cpu);
        if !abort.write
            && let Some(kicks) = vm.gic.outdated(vcpu.index, register, access.bytes)
        {
            // The guest executes the load again, and takes its interrupts between.
            vm.deliver(kicks, vcpu.index);
            return Next::Resume;
        }
    }
    if abort.write {
        let value = access.truncate(vcpu.register(access.transfer));
        match device {
            Device::Uart(offset) => vm.uart_write(vcpu.index, offset, value as u32),
            Device::Gic(register) => {
                let kicks = match register {
                    Register::Distributor(offset) => {
                        vm.gic.distributor_write(offset, access.bytes, value)
                    }
                    Register::Redistributor(owner, offset) => {
                        vm.gic
                            .redistributor_write(owner, offset, access.bytes, value)
                    }
                };
                vm.deliver(kicks, vcpu.index);
            }
        }
    } else {
        let value = match device {
            Device::Uart(offset) => u64::from(vm.uart_read(vcpu.index, offset)),
            Device::Gic(Register::Distributor(offset)) => {
                vm.gic.distributor_read(offset, access.bytes)
            }
            Device::Gic(Register::Redistributor(owner, offset)) => {
                vm.gic.redistributor_read(owner, offset, access.bytes)
            }
        };
        vcpu.set_register(access.transfer, access.extend(value));
    }
    vcpu.context.skip_instruction(syndrome);
    Next::Resume
}

/// What becomes of a load or store that stage 2 stopped and that no device serves: of a program's, the kernel hears as of one
/// to an address where nothing is; a kernel's own stops the VM.
fn refuse_access(vcpu: &mut Vcpu, reason: fmt::Arguments<'_>, syndrome: u64) -> Next {
    if exception_entry::is_el0(vcpu.context.pstate) {
        vcpu.context
            .inject_external_abort(syndrome, registers::far());
        return Next::Resume;
    }
    vcpu.stop_vm(reason, syndrome)
}
