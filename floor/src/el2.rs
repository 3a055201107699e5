//! All of it, in assembly: whatever a compiler added would be measured.

use core::arch::global_asm;

/// Where the kernel lies: the place of the first module (docs/device-tree.md, "Physical memory").
const KERNEL: u64 = 0x6200_0000;

/// `OPTEE_SMC_VM_CREATED` (OP-TEE 4.5, `core/arch/arm/include/sm/optee_smc.h`): a fast call of the
/// trusted OS, for the hypervisor alone, with the new guest's client ID in a1.
const VM_CREATED: u64 = 0xb200_000d;
/// The guest's client ID. 0 is the hypervisor's own.
const CLIENT: u64 = 1;

/// HCR_EL2: EL1 is AArch64 (RW), SMCs trap (TSC). Everything else stays the guest's (DDI0487,
/// D24.2.52).
const HCR: u64 = 1 << 31 | 1 << 19;
/// CNTHCTL_EL2: EL1 may use the physical counter and timer (DDI0487, D24.10.2).
const CNTHCTL: u64 = 0b11;
/// CPTR_EL2: the RES1 bits alone, so that nothing traps (DDI0487, D24.2.35).
const CPTR: u64 = 0x33ff;
/// SCTLR_EL1: the RES1 bits, with MMU and caches off, as Linux wants it (DDI0487, D24.2.123).
const SCTLR_EL1: u64 = 0x30d0_0800;
/// ICC_SRE_EL2: system registers at EL2 and, by Enable, at EL1 (IHI0069, 12.2.22).
const ICC_SRE: u64 = 0b1111;
/// SPSR_EL2: to EL1 on its own stack pointer, all exceptions masked.
const SPSR: u64 = 0b1111 << 6 | 0b0101;

/// ESR_EL2.EC of an SMC that trapped (DDI0487, D24.2.41).
const EC_SMC: u64 = 0x17;

global_asm!(
    ".pushsection .text.entry, \"ax\"",
    ".global entry",
    "entry:",
    "mov x19, x0", // the device tree
    "adr x1, vectors",
    "msr vbar_el2, x1",
    "ldr x1, ={cptr}",
    "msr cptr_el2, x1",
    "mov x1, #{cnthctl}",
    "msr cnthctl_el2, x1",
    "msr cntvoff_el2, xzr",
    "msr hstr_el2, xzr",
    "mrs x1, midr_el1",
    "msr vpidr_el2, x1",
    "mrs x1, mpidr_el1",
    "msr vmpidr_el2, x1",
    "mov x1, #{icc_sre}",
    "msr S3_4_C12_C9_5, x1", // ICC_SRE_EL2
    "ldr x1, ={sctlr_el1}",
    "msr sctlr_el1, x1",
    "ldr x0, ={vm_created}",
    "mov x1, #{client}",
    "mov x7, xzr",
    "smc #0",
    "cbnz x0, stop",
    "ldr x1, ={hcr}",
    "msr hcr_el2, x1",
    "mov x1, #{spsr}",
    "msr spsr_el2, x1",
    "ldr x1, ={kernel}",
    "msr elr_el2, x1",
    "isb",
    "mov x0, x19",
    "mov x1, xzr",
    "mov x2, xzr",
    "mov x3, xzr",
    "eret",
    "stop: wfi",
    "b stop",
    ".ltorg",
    // One vector is in use: a synchronous exception from EL1 in AArch64.
    ".balign 0x800",
    "vectors:",
    ".rept 8",
    "b stop",
    ".balign 0x80",
    ".endr",
    "msr tpidr_el2, x7",
    "mrs x7, esr_el2",
    "lsr x7, x7, #26",
    "cmp x7, #{ec_smc}",
    "b.ne stop",
    "mrs x7, elr_el2",
    "add x7, x7, #4", // an SMC that traps is yet to be executed
    "msr elr_el2, x7",
    "mov x7, #{client}",
    "smc #0",
    "mrs x7, tpidr_el2",
    "eret",
    ".balign 0x80",
    ".rept 7",
    "b stop",
    ".balign 0x80",
    ".endr",
    ".popsection",
    cptr = const CPTR,
    cnthctl = const CNTHCTL,
    icc_sre = const ICC_SRE,
    sctlr_el1 = const SCTLR_EL1,
    vm_created = const VM_CREATED,
    client = const CLIENT,
    hcr = const HCR,
    spsr = const SPSR,
    kernel = const KERNEL,
    ec_smc = const EC_SMC,
);
