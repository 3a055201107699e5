//! What the fuzz, its witness and the hypervisor say (`guest-shim/src/bin/fuzz/main.rs`,
//! `guest-shim/src/bin/witness.rs`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use host_abi::console::{Event, HYPERVISOR_TAG};

/// The guests of the descriptions.
pub(super) const FUZZ: &str = "fuzz";
pub(super) const WITNESS: &str = "witness";

/// The kinds of actions that the fuzz tells of.
const KINDS: [&str; 13] = [
    "smc",
    "hvc",
    "tee",
    "psci",
    "distributor",
    "redistributor",
    "uart",
    "clock",
    "register",
    "timer",
    "wait",
    "exception",
    "stray",
];

/// How lives of the fuzz ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ends {
    /// The hypervisor stopped it.
    pub stopped: u64,
    /// It powered off.
    pub off: u64,
    /// It reset itself, or was restarted.
    pub reset: u64,
    /// It could not go on, and said so before it powered off.
    pub panicked: u64,
    /// It said nothing any more, and was restarted.
    pub silent: u64,
}

/// What was heard so far.
#[derive(Clone, Debug)]
pub struct Watch {
    /// For each vCPU of the witness: when it last said something, and its longest gap in
    /// microseconds.
    witness: Vec<Option<(Instant, u64)>>,
    /// The seed of each life.
    pub seeds: Vec<String>,
    /// What was done in the lives before, by kind.
    before: BTreeMap<String, u64>,
    /// What was done in this life.
    done: BTreeMap<String, u64>,
    /// How lives ended.
    pub ends: Ends,
    /// Whether the fuzz is off.
    off: bool,
    /// Whether the hypervisor said why it stopped it.
    stopped: bool,
    /// When the fuzz last said something, or started.
    heard: Option<Instant>,
}

impl Watch {
    /// Nothing yet, of a witness with this many vCPUs.
    pub fn new(vcpus: usize) -> Self {
        Self {
            witness: vec![None; vcpus],
            seeds: Vec::new(),
            before: BTreeMap::new(),
            done: BTreeMap::new(),
            ends: Ends::default(),
            off: false,
            stopped: false,
            heard: None,
        }
    }

    /// Takes a line of a console.
    ///
    /// # Errors
    ///
    /// It says that the machine or the witness can't go on.
    pub fn line(&mut self, console: &str, text: &str, now: Instant) -> Result<()> {
        match console {
            HYPERVISOR_TAG => self.hypervisor(text, now)?,
            FUZZ => self.fuzz(text, now),
            WITNESS => {
                if let Some((vcpu, gap)) = parse_witness(text)
                    && let Some(place) = self.witness.get_mut(vcpu)
                {
                    *place = Some((now, gap));
                } else if text.starts_with("@@") {
                    bail!("the witness says: {text}");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn hypervisor(&mut self, text: &str, now: Instant) -> Result<()> {
        let event = Event::parse(text);
        if let Event::Panic { .. } = event {
            bail!("the hypervisor says: {text}");
        }
        if event.guest() != Some(FUZZ) {
            return Ok(());
        }
        match event {
            Event::Started { .. } => {
                self.off = false;
                self.stopped = false;
                self.heard = Some(now);
                self.bury();
            }
            Event::Stopped { .. } => {
                self.stopped = true;
                self.ends.stopped += 1;
            }
            // It was silent because it is being ended.
            Event::Busy { .. } => self.ends.silent = self.ends.silent.saturating_sub(1),
            Event::Reset { .. } => self.ends.reset += 1,
            Event::Off { .. } => {
                self.off = true;
                if !self.stopped {
                    self.ends.off += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Something of its own making may stand before and within what it says.
    fn fuzz(&mut self, text: &str, now: Instant) {
        self.heard = Some(now);
        if let Some((_, seed)) = text.split_once("@@seed ") {
            self.seeds.push(seed.trim().to_owned());
        } else if let Some((_, counts)) = text.split_once("@@did ") {
            for count in counts.split(' ') {
                if let Some((kind, count)) = count.split_once('=')
                    && KINDS.contains(&kind)
                    && let Ok(count) = count.parse::<u64>()
                {
                    let done = self.done.entry(kind.to_owned()).or_default();
                    *done = count.max(*done);
                }
            }
        } else if text.contains("@@panic ") {
            self.ends.panicked += 1;
        }
    }

    /// What was done in this life counts to those before.
    fn bury(&mut self) {
        for (kind, count) in std::mem::take(&mut self.done) {
            *self.before.entry(kind).or_default() += count;
        }
    }

    /// How much was done in all lives, by kind.
    pub fn executions(mut self) -> BTreeMap<String, u64> {
        self.bury();
        self.before
    }

    /// The longest gap that a vCPU of the witness told of, in microseconds.
    pub fn longest_gap(&self) -> Option<u64> {
        self.witness.iter().flatten().map(|(_, gap)| *gap).max()
    }

    /// Whether the fuzz and each vCPU of the witness were heard.
    pub fn all_are_up(&self) -> bool {
        self.witness.iter().all(Option::is_some) && !self.seeds.is_empty()
    }

    /// A vCPU of the witness that has not said anything for longer than `limit`.
    pub fn silent_witness(&self, now: Instant, limit: Duration) -> Option<usize> {
        let silent = |last: &Option<(Instant, u64)>| last.is_some_and(|(at, _)| now - at > limit);
        self.witness.iter().position(silent)
    }

    /// Whether the fuzz is off.
    pub fn fuzz_is_off(&self) -> bool {
        self.off
    }

    /// Whether the fuzz is on and has not said anything for longer than `limit`.
    pub fn silent_fuzz(&self, now: Instant, limit: Duration) -> bool {
        !self.off && self.heard.is_some_and(|at| now - at > limit)
    }

    /// The fuzz is restarted because it was silent.
    pub fn gave_up_on_fuzz(&mut self, now: Instant) {
        self.ends.silent += 1;
        self.heard = Some(now);
    }
}

/// The vCPU and its longest gap, of `@@witness VCPU STEPS steps, at most MICROSECONDS us between
/// two`.
fn parse_witness(text: &str) -> Option<(usize, u64)> {
    let (vcpu, rest) = text.strip_prefix("@@witness ")?.split_once(' ')?;
    let (_, gap) = rest.split_once(" steps, at most ")?;
    Some((
        vcpu.parse().ok()?,
        gap.strip_suffix(" us between two")?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(watch: &mut Watch, lines: &[(&str, &str)]) {
        for (console, text) in lines {
            watch.line(console, text, Instant::now()).unwrap();
        }
    }

    #[test]
    fn lives_are_counted_together() {
        let mut watch = Watch::new(1);
        heard(
            &mut watch,
            &[
                (
                    "bulkhead",
                    "fuzz: started, 16 MiB, 1 vCPUs on CPUs 0, tee none",
                ),
                ("fuzz", "@@seed 0x12"),
                ("fuzz", "@@did smc=5 uart=1"),
                ("fuzz", "x~z@@did smc=7 uart=zz hvc=9 hv=9 Q=1"),
                ("bulkhead", "error: fuzz: stopped: it read from IPA 0x0"),
                ("bulkhead", "fuzz: off"),
            ],
        );
        assert!(watch.fuzz_is_off());
        heard(
            &mut watch,
            &[
                (
                    "bulkhead",
                    "fuzz: started, 16 MiB, 1 vCPUs on CPUs 0, tee none",
                ),
                ("fuzz", "@@seed 0x13"),
                ("fuzz", "@@did smc=2 uart=4"),
                ("bulkhead", "fuzz: reset"),
            ],
        );
        assert!(!watch.fuzz_is_off());
        assert_eq!(watch.seeds, ["0x12", "0x13"]);
        let ends = Ends {
            stopped: 1,
            reset: 1,
            ..Ends::default()
        };
        assert_eq!(watch.ends, ends);
        let done = watch.executions();
        assert_eq!(done.len(), 3, "{done:?}");
        assert_eq!((done["smc"], done["uart"], done["hvc"]), (9, 5, 9));
    }

    #[test]
    fn the_witness_tells_its_gaps_and_must_go_on() {
        let mut watch = Watch::new(2);
        let start = Instant::now();
        let say = |watch: &mut Watch, text: &str, at| watch.line("witness", text, at);
        say(
            &mut watch,
            "@@witness 0 7 steps, at most 900 us between two",
            start,
        )
        .unwrap();
        assert!(!watch.all_are_up());
        let later = start + Duration::from_secs(9);
        say(
            &mut watch,
            "@@witness 1 9 steps, at most 12 us between two",
            later,
        )
        .unwrap();
        assert_eq!(watch.longest_gap(), Some(900));
        let limit = Duration::from_secs(8);
        assert_eq!(watch.silent_witness(later, limit), Some(0));
        assert_eq!(watch.silent_witness(start + limit, limit), None);
        assert!(say(&mut watch, "@@panic at 12", later).is_err());
        assert!(watch.line("bulkhead", "panic: oh", later).is_err());
    }

    #[test]
    fn a_fuzz_that_sleeps_is_noticed() {
        let mut watch = Watch::new(0);
        let start = Instant::now();
        watch.line("fuzz", "@@seed 0x1", start).unwrap();
        let limit = Duration::from_secs(1);
        let late = start + 2 * limit;
        assert!(!watch.silent_fuzz(start, limit));
        assert!(watch.silent_fuzz(late, limit));
        watch.gave_up_on_fuzz(late);
        assert!(!watch.silent_fuzz(late, limit));
        assert_eq!(watch.ends.silent, 1);
        let busy = "fuzz: it is about to start or to stop; try again";
        heard(&mut watch, &[("bulkhead", busy)]);
        assert_eq!(watch.ends.silent, 0);
    }
}
