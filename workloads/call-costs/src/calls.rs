//! Calls, registrations and sessions.

use std::io::{Error, Result};
use std::thread::sleep;
use std::time::Duration;

use tee_client::{Pages, Parameter, Session, SharedBuffer, Tee};

use crate::counter::{measure, measure_runs};

/// xtest's pseudo-TA `invoke_tests` (OP-TEE 4.5, `lib/libutee/include/pta_invoke_tests.h`).
const TEST_PSEUDO_TA: [u8; 16] = uuid(0xd96a_5b40_c3e5_21e3_8794_1002_a5d5_c61b);
/// `PTA_INVOKE_TESTS_CMD_PARAMS`: of one value to read and write, adds its halves.
const ADD: u32 = 1;
/// The pseudo-TA that lists devices, which is in every OP-TEE (OP-TEE 4.5,
/// `lib/libutee/include/pta_device.h`).
const DEVICES: [u8; 16] = uuid(0x7011_a688_ddde_4053_a5a9_7b3c_4ddf_13b8);
/// `PTA_CMD_GET_DEVICES`: writes the UUIDs of a few pseudo-TAs into a buffer.
const LIST: u32 = 0;
/// xtest's TA `subkey1`, which succeeds with every command and does nothing (optee_test 4.5,
/// `ta/subkey1/ta_entry.c`).
pub(crate) const IDLE_TA: [u8; 16] = uuid(0x5c20_6987_16a3_59cc_ab0f_64b9_cfc9_e758);
/// Any command of [`IDLE_TA`].
pub(crate) const NOTHING: u32 = 0;
/// xtest's TA `sims`, which is a single file (optee_test 4.5, `ta/sims/include/ta_sims.h`).
pub(crate) const ONE_FILE_TA: [u8; 16] = uuid(0xe6a3_3ed4_562b_463a_bb7e_ff5e_15a4_93c8);
/// xtest's TA `os_test`, with which two libraries are loaded, a file each (optee_test 4.5,
/// `ta/os_test/include/ta_os_test.h`).
const TA_WITH_LIBRARIES: [u8; 16] = uuid(0x5b9e_0e40_2636_11e1_ad9e_0002_a5d5_c51b);

/// What the guest's start leaves to be done in the background, such as the kernel's first random
/// numbers out of OP-TEE, is done after so long. QEMU skips the time when it counts instructions.
pub(crate) const SETTLING: Duration = Duration::from_secs(5);

/// Runs of sessions with TAs that tee-supplicant loads, of which the shortest counts. What that
/// takes the guest's kernel differs by some 100,000 instructions from one to the next: pages for
/// the TA that are fresh or not, pages given back in batches, ticks.
const LOADED_TA_RUNS: u32 = 64;

/// Buffers that are registered while the cost of a call is measured with many.
const MANY: usize = 1000;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

const fn uuid(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

/// Measures all of them.
pub(crate) fn run() -> Result<()> {
    sleep(SETTLING);
    let tee = Tee::open()?;
    let idle = Client::open(&tee, IDLE_TA, NOTHING)?;
    // While OP-TEE's heap is in one piece: how long it searches there would be measured, too.
    many_buffers(&tee, &idle)?;
    sessions(&tee)?;
    values(&tee, &idle)?;
    buffers(&tee, &idle)?;
    registrations(&tee)?;
    idle.close()
}

/// Registers large buffers without end.
pub(crate) fn hog() -> Result<()> {
    let tee = Tee::open()?;
    let mut pages = Pages::new(8 * MIB)?;
    tee.register(&mut pages).map(drop)?;
    println!("hog: registers");
    loop {
        tee.register(&mut pages).map(drop)?;
    }
}

fn report(name: &str, rounds: u32, work: impl FnMut() -> Result<()>) -> Result<()> {
    print_figure(name, measure(rounds, work))
}

fn print_figure(name: &str, cost: Result<u64>) -> Result<()> {
    let cost = cost.map_err(|error| Error::other(format!("{name}: {error}")))?;
    println!("figure {name} {cost}");
    Ok(())
}

/// A session with a TA, and the command that it is called with.
pub(crate) struct Client<'a> {
    tee: &'a Tee,
    session: Session,
    command: u32,
}

impl<'a> Client<'a> {
    pub(crate) fn open(tee: &'a Tee, uuid: [u8; 16], command: u32) -> Result<Self> {
        let session = tee.open_session(uuid)?;
        Ok(Self {
            tee,
            session,
            command,
        })
    }

    pub(crate) fn invoke(&self, first: Parameter) -> Result<()> {
        let mut parameters = [Parameter::default(); 4];
        parameters[0] = first;
        let answer = self.tee.invoke(self.session, self.command, parameters)?;
        if answer.result == 0 {
            Ok(())
        } else {
            Err(Error::other(format!("the TA refused: {answer:x?}")))
        }
    }

    /// What libteec does for a temporary buffer: memory of its own, shared for one call, and copies
    /// in and out.
    pub(crate) fn invoke_temporary(&self, buffer: &mut [u8], bounce: &mut [u8]) -> Result<()> {
        bounce.copy_from_slice(buffer);
        let shared = self.tee.register(bounce)?;
        self.invoke(Parameter::buffer(&shared))?;
        drop(shared);
        buffer.copy_from_slice(bounce);
        Ok(())
    }

    pub(crate) fn close(self) -> Result<()> {
        self.tee.close(self.session)
    }
}

fn sessions(tee: &Tee) -> Result<()> {
    let open_and_close = |uuid| tee.close(tee.open_session(uuid)?);
    report("open-close-pseudo-ta", 32, || open_and_close(DEVICES))?;
    for (name, uuid) in [
        ("open-close-user-ta", ONE_FILE_TA),
        ("open-close-user-ta-libraries", TA_WITH_LIBRARIES),
    ] {
        let cost = measure_runs(LOADED_TA_RUNS, 1, || open_and_close(uuid));
        print_figure(name, cost)?;
    }
    Ok(())
}

fn values(tee: &Tee, idle: &Client<'_>) -> Result<()> {
    let adder = Client::open(tee, TEST_PSEUDO_TA, ADD)?;
    report("invoke-value", 256, || adder.invoke(Parameter::value(1)))?;
    adder.close()?;
    report("invoke-value-user-ta", 256, || {
        idle.invoke(Parameter::value(1))
    })
}

fn buffers(tee: &Tee, idle: &Client<'_>) -> Result<()> {
    let mut pages = Pages::new(64 * KIB)?;
    let shared = tee.register(&mut pages)?;
    let lister = Client::open(tee, DEVICES, LIST)?;
    report("invoke-registered-64k", 128, || {
        lister.invoke(Parameter::output(&shared, 64 * KIB))
    })?;
    report("invoke-registered-64k-user-ta", 128, || {
        idle.invoke(Parameter::buffer(&shared))
    })?;
    for (name, size) in [
        ("invoke-temporary-4k", 4 * KIB),
        ("invoke-temporary-64k", 64 * KIB),
    ] {
        let (mut buffer, mut bounce) = (vec![0; size], Pages::new(size)?);
        report(name, 64, || idle.invoke_temporary(&mut buffer, &mut bounce))?;
    }
    lister.close()
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
fn many_buffers(tee: &Tee, idle: &Client<'_>) -> Result<()> {
    let mut memory = (0..MANY)
        .map(|_| Pages::new(4 * KIB))
        .collect::<Result<Vec<_>>>()?;
    let mut others: Vec<SharedBuffer> = Vec::with_capacity(MANY);
    let mut scratch = Pages::new(4 * KIB)?;
    let mut target = Pages::new(64 * KIB)?;
    let target = tee.register(&mut target)?;
    let mut calls = |how_many: &str| {
        report(&format!("invoke-value-with-{how_many}"), 128, || {
            idle.invoke(Parameter::value(1))
        })?;
        report(&format!("invoke-registered-with-{how_many}"), 128, || {
            idle.invoke(Parameter::buffer(&target))
        })?;
        report(&format!("register-4k-with-{how_many}"), 128, || {
            tee.register(&mut scratch).map(drop)
        })
    };
    calls("1")?;
    for pages in &mut memory {
        others.push(tee.register(pages).map_err(|error| {
            Error::other(format!("buffer {} of {MANY}: {error}", others.len() + 1))
        })?);
    }
    calls("1000")
}
