//! Playing a stream, frame by frame, and how long each took.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use drm_protocol::{KeyId, SAMPLE_INFO_MAX};
use tee_client::Pages;

use crate::content::Frame;
use crate::player::{Error, Player, Shared, write_info};

/// Which memory frames are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// Shared with the TEE once, one for what goes in and one for what comes out.
    Reused,
    /// Shared for each frame, which is decrypted where it is.
    PerFrame,
}

/// What came of a stream.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What each frame took: from the call for it, registration included where that is asked for,
    /// until it was there.
    pub latencies: Vec<Duration>,
    /// Frames that came out other than they should.
    pub wrong: u32,
    /// Frames that came to an error, and the last one.
    pub errors: u32,
    /// The last error.
    pub error: Option<String>,
    /// Frames that were not there when they were to be shown: an interval after they came in.
    pub missed: u32,
}

/// The memory that a stream is played from and to.
pub struct Screen<'a> {
    player: &'a Player<'a>,
    key_id: KeyId,
    info: Shared,
    place: Place,
}

enum Place {
    Reused { sample: Shared, output: Shared },
    PerFrame(Pages),
}

impl<'a> Screen<'a> {
    /// For a stream with this key, whose frames have this many bytes at most.
    pub fn new(
        player: &'a Player<'a>,
        key_id: KeyId,
        buffers: Buffers,
        largest: usize,
    ) -> Result<Self, Error> {
        let tee = player.tee();
        let place = match buffers {
            Buffers::Reused => Place::Reused {
                sample: Shared::new(tee, largest)?,
                output: Shared::new(tee, largest)?,
            },
            Buffers::PerFrame => Place::PerFrame(Pages::new(largest)?),
        };
        Ok(Self {
            player,
            key_id,
            info: Shared::new(tee, SAMPLE_INFO_MAX)?,
            place,
        })
    }

    /// Plays frames that come in at an interval, or one after the other without one.
    ///
    /// # Errors
    ///
    /// A frame is larger than was said. What the TEE refuses is in the outcome.
    pub fn play<'f>(
        &mut self,
        frames: impl Iterator<Item = &'f Frame>,
        interval: Option<Duration>,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut due = Instant::now();
        for frame in frames {
            let info = self.prepare(frame)?;
            if let Some(interval) = interval {
                due += interval;
                sleep(due.saturating_duration_since(Instant::now()));
            }
            let started = Instant::now();
            let done = self.decrypt(frame.protected.len(), info);
            let ended = Instant::now();
            outcome.latencies.push(ended - started);
            if interval.is_some_and(|interval| ended > due + interval) {
                outcome.missed += 1;
            }
            match done {
                Ok(()) if self.shows(frame) => {}
                Ok(()) => outcome.wrong += 1,
                Err(error) => {
                    outcome.errors += 1;
                    outcome.error = Some(error.to_string());
                }
            }
        }
        Ok(outcome)
    }

    /// What a demultiplexer does. The place for what comes out does not have it yet.
    fn prepare(&mut self, frame: &Frame) -> io::Result<usize> {
        let memory = match &mut self.place {
            Place::Reused { sample, output } => {
                output.pages.fill(0);
                &mut sample.pages
            }
            Place::PerFrame(pages) => pages,
        };
        let too_large = || io::Error::other("a frame is larger than the memory for it");
        memory
            .get_mut(..frame.protected.len())
            .ok_or_else(too_large)?
            .copy_from_slice(&frame.protected);
        write_info(
            &mut self.info.pages,
            self.key_id,
            (frame.iv, frame.iv_length),
            &frame.table,
        )
        .ok_or_else(too_large)
    }

    fn decrypt(&mut self, length: usize, info: usize) -> Result<(), Error> {
        let info = (&self.info, info);
        match &mut self.place {
            Place::Reused { sample, output } => {
                self.player
                    .decrypt(info, (&*sample, length), (&*output, length))
            }
            Place::PerFrame(pages) => {
                let memory = pages.get_mut(..length).unwrap_or_default();
                let registered = self.player.tee().register(memory)?;
                self.player.decrypt_in_place(info, (&registered, length))
            }
        }
    }

    fn shows(&self, frame: &Frame) -> bool {
        let memory = match &self.place {
            Place::Reused { output, .. } => &output.pages,
            Place::PerFrame(pages) => pages,
        };
        memory.get(..frame.clear.len()) == Some(&frame.clear)
    }
}

impl Outcome {
    /// The latency that this many of a thousand frames don't exceed.
    #[must_use]
    pub fn permille(&self, share: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        // The nearest rank: of 100 frames, the 99th percentile is the 99th.
        let rank = (sorted.len() * share).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// Frames a second, if one came right after the other.
    #[must_use]
    pub fn frames_a_second(&self) -> f64 {
        let all: Duration = self.latencies.iter().sum();
        self.latencies.len() as f64 / all.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(milliseconds: impl Iterator<Item = u64>) -> Outcome {
        Outcome {
            latencies: milliseconds.map(Duration::from_millis).collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn percentiles_are_latencies_that_were_seen() {
        let hundred = outcome((1..=100).rev());
        for (share, milliseconds) in [(0, 1), (500, 50), (990, 99), (1000, 100)] {
            assert_eq!(
                hundred.permille(share),
                Duration::from_millis(milliseconds),
                "{share}"
            );
        }
        assert_eq!(outcome([7].into_iter()).permille(990).as_millis(), 7);
        assert_eq!(Outcome::default().permille(990), Duration::ZERO);
    }

    #[test]
    fn the_rate_is_that_of_the_calls_alone() {
        assert_eq!(outcome([10, 20, 10].into_iter()).frames_a_second(), 75.0);
    }
}
