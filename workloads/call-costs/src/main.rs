//! Measures what calls to OP-TEE cost, from the client's `ioctl` and back, and prints a line for each case:
//!
//! ```text
//! figure NAME NANOSECONDS
//! ```
//!
//! With QEMU counting instructions, a nanosecond is an instruction.

mod counter;
mod memory;
mod tee;

use std::io::{Error, Result};
use std::process::ExitCode;

use counter::measure;
use memory::Pages;
use tee::{Parameter, SharedBuffer, Tee};

/// xtest's TA `os_test`, which does nothing for a command that it does not know but say so (optee_test 4.5,
/// `ta/os_test/include/ta_os_test.h`).
const USER_TA: [u8; 16] = uuid(0x5b9e_0e40_2636_11e1_ad9e_0002_a5d5_c51b);
/// The pseudo-TA that lists devices, which is in every OP-TEE (OP-TEE 4.5, `lib/libutee/include/pta_device.h`).
const PSEUDO_TA: [u8; 16] = uuid(0x7011_a688_ddde_4053_a5a9_7b3c_4ddf_13b8);

/// No command of [`USER_TA`].
const NO_COMMAND: u32 = 0xffff;
/// `TEEC_ORIGIN_TRUSTED_APP` (GlobalPlatform TEE Client API 1.0, section 4.4.3).
const FROM_THE_TA: u32 = 4;

/// Buffers that are registered while the cost of a call is measured with many.
const MANY: usize = 1000;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn uuid(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("call-costs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let tee = Tee::open()?;
    sessions(&tee)?;
    let session = tee.open_session(USER_TA)?;
    let client = Client { tee: &tee, session };
    invocations(&client)?;
    registrations(&tee)?;
    many_buffers(&client)?;
    tee.close(session)
}

fn report(name: &str, rounds: u32, work: impl FnMut() -> Result<()>) -> Result<()> {
    let cost = measure(rounds, work).map_err(|error| Error::other(format!("{name}: {error}")))?;
    println!("figure {name} {cost}");
    Ok(())
}

/// A session with a TA that takes any parameters.
struct Client<'a> {
    tee: &'a Tee,
    session: tee::Session,
}

impl Client<'_> {
    fn invoke(&self, first: Parameter) -> Result<()> {
        let mut parameters = [Parameter::default(); 4];
        parameters[0] = first;
        let answer = self.tee.invoke(self.session, NO_COMMAND, parameters)?;
        if answer.origin == FROM_THE_TA {
            Ok(())
        } else {
            Err(Error::other(format!("the TA was not reached: {answer:x?}")))
        }
    }

    /// What libteec does for a temporary buffer: memory of its own, shared for one call, and copies in and out.
    fn invoke_temporary(&self, buffer: &mut [u8], bounce: &mut [u8]) -> Result<()> {
        bounce.copy_from_slice(buffer);
        let shared = self.tee.register(bounce)?;
        self.invoke(Parameter::buffer(&shared))?;
        drop(shared);
        buffer.copy_from_slice(bounce);
        Ok(())
    }
}

fn sessions(tee: &Tee) -> Result<()> {
    let open_and_close = |uuid| tee.close(tee.open_session(uuid)?);
    report("open-close-pseudo-ta", 32, || open_and_close(PSEUDO_TA))?;
    report("open-close-user-ta", 1, || open_and_close(USER_TA))
}

fn invocations(client: &Client<'_>) -> Result<()> {
    report("invoke-value", 256, || client.invoke(Parameter::value(1)))?;
    let mut pages = Pages::new(64 * KIB)?;
    let shared = client.tee.register(&mut pages)?;
    report("invoke-registered-64k", 128, || {
        client.invoke(Parameter::buffer(&shared))
    })?;
    for (name, size) in [
        ("invoke-temporary-4k", 4 * KIB),
        ("invoke-temporary-64k", 64 * KIB),
    ] {
        let (mut buffer, mut bounce) = (vec![0; size], Pages::new(size)?);
        report(name, 64, || {
            client.invoke_temporary(&mut buffer, &mut bounce)
        })?;
    }
    Ok(())
}

fn registrations(tee: &Tee) -> Result<()> {
    for (name, size, rounds) in [
        ("register-4k", 4 * KIB, 128),
        ("register-64k", 64 * KIB, 128),
        ("register-508k", 508 * KIB, 64),
        ("register-512k", 512 * KIB, 64),
        ("register-2m", 2 * MIB, 32),
        ("register-8m", 8 * MIB, 16),
    ] {
        let mut pages = Pages::new(size)?;
        report(name, rounds, || tee.register(&mut pages).map(drop))?;
    }
    Ok(())
}

/// The same calls with one buffer registered and with many.
fn many_buffers(client: &Client<'_>) -> Result<()> {
    let mut memory = (0..MANY)
        .map(|_| Pages::new(4 * KIB))
        .collect::<Result<Vec<_>>>()?;
    let mut shared: Vec<SharedBuffer> = Vec::with_capacity(MANY);
    let mut scratch = Pages::new(4 * KIB)?;
    let mut target = Pages::new(64 * KIB)?;
    let target = client.tee.register(&mut target)?;
    let mut calls = |how_many: &str| {
        report(&format!("invoke-registered-with-{how_many}"), 128, || {
            client.invoke(Parameter::buffer(&target))
        })?;
        report(&format!("register-4k-with-{how_many}"), 128, || {
            client.tee.register(&mut scratch).map(drop)
        })
    };
    calls("1")?;
    for pages in &mut memory {
        shared.push(client.tee.register(pages).map_err(|error| {
            Error::other(format!("buffer {} of {MANY}: {error}", shared.len() + 1))
        })?);
    }
    calls("1000")
}
