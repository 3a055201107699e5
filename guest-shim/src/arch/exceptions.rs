//! The vectors: exceptions that a case expects are caught, all others end the payload with a
//! report.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::registers::{self, read};

/// The interrupted state.
#[repr(C)]
struct Frame {
    x: [u64; 31],
    pc: u64,
    pstate: u64,
    unused: u64,
}

/// An exception that was expected and came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// ESR_EL1.
    pub esr: u64,
    /// PSTATE in the handler, as far as [`registers::pstate_bits`] can tell.
    pub pstate: u64,
}

impl Caught {
    /// The exception class (DDI0487J.a, D19.2.37).
    #[must_use]
    pub fn class(self) -> u64 {
        self.esr >> 26 & 0x3f
    }
}

static EXPECTED: AtomicBool = AtomicBool::new(false);
static CAUGHT: AtomicBool = AtomicBool::new(false);
static ESR: AtomicU64 = AtomicU64::new(0);
static PSTATE: AtomicU64 = AtomicU64::new(0);

/// Whether every instruction that causes an exception is skipped.
static SKIPS: AtomicBool = AtomicBool::new(false);

/// The exception classes of aborts of fetches and of a PC that is not aligned: there is no next
/// instruction.
const LOST: [u64; 3] = [0x20, 0x21, 0x22];

/// Interrupts that were taken by the vector, and the last one.
static TAKEN: AtomicU32 = AtomicU32::new(0);
static LAST_TAKEN: AtomicU32 = AtomicU32::new(0);

/// Runs `action`, skipping instructions that cause a synchronous exception; tells the last one. To
/// be used on one vCPU at a time.
pub fn catch(action: impl FnOnce()) -> Option<Caught> {
    CAUGHT.store(false, Ordering::SeqCst);
    EXPECTED.store(true, Ordering::SeqCst);
    action();
    EXPECTED.store(false, Ordering::SeqCst);
    CAUGHT.load(Ordering::SeqCst).then(|| Caught {
        esr: ESR.load(Ordering::SeqCst),
        pstate: PSTATE.load(Ordering::SeqCst),
    })
}

/// From now on every instruction that causes a synchronous exception is skipped, on all vCPUs.
pub(crate) fn skip_all() {
    SKIPS.store(true, Ordering::Relaxed);
}

/// Waits with interrupts unmasked until one was taken through the vector, and gives its number. To
/// be used on one vCPU at a time.
pub fn take_interrupt() -> u32 {
    let before = TAKEN.load(Ordering::SeqCst);
    while TAKEN.load(Ordering::SeqCst) == before {
        // SAFETY: unmasks interrupts, which the vector takes without a trace for what was
        // interrupted.
        unsafe { core::arch::asm!("dsb sy", "wfi", "msr daifclr, #2", "isb", "msr daifset, #2") }
    }
    LAST_TAKEN.load(Ordering::SeqCst)
}

extern "C" fn synchronous(frame: &mut Frame) {
    let esr = read!("esr_el1");
    if EXPECTED.load(Ordering::SeqCst) {
        ESR.store(esr, Ordering::SeqCst);
        PSTATE.store(registers::pstate_bits(), Ordering::SeqCst);
        CAUGHT.store(true, Ordering::SeqCst);
        frame.pc += 4;
        return;
    }
    if SKIPS.load(Ordering::Relaxed) && !LOST.contains(&(esr >> 26 & 0x3f)) {
        frame.pc += 4;
        return;
    }
    let (far, pc) = (read!("far_el1"), frame.pc);
    panic!("unexpected exception: ESR {esr:#x}, FAR {far:#x}, PC {pc:#x}");
}

extern "C" fn interrupt(_frame: &mut Frame) {
    if let Some(intid) = super::gic::acknowledge() {
        LAST_TAKEN.store(intid, Ordering::SeqCst);
        TAKEN.fetch_add(1, Ordering::SeqCst);
    }
}

extern "C" fn unexpected(frame: &mut Frame) {
    let (esr, pc) = (read!("esr_el1"), frame.pc);
    panic!("unexpected FIQ, SError or exception of EL0: ESR {esr:#x}, PC {pc:#x}");
}

global_asm!(
    ".macro vector handler",
    ".balign 0x80",
    "sub sp, sp, #{frame}",
    "stp x0, x1, [sp]",
    "ldr x0, =\\handler",
    "b enter_handler",
    ".endm",
    ".macro user_vector offset",
    ".balign 0x80",
    "stp x0, x1, [sp, #-16]!",
    "mov x0, #\\offset",
    "b leave_user",
    ".endm",
    ".pushsection .text.vectors, \"ax\"",
    ".balign 0x800",
    ".global vectors",
    "vectors:",
    // From EL1 with SP_EL0, which nothing uses.
    "vector {unexpected}",
    "vector {unexpected}",
    "vector {unexpected}",
    "vector {unexpected}",
    "vector {synchronous}",
    "vector {interrupt}",
    "vector {unexpected}",
    "vector {unexpected}",
    // From EL0 in AArch64, then in AArch32: what `user::run` runs there ends with a synchronous
    // exception.
    "user_vector 0x400",
    ".rept 3",
    "vector {unexpected}",
    ".endr",
    "user_vector 0x600",
    ".rept 3",
    "vector {unexpected}",
    ".endr",
    ".balign 0x80",
    "enter_handler:",
    "stp x2, x3, [sp, #16]",
    "stp x4, x5, [sp, #32]",
    "stp x6, x7, [sp, #48]",
    "stp x8, x9, [sp, #64]",
    "stp x10, x11, [sp, #80]",
    "stp x12, x13, [sp, #96]",
    "stp x14, x15, [sp, #112]",
    "stp x16, x17, [sp, #128]",
    "stp x18, x19, [sp, #144]",
    "stp x20, x21, [sp, #160]",
    "stp x22, x23, [sp, #176]",
    "stp x24, x25, [sp, #192]",
    "stp x26, x27, [sp, #208]",
    "stp x28, x29, [sp, #224]",
    "mrs x1, elr_el1",
    "stp x30, x1, [sp, #240]",
    "mrs x1, spsr_el1",
    "str x1, [sp, #{pstate}]",
    "mov x1, x0",
    "mov x0, sp",
    "blr x1",
    "ldr x1, [sp, #{pstate}]",
    "msr spsr_el1, x1",
    "ldp x30, x1, [sp, #240]",
    "msr elr_el1, x1",
    "ldp x2, x3, [sp, #16]",
    "ldp x4, x5, [sp, #32]",
    "ldp x6, x7, [sp, #48]",
    "ldp x8, x9, [sp, #64]",
    "ldp x10, x11, [sp, #80]",
    "ldp x12, x13, [sp, #96]",
    "ldp x14, x15, [sp, #112]",
    "ldp x16, x17, [sp, #128]",
    "ldp x18, x19, [sp, #144]",
    "ldp x20, x21, [sp, #160]",
    "ldp x22, x23, [sp, #176]",
    "ldp x24, x25, [sp, #192]",
    "ldp x26, x27, [sp, #208]",
    "ldp x28, x29, [sp, #224]",
    "ldp x0, x1, [sp]",
    "add sp, sp, #{frame}",
    "eret",
    ".ltorg",
    ".popsection",
    synchronous = sym synchronous,
    interrupt = sym interrupt,
    unexpected = sym unexpected,
    frame = const size_of::<Frame>(),
    pstate = const offset_of!(Frame, pstate),
);

const _: () = assert!(
    offset_of!(Frame, pc) == 248 && size_of::<Frame>() == 272,
    "enter_handler stores x30 and pc as a pair, and SP stays aligned"
);
