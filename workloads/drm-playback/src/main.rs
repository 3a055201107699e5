//! Plays protected streams through the trusted application, and tries out what it does and what it refuses.
//!
//! ```text
//! drm-playback trials
//! ```
//!
//! What comes out of it are lines for the host tool:
//!
//! ```text
//! drm trial passed NAME
//! drm trial failed NAME: WHY
//! ```
//!
//! The exit status is 0 only when nothing failed.

use std::process::ExitCode;

use drm_playback::trials;
use tee_client::Tee;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["trials"] => try_all(),
        _ => Err("usage: drm-playback trials".into()),
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

fn try_all() -> Result<bool, Box<dyn std::error::Error>> {
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
