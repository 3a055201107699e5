//! What each frame of a run costs in instructions of the CPU that it runs on, out of what the plugin `instruction-counter/` counted.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::machine::option_path;

/// Frames that are too few to tell what 99 of 100 stay below.
const FEWEST: usize = 500;

/// What the frames of a run cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frames {
    /// What half of them cost at most.
    pub(super) p50: u64,
    /// What 99 of 100 cost at most.
    pub(super) p99: u64,
    /// What all other CPUs together executed during the frames, divided by what the frames' own did.
    pub(super) elsewhere: f64,
}

/// Has QEMU load the plugin, which writes to `log`.
pub(super) fn qemu_arguments(plugin: &Path, log: &Path) -> Vec<OsString> {
    let mut argument = OsString::from("file=");
    argument.push(option_path(plugin));
    argument.push(",log=");
    argument.push(option_path(log));
    vec!["-plugin".into(), argument]
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
    if own.len() < FEWEST {
        bail!("it tells of {} frames, of {FEWEST} at least", own.len());
    }
    own.sort_unstable();
    let all: u64 = own.iter().sum();
    Ok(Frames {
        p50: percentile(&own, 50),
        p99: percentile(&own, 99),
        elsewhere: others as f64 / all as f64,
    })
}

/// The least of these numbers, sorted, that so many percent of them do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame each of 1 to `count` instructions, in no order, beside a CPU that executes twice as much.
    fn log(count: u64) -> String {
        let lines = (0..count).map(|n| 1 + (n * 7 + 3) % count);
        lines.map(|own| format!("{own} {}\n", 2 * own)).collect()
    }

    #[test]
    fn percentiles_are_those_of_the_frame_s_own_cpu() {
        let (p50, p99, elsewhere) = (500, 990, 2.0);
        let expected = Frames {
            p50,
            p99,
            elsewhere,
        };
        assert_eq!(costs(&log(1000)).unwrap(), expected);
        // Of 501, 495.99 are 99 percent.
        assert_eq!(costs(&log(501)).unwrap().p99, 496);
    }

    #[test]
    fn too_few_frames_are_no_measurement() {
        assert!(costs(&log(500)).is_ok());
        assert!(costs(&log(499)).is_err());
        assert!(costs("").is_err());
    }

    #[test]
    fn a_line_that_is_cut_off_is_no_measurement() {
        for line in ["12", "12 ", "12 x", "1 2 3"] {
            let log = format!("{}{line}\n", log(500));
            assert!(costs(&log).is_err(), "{line}");
        }
    }

    #[test]
    fn commas_in_paths_reach_the_plugin() {
        let arguments = qemu_arguments(Path::new("/a,b/counter.so"), Path::new("/l"));
        assert_eq!(arguments, ["-plugin", "file=/a,,b/counter.so,log=/l"]);
    }
}
