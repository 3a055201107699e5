//! From the firmware's jump to the first line of Rust, on the first CPU and on the others.
//!
//! The first CPU arrives at EL2 with x0 = physical address of the device tree, MMU and caches off.
//! It runs on a constant map of 1 GiB blocks until [`crate::arch::mmu`] has made the real tables;
//! the other CPUs start on the real ones.

use crate::arch::mmu::{MAIR, SCTLR_MMU_ON, SCTLR_WXN, TCR};
use crate::arch::stacks::GuardedStack;
use crate::boot::secondary::SecondaryStart;
use crate::boot::start;
use core::arch::global_asm;
use core::mem::offset_of;

#[repr(C, align(4096))]
struct InitialTable([u64; 512]);

/// Device memory in the first GiB, normal memory in the next seven: enough to run the image and
/// read the device tree.
#[unsafe(no_mangle)]
static INITIAL_TABLE: InitialTable = {
    // Block, AF, inner shareable; AttrIndx 1 (normal) or 0 with XN (device).
    const NORMAL: u64 = 1 << 10 | 0b11 << 8 | 1 << 2 | 1;
    const DEVICE: u64 = 1 << 54 | 1 << 10 | 1;
    let mut entries = [0; 512];
    entries[0] = DEVICE;
    let mut gib = 1;
    while gib < 8 {
        entries[gib] = (gib as u64) << 30 | NORMAL;
        gib += 1;
    }
    InitialTable(entries)
};

extern "C" fn primary(device_tree: u64, entered: u64) -> ! {
    start::primary(device_tree, entered)
}

extern "C" fn secondary(index: u64) -> ! {
    // SAFETY: x0 is what `SecondaryStart` has for this CPU.
    unsafe { start::secondary(index as usize) }
}

global_asm!(
    // x0 = root table, x1 = SCTLR_EL2; changes x2 and x3.
    ".macro enable_mmu",
    "ldr x2, ={mair}",
    "msr mair_el2, x2",
    "ldr x2, ={tcr}",
    "mrs x3, id_aa64mmfr0_el1",
    "bfi x2, x3, #16, #3", // TCR_EL2.PS = ID_AA64MMFR0_EL1.PARange
    "msr tcr_el2, x2",
    "msr ttbr0_el2, x0",
    "tlbi alle2",
    "ic iallu",
    "dsb sy",
    "isb",
    "msr sctlr_el2, x1",
    "isb",
    ".endm",
    ".pushsection .text.entry, \"ax\"",
    ".global entry",
    "entry:",
    "msr daifset, #15",
    "mrs x20, cntpct_el0",
    "mov x19, x0",
    "ldr x1, =vectors",
    "msr vbar_el2, x1",
    "ldr x1, =bss_start",
    "ldr x2, =bss_end",
    "1: cmp x1, x2",
    "b.hs 2f",
    "stp xzr, xzr, [x1], #16",
    "b 1b",
    "2: ldr x1, =PRIMARY_STACK + {primary_stack}",
    "mov sp, x1",
    "ldr x0, =INITIAL_TABLE",
    "ldr x1, ={sctlr_initial}",
    "enable_mmu",
    "mov x0, x19",
    "mov x1, x20",
    "b {primary}",
    ".popsection",
    ".pushsection .text.secondary_entry, \"ax\"",
    ".global secondary_entry",
    "secondary_entry:",
    "msr daifset, #15",
    "mov x19, x0",
    "ldr x1, =vectors",
    "msr vbar_el2, x1",
    "ldr x1, [x19, #{stack_top}]",
    "mov sp, x1",
    "ldr x0, [x19, #{root_table}]",
    "ldr x1, ={sctlr}",
    "enable_mmu",
    "ldr x0, [x19, #{index}]",
    "b {secondary}",
    ".popsection",
    mair = const MAIR,
    tcr = const TCR,
    sctlr_initial = const SCTLR_MMU_ON,
    sctlr = const SCTLR_MMU_ON | SCTLR_WXN,
    primary_stack = const size_of::<GuardedStack>(),
    stack_top = const offset_of!(SecondaryStart, stack_top),
    root_table = const offset_of!(SecondaryStart, root_table),
    index = const offset_of!(SecondaryStart, index),
    primary = sym primary,
    secondary = sym secondary,
);
