//! Whether this CPU lets EL2 read a register: the ID registers do not tell what the firmware keeps for itself.

use core::arch::global_asm;

/// Whether TPIDR2_EL0, which FEAT_SME brings, can be read at EL2, and so by guests. For CPUs that have FEAT_SME.
#[must_use]
pub fn second_thread_pointer_is_readable() -> bool {
    unsafe extern "C" {
        fn probe_second_thread_pointer() -> u64;
    }
    // SAFETY: reads the register with vectors of its own, which pass over an instruction that is undefined, and then puts
    // VBAR_EL2 back; interrupts are masked in EL2.
    unsafe { probe_second_thread_pointer() == 1 }
}

global_asm!(
    ".pushsection .text.vectors, \"ax\"",
    ".balign 0x800",
    "probe_vectors:",
    ".space 0x200",
    // A synchronous exception of EL2 itself: x0 says that it came.
    "mrs x1, elr_el2",
    "add x1, x1, #4",
    "msr elr_el2, x1",
    "mov x0, #0",
    "eret",
    ".balign 0x800",
    "probe_second_thread_pointer:",
    "mrs x2, vbar_el2",
    "ldr x1, =probe_vectors",
    "msr vbar_el2, x1",
    "isb",
    "mov x0, #1",
    "mrs x1, s3_3_c13_c0_5",
    "msr vbar_el2, x2",
    "isb",
    "ret",
    ".ltorg",
    ".popsection",
);
