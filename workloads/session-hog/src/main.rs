//! Takes sessions with a trusted application of which OP-TEE makes an instance for each, with an
//! address space of its own.
//!
//! | Arguments | What it does |
//! |---|---|
//! | `occupy COUNT` | opens up to COUNT, says how many, begins a call that never ends and resets the machine under it |
//! | `probe` | opens one and closes it |
//!
//! `occupy` prints `hog: opened COUNT` and, if it did not get all, why.

use std::io::{Error, Result};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tee_client::{Pages, Parameter, Session, Tee};

/// xtest's TA `concurrent` (optee_test 4.5, `ta/concurrent/include/ta_concurrent.h`).
const CONCURRENT: [u8; 16] = 0xe130_10e0_2ae1_11e5_896a_0002_a5d5_c51b_u128.to_be_bytes();
/// `TA_CONCURRENT_CMD_BUSY_LOOP`: counts a number of rounds, and writes to a buffer how many are at
/// it.
const BUSY_LOOP: u32 = 0;
/// More rounds than anybody waits for.
const FOR_EVER: u64 = u32::MAX as u64;

/// How long the call that never ends gets to begin.
const BEGINS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["occupy", count] => count
            .parse()
            .map_err(|_| Error::other(format!("{count}: no number")))
            .and_then(occupy),
        ["probe"] => probe(),
        _ => Err(Error::other("say `occupy COUNT` or `probe`")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("session-hog: {error}");
            ExitCode::FAILURE
        }
    }
}

fn probe() -> Result<()> {
    let tee = Tee::open()?;
    tee.close(tee.open_session(CONCURRENT)?)
}

fn occupy(count: usize) -> Result<()> {
    let tee = Tee::open()?;
    let mut sessions: Vec<Session> = Vec::new();
    let refused = loop {
        if sessions.len() == count {
            break None;
        }
        match tee.open_session(CONCURRENT) {
            Ok(session) => sessions.push(session),
            Err(error) => break Some(error),
        }
    };
    if let Some(error) = refused {
        println!("hog: {error}");
    }
    println!("hog: opened {}", sessions.len());
    let Some(&last) = sessions.last() else {
        return Err(Error::other("no session opens"));
    };
    let mut pages = Pages::new(4096)?;
    let shared = tee.register(&mut pages)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let parameters = [
                Parameter::buffer(&shared),
                Parameter::value(FOR_EVER),
                Parameter::NONE,
                Parameter::NONE,
            ];
            let ended = tee.invoke(last, BUSY_LOOP, parameters);
            println!("hog: the call ended with {ended:?}");
        });
        thread::sleep(BEGINS);
        // SAFETY: it takes no pointer; what was not written is lost, which is what a guest that
        // resets does.
        unsafe { libc::reboot(libc::RB_AUTOBOOT) };
        Err(Error::last_os_error())
    })
}
