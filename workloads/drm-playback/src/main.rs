//! Plays protected streams through the trusted application, or tries out what it does and what it
//! refuses.
//!
//! ```text
//! drm-playback play SECONDS [TITLE[+per-frame]]...
//! drm-playback trials
//! ```
//!
//! What comes out of it are lines for the host tool:
//!
//! ```text
//! drm begin RUN
//! drm end RUN
//! drm result RUN scheme=S rate=HZ bit_rate=BPS largest=BYTES frames=N wrong=N errors=N paced=N missed=N p50_us=T p99_us=T worst_us=T saturated_fps=F
//! drm error RUN: WHY
//! drm trial passed NAME
//! drm trial failed NAME: WHY
//! ```
//!
//! A RUN is a title with what is said about its buffers. Around the frames that come in at the
//! stream's rate, and no others, stand `begin` and `end`, with a pause in which the host tool can
//! look at the hypervisor's counters. The exit status is 0 only when every frame came out right and
//! no call failed.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use cenc::Scheme;
use drm_playback::content::{TITLES, Title};
use drm_playback::issuer::{self, Chance};
use drm_playback::playback::{Buffers, Outcome, Screen};
use drm_playback::random::random;
use drm_playback::{Player, trials};
use drm_protocol::PER_FRAME;
use tee_client::Tee;

/// What is played unless it is said, and with which buffers.
const PROGRAMME: &[&str] = &[
    "1080p30",
    "2160p60",
    "100Mbit60",
    "100Mbit60+per-frame",
    "100Mbit60-cbcs",
    "240Mbit60",
];
/// How long the host tool has to look at counters.
const PAUSE: Duration = Duration::from_secs(1);

type Done = Result<bool, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["play", seconds] => play_all(seconds, PROGRAMME),
        ["play", seconds, titles @ ..] => play_all(seconds, titles),
        ["trials"] => try_all(),
        _ => Err(
            "usage: drm-playback play SECONDS [TITLE[+per-frame]]... | drm-playback trials".into(),
        ),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("drm-playback: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_all() -> Done {
    let tee = Tee::open()?;
    let mut all_passed = true;
    for trial in trials::all() {
        match trial.run(&tee) {
            Ok(()) => println!("drm trial passed {}", trial.name),
            Err(error) => {
                println!("drm trial failed {}: {error}", trial.name);
                all_passed = false;
            }
        }
    }
    Ok(all_passed)
}

fn play_all(seconds: &str, runs: &[&str]) -> Done {
    let seconds = seconds
        .parse()
        .map_err(|error| format!("{seconds} seconds: {error}"))?;
    let runs = runs
        .iter()
        .map(|run| Run::named(run))
        .collect::<Result<Vec<_>, _>>()?;
    let tee = Tee::open()?;
    let mut all_right = true;
    for run in runs {
        all_right &= run.play(&tee, seconds)?;
    }
    Ok(all_right)
}

/// A title, and how it is played.
struct Run<'a> {
    name: &'a str,
    title: &'static Title,
    buffers: Buffers,
}

impl<'a> Run<'a> {
    fn named(name: &'a str) -> Result<Self, String> {
        let (title, buffers) = match name.strip_suffix(PER_FRAME) {
            Some(title) => (title, Buffers::PerFrame),
            None => (name, Buffers::Reused),
        };
        let title = Title::named(title).ok_or_else(|| {
            let titles: Vec<_> = TITLES.iter().map(|title| title.name).collect();
            format!("{title} is none of {}", titles.join(", "))
        })?;
        Ok(Self {
            name,
            title,
            buffers,
        })
    }

    fn play(&self, tee: &Tee, seconds: u32) -> Done {
        let title = self.title;
        let (key_id, content_key) = (random()?, random()?);
        let second = title.second(&content_key);
        let player = Player::open(tee)?;
        let wrapped = issuer::wrap(&player.public_key()?, key_id, &content_key, &Chance::new()?)
            .ok_or("the application's public key can't be used")?;
        player.provision(&wrapped)?;
        player.open_stream(&key_id, title.scheme)?;

        let mut screen = Screen::new(&player, key_id, self.buffers, title.idr as usize)?;
        println!("drm begin {}", self.name);
        sleep(PAUSE);
        let count = (seconds * title.rate) as usize;
        let interval = Duration::from_secs(1) / title.rate;
        let paced = screen.play(second.iter().cycle().take(count), Some(interval))?;
        println!("drm end {}", self.name);
        sleep(PAUSE);
        let saturated = screen.play(second.iter(), None)?;
        player.forget(&key_id)?;

        println!("{}", self.result(&paced, &saturated)?);
        let mut all_right = true;
        for outcome in [&paced, &saturated] {
            all_right &= outcome.wrong == 0 && outcome.errors == 0;
            if let Some(error) = &outcome.error {
                println!("drm error {}: {error}", self.name);
            }
        }
        Ok(all_right)
    }

    fn result(&self, paced: &Outcome, saturated: &Outcome) -> Result<String, std::fmt::Error> {
        let title = self.title;
        let mut line = format!("drm result {}", self.name);
        let scheme = match title.scheme {
            Scheme::Cenc => "cenc",
            Scheme::Cbcs(_) => "cbcs",
        };
        let both = [paced, saturated];
        write!(line, " scheme={scheme} rate={}", title.rate)?;
        write!(line, " bit_rate={} largest={}", title.bit_rate, title.idr)?;
        write!(
            line,
            " frames={}",
            both.map(|o| o.latencies.len()).iter().sum::<usize>()
        )?;
        write!(line, " wrong={}", paced.wrong + saturated.wrong)?;
        write!(line, " errors={}", paced.errors + saturated.errors)?;
        write!(
            line,
            " paced={} missed={}",
            paced.latencies.len(),
            paced.missed
        )?;
        for (name, permille) in [("p50", 500), ("p99", 990), ("worst", 1000)] {
            write!(line, " {name}_us={}", paced.permille(permille).as_micros())?;
        }
        write!(line, " saturated_fps={:.1}", saturated.frames_a_second())?;
        Ok(line)
    }
}
