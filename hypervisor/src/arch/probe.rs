//! Whether this CPU lets EL2 read a register: the ID registers do not tell what the firmware keeps
//! for itself, and an access to that is undefined.

use core::arch::global_asm;

macro_rules! probes {
    ($($(#[$doc:meta])* $function:ident: $symbol:literal, $register:literal;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $function() -> bool {
                unsafe extern "C" {
                    #[link_name = $symbol]
                    fn probe() -> u64;
                }
                // SAFETY: reads the register with vectors of its own, which pass over an
                // instruction that is undefined, and then puts VBAR_EL2 back; interrupts are masked
                // in EL2.
                unsafe { probe() == 1 }
            }

            global_asm!(
                concat!(".pushsection .text.", $symbol, ", \"ax\""),
                concat!($symbol, ":"),
                "mrs x2, vbar_el2",
                "ldr x1, =probe_vectors",
                "msr vbar_el2, x1",
                "isb",
                "mov x0, #1",
                concat!("mrs x1, ", $register),
                "msr vbar_el2, x2",
                "isb",
                "ret",
                ".ltorg",
                ".popsection",
            );
        )*
    };
}

probes! {
    /// Whether TPIDR2_EL0 can be read, for CPUs that have it (FEAT_SME).
    second_thread_pointer_is_readable: "probe_tpidr2", "s3_3_c13_c0_5";
    /// Whether HCRX_EL2 can be read, for CPUs that have it (FEAT_HCX).
    hcrx_is_readable: "probe_hcrx", "s3_4_c1_c2_2";
    /// Whether HFGRTR_EL2 and its like can be read, for CPUs that have them (FEAT_FGT).
    fine_grained_traps_are_readable: "probe_hfgrtr", "s3_4_c1_c1_4";
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
    ".popsection",
);
