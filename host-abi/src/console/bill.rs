//! What the prompt's `stats` tells of EL2's work for a guest.

use core::fmt;

use super::scanner::Scanner;

/// Why a vCPU left for EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// A fast call of the TEE's.
    FastTeeCall,
    /// A yielding call of the TEE's: it begins, or it goes on after an RPC.
    YieldingTeeCall,
    /// Another call.
    OtherCall,
    /// A physical interrupt.
    Interrupt,
    /// An access to a device.
    Device,
    /// A system register.
    Register,
    /// It waits for an interrupt.
    Wait,
    /// It did not: its CPU looked whose turn it is.
    Turn,
    /// It did not: its VM's memory was filled, or its VM was taken apart.
    Start,
    /// Something else.
    Other,
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All causes, each at the place that its number says.
    pub const ALL: [Self; 10] = [
        Self::FastTeeCall,
        Self::YieldingTeeCall,
        Self::OtherCall,
        Self::Interrupt,
        Self::Device,
        Self::Register,
        Self::Wait,
        Self::Turn,
        Self::Start,
        Self::Other,
    ];

    /// What a bill calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastTeeCall => "fast TEE calls",
            Self::YieldingTeeCall => "yielding TEE calls",
            Self::OtherCall => "other calls",
            Self::Interrupt => "interrupts",
            Self::Device => "device accesses",
            Self::Register => "registers",
            Self::Wait => "waits",
            Self::Turn => "turns",
            Self::Start => "steps of a start or an end",
            Self::Other => "others",
        }
    }
}

/// What EL2 did for one cause, for all vCPUs of a guest since the hypervisor's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// How often; not 0.
    pub times: u64,
    /// Instructions that EL2 executed, where the CPU counts them.
    pub instructions: Option<Instructions>,
    /// Cycles that EL2 took.
    pub cycles: u64,
}

/// Instructions of EL2 for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instructions {
    /// All times together.
    pub total: u64,
    /// The most at one time.
    pub longest: u64,
}

impl fmt::Display for Charge {
    /// Without the cause, which stands behind the number of times.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Instructions { total, longest }) = self.instructions {
            write!(f, "{total} instructions, {longest} at most, ")?;
        }
        write!(f, "{} cycles", self.cycles)
    }
}

/// What EL2 did for a guest, by cause: `2 yielding TEE calls in 2000 instructions, 1100 at most,
/// 2300 cycles; …`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    charges: [Option<Charge>; Cause::COUNT],
}

impl Bill {
    /// What is charged for `cause`; `None` where that is nothing.
    #[must_use]
    pub fn charge(&self, cause: Cause) -> Option<Charge> {
        self.charges[cause as usize]
    }

    /// Sets what is charged for `cause`.
    pub fn set(&mut self, cause: Cause, charge: Charge) {
        self.charges[cause as usize] = (charge.times != 0).then_some(charge);
    }

    /// Writes one entry. A bill is written an entry at a time, in the order of [`Cause::ALL`], each
    /// but the first one behind `; `.
    ///
    /// # Errors
    ///
    /// `to` takes no more.
    pub fn write_entry(
        to: &mut dyn fmt::Write,
        first: bool,
        cause: Cause,
        charge: &Charge,
    ) -> fmt::Result {
        if !first {
            to.write_str("; ")?;
        }
        write!(to, "{} {} in {charge}", charge.times, cause.name())
    }

    pub(super) fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        let mut bill = Self::default();
        let mut causes = Cause::ALL.into_iter();
        loop {
            let times = line.number()?;
            // Entries have the order of the causes.
            let cause = causes.find(|cause| {
                let mut ahead = *line;
                let named = ahead
                    .literal(" ")
                    .and_then(|()| ahead.literal(cause.name()));
                named
                    .and_then(|()| ahead.literal(" in "))
                    .is_some_and(|()| {
                        *line = ahead;
                        true
                    })
            })?;
            let amount = line.number()?;
            let (instructions, cycles) = if line.literal(" instructions, ").is_some() {
                let longest = line.number()?;
                line.literal(" at most, ")?;
                let total = amount;
                (Some(Instructions { total, longest }), line.number()?)
            } else {
                (None, amount)
            };
            line.literal(" cycles")?;
            (times != 0).then_some(())?;
            bill.set(
                cause,
                Charge {
                    times,
                    instructions,
                    cycles,
                },
            );
            if line.literal("; ").is_none() {
                return Some(bill);
            }
        }
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for cause in Cause::ALL {
            if let Some(charge) = self.charge(cause) {
                Self::write_entry(f, first, cause, &charge)?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_stand_where_their_numbers_say() {
        for (n, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, n);
        }
    }
}
