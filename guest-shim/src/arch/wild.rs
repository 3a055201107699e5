//! Instructions and accesses that are made up at run time, of a kind that does not end the payload.

use host_abi::memory_map::guest::RAM_BASE;

use super::exceptions;
use super::layout::MAX_VCPUS;

/// The first address behind the devices' GiB of the payload's map.
const DEVICES_END: u64 = RAM_BASE;

/// MRS, MSR (register) and SYS with operands of zero (DDI0487J.a, C4.1.94, "System instructions",
/// "System register move").
const WRITE: u32 = 0xd500_0000;
const READ: u32 = WRITE | 1 << 21;
const RETURN: u32 = 0xd65f_03c0;

/// A system register or an operation of SYS, by the numbers of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemRegister {
    /// 1 for an operation, 2 for a debug register, else 3.
    pub op0: u8,
    /// 0 to 7.
    pub op1: u8,
    /// 0 to 15.
    pub crn: u8,
    /// 0 to 15.
    pub crm: u8,
    /// 0 to 7.
    pub op2: u8,
}

impl SystemRegister {
    fn encoding(self) -> u32 {
        u32::from(self.op0 & 3) << 19
            | u32::from(self.op1 & 7) << 16
            | u32::from(self.crn & 15) << 12
            | u32::from(self.crm & 15) << 8
            | u32::from(self.op2 & 7) << 5
    }

    /// Whether the payload does without what a write may change: its translation, its vectors, its
    /// stack pointer, what it masks and the contents of its memory stay.
    #[must_use]
    pub fn may_be_written(self) -> bool {
        let Self {
            op0,
            op1,
            crn,
            crm,
            op2,
        } = self;
        !matches!(
            (op0, op1, crn, crm, op2),
            // MSR of a constant.
            (0, ..)
            // DC ZVA, GVA and GZVA, which write to memory; those of guarded control stacks.
            | (1, 3, 7, 4, _) | (1, _, 7, 7, _)
            // MDSCR_EL1: no step is taken on its own.
            | (2, 0, 0, 2, 2)
            // SCTLR_EL1 and its kin; ACTLR_EL1 is not among them.
            | (3, 0, 1, 0, 0 | 3..=7)
            // TTBR0_EL1, TTBR1_EL1, TCR_EL1, TCR2_EL1; guarded control stacks.
            | (3, 0, 2, 0, _) | (3, _, 2, 5, _)
            // SP_EL0 is nothing to the payload; SPSel and DAIF are.
            | (3, 0, 4, 2, 0) | (3, 3, 4, 2, 1)
            // MAIR_EL1, PIR_EL1 and their kin; VBAR_EL1.
            | (3, 0, 10, 2..=4, _) | (3, 0, 12, 0, 0)
        )
    }

    /// Reads it on vCPU `index`; one that is undefined gives a zero.
    #[must_use]
    pub fn read(self, index: usize) -> u64 {
        // An operation has results with SYSL alone, which changes nothing, either.
        execute(index, READ | self.encoding(), 0)
    }

    /// Whether QEMU 7.2 dies of the value: of one for ICC_BPR1_EL1 it takes the low three bits
    /// after it has seen that it is not too little, and finds a zero later on (`write_vbpr` and
    /// `icv_gprio_mask`, `hw/intc/arm_gicv3_cpuif.c`).
    fn is_fatal_to_qemu(self, value: u64) -> bool {
        let bpr1 = Self {
            op0: 3,
            op1: 0,
            crn: 12,
            crm: 12,
            op2: 3,
        };
        self == bpr1 && value & 7 == 0
    }

    /// Writes to it on vCPU `index`, unless the payload can't do without what it holds, or QEMU
    /// can't.
    pub fn write(self, index: usize, value: u64) {
        if self.may_be_written() && !self.is_fatal_to_qemu(value) {
            execute(index, WRITE | self.encoding(), value);
        }
    }
}

/// An instruction and a return, for each vCPU in cache lines of its own.
#[repr(C, align(128))]
struct Code([u32; 2]);

static mut CODE: [Code; MAX_VCPUS] = [const { Code([RETURN; 2]) }; MAX_VCPUS];

/// Executes one of the instructions above with a value in x0; gives what x0 holds then. An
/// exception is skipped.
fn execute(index: usize, instruction: u32, x0: u64) -> u64 {
    assert!(index < MAX_VCPUS, "there is no vCPU {index}");
    exceptions::skip_all();
    let code = (&raw mut CODE).cast::<Code>();
    let mut value = x0;
    // SAFETY: the line is this vCPU's, is memory that can be executed, and is made visible to the
    // fetches that follow. The instruction is one of MRS, MSR and SYS with x0, which changes x0,
    // flags and what `may_be_written` vouches for.
    unsafe {
        let code = code.add(index);
        (&raw mut (*code).0).write_volatile([instruction, RETURN]);
        core::arch::asm!(
            "dc cvau, {code}",
            "dsb ish",
            "ic ivau, {code}",
            "dsb ish",
            "isb",
            "blr {code}",
            "isb",
            code = in(reg) code,
            inout("x0") value,
            out("x30") _,
        );
    }
    value
}

/// How many bytes an access has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 1
    Byte,
    /// 2
    Halfword,
    /// 4
    Word,
    /// 8
    Doubleword,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Byte, Self::Halfword, Self::Word, Self::Doubleword];
}

/// Loads from an address where devices are, or nothing is. An exception is skipped.
#[must_use]
pub fn load(address: u64, size: Size) -> u64 {
    assert!(address < DEVICES_END, "{address:#x} is no device's");
    exceptions::skip_all();
    let value;
    // SAFETY: a load without effect on memory; that of a device of the guest is none of Rust's.
    unsafe {
        match size {
            Size::Byte => {
                core::arch::asm!("ldrb {:w}, [{}]", out(reg) value, in(reg) address, options(nostack));
            }
            Size::Halfword => {
                core::arch::asm!("ldrh {:w}, [{}]", out(reg) value, in(reg) address, options(nostack));
            }
            Size::Word => {
                core::arch::asm!("ldr {:w}, [{}]", out(reg) value, in(reg) address, options(nostack));
            }
            Size::Doubleword => {
                core::arch::asm!("ldr {}, [{}]", out(reg) value, in(reg) address, options(nostack));
            }
        }
    }
    value
}

/// Stores to an address where devices are, or nothing is. An exception is skipped.
pub fn store(address: u64, size: Size, value: u64) {
    assert!(address < DEVICES_END, "{address:#x} is no device's");
    exceptions::skip_all();
    // SAFETY: what is stored to a device of the guest changes that device; the payload relies on
    // none of them while it does this.
    unsafe {
        match size {
            Size::Byte => {
                core::arch::asm!("strb {:w}, [{}]", in(reg) value, in(reg) address, options(nostack));
            }
            Size::Halfword => {
                core::arch::asm!("strh {:w}, [{}]", in(reg) value, in(reg) address, options(nostack));
            }
            Size::Word => {
                core::arch::asm!("str {:w}, [{}]", in(reg) value, in(reg) address, options(nostack));
            }
            Size::Doubleword => {
                core::arch::asm!("str {}, [{}]", in(reg) value, in(reg) address, options(nostack));
            }
        }
    }
}

/// Loads two registers at once, which nobody can emulate: a device is not meant to be used so.
pub fn load_pair(address: u64) {
    assert!(address < DEVICES_END, "{address:#x} is no device's");
    exceptions::skip_all();
    // SAFETY: as for `load`.
    unsafe {
        core::arch::asm!("ldp {}, {}, [{}]", out(reg) _, out(reg) _, in(reg) address, options(nostack));
    }
}

/// An exception that the payload causes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SVC
    Supervisor,
    /// BRK
    Breakpoint,
    /// HLT
    Halt,
    /// UDF
    Undefined,
    /// An access to the SIMD registers.
    Float,
    /// WFE
    WaitForEvent,
    /// SEV
    SendEvent,
    /// YIELD
    Yield,
    /// Interrupts are unmasked for a moment.
    Unmask,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Supervisor,
        Self::Breakpoint,
        Self::Halt,
        Self::Undefined,
        Self::Float,
        Self::WaitForEvent,
        Self::SendEvent,
        Self::Yield,
        Self::Unmask,
    ];

    /// Executes what causes it. SVC and exceptions like it return behind the instruction; those are
    /// followed by one that is skipped.
    pub fn execute(self) {
        exceptions::skip_all();
        // SAFETY: an exception of these is taken by the payload's own vectors, which change nothing
        // but where it goes on: behind the instruction, or behind the one that follows it, a NOP.
        // SIMD registers are nothing to the payload.
        unsafe {
            match self {
                Self::Supervisor => core::arch::asm!("svc #7", "nop"),
                Self::Breakpoint => core::arch::asm!("brk #7", "nop"),
                Self::Halt => core::arch::asm!("hlt #7", "nop"),
                Self::Undefined => core::arch::asm!("udf #7", "nop"),
                // FMOV D0, X0: the assembler has no such registers here.
                Self::Float => core::arch::asm!(".inst 0x9e670000", "nop"),
                Self::WaitForEvent => core::arch::asm!("wfe"),
                Self::SendEvent => core::arch::asm!("sev"),
                Self::Yield => core::arch::asm!("yield"),
                Self::Unmask => core::arch::asm!("msr daifclr, #2", "isb", "msr daifset, #2"),
            }
        }
    }
}

/// The instructions between which QEMU's plugin counts: nothing happens at them
/// (`instruction-counter/src/count.rs`).
pub mod mark {
    /// The last count ends, and the next one begins.
    pub fn next() {
        // SAFETY: `MOVZ XZR` with constants.
        unsafe {
            core::arch::asm!(
                "movz xzr, #0xe4d1",
                "movz xzr, #0xb471",
                options(nomem, nostack, preserves_flags)
            );
        }
    }

    /// A count begins.
    pub fn first() {
        // SAFETY: as above.
        unsafe {
            core::arch::asm!(
                "movz xzr, #0xb471",
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}
