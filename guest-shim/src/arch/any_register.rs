//! System registers by number: the instruction is made at run time.

use super::exceptions::{Caught, catch};

/// A system register's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Encoding {
    op0: u8,
    op1: u8,
    crn: u8,
    crm: u8,
    op2: u8,
}

impl core::fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            op0,
            op1,
            crn,
            crm,
            op2,
        } = self;
        write!(formatter, "s{op0}_{op1}_c{crn}_c{crm}_{op2}")
    }
}

impl Encoding {
    /// The register with these numbers; each is taken modulo the room that an instruction has for it.
    #[must_use]
    pub const fn new(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> Self {
        Self {
            op0: 2 | op0 & 1,
            op1: op1 & 7,
            crn: crn & 15,
            crm: crm & 15,
            op2: op2 & 7,
        }
    }

    /// All registers, debug registers among them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..1u32 << 15).map(|n| {
            let field = |bit: u32| (n >> bit) as u8;
            Self::new(field(14), field(11), field(7), field(3), field(0))
        })
    }

    /// Its numbers: op0, op1, CRn, CRm, op2.
    #[must_use]
    pub const fn numbers(self) -> (u8, u8, u8, u8, u8) {
        (self.op0, self.op1, self.crn, self.crm, self.op2)
    }

    /// The fields of MRS and MSR (DDI0487J.a, C6.2.236), with x0.
    const fn instruction(self, opcode: u32) -> u32 {
        opcode
            | (self.op0 as u32 & 1) << 19
            | (self.op1 as u32) << 16
            | (self.crn as u32) << 12
            | (self.crm as u32) << 8
            | (self.op2 as u32) << 5
    }

    /// Reads it, or tells the exception. To be used on one vCPU at a time.
    ///
    /// # Errors
    ///
    /// The exception that it caused.
    pub fn read(self) -> Result<u64, Caught> {
        const MRS: u32 = 0xd530_0000;
        let mut value = 0;
        // SAFETY: reading a register of EL1 or EL0 harms nothing that the payload relies on, except for acknowledging
        // interrupts, which it can miss.
        let caught = catch(|| value = unsafe { execute(self.instruction(MRS), 0) });
        caught.map_or(Ok(value), Err)
    }

    /// Writes it, or tells the exception. To be used on one vCPU at a time.
    ///
    /// # Safety
    ///
    /// The payload goes on with this value in it.
    ///
    /// # Errors
    ///
    /// The exception that it caused.
    pub unsafe fn write(self, value: u64) -> Result<(), Caught> {
        const MSR: u32 = 0xd510_0000;
        // SAFETY: the caller vouches for it.
        let caught = catch(|| _ = unsafe { execute(self.instruction(MSR), value) });
        caught.map_or(Ok(()), Err)
    }
}

#[repr(C, align(64))]
struct Code([u32; 3]);

static mut CODE: Code = Code([0; 3]);

/// Executes one instruction with `x0`, and gives x0.
///
/// # Safety
///
/// It changes no more than x0 and what the payload does not rely on.
unsafe fn execute(instruction: u32, x0: u64) -> u64 {
    const ISB: u32 = 0xd503_3fdf;
    const RET: u32 = 0xd65f_03c0;
    let code = &raw mut CODE;
    // SAFETY: one vCPU at a time executes here.
    unsafe { (*code).0 = [instruction, ISB, RET] };
    super::memory::publish_instructions(code as u64, size_of::<Code>());
    // SAFETY: three instructions that end in a return; EL1's map is executable. The caller vouches for the first.
    unsafe {
        let function: extern "C" fn(u64) -> u64 = core::mem::transmute(code);
        function(x0)
    }
}
