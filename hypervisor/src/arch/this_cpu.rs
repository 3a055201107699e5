//! The CPU that code runs on.

use core::marker::PhantomData;

/// The CPU that this runs on. It stays with that CPU: it is not [`Send`].
#[derive(Debug)]
pub struct ThisCpu {
    number: usize,
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
            stays_here: PhantomData,
        }
    }

    /// Its number.
    #[must_use]
    #[inline]
    pub const fn number(&self) -> usize {
        self.number
    }
}
