//! The registers of a vCPU that every exit saves, and what EL2 does to them.

use smccc::CallRegisters;

use crate::arch::access::{read, write};
use crate::arch::exception_entry::{self, PstateFeatures, pstate};
use crate::arch::{aarch32, syndrome};

/// The registers of a vCPU that every exit saves.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Context {
    /// x0 to x30.
    pub x: [u64; 31],
    /// The guest's program counter (ELR_EL2).
    pub pc: u64,
    /// The guest's PSTATE (SPSR_EL2): of EL1 or EL0, as it started or came back.
    pub(super) pstate: u64,
    /// 1 if the guest's SMCs of SMCCC_ARCH_WORKAROUND_1 and _3 go to the firmware straight from the
    /// vector, 0 if the front door is to see them.
    ///
    /// They take no arguments, give no results, and a kernel on a CPU that needs one issues it at
    /// each change of process and around calls of user space: on cortex-a57 more often than it
    /// calls anything else.
    pub workarounds_pass: u64,
}

/// Why the guest left. The vectors give these numbers.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A synchronous exception: ESR_EL2 tells which.
    Synchronous,
    /// A physical interrupt waits.
    Interrupt,
    /// An SError.
    SystemError,
}

impl Context {
    /// A CPU that starts at `pc` with `argument` in x0.
    #[must_use]
    pub fn start(pc: u64, argument: u64) -> Self {
        let mut x = [0; 31];
        x[0] = argument;
        Self {
            x,
            pc,
            pstate: pstate::START,
            workarounds_pass: 0,
        }
    }

    /// The guest's PSTATE (SPSR_EL2).
    #[must_use]
    #[inline]
    pub const fn pstate(&self) -> u64 {
        self.pstate
    }

    /// Puts the CPU into EL0, as the guest's kernel would.
    #[cfg(test)]
    pub const fn return_to_el0(&mut self) {
        self.pstate = 0;
    }

    /// x0 to x17, which carry a call's arguments and results.
    pub fn call_registers(&mut self) -> &mut CallRegisters {
        let (calls, _) = self
            .x
            .split_at_mut(size_of::<CallRegisters>() / size_of::<u64>());
        calls
            .try_into()
            .expect("a context has more registers than a call")
    }

    /// Makes the instruction at the PC undefined for the guest, whose EL1 registers are in this
    /// CPU.
    pub fn inject_undefined(&mut self) {
        /// ESR_EL1: class 0 (unknown reason), IL.
        const UNKNOWN_REASON: u64 = 1 << 25;
        self.inject(UNKNOWN_REASON);
    }

    /// Answers the access that stage 2 stopped with a synchronous external abort, as a bus does
    /// where nothing is. `syndrome` is ESR_EL2 of a data or instruction abort, `address` FAR_EL2.
    /// The guest's EL1 registers are in this CPU.
    pub fn inject_external_abort(&mut self, syndrome: u64, address: u64) {
        // SAFETY: a register of EL1, of no meaning to EL2.
        unsafe { write!("far_el1", address) }
        let from_el0 = exception_entry::is_el0(self.pstate);
        self.inject(syndrome::external_abort(syndrome, from_el0));
    }

    /// Whether the guest, whose EL1 registers are in this CPU, executes one of its own vectors.
    #[must_use]
    pub fn is_at_vector(&self) -> bool {
        const VECTORS_SIZE: u64 = 0x800;
        self.pc.wrapping_sub(read!("vbar_el1")) < VECTORS_SIZE
    }

    /// Enters EL1 with this in ESR_EL1.
    fn inject(&mut self, syndrome: u64) {
        let sctlr = read!("sctlr_el1");
        let features = PstateFeatures::of(read!("id_aa64mmfr1_el1"), read!("id_aa64pfr1_el1"));
        // SAFETY: registers of EL1, of no meaning to EL2.
        unsafe {
            write!("esr_el1", syndrome);
            write!("elr_el1", self.pc);
            write!("spsr_el1", self.pstate);
        }
        self.pc = read!("vbar_el1").wrapping_add(exception_entry::vector_offset(self.pstate));
        self.pstate = exception_entry::pstate_at_el1(self.pstate, sctlr, features);
    }

    /// Moves the PC behind the A64 instruction that trapped. For a single step and for BTI it has
    /// been executed.
    #[inline]
    pub fn skip_a64(&mut self) {
        self.pc = self.pc.wrapping_add(4);
        self.pstate &= !(pstate::SS | pstate::BTYPE);
    }

    /// Moves the PC behind the instruction that trapped, of which ESR_EL2 says `syndrome`, in
    /// whatever state.
    pub fn skip_instruction(&mut self, syndrome: u64) {
        if self.pstate & pstate::AARCH32 == 0 {
            self.skip_a64();
            return;
        }
        self.pc = self.pc.wrapping_add(syndrome::instruction_length(syndrome));
        self.pstate = aarch32::after_instruction(self.pstate);
    }
}
