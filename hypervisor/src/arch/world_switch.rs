//! Entering a guest and coming back: the vectors and the registers they save.
//!
//! [`Context::run`] looks like a call: it loads the guest's registers and returns when an exception
//! brings the CPU back to EL2. The vectors for exceptions of EL2 itself end in a panic.

use crate::arch::context::{Context, Exit};
use crate::arch::exception_entry::pstate;
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use smccc::{ARCH_WORKAROUND_1, ARCH_WORKAROUND_3};

const _: () = assert!(
    offset_of!(Context, x) == 0,
    "the assembly below indexes x from the start"
);
const _: () = assert!(
    offset_of!(Context, pstate) == offset_of!(Context, pc) + 8,
    "pc and pstate go in pairs"
);

impl Context {
    /// Runs the guest until something brings the CPU back to EL2.
    ///
    /// # Safety
    ///
    /// This CPU's EL1 registers, HCR_EL2 and VTTBR_EL2 are those of the guest that this context
    /// belongs to, so that all it can reach is its own.
    #[inline]
    pub unsafe fn run(&mut self) -> Exit {
        let exit: u64;
        // SAFETY: `enter_guest` returns with SP as it was; it writes to the context and to the
        // stack alone, and keeps x19 and x29, which can't be named here; all other registers are
        // named. The caller vouches for what the guest can do meanwhile. EL2 uses no floating
        // point.
        unsafe {
            asm!(
                "bl enter_guest",
                inout("x0") core::ptr::from_mut(self) => exit,
                out("x1") _, out("x2") _, out("x3") _, out("x4") _, out("x5") _, out("x6") _, out("x7") _,
                out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _, out("x13") _, out("x14") _,
                out("x15") _, out("x16") _, out("x17") _, out("x18") _, out("x20") _, out("x21") _, out("x22") _,
                out("x23") _, out("x24") _, out("x25") _, out("x26") _, out("x27") _, out("x28") _, out("x30") _,
            );
        }
        match exit {
            SYNCHRONOUS => Exit::Synchronous,
            INTERRUPT => Exit::Interrupt,
            _ => Exit::SystemError,
        }
    }
}

const SYNCHRONOUS: u64 = Exit::Synchronous as u64;
const INTERRUPT: u64 = Exit::Interrupt as u64;

/// ESR_EL2 of `smc #0` from AArch64: class 0x17, IL (DDI0487J.a, D19.2.37).
const ESR_SMC_0: u64 = 0x17 << 26 | 1 << 25;

global_asm!(
    ".macro from_el2 offset",
    ".balign 0x80",
    "mov x0, #\\offset",
    "b fatal_exception",
    ".endm",
    ".macro from_guest kind",
    ".balign 0x80",
    "stp x0, x1, [sp, #-16]!",
    "mov x0, #\\kind",
    "b leave_guest",
    ".endm",
    // Most exits are SMCs, and most SMCs may be workarounds: they are looked for before anything is
    // saved.
    ".macro synchronous_from_guest",
    ".balign 0x80",
    "stp x0, x1, [sp, #-16]!",
    "mov w1, #{workaround_1}",
    "cmp w0, w1",
    "mov w1, #{workaround_3}",
    "ccmp w0, w1, #0b0100, ne",
    "b.eq maybe_workaround",
    "mov x0, #{synchronous}",
    "b leave_guest",
    ".endm",
    ".pushsection .text.vectors, \"ax\"",
    ".balign 0x800",
    ".global vectors",
    "vectors:",
    "from_el2 0x000",
    "from_el2 0x080",
    "from_el2 0x100",
    "from_el2 0x180",
    "from_el2 0x200",
    "from_el2 0x280",
    "from_el2 0x300",
    "from_el2 0x380",
    "synchronous_from_guest",
    "from_guest {interrupt}",
    "from_guest {interrupt}",
    "from_guest {system_error}",
    "from_el2 0x600",
    "from_el2 0x680",
    "from_el2 0x700",
    "from_el2 0x780",
    // The guest's x0, which lies on the stack with its x1, is that of a workaround.
    "maybe_workaround:",
    "mrs x1, tpidr_el2",
    "ldr x0, [x1, #{workarounds_pass}]",
    "cbz x0, 2f",
    "mrs x1, esr_el2",
    "mov w0, #{smc_0}",
    "cmp w1, w0",
    "b.ne 2f",
    "mrs x1, elr_el2",
    "add x1, x1, #4",
    "msr elr_el2, x1",
    // As `skip_a64` does.
    "mrs x1, spsr_el2",
    "and x1, x1, #{not_ss}",
    "and x1, x1, #{not_btype}",
    "msr spsr_el2, x1",
    "ldp x0, x1, [sp], #16",
    "smc #0",
    "eret",
    "dsb nsh",
    "isb",
    "2: mov x0, #{synchronous}",
    // x0 = the exit's kind, and what enter_guest returns; the guest's x0 and x1 lie on the stack.
    "leave_guest:",
    "mrs x1, tpidr_el2",
    "stp x2, x3, [x1, #16]",
    "stp x4, x5, [x1, #32]",
    "stp x6, x7, [x1, #48]",
    "stp x8, x9, [x1, #64]",
    "stp x10, x11, [x1, #80]",
    "stp x12, x13, [x1, #96]",
    "stp x14, x15, [x1, #112]",
    "stp x16, x17, [x1, #128]",
    "stp x18, x19, [x1, #144]",
    "stp x20, x21, [x1, #160]",
    "stp x22, x23, [x1, #176]",
    "stp x24, x25, [x1, #192]",
    "stp x26, x27, [x1, #208]",
    "stp x28, x29, [x1, #224]",
    "str x30, [x1, #240]",
    "ldp x2, x3, [sp], #16",
    "stp x2, x3, [x1]",
    "mrs x2, elr_el2",
    "mrs x3, spsr_el2",
    "stp x2, x3, [x1, #{pc}]",
    "ldr x30, [sp, #16]",
    "ldp x19, x29, [sp], #32",
    "ret",
    ".global enter_guest",
    "enter_guest:",
    // Those that the caller keeps in registers are few: it keeps them by itself (`Context::run`),
    // but for these.
    "stp x19, x29, [sp, #-32]!",
    "str x30, [sp, #16]",
    "msr tpidr_el2, x0",
    "ldp x1, x2, [x0, #{pc}]",
    "msr elr_el2, x1",
    "msr spsr_el2, x2",
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
    "eret",
    // Nothing is to be speculated past the ERET.
    "dsb nsh",
    "isb",
    ".popsection",
    synchronous = const SYNCHRONOUS,
    interrupt = const INTERRUPT,
    system_error = const Exit::SystemError as u64,
    pc = const offset_of!(Context, pc),
    workarounds_pass = const offset_of!(Context, workarounds_pass),
    workaround_1 = const ARCH_WORKAROUND_1,
    workaround_3 = const ARCH_WORKAROUND_3,
    smc_0 = const ESR_SMC_0,
    not_ss = const !pstate::SS,
    not_btype = const !pstate::BTYPE,
);
