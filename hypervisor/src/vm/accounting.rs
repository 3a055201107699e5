//! What a VM costs: how often its vCPUs left for EL2, why, and how much EL2 did about it.
//!
//! Each vCPU has an account that its CPU alone writes and that any CPU reads. What is counted comes
//! from the CPU's performance monitor, which counts in EL2 alone: neither the guest nor the
//! firmware nor a TEE. The guest's calls of the CPU's workarounds that pass at the vector are not
//! seen here. An interrupt that came while another exit was served is part of that.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use host_abi::console::Cause;
use smccc::{FIRST_TRUSTED_OS_OWNER, FunctionId};

/// What kind of call `function` is.
#[must_use]
#[inline]
pub fn cause_of_call(function: FunctionId) -> Cause {
    if function.owner_number() < FIRST_TRUSTED_OS_OWNER {
        Cause::OtherCall
    } else if function.is_fast() {
        Cause::FastTeeCall
    } else {
        Cause::YieldingTeeCall
    }
}

/// What EL2 did for a vCPU, by cause.
#[derive(Debug, Default)]
pub struct Account {
    lines: [Line; Cause::COUNT],
}

#[derive(Debug, Default)]
struct Line {
    times: AtomicU64,
    instructions: AtomicU64,
    /// The most instructions at one time.
    longest: AtomicU64,
    cycles: AtomicU64,
}

impl Account {
    /// Adds what was done once for `cause`. For the vCPU's own CPU.
    #[inline]
    pub fn charge(&self, cause: Cause, instructions: u32, cycles: u64) {
        let line = &self.lines[cause as usize];
        let instructions = u64::from(instructions);
        add(&line.times, 1);
        add(&line.instructions, instructions);
        add(&line.cycles, cycles);
        if instructions > line.longest.load(Ordering::Relaxed) {
            line.longest.store(instructions, Ordering::Relaxed);
        }
    }
}

/// Adds to a counter that one CPU alone writes.
fn add(counter: &AtomicU64, amount: u64) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(amount), Ordering::Relaxed);
}

/// The accounts of all vCPUs of a VM, for people.
#[derive(Clone, Copy, Debug)]
pub struct Bill<'a> {
    accounts: &'a [Account],
    /// Whether instructions are counted, not only cycles.
    instructions: bool,
}

impl<'a> Bill<'a> {
    /// How many [entries](Self::entry) there may be.
    pub const ENTRIES: usize = Cause::COUNT;

    /// What `accounts` hold, from CPUs that count instructions or do not.
    #[must_use]
    pub fn new(accounts: &'a [Account], instructions: bool) -> Self {
        Self {
            accounts,
            instructions,
        }
    }

    /// What is charged for one cause, by its number; `None` where that is nothing.
    #[must_use]
    pub fn entry(&self, number: usize) -> Option<Entry<'a>> {
        let &cause = Cause::ALL.get(number)?;
        let name = cause.name();
        let bill = *self;
        let times = bill.each(cause, |line| &line.times).sum();
        (times != 0).then_some(Entry {
            bill,
            cause,
            name,
            times,
        })
    }

    fn each(
        &self,
        cause: Cause,
        counter: impl Fn(&Line) -> &AtomicU64,
    ) -> impl Iterator<Item = u64> {
        self.accounts
            .iter()
            .map(move |account| counter(&account.lines[cause as usize]).load(Ordering::Relaxed))
    }
}

/// What is charged for one cause, for people.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    bill: Bill<'a>,
    cause: Cause,
    name: &'static str,
    times: u64,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bill,
            cause,
            name,
            times,
        } = *self;
        write!(f, "{times} {name} in ")?;
        if bill.instructions {
            let instructions: u64 = bill.each(cause, |line| &line.instructions).sum();
            let longest = bill.each(cause, |line| &line.longest).max().unwrap_or(0);
            write!(f, "{instructions} instructions, {longest} at most, ")?;
        }
        let cycles: u64 = bill.each(cause, |line| &line.cycles).sum();
        write!(f, "{cycles} cycles")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    #[test]
    fn causes_stand_where_their_numbers_say() {
        for (n, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, n);
        }
    }

    #[test]
    fn calls_of_the_tee_are_told_from_others() {
        for (function, cause) in [
            (0x3200_0013, Cause::YieldingTeeCall),
            (0xb200_0009, Cause::FastTeeCall),
            (0xbf00_ff01, Cause::FastTeeCall),
            (0xb100_0000, Cause::OtherCall),
            (0x8400_0000, Cause::OtherCall),
        ] {
            assert_eq!(cause_of_call(FunctionId(function)), cause, "{function:#x}");
        }
    }

    #[test]
    fn a_bill_adds_up_the_vcpus_and_tells_the_longest_stay() {
        let accounts = [Account::default(), Account::default()];
        accounts[0].charge(Cause::YieldingTeeCall, 900, 1000);
        accounts[1].charge(Cause::YieldingTeeCall, 1100, 1300);
        accounts[1].charge(Cause::Interrupt, 600, 700);
        let text = |bill: Bill<'_>| -> Vec<String> {
            let entries = (0..=Cause::COUNT).filter_map(|number| bill.entry(number));
            entries.map(|entry| entry.to_string()).collect()
        };
        assert_eq!(
            text(Bill::new(&accounts, true)),
            [
                "2 yielding TEE calls in 2000 instructions, 1100 at most, 2300 cycles",
                "1 interrupts in 600 instructions, 600 at most, 700 cycles"
            ]
        );
        assert_eq!(
            text(Bill::new(&accounts, false)),
            [
                "2 yielding TEE calls in 2300 cycles",
                "1 interrupts in 700 cycles"
            ]
        );
        assert!(text(Bill::new(&[], false)).is_empty());
    }
}
