//! The cache of memory for RPC arguments.

use alloc::string::String;

use guest_shim::optee::client::{Client, Flavour};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check_eq};
use optee_abi::result;
use optee_abi::smc::{self, status};

use crate::test_ta::{GET_TIME, STATS, Session, TIMES};

/// A fast call about the cache: its return code, and the cookie that it may bring.
fn cache(client: &Client, id: u32) -> Result<(u32, u64), String> {
    let exchange = client.call(id, &[]);
    exchange.keeps_all_but(3)?;
    let [code, upper, lower]: [u64; 3] = exchange.results();
    Ok((code as u32, smc::join(upper, lower)))
}

/// A call that has a command for the guest.
fn tell_time(client: &Client, session: &Session<'_>, supplicant: &mut Supplicant) -> Outcome {
    let words = session.invocation(GET_TIME, &TIMES);
    let reply = client.converse(Flavour::Argument, &words, supplicant)?;
    check_eq!(reply.came.result(), result::SUCCESS, "the result");
    check_eq!(reply.came.parameter(0), [5, 0, 0], "the time");
    Ok(())
}

case!(4, the_cache_keeps_room_for_rpcs_and_gives_it_back);
fn the_cache_keeps_room_for_rpcs_and_gives_it_back(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::with(&client, STATS)?;
    let mut supplicant = Supplicant::new(false, [5, 0]);
    for round in 1..=3 {
        let (enabled, _) = cache(&client, smc::ENABLE_SHM_CACHE)?;
        check_eq!(enabled, status::OK, "ENABLE_SHM_CACHE");
        for _ in 0..3 {
            tell_time(&client, &session, &mut supplicant)?;
            // Asked for once a round, and not given back.
            check_eq!(
                (supplicant.allocs, supplicant.frees),
                (round, 0),
                "ALLOC and FREE"
            );
        }
        let (code, cookie) = cache(&client, smc::DISABLE_SHM_CACHE)?;
        check_eq!(code, status::OK, "DISABLE_SHM_CACHE");
        supplicant.take_room_back(cookie)?;
        let (code, _) = cache(&client, smc::DISABLE_SHM_CACHE)?;
        check_eq!(code, status::ENOTAVAIL, "the last DISABLE_SHM_CACHE");
        supplicant.has_all_back()?;
    }
    // Without it, a call gives back what it got.
    tell_time(&client, &session, &mut supplicant)?;
    check_eq!(
        (supplicant.allocs, supplicant.frees),
        (4, 1),
        "ALLOC and FREE"
    );
    supplicant.has_all_back()?;
    session.close()
}

case!(4, an_empty_cache_has_nothing_to_give_back);
fn an_empty_cache_has_nothing_to_give_back(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    for _ in 0..2 {
        let (code, _) = cache(&client, smc::DISABLE_SHM_CACHE)?;
        check_eq!(code, status::ENOTAVAIL, "DISABLE_SHM_CACHE");
    }
    Ok(())
}

case!(4, the_cache_is_busy_while_a_call_is_under_way);
fn the_cache_is_busy_while_a_call_is_under_way(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::with(&client, STATS)?;
    let mut supplicant = Supplicant::new(false, [5, 0]);
    let words = session.invocation(GET_TIME, &TIMES);
    let ready = client.prepare(Flavour::RpcArgument, &words)?;
    let answer = client.send(&ready)?;
    answer.asked()?;
    for id in [smc::ENABLE_SHM_CACHE, smc::DISABLE_SHM_CACHE] {
        let (code, _) = cache(&client, id)?;
        check_eq!(code, status::EBUSY, "call {id:#x}");
    }
    let code = client.see_through(&ready, answer, &mut supplicant)?;
    check_eq!(code, status::OK, "the return code");
    let (code, _) = cache(&client, smc::DISABLE_SHM_CACHE)?;
    check_eq!(code, status::ENOTAVAIL, "DISABLE_SHM_CACHE");
    session.close()
}
