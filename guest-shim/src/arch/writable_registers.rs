//! Every system register that this vCPU can write, found by trying.

use alloc::vec::Vec;

use super::any_register::{self, Encoding};

/// A register that keeps what is written to it.
#[derive(Clone, Copy, Debug)]
pub struct WritableRegister {
    /// Which.
    pub register: Encoding,
    /// The bits that it keeps.
    pub mask: u64,
}

/// Registers that the payload itself rests on, or that do something when they are written or read:
/// they are looked at by other cases.
fn is_left_out(register: Encoding) -> bool {
    match register.numbers() {
        // MDSCR_EL1, OSLAR_EL1.
        (2, 0, 0, 2, 2) | (2, 0, 1, 0, 4)
        // SCTLR_EL1, CPACR_EL1, SCTLR2_EL1; TTBR0_EL1, TTBR1_EL1, TCR_EL1.
        | (3, 0, 1, 0, _) | (3, 0, 2, 0, _)
        // SPSR_EL1 and ELR_EL1, which exceptions write; PSTATE; ICC_PMR_EL1.
        | (3, 0, 4, 0 | 2..=15, _) | (3, 3, 4, 2, _)
        // MAIR_EL1; VBAR_EL1; the interrupt controller.
        | (3, 0, 10, 2, _) | (3, 0, 12, 0 | 8..=15, _)
        // Counters and timers.
        | (3, 3, 14, _, _) => true,
        _ => false,
    }
}

/// Finds them; each holds again what it held. To be used on one vCPU at a time.
#[must_use]
pub fn find() -> Vec<WritableRegister> {
    let readable = any_register::sweep().readable.iter().copied();
    let candidates = readable.filter(|register| !is_left_out(*register));
    candidates.filter_map(try_one).collect()
}

fn try_one(register: Encoding) -> Option<WritableRegister> {
    const PATTERN: u64 = 0x5a5a_a5a5_3c3c_c3c3;
    let before = register.read().ok()?;
    let [first, second] = [PATTERN, !PATTERN].map(|value| {
        write(register, value)?;
        register.read().ok()
    });
    write(register, before);
    let mask = first? ^ second?;
    (mask != 0).then_some(WritableRegister { register, mask })
}

fn write(register: Encoding, value: u64) -> Option<()> {
    // SAFETY: what the payload rests on is left out.
    unsafe { register.write(value) }.ok()
}

impl WritableRegister {
    /// What it holds.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.register.read().unwrap_or_default()
    }

    /// Writes it and gives what it holds then.
    #[must_use]
    pub fn set(&self, value: u64) -> u64 {
        write(self.register, value);
        self.value()
    }
}
