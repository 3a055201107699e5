//! SMC and HVC with all general-purpose registers, before and after.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::arch::exchange::{Exchange, GeneralRegisters};
use smccc::Conduit;

#[repr(C)]
struct Frame {
    x: GeneralRegisters,
    sp_before: u64,
    sp_after: u64,
}

const _: () = assert!(
    offset_of!(Frame, x) == 0,
    "the assembly below indexes x from the start"
);

/// The immediates that the instructions can have: an immediate is part of the instruction.
pub const IMMEDIATES: [u16; 4] = [0, 1, 0x8000, 0xffff];

/// Issues a call with these registers and this immediate, one of [`IMMEDIATES`].
///
/// # Panics
///
/// For another immediate.
#[must_use]
pub fn issue(conduit: Conduit, immediate: u16, before: &GeneralRegisters) -> Exchange {
    unsafe extern "C" {
        fn issue_smc_0(frame: *mut Frame);
        fn issue_smc_1(frame: *mut Frame);
        fn issue_smc_0x8000(frame: *mut Frame);
        fn issue_smc_0xffff(frame: *mut Frame);
        fn issue_hvc_0(frame: *mut Frame);
        fn issue_hvc_1(frame: *mut Frame);
        fn issue_hvc_0x8000(frame: *mut Frame);
        fn issue_hvc_0xffff(frame: *mut Frame);
    }
    let issue = match (conduit, immediate) {
        (Conduit::Smc, 0) => issue_smc_0,
        (Conduit::Smc, 1) => issue_smc_1,
        (Conduit::Smc, 0x8000) => issue_smc_0x8000,
        (Conduit::Smc, 0xffff) => issue_smc_0xffff,
        (Conduit::Hvc, 0) => issue_hvc_0,
        (Conduit::Hvc, 1) => issue_hvc_1,
        (Conduit::Hvc, 0x8000) => issue_hvc_0x8000,
        (Conduit::Hvc, 0xffff) => issue_hvc_0xffff,
        _ => panic!("there is no instruction with immediate {immediate:#x} here"),
    };
    let mut frame = Frame {
        x: *before,
        sp_before: 0,
        sp_after: 0,
    };
    // SAFETY: the function keeps the registers that the procedure call standard asks for, whatever
    // the call does, and writes to the frame; the cases vouch for what the call does to memory.
    unsafe { issue(&mut frame) };
    Exchange {
        before: *before,
        after: frame.x,
        stack_pointer_kept: frame.sp_before == frame.sp_after,
    }
}

global_asm!(
    // TPIDR_EL1 keeps the frame and TPIDR_EL0 holds x0 for a moment: after the call no
    // general-purpose register, SP among them, can be relied on.
    ".macro issue name, instruction, immediate",
    ".global \\name",
    "\\name:",
    "stp x29, x30, [sp, #-96]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "msr tpidr_el1, x0",
    "mov x1, sp",
    "str x1, [x0, #{sp_before}]",
    "ldp x2, x3, [x0, #16]",
    "ldp x4, x5, [x0, #32]",
    "ldp x6, x7, [x0, #48]",
    "ldp x8, x9, [x0, #64]",
    "ldp x10, x11, [x0, #80]",
    "ldp x12, x13, [x0, #96]",
    "ldp x14, x15, [x0, #112]",
    "ldp x16, x17, [x0, #128]",
    "ldp x18, x19, [x0, #144]",
    "ldp x20, x21, [x0, #160]",
    "ldp x22, x23, [x0, #176]",
    "ldp x24, x25, [x0, #192]",
    "ldp x26, x27, [x0, #208]",
    "ldp x28, x29, [x0, #224]",
    "ldr x30, [x0, #240]",
    "ldp x0, x1, [x0]",
    "\\instruction #\\immediate",
    "msr tpidr_el0, x0",
    "mrs x0, tpidr_el1",
    "str x1, [x0, #8]",
    "stp x2, x3, [x0, #16]",
    "stp x4, x5, [x0, #32]",
    "stp x6, x7, [x0, #48]",
    "stp x8, x9, [x0, #64]",
    "stp x10, x11, [x0, #80]",
    "stp x12, x13, [x0, #96]",
    "stp x14, x15, [x0, #112]",
    "stp x16, x17, [x0, #128]",
    "stp x18, x19, [x0, #144]",
    "stp x20, x21, [x0, #160]",
    "stp x22, x23, [x0, #176]",
    "stp x24, x25, [x0, #192]",
    "stp x26, x27, [x0, #208]",
    "stp x28, x29, [x0, #224]",
    "str x30, [x0, #240]",
    "mrs x1, tpidr_el0",
    "str x1, [x0]",
    "mov x1, sp",
    "str x1, [x0, #{sp_after}]",
    "ldr x1, [x0, #{sp_before}]",
    "mov sp, x1",
    "ldp x19, x20, [sp, #16]",
    "ldp x21, x22, [sp, #32]",
    "ldp x23, x24, [sp, #48]",
    "ldp x25, x26, [sp, #64]",
    "ldp x27, x28, [sp, #80]",
    "ldp x29, x30, [sp], #96",
    "ret",
    ".endm",
    ".pushsection .text.conduit, \"ax\"",
    "issue issue_smc_0, smc, 0",
    "issue issue_smc_1, smc, 1",
    "issue issue_smc_0x8000, smc, 0x8000",
    "issue issue_smc_0xffff, smc, 0xffff",
    "issue issue_hvc_0, hvc, 0",
    "issue issue_hvc_1, hvc, 1",
    "issue issue_hvc_0x8000, hvc, 0x8000",
    "issue issue_hvc_0xffff, hvc, 0xffff",
    ".popsection",
    sp_before = const offset_of!(Frame, sp_before),
    sp_after = const offset_of!(Frame, sp_after),
);

/// Issues fast call `id`, which has no arguments, `count` times with nothing else around it but the
/// loop.
pub fn repeat_call(conduit: Conduit, id: u32, count: u64) {
    macro_rules! repeat {
        ($instruction:literal) => {
            for _ in 0..count {
                // SAFETY: SMCCC has the call keep everything from x4 on.
                unsafe {
                    core::arch::asm!(
                        $instruction,
                        inout("x0") u64::from(id) => _, out("x1") _, out("x2") _, out("x3") _,
                        options(nostack),
                    );
                }
            }
        };
    }
    match conduit {
        Conduit::Smc => repeat!("smc #0"),
        Conduit::Hvc => repeat!("hvc #0"),
    }
}

/// The loop of [`repeat_call`] without the call.
pub fn repeat_nothing(count: u64) {
    for _ in 0..count {
        // SAFETY: changes x0 to x3 alone.
        unsafe {
            core::arch::asm!(
                "",
                inout("x0") count => _, out("x1") _, out("x2") _, out("x3") _,
                options(nostack),
            );
        }
    }
}
