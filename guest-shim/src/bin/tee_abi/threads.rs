//! Calls under way at the same time, and returns from RPCs that are none.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_shim::optee::answer::Asked;
use guest_shim::optee::client::{Client, FLAVOURS, Flavour, Ready};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu;
use guest_shim::{case, check, check_eq};
use optee_abi::message::{Direction, command};
use optee_abi::result;
use optee_abi::smc::{self, status};
use spin::Mutex;

use crate::test_ta::{GET_TIME, PARAMS, STATS, Session, TIMES, value};

/// A call that waits for the guest.
struct Waiting {
    words: Words,
    ready: Ready,
    asked: Asked,
}

/// Has a call wait for the guest to tell the time.
fn wait(session: &Session<'_>, flavour: Flavour) -> Result<Waiting, String> {
    let words = session.invocation(GET_TIME, &TIMES);
    let ready = session.client.prepare(flavour, &words)?;
    let asked = session.client.send(&ready)?.asked()?;
    Ok(Waiting {
        words,
        ready,
        asked,
    })
}

/// Does what a call waits for; it tells this time.
fn finish(client: &Client, waiting: Waiting, seconds: u64) -> Outcome {
    let Waiting {
        words,
        ready,
        asked,
    } = waiting;
    let mut supplicant = Supplicant::new(false, [seconds, 0]);
    let answer = guest_shim::optee::answer::Answer::Asks(asked);
    let code = client.see_through(&ready, answer, &mut supplicant)?;
    let reply = client.collect(&ready, &words, code)?;
    let own = reply.came.parameter(1);
    reply.is_with(result::SUCCESS, &[(0, [seconds, 0, 0]), (1, own)])?;
    supplicant.has_all_back()
}

/// The return code for a return with this thread ID.
fn returning(client: &Client, thread: u64) -> Result<u32, String> {
    client.resume(thread, [0; 4])?.done()
}

case!(4, a_thread_id_is_good_for_one_return);
fn a_thread_id_is_good_for_one_return(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::with(&client, STATS)?;
    for flavour in FLAVOURS {
        let waiting = wait(&session, flavour)?;
        let thread = waiting.asked.thread;
        for other in (0..200).chain([thread ^ 1, thread + 64, !thread & 0xffff_ffff]) {
            if other != thread {
                check_eq!(
                    returning(&client, other)?,
                    status::ERESUME,
                    "a return to {other:#x}"
                );
            }
        }
        finish(&client, waiting, 77)?;
        check_eq!(
            returning(&client, thread)?,
            status::ERESUME,
            "a second return"
        );
    }
    session.close()
}

case!(4, an_rpc_is_answered_on_another_vcpu);
fn an_rpc_is_answered_on_another_vcpu(environment: &Environment) -> Outcome {
    let client = Arc::new(Client::new(environment)?);
    let session = Session::with(&client, STATS)?;
    for flavour in FLAVOURS {
        let waiting = wait(&session, flavour)?;
        let outcome = Arc::new(Mutex::new(Err(String::from("vCPU 1 did nothing"))));
        let (place, other) = (Arc::clone(&outcome), Arc::clone(&client));
        vcpu::run(environment, 1, move |_| {
            *place.lock() = finish(&other, waiting, 4321);
        })?;
        outcome.lock().clone()?;
    }
    session.close()
}

case!(4, calls_beyond_the_threads_wait_for_one_of_the_guest_s_own);
fn calls_beyond_the_threads_wait_for_one_of_the_guest_s_own(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    // All but the first one wait in OP-TEE until no other uses this pseudo-TA: that is a command
    // for the guest, too.
    let exchange = client.call(smc::GET_THREAD_COUNT, &[]);
    let threads = exchange.after[1] as usize;
    let sessions: Result<Vec<_>, _> = (0..threads)
        .map(|_| Session::with(&client, STATS))
        .collect();
    let sessions = sessions?;
    // The next one's message, made while there is a thread to register it by.
    let spare = Words::new(command::CANCEL, &[]).to(0x7777, 0);
    let next = FLAVOURS.map(|flavour| (flavour, client.prepare(flavour, &spare)));
    let waiting: Result<Vec<_>, _> = sessions
        .iter()
        .map(|session| wait(session, Flavour::RpcArgument))
        .collect();
    let waiting = waiting?;
    let ids: Vec<u64> = waiting.iter().map(|waiting| waiting.asked.thread).collect();
    for (index, id) in ids.iter().enumerate() {
        check!(!ids[..index].contains(id), "{ids:x?} are the thread IDs");
    }
    let mut prepared = Vec::new();
    for (flavour, ready) in next {
        let ready = ready?;
        let code = client.send(&ready)?.done()?;
        check_eq!(
            code,
            status::ETHREAD_LIMIT,
            "the return code of {flavour:?}"
        );
        prepared.push(ready);
    }
    for (waiting, seconds) in waiting.into_iter().zip(100..) {
        finish(&client, waiting, seconds)?;
    }
    for ready in prepared {
        let code = client.send(&ready)?.done()?;
        check_eq!(code, status::OK, "the return code when all is over");
        client
            .collect(&ready, &spare, code)?
            .is(result::BAD_PARAMETERS)?;
    }
    for session in sessions {
        session.close()?;
    }
    Ok(())
}

case!(4, vcpus_call_at_the_same_time);
fn vcpus_call_at_the_same_time(environment: &Environment) -> Outcome {
    const CALLS: u64 = 300;
    /// Calls as often as that; a call that finds no thread tries again.
    fn keep_calling(client: &Client, session: u32, seed: u64) -> Outcome {
        let sum = |n| value(Direction::InOut, [n, seed, 0]);
        let words = |n| Words::new(command::INVOKE_COMMAND, &[sum(n)]).to(session, PARAMS);
        let ready = client.prepare(Flavour::RpcArgument, &words(0))?;
        for n in 0..CALLS {
            let sent = words(n);
            client.write(&ready, &sent);
            let code = loop {
                let mut supplicant = Supplicant::new(false, [0; 2]);
                let answer = client.send(&ready)?;
                let code = client.see_through(&ready, answer, &mut supplicant)?;
                if code != status::ETHREAD_LIMIT {
                    break code;
                }
            };
            let reply = client.collect(&ready, &sent, code)?;
            reply.is_with(result::SUCCESS, &[(0, [n + seed, seed, 0])])?;
        }
        Ok(())
    }
    let client = Arc::new(Client::new(environment)?);
    let session = Session::tests(&client)?;
    let outcome = Arc::new(Mutex::new(Err(String::from("vCPU 1 did nothing"))));
    let (place, other, number) = (Arc::clone(&outcome), Arc::clone(&client), session.number);
    vcpu::start(environment, 1, move |_| {
        *place.lock() = keep_calling(&other, number, 1 << 30);
    })?;
    let own = keep_calling(&client, session.number, 1 << 20);
    vcpu::wait_until_off(environment, 1)?;
    own?;
    outcome.lock().clone()?;
    session.close()
}
