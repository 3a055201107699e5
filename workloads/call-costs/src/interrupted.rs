//! Calls while a timer fires often and at random.

use std::io::Result;
use std::thread::{self, sleep};
use std::time::Duration;

use tee_client::{Pages, Parameter, Tee};

use crate::calls::{Client, IDLE_TA, KIB, MIB, NOTHING, ONE_FILE_TA};

/// A timer fires after this many microseconds, and up to as many more as [`SPREAD`].
const SHORTEST: u64 = 20;
const SPREAD: u64 = 200;

/// How often the largest buffer is registered, which takes longer than the timer.
const ROUNDS: usize = 40;

/// Registers, calls and opens sessions, with interrupts all the time.
pub fn run() -> Result<()> {
    let tee = Tee::open()?;
    thread::spawn(fire_forever);
    println!("interrupted: begins");
    let mut large = Pages::new(8 * MIB)?;
    let mut small = Pages::new(64 * KIB)?;
    for _ in 0..ROUNDS {
        tee.register(&mut large).map(drop)?;
    }
    let idle = Client::open(&tee, IDLE_TA, NOTHING)?;
    for _ in 0..ROUNDS {
        let shared = tee.register(&mut small)?;
        idle.invoke(Parameter::buffer(&shared))?;
        tee.close(tee.open_session(ONE_FILE_TA)?)?;
    }
    idle.close()?;
    println!("interrupted: ends");
    Ok(())
}

fn fire_forever() {
    // Xorshift: the same moments in each run.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    loop {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        sleep(Duration::from_micros(SHORTEST + state % SPREAD));
    }
}
