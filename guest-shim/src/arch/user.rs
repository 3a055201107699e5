//! Programs of a few instructions at EL0, in either state.
//!
//! EL0 sees the first GiB of memory a second time ([`super::layout::USER_OFFSET`] above its
//! address), writable and executable; what EL0 can write, EL1 can't execute.

use core::arch::global_asm;
use core::mem::offset_of;

use super::layout::USER_OFFSET;
use super::registers::{read, write};

/// The state a program runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// AArch64.
    A64,
    /// AArch32, A32 instructions.
    A32,
    /// AArch32, T32 instructions.
    T32,
}

/// How a program left EL0: by an exception.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Left {
    /// The program's x0 or r0.
    pub x0: u64,
    /// Which vector was taken: an offset from VBAR_EL1.
    pub vector: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1.
    pub far: u64,
    /// The address to return to, from the program's first instruction.
    pub offset: u64,
    /// The program's PSTATE (SPSR_EL1).
    pub pstate: u64,
}

impl Left {
    /// The exception class (DDI0487J.a, D19.2.37).
    #[must_use]
    pub fn class(&self) -> u64 {
        self.esr >> 26 & 0x3f
    }
}

/// Instructions that a program can have.
const LENGTH_MAX: usize = 16;

#[repr(C, align(64))]
struct Program([u32; LENGTH_MAX]);

static mut PROGRAM: Program = Program([0; LENGTH_MAX]);

/// A word that EL0 can reach.
static mut WORD: u64 = 0;

/// PSTATE of EL0 with these flags: everything masked, which EL0 can't change.
fn pstate(state: State) -> u64 {
    const DAIF: u64 = 0b1111 << 6;
    // User mode; D is E in AArch32, which stays little endian.
    const AARCH32: u64 = 0b111 << 6 | 0b1_0000;
    match state {
        State::A64 => DAIF,
        State::A32 => AARCH32,
        State::T32 => AARCH32 | 1 << 5,
    }
}

/// The address at which EL0 has a word that [`run`] clears.
#[must_use]
pub fn word() -> u64 {
    (&raw const WORD) as u64 + USER_OFFSET
}

/// The address at which EL0 has the program's first instruction.
#[must_use]
pub fn program() -> u64 {
    (&raw const PROGRAM) as u64 + USER_OFFSET
}

/// Runs a program at EL0 until it takes an exception, with `flags` in its PSTATE besides, and `x0`.
/// To be used on one vCPU at a time. A program of T32 has two instructions in each word, the first
/// in the lower half.
///
/// # Panics
///
/// If the program is too long.
pub fn run(state: State, instructions: &[u32], flags: u64, x0: u64) -> Left {
    unsafe extern "C" {
        fn enter_user(pc: u64, pstate: u64, x0: u64, left: *mut Left);
    }
    assert!(instructions.len() <= LENGTH_MAX, "the program is too long");
    let program = &raw mut PROGRAM;
    let mut padded = [0; LENGTH_MAX];
    padded[..instructions.len()].copy_from_slice(instructions);
    // SAFETY: one vCPU at a time uses the program and the word, through this module alone.
    unsafe {
        program.write_volatile(Program(padded));
        (&raw mut WORD).write_volatile(0);
    }
    super::memory::publish_instructions(program as u64, size_of::<Program>());
    let start = program as u64 + USER_OFFSET;
    let mut left = Left::default();
    // SAFETY: EL0 reaches memory and no register of EL1; the function keeps what the procedure call
    // standard asks for, and comes back by the vectors for exceptions from EL0.
    unsafe { enter_user(start, pstate(state) | flags, x0, &mut left) }
    left.esr = read!("esr_el1");
    left.far = read!("far_el1");
    left.pstate = read!("spsr_el1");
    left.offset = read!("elr_el1").wrapping_sub(start);
    left
}

/// The same in AArch64 with SVE and SME open to EL0 as far as EL1 has a say (CPACR_EL1.ZEN and
/// SMEN).
pub fn run_with_vectors(instructions: &[u32], x0: u64) -> Left {
    const ZEN_AND_SMEN: u64 = 0b11 << 24 | 0b11 << 16;
    let before = read!("cpacr_el1");
    // SAFETY: opens what the payload does not use.
    unsafe { write!("cpacr_el1", before | ZEN_AND_SMEN) }
    let left = run(State::A64, instructions, 0, x0);
    // SAFETY: as it was.
    unsafe { write!("cpacr_el1", before) }
    left
}

global_asm!(
    ".pushsection .text.user, \"ax\"",
    "enter_user:",
    "stp x29, x30, [sp, #-112]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "str x3, [sp, #96]",
    "msr elr_el1, x0",
    "msr spsr_el1, x1",
    "isb",
    "mov x0, x2",
    "eret",
    // From the vectors: x0 is the vector, the program's x0 and x1 lie on the stack.
    ".global leave_user",
    "leave_user:",
    "ldp x1, x2, [sp], #16",
    "ldr x3, [sp, #96]",
    "str x1, [x3, #{x0}]",
    "str x0, [x3, #{vector}]",
    "ldp x19, x20, [sp, #16]",
    "ldp x21, x22, [sp, #32]",
    "ldp x23, x24, [sp, #48]",
    "ldp x25, x26, [sp, #64]",
    "ldp x27, x28, [sp, #80]",
    "ldp x29, x30, [sp], #112",
    "ret",
    ".popsection",
    x0 = const offset_of!(Left, x0),
    vector = const offset_of!(Left, vector),
);
