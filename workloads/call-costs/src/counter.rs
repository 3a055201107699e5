//! The virtual counter, and what a round of something takes by it.

use std::arch::asm;
use std::io::Result;

/// Runs of which the shortest counts: the others took an interrupt more.
const RUNS: u32 = 5;

fn frequency() -> u64 {
    let value: u64;
    // SAFETY: CNTFRQ_EL0 is readable at EL0 under Linux, and reading it changes nothing.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) value, options(nomem, nostack)) };
    value
}

fn now() -> u64 {
    let value: u64;
    // SAFETY: CNTVCT_EL0 is readable at EL0 under Linux; the barrier keeps it where it stands.
    // Neither changes memory.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) value, options(nostack)) };
    value
}

/// What one of `rounds` rounds of `work` takes in nanoseconds: the mean of the shortest of [`RUNS`]
/// runs, after one that does not count. Where QEMU counts instructions, this is their number.
///
/// The counter has a coarser grain than an instruction (16 ns at QEMU's 62.5 MHz), so that short
/// work wants many rounds.
pub fn measure(rounds: u32, work: impl FnMut() -> Result<()>) -> Result<u64> {
    measure_runs(RUNS, rounds, work)
}

/// As [`measure`], with another number of runs.
pub fn measure_runs(runs: u32, rounds: u32, mut work: impl FnMut() -> Result<()>) -> Result<u64> {
    work()?;
    let mut shortest = u64::MAX;
    for _ in 0..runs {
        let start = now();
        for _ in 0..rounds {
            work()?;
        }
        shortest = shortest.min(now().wrapping_sub(start));
    }
    Ok(nanoseconds(shortest) / u64::from(rounds))
}

/// Does `work` between two marks, for whoever counts instructions from outside
/// (`instruction-counter/src/count.rs` has the same ones). To the CPU they are nothing.
pub fn marked(work: impl FnOnce() -> Result<()>) -> Result<()> {
    const BEGIN: u32 = 0xb471;
    const END: u32 = 0xe4d1;
    // SAFETY: a move to the zero register changes nothing. The compiler takes it to read and write
    // memory, so that the work stays behind it.
    unsafe { asm!("movz xzr, #{}", const BEGIN, options(nostack, preserves_flags)) };
    let done = work();
    // SAFETY: as above; the work stays before it.
    unsafe { asm!("movz xzr, #{}", const END, options(nostack, preserves_flags)) };
    done
}

fn nanoseconds(ticks: u64) -> u64 {
    (u128::from(ticks) * 1_000_000_000 / u128::from(frequency())) as u64
}
