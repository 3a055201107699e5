//! What each frame of a run costs in instructions of the CPU that it runs on, out of what the
//! plugin `instruction-counter/` counted.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Frames of which it is told what 99 of 100 stay below.
const BATCH: usize = 500;
/// Batches of a run, of which the one in the middle counts: for a while the host may be so slow
/// that interrupts, which come by its clock, fall on many frames.
const BATCHES: usize = 3;

/// What the frames of a run cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frames {
    /// What half of a batch cost at most: the median over the batches.
    pub(super) p50: u64,
    /// What 99 of 100 of a batch cost at most: the median over the batches.
    pub(super) p99: u64,
    /// What all other CPUs together executed during the frames, divided by what the frames' own
    /// did.
    pub(super) elsewhere: f64,
}

/// Reads what the plugin wrote.
///
/// # Errors
///
/// The log can't be read, or is not of enough frames.
pub(super) fn read(log: &Path) -> Result<Frames> {
    let text =
        fs::read_to_string(log).with_context(|| format!("{} can't be read", log.display()))?;
    costs(&text).with_context(|| format!("{} is not what it should be", log.display()))
}

/// Each line is a frame's: its own CPU's instructions, and those of all others.
fn costs(log: &str) -> Result<Frames> {
    let mut own = Vec::new();
    let mut others = 0;
    for line in log.lines() {
        let counts = line.split_once(' ').and_then(|(own, others)| {
            Some((own.parse::<u64>().ok()?, others.parse::<u64>().ok()?))
        });
        let Some((ours, theirs)) = counts else {
            bail!("`{line}` is not two numbers");
        };
        own.push(ours);
        others += theirs;
    }
    if own.len() != BATCHES * BATCH {
        bail!("it tells of {} frames, not {}", own.len(), BATCHES * BATCH);
    }
    let all: u64 = own.iter().sum();
    own.chunks_mut(BATCH).for_each(<[u64]>::sort_unstable);
    let median_of = |percent| {
        let mut values: Vec<_> = own.chunks(BATCH).map(|b| percentile(b, percent)).collect();
        values.sort_unstable();
        percentile(&values, 50)
    };
    Ok(Frames {
        p50: median_of(50),
        p99: median_of(99),
        elsewhere: others as f64 / all as f64,
    })
}

/// The least of these numbers, sorted, that this percentage of them does not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of a frame each of 1 to [`BATCH`] instructions, in no order, beside a CPU that
    /// executes twice as much. Those of a batch cost as many times more as its factor says.
    fn log(factors: &[u64]) -> String {
        let count = BATCH as u64;
        let frames = (0..count).map(|n| 1 + (n * 7 + 3) % count);
        factors
            .iter()
            .flat_map(|factor| frames.clone().map(move |own| own * factor))
            .map(|own| format!("{own} {}\n", 2 * own))
            .collect()
    }

    #[test]
    fn percentiles_are_those_of_the_batch_in_the_middle() {
        let (p50, p99, elsewhere) = (500, 990, 2.0);
        let expected = Frames {
            p50,
            p99,
            elsewhere,
        };
        assert_eq!(costs(&log(&[1, 9, 2])).unwrap(), expected);
    }

    #[test]
    fn another_number_of_frames_is_no_measurement() {
        assert!(costs("").is_err());
        assert!(costs(&log(&[1; BATCHES - 1])).is_err());
        assert!(costs(&(log(&[1; BATCHES]) + "1 1\n")).is_err());
    }

    #[test]
    fn a_line_that_is_cut_off_is_no_measurement() {
        for line in ["12", "12 ", "12 x", "1 2 3"] {
            let log = format!("{line}\n{}", log(&[1; BATCHES]));
            assert!(costs(&log).is_err(), "{line}");
        }
    }
}
