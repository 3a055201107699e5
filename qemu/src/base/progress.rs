//! What a person sees while long work goes on: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two plain lines of one step: often enough to see that it lives, seldom enough for a
/// log.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Where progress goes. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Progress {
    target: Target,
}

#[derive(Clone, Debug)]
enum Target {
    Bars(MultiProgress),
    Lines,
    Nowhere,
}

impl Progress {
    /// Progress on standard error: bars if it is a terminal, lines otherwise.
    #[must_use]
    pub fn stderr() -> Self {
        let target = if std::io::stderr().is_terminal() {
            Target::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Target::Lines
        };
        Self { target }
    }

    /// No progress at all.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            target: Target::Nowhere,
        }
    }

    /// Writes one line, above the bars if there are any.
    pub fn say(&self, line: &str) {
        match &self.target {
            // Not even a closed standard error is a reason to stop the work.
            Target::Bars(bars) => drop(bars.println(line)),
            Target::Lines => drop(writeln!(std::io::stderr(), "{line}")),
            Target::Nowhere => {}
        }
    }

    /// Begins a step of the work, such as "Downloading Debian packages".
    #[must_use = "a step ends when it is dropped"]
    pub fn step(&self, name: &str) -> Step {
        let bar = match &self.target {
            Target::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(spinner());
                bar.set_message(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            Target::Lines => {
                self.say(&format!("{name} ..."));
                None
            }
            Target::Nowhere => None,
        };
        let now = Instant::now();
        Step {
            progress: self.clone(),
            name: name.to_owned(),
            bar,
            began: now,
            last_line: Mutex::new(now),
        }
    }
}

/// One step of the work. A step that is dropped without [`Step::done`] has failed: its bar goes,
/// and the error that follows says why.
#[derive(Debug)]
pub struct Step {
    progress: Progress,
    name: String,
    bar: Option<ProgressBar>,
    began: Instant,
    last_line: Mutex<Instant>,
}

impl Step {
    /// Reports how far the step is: `percent` from 0 to 100.
    pub fn percent(&self, percent: u64) {
        let percent = percent.min(100);
        if let Some(bar) = &self.bar {
            if bar.length().is_none() {
                bar.set_length(100);
                bar.set_style(percentage());
            }
            bar.set_position(percent);
            return;
        }
        self.line_if_due(&format!("{percent} %"));
    }

    /// Reports that the step goes on, where nobody knows how far it is.
    pub fn tick(&self) {
        if self.bar.is_none() {
            self.line_if_due(&format!("{} s", self.began.elapsed().as_secs()));
        }
    }

    fn line_if_due(&self, how_far: &str) {
        let Ok(mut last) = self.last_line.lock() else {
            return;
        };
        if last.elapsed() >= PLAIN_INTERVAL {
            *last = Instant::now();
            self.progress.say(&format!("{} ... {how_far}", self.name));
        }
    }

    /// Ends the step well.
    pub fn done(self) {
        let seconds = self.began.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress
            .say(&format!("{}: done in {seconds:.1} s", self.name));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn percentage() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos} % ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
