//! Exceptions of EL2 itself, after which the hypervisor can't go on.

use crate::arch::access::read;
use crate::arch::{registers, stacks};
use core::arch::global_asm;

/// Bytes of the stack on which an exception is told: the CPU's own may be what is wrong.
const STACK_SIZE: usize = 16 * 1024;

#[repr(C, align(16))]
struct FatalStack([u8; STACK_SIZE]);

#[unsafe(no_mangle)]
static mut FATAL_STACK: FatalStack = FatalStack([0; STACK_SIZE]);

/// MPIDR_EL1, which is not 0, of the CPU that tells of its exception.
#[unsafe(no_mangle)]
static mut FATAL_CPU: u64 = 0;

extern "C" fn exception_in_el2(vector: u64) -> ! {
    let (esr, far, pc) = (registers::esr(), registers::far(), read!("elr_el2"));
    if let Some(cpu) = stacks::guarded_by(far) {
        panic!("the stack of CPU {cpu} is too small: exception in EL2 at PC {pc:#x}");
    }
    panic!("exception in EL2: vector {vector:#x}, ESR {esr:#x}, FAR {far:#x}, PC {pc:#x}");
}

global_asm!(
    // Where the vectors branch to; x0 = offset of the vector. The first CPU to get here tells.
    // Should that end in another exception, it powers the machine off without a word; other CPUs
    // leave it to the first one.
    ".pushsection .text.fatal_exception, \"ax\"",
    ".global fatal_exception",
    "fatal_exception:",
    "mrs x1, mpidr_el1",
    "ldr x2, =FATAL_CPU",
    "1: ldaxr x3, [x2]",
    "cbnz x3, 2f",
    "stlxr w4, x1, [x2]",
    "cbnz w4, 1b",
    "ldr x3, =FATAL_STACK + {stack_size}",
    "mov sp, x3",
    "b {exception_in_el2}",
    "2: cmp x3, x1",
    "b.ne 3f",
    "ldr w0, ={system_off}",
    "smc #0",
    "3: wfi",
    "b 3b",
    ".popsection",
    stack_size = const STACK_SIZE,
    exception_in_el2 = sym exception_in_el2,
    system_off = const arm_psci::FunctionId::SystemOff as u32,
);
