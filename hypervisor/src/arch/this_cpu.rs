//! The CPU that code runs on.

use core::cell::Cell;
use core::marker::PhantomData;

/// The CPU that this runs on. It stays with that CPU: it is not [`Send`].
#[derive(Debug)]
pub struct ThisCpu {
    number: usize,
    /// Whether the registers of a vCPU are in it.
    is_loaded: Cell<bool>,
    stays_here: PhantomData<*mut ()>,
}

impl ThisCpu {
    /// The CPU that this runs on, by its number in the machine's description.
    ///
    /// # Safety
    ///
    /// It is that CPU's number, and there is no other one for this CPU.
    #[must_use]
    pub const unsafe fn new(number: usize) -> Self {
        Self {
            number,
            is_loaded: Cell::new(false),
            stays_here: PhantomData,
        }
    }

    /// Its number.
    #[must_use]
    #[inline]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// Takes note that the registers of a vCPU come into it.
    ///
    /// # Panics
    ///
    /// Those of another one are in it.
    pub fn occupy(&self) {
        assert!(
            !self.is_loaded.replace(true),
            "a CPU has the registers of one vCPU at a time"
        );
    }

    /// Takes note that they left it.
    pub fn vacate(&self) {
        self.is_loaded.set(false);
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "stands in for the boot code, which makes CPUs")]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "one vCPU at a time")]
    fn a_cpu_has_the_registers_of_one_vcpu() {
        // SAFETY: no code for this number runs elsewhere.
        let cpu = unsafe { ThisCpu::new(3) };
        assert_eq!(cpu.number(), 3);
        cpu.occupy();
        cpu.vacate();
        cpu.occupy();
        cpu.occupy();
    }
}
