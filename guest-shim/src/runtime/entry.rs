//! From the first instruction to the first line of Rust, on the first vCPU and on the others.
//!
//! The image starts with the header of an arm64 Linux image (Linux,
//! Documentation/arch/arm64/booting.rst), so that it is loaded as any guest's kernel. The first
//! vCPU arrives with x0 = address of the device tree, the others with what CPU_ON was given; MMU
//! and caches are off. All run on the map of [`layout`](crate::arch::layout).

use core::arch::global_asm;
use core::mem::offset_of;

use crate::arch::layout::TRANSLATION_TABLE;
use crate::arch::residue::Residue;
use crate::arch::secondary::{STACK_SIZE, STACKS, SecondaryStart};
use crate::runtime::{payload, vcpu};

/// SCTLR_EL1 (DDI0487J.a, D19.2.117): RES1 bits, nTWE and nTWI (EL0 may wait), I, SA, C and M.
const SCTLR: u64 = 0x30d0_0800 | 1 << 18 | 1 << 16 | 1 << 12 | 1 << 3 | 1 << 2 | 1;
/// MAIR_EL1: attribute 0 is Device-nGnRnE, attribute 1 Normal write-back.
const MAIR: u64 = 0xff00;
/// TCR_EL1 (DDI0487J.a, D19.2.139): EPD1, T0SZ = 25 (39-bit addresses, walks start at level 1),
/// write-back, inner shareable, IPS 40 bits.
const TCR: u64 = 0b010 << 32 | 1 << 23 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8 | 25;
/// CPACR_EL1.FPEN: floating point does not trap.
const CPACR: u64 = 0b11 << 20;

extern "C" fn primary(tree: u64, residue: &Residue) -> ! {
    payload::primary(tree, *residue)
}

extern "C" fn secondary(index: u64, residue: &Residue) -> ! {
    vcpu::secondary(index as usize, *residue)
}

global_asm!(
    // Collects what the registers hold into x1 (general), x2 to x6.
    ".macro collect_residue",
    ".irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
    "orr x1, x1, x\\n",
    ".endr",
    "mrs x2, sp_el0",
    "mrs x3, tpidr_el0",
    "mrs x7, tpidrro_el0",
    "orr x3, x3, x7",
    "mrs x7, tpidr_el1",
    "orr x3, x3, x7",
    "mrs x4, elr_el1",
    "mrs x7, far_el1",
    "orr x4, x4, x7",
    "mrs x7, par_el1",
    "orr x4, x4, x7",
    "mrs x5, ttbr0_el1",
    "mrs x7, ttbr1_el1",
    "orr x5, x5, x7",
    "mrs x7, vbar_el1",
    "orr x5, x5, x7",
    "mrs x6, contextidr_el1",
    ".endm",
    // Puts it where x1 then points, below the stack's top.
    ".macro push_residue",
    "sub sp, sp, #48",
    "stp x1, x2, [sp]",
    "stp x3, x4, [sp, #16]",
    "stp x5, x6, [sp, #32]",
    "mov x1, sp",
    ".endm",
    // Changes x7.
    ".macro enable_mmu",
    "ldr x7, ={cpacr}",
    "msr cpacr_el1, x7",
    "ldr x7, ={mair}",
    "msr mair_el1, x7",
    "ldr x7, ={tcr}",
    "msr tcr_el1, x7",
    "ldr x7, ={table}",
    "msr ttbr0_el1, x7",
    "ldr x7, =vectors",
    "msr vbar_el1, x7",
    "tlbi vmalle1",
    "ic iallu",
    "dsb sy",
    "isb",
    "ldr x7, ={sctlr}",
    "msr sctlr_el1, x7",
    "isb",
    ".endm",
    ".pushsection .text.header, \"ax\"",
    ".global image_start",
    "image_start:",
    "b primary_entry",
    ".long 0",
    ".quad 0",                       // text_offset
    ".quad image_end - image_start", // image_size
    ".quad 0b1010",                  // flags: little endian, pages of 4 KiB, anywhere
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
    "primary_entry:",
    "collect_residue",
    "ldr x7, =bss_start",
    "ldr x8, =bss_end",
    "1: cmp x7, x8",
    "b.hs 2f",
    "stp xzr, xzr, [x7], #16",
    "b 1b",
    "2: ldr x7, ={stacks} + {stack_size}",
    "mov sp, x7",
    "enable_mmu",
    "push_residue",
    "b {primary}",
    ".global secondary_entry",
    "secondary_entry:",
    "collect_residue",
    "ldr x7, [x0, #{stack_top}]",
    "mov sp, x7",
    "ldr x0, [x0, #{index}]",
    "enable_mmu",
    "push_residue",
    "b {secondary}",
    ".ltorg",
    ".popsection",
    cpacr = const CPACR,
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
    table = sym TRANSLATION_TABLE,
    stacks = sym STACKS,
    stack_size = const STACK_SIZE,
    stack_top = const offset_of!(SecondaryStart, stack_top),
    index = const offset_of!(SecondaryStart, index),
    primary = sym primary,
    secondary = sym secondary,
);

const _: () = assert!(size_of::<Residue>() == 48, "push_residue makes room for it");
