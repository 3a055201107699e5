//! Measures what calls to OP-TEE cost, from the client's `ioctl` and back, and prints a line for
//! each case:
//!
//! ```text
//! figure NAME NANOSECONDS
//! ```
//!
//! With QEMU counting instructions, a nanosecond is an instruction.
//!
//! | Argument | What it does |
//! |---|---|
//! | none | measures calls, registrations and sessions |
//! | `frames` | measures frames of video through the trusted application for DRM playback |
//! | `marked-frames` | does frames one after the other, for whoever counts instructions from outside |
//! | `interrupted` | makes calls while a timer fires often and at random, for whoever watches from outside |
//! | `hog` | registers large buffers without end |

mod calls;
mod counter;
mod frames;
mod interrupted;

use std::io::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let what = std::env::args().nth(1);
    let done = match what.as_deref() {
        None => calls::run(),
        Some("frames") => frames::costs(),
        Some("marked-frames") => frames::marked_one_by_one(),
        Some("interrupted") => interrupted::run(),
        Some("hog") => calls::hog(),
        Some(what) => Err(Error::other(format!("{what}: not known"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("call-costs: {error}");
            ExitCode::FAILURE
        }
    }
}
