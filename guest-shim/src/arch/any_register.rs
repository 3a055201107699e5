//! System registers by number: the instruction is made at run time.

use alloc::vec::Vec;

use spin::Once;

use super::exceptions::{Caught, catch};

/// MRS and MSR (DDI0487J.a, C6.2.236 and C6.2.238).
const MRS: u32 = 0xd530_0000;
const MSR: u32 = 0xd510_0000;

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
    /// The register with these numbers; each is taken modulo the room that an instruction has for
    /// it.
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

    /// MRS or MSR of it, with x0.
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
        let mut value = 0;
        // SAFETY: reading a register of EL1 or EL0 harms nothing that the payload relies on, except
        // for acknowledging interrupts, which it can miss.
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
        // SAFETY: the caller vouches for it.
        let caught = catch(|| _ = unsafe { execute(self.instruction(MSR), value) });
        caught.map_or(Ok(()), Err)
    }
}

/// Registers whose instructions are made at once.
const BATCH: usize = 4096;

const ISB: u32 = 0xd503_3fdf;
const RET: u32 = 0xd65f_03c0;

/// A function for each register: its instruction, ISB, RET.
#[repr(C, align(64))]
struct Code([[u32; 3]; BATCH]);

static mut CODE: Code = Code([[0; 3]; BATCH]);

/// Executes one instruction with `x0`, and gives x0.
///
/// # Safety
///
/// It changes no more than x0 and what the payload does not rely on.
unsafe fn execute(instruction: u32, x0: u64) -> u64 {
    publish(core::iter::once(instruction));
    // SAFETY: the caller vouches for the instruction.
    unsafe { execute_published(0, x0) }
}

/// Makes a function of each instruction. One vCPU at a time executes here.
fn publish(instructions: impl Iterator<Item = u32>) {
    let code = (&raw mut CODE).cast::<[u32; 3]>();
    let mut count = 0;
    for (n, instruction) in instructions.take(BATCH).enumerate() {
        // SAFETY: within the array, which this module alone uses.
        unsafe { code.add(n).write_volatile([instruction, ISB, RET]) }
        count = n + 1;
    }
    super::memory::publish_instructions(code as u64, count * size_of::<[u32; 3]>());
}

/// Executes the function made of instruction `n`, which has been made, with `x0`, and gives x0.
///
/// # Safety
///
/// It changes no more than x0 and what the payload does not rely on.
unsafe fn execute_published(n: usize, x0: u64) -> u64 {
    let code = (&raw mut CODE).cast::<[u32; 3]>();
    // SAFETY: three instructions that end in a return; EL1's map is executable. The caller vouches
    // for the first.
    unsafe {
        let function: extern "C" fn(u64) -> u64 = core::mem::transmute(code.add(n));
        function(x0)
    }
}

/// What came of reading every register.
#[derive(Debug)]
pub struct Sweep {
    /// Registers that can be read.
    pub readable: Vec<Encoding>,
    /// The first register of each exception class that reading one caused.
    pub first_exceptions: Vec<(Encoding, Caught)>,
}

static SWEEP: Once<Sweep> = Once::new();

/// Reads every register, once for all: all vCPUs are alike. To be used on one vCPU at a time.
pub fn sweep() -> &'static Sweep {
    SWEEP.call_once(|| {
        let mut sweep = Sweep {
            readable: Vec::new(),
            first_exceptions: Vec::new(),
        };
        let all: Vec<Encoding> = Encoding::all().collect();
        for batch in all.chunks(BATCH) {
            publish(batch.iter().map(|register| register.instruction(MRS)));
            for (n, &register) in batch.iter().enumerate() {
                // SAFETY: as for `Encoding::read`.
                match catch(|| _ = unsafe { execute_published(n, 0) }) {
                    None => sweep.readable.push(register),
                    Some(caught) => sweep.note(register, caught),
                }
            }
        }
        sweep
    })
}

impl Sweep {
    fn note(&mut self, register: Encoding, caught: Caught) {
        let mut known = self.first_exceptions.iter();
        if known.all(|(_, known)| known.class() != caught.class()) {
            self.first_exceptions.push((register, caught));
        }
    }
}
