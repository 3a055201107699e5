//! A kernel that starts anew inside a guest, as with kexec: its driver probes again, and meets what
//! its predecessor left.

use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::optee::TESTS;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, Flavour};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check, check_eq};
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{self, status};

use crate::held::{Held, STATS};

/// `STATS_CMD_GET_TIME` of [`STATS`].
const GET_TIME: u32 = 4;
/// `PTA_INVOKE_TESTS_CMD_PARAMS` of [`TESTS`].
const PARAMS: u32 = 1;

/// How often a driver may have to ask for what is in the cache.
const ASKED_MAX: u32 = 100;

/// Has a call wait for the time.
fn wait<'a>(client: &'a Client, session: u32) -> Result<Held<'a>, String> {
    let time = Parameter::Value {
        direction: Direction::Output,
        meta: false,
        words: [0; 3],
    };
    let words = Words::new(command::INVOKE_COMMAND, &[time; 2]).to(session, GET_TIME);
    Held::send(client, words)
}

/// Threads that OP-TEE has for the guest.
fn threads(client: &Client) -> usize {
    client.call(smc::GET_THREAD_COUNT, &[]).after[1] as usize
}

/// A call that may begin as soon as slots have come back, which may take OP-TEE a moment.
fn begins(client: &Client, session: u32) -> Result<Held<'_>, String> {
    let mut last = String::new();
    for _ in 0..1000 {
        let held = wait(client, session)?;
        match held.thread() {
            Ok(_) => return Ok(held),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

/// What Linux's driver does when it probes: it empties the cache, then turns it on (Linux 6.12,
/// `drivers/tee/optee/smc_abi.c`, `optee_probe`).
fn probe(environment: &Environment) -> Result<Client, String> {
    let client = Client::new(environment)?;
    let mut asked = 0;
    loop {
        let code = client.call(smc::DISABLE_SHM_CACHE, &[]).after[0] as u32;
        if code == status::ENOTAVAIL {
            break;
        }
        asked += 1;
        check!(
            asked < ASKED_MAX,
            "DISABLE_SHM_CACHE answers {code:#x} without end"
        );
    }
    let code = client.call(smc::ENABLE_SHM_CACHE, &[]).after[0] as u32;
    check_eq!(code, status::OK, "ENABLE_SHM_CACHE");
    Ok(client)
}

/// Turns the cache off, as a driver that is removed does.
fn remove(client: &Client) -> Outcome {
    for _ in 0..ASKED_MAX {
        let code = client.call(smc::DISABLE_SHM_CACHE, &[]).after[0] as u32;
        if code == status::ENOTAVAIL {
            return Ok(());
        }
    }
    Err(String::from("the cache is never empty"))
}

case!(4, a_new_kernel_has_all_threads_for_itself);
fn a_new_kernel_has_all_threads_for_itself(environment: &Environment) -> Outcome {
    let old = probe(environment)?;
    // All but the first one wait in OP-TEE until no other uses this pseudo-TA: that is a command
    // for the guest, too.
    let sessions: Result<Vec<u32>, String> = (0..threads(&old))
        .map(|_| old.open(Flavour::RpcArgument, STATS))
        .collect();
    let old_sessions = sessions?;
    let left: Result<Vec<Held<'_>>, String> =
        old_sessions.iter().map(|id| wait(&old, *id)).collect();
    let ids: Result<Vec<u64>, String> = left?.iter().map(Held::thread).collect();
    let ids = ids?;

    let new = probe(environment)?;
    for id in &ids {
        let code = new.resume(*id, [0; 4])?.done()?;
        check_eq!(code, status::ERESUME, "a return to an old call, {id:#x}");
    }
    let sessions: Result<Vec<u32>, String> = (0..threads(&new))
        .map(|_| new.open(Flavour::RpcArgument, STATS))
        .collect();
    let sessions = sessions?;
    let waiting: Result<Vec<Held<'_>>, String> =
        sessions.iter().map(|id| begins(&new, *id)).collect();
    for mut held in waiting? {
        let mut supplicant = Supplicant::new(false, [7, 0]);
        while held.command()?.is_some() {
            held.serve(&mut supplicant)?;
        }
        let reply = held.reply()?;
        check_eq!(reply.came.result(), result::SUCCESS, "a new call's result");
        check_eq!(reply.came.parameter(0), [7, 0, 0], "the time");
    }
    for session in sessions.into_iter().chain(old_sessions) {
        new.close(Flavour::RpcArgument, session)?;
    }
    remove(&new)
}

case!(4, a_new_kernel_may_use_old_cookies);
fn a_new_kernel_may_use_old_cookies(environment: &Environment) -> Outcome {
    let old = probe(environment)?;
    let cookies: Vec<u64> = (0..16).map(|_| fresh_cookie()).collect();
    for cookie in &cookies {
        old.share(&old.arena.pages(3), *cookie)?;
    }
    let new = probe(environment)?;
    let session = new.open(Flavour::RpcArgument, TESTS)?;
    for cookie in &cookies {
        let area = new.arena.pages(1);
        new.share(&area, *cookie)?;
        // OP-TEE uses the new pages: it adds the bytes, and puts the sum into the first one.
        area.write(0, 0x0102_0304_0506_0708);
        let buffer = Parameter::Registered {
            direction: Direction::InOut,
            offset: 0,
            size: 8,
            reference: *cookie,
        };
        let words = Words::new(command::INVOKE_COMMAND, &[buffer]).to(session, PARAMS);
        new.ask(&words)?.is(result::SUCCESS)?;
        check_eq!(area.byte(0), 36, "the sum");
        // There is one of that name, not two.
        new.take_back(*cookie)?;
        let again = new.unregister(*cookie)?;
        check_eq!(again, result::BAD_PARAMETERS, "taking it back again");
    }
    new.close(Flavour::RpcArgument, session)?;
    remove(&new)
}

case!(
    4,
    a_cache_that_an_old_kernel_filled_is_empty_for_the_new_one
);
fn a_cache_that_an_old_kernel_filled_is_empty_for_the_new_one(
    environment: &Environment,
) -> Outcome {
    let old = probe(environment)?;
    let session = old.open(Flavour::RpcArgument, STATS)?;
    let time = Parameter::Value {
        direction: Direction::Output,
        meta: false,
        words: [0; 3],
    };
    let words = Words::new(command::INVOKE_COMMAND, &[time; 2]).to(session, GET_TIME);
    let mut supplicant = Supplicant::new(false, [5, 0]);
    old.converse(Flavour::Argument, &words, &mut supplicant)?;
    check_eq!(supplicant.allocs, 1, "rooms for RPCs");
    let new = probe(environment)?;
    let mut supplicant = Supplicant::new(false, [6, 0]);
    let reply = new.converse(Flavour::Argument, &words, &mut supplicant)?;
    check_eq!(reply.came.parameter(0), [6, 0, 0], "the time");
    check_eq!(supplicant.allocs, 1, "new rooms for RPCs");
    new.close(Flavour::RpcArgument, session)?;
    remove(&new)
}
