//! From the first instruction to the first line of Rust, on the first vCPU and on the others.
//!
//! The image starts with the header of an arm64 Linux image (Linux, Documentation/arch/arm64/booting.rst), so that it is
//! loaded as any guest's kernel. The first vCPU arrives with x0 = address of the device tree, the others with what
//! CPU_ON was given; MMU and caches are off. All run on one constant map: a GiB of devices, two of memory, and the first of these again for EL0.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::cases::Case;
use crate::environment::Environment;

/// Bytes of stack a vCPU has.
const STACK_SIZE: usize = 64 * 1024;

/// The most vCPUs a payload can use.
pub const MAX_VCPUS: usize = 8;

/// How far above its address EL0 has the first GiB of memory.
pub const USER_OFFSET: u64 = 2 << 30;

/// SCTLR_EL1 (DDI0487J.a, D19.2.117): RES1 bits, nTWE and nTWI (EL0 may wait), I, SA, C and M.
const SCTLR: u64 = 0x30d0_0800 | 1 << 18 | 1 << 16 | 1 << 12 | 1 << 3 | 1 << 2 | 1;
/// MAIR_EL1: attribute 0 is Device-nGnRnE, attribute 1 Normal write-back.
const MAIR: u64 = 0xff00;
/// TCR_EL1 (DDI0487J.a, D19.2.139): EPD1, T0SZ = 25 (39-bit addresses, walks start at level 1), write-back, inner
/// shareable, IPS 40 bits.
const TCR: u64 = 0b010 << 32 | 1 << 23 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8 | 25;
/// CPACR_EL1.FPEN: floating point does not trap.
const CPACR: u64 = 0b11 << 20;

#[repr(C, align(4096))]
struct Table([u64; 512]);

#[unsafe(no_mangle)]
static TRANSLATION_TABLE: Table = {
    // Block, AF, inner shareable; AttrIndx 1 (normal) or 0 with UXN and PXN (device); AP[1]: EL0 too.
    const NORMAL: u64 = 1 << 10 | 0b11 << 8 | 1 << 2 | 1;
    const DEVICE: u64 = 0b11 << 53 | 1 << 10 | 1;
    const USER: u64 = NORMAL | 1 << 6;
    const GIB: u64 = 1 << 30;
    let mut entries = [0; 512];
    entries[0] = DEVICE;
    entries[1] = GIB | NORMAL;
    entries[2] = (2 * GIB) | NORMAL;
    entries[1 + (USER_OFFSET / GIB) as usize] = GIB | USER;
    Table(entries)
};

/// What registers held when a vCPU started, for those that a started vCPU finds undefined or zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residue {
    /// All of x1 to x30, ORed.
    pub general: u64,
    /// SP_EL0.
    pub sp_el0: u64,
    /// TPIDR_EL0, TPIDRRO_EL0 and TPIDR_EL1, ORed.
    pub thread_pointers: u64,
    /// ELR_EL1, FAR_EL1 and PAR_EL1, ORed.
    pub addresses: u64,
    /// TTBR0_EL1, TTBR1_EL1 and VBAR_EL1, ORed.
    pub tables: u64,
    /// CONTEXTIDR_EL1.
    pub context_id: u64,
}

/// What a vCPU that PSCI starts needs before it has an MMU.
#[repr(C, align(64))]
struct SecondaryStart {
    stack_top: u64,
    index: u64,
}

extern "C" fn primary(tree: u64, residue: &Residue) -> ! {
    crate::payload::primary(tree, *residue)
}

extern "C" fn secondary(index: u64, residue: &Residue) -> ! {
    crate::vcpu::secondary(index as usize, *residue)
}

/// The address at which PSCI is to start a vCPU.
#[must_use]
pub fn secondary_entry() -> u64 {
    unsafe extern "C" {
        fn secondary_entry();
    }
    secondary_entry as *const () as u64
}

#[repr(C, align(16))]
struct Stacks([[u8; STACK_SIZE]; MAX_VCPUS]);

#[unsafe(no_mangle)]
static mut STACKS: Stacks = Stacks([[0; STACK_SIZE]; MAX_VCPUS]);

static mut STARTS: [SecondaryStart; MAX_VCPUS] = [const {
    SecondaryStart {
        stack_top: 0,
        index: 0,
    }
}; MAX_VCPUS];

/// Prepares the stack of vCPU `index`, which must be off, and gives the context for its CPU_ON. `None` for a vCPU that
/// the payload has no stack for.
#[must_use]
pub fn prepare_secondary(index: usize) -> Option<u64> {
    if index == 0 || index >= MAX_VCPUS {
        return None;
    }
    let start = (&raw mut STARTS).cast::<SecondaryStart>();
    let stacks = (&raw mut STACKS).cast::<[u8; STACK_SIZE]>();
    // SAFETY: the index is within both arrays; the vCPU is off, so nobody else uses its entries.
    let start = unsafe {
        let start = start.add(index);
        (*start).stack_top = stacks.add(index + 1) as u64;
        (*start).index = index as u64;
        start as u64
    };
    // The vCPU reads it with its caches off.
    super::memory::clean(start, size_of::<SecondaryStart>());
    Some(start)
}

unsafe extern "Rust" {
    /// What [`payload!`](crate::payload!) defines, with this signature.
    pub safe fn payload_main(environment: &Environment);
}

/// The cases that were linked in.
#[must_use]
pub fn cases() -> &'static [Case] {
    unsafe extern "C" {
        static cases_start: u8;
        static cases_end: u8;
    }
    let start = (&raw const cases_start).cast::<Case>();
    let end = (&raw const cases_end).cast::<Case>();
    // SAFETY: the linker script puts the statics of `case!` and nothing else between the two symbols.
    unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}

/// Where the image ends, the memory that it needs beyond the file included.
#[must_use]
pub fn image_end() -> u64 {
    unsafe extern "C" {
        static image_end: u8;
    }
    (&raw const image_end) as u64
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
    "ldr x7, =TRANSLATION_TABLE",
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
    "2: ldr x7, =STACKS + {stack_size}",
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
    stack_size = const STACK_SIZE,
    stack_top = const offset_of!(SecondaryStart, stack_top),
    index = const offset_of!(SecondaryStart, index),
    primary = sym primary,
    secondary = sym secondary,
);

const _: () = assert!(size_of::<Residue>() == 48, "push_residue makes room for it");
