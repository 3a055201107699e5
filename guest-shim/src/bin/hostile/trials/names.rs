//! Cookies, sessions and thread IDs: guessed, used again, another kind's, another guest's.

use alloc::format;
use alloc::vec::Vec;

use guest_shim::kit::trials::{Trial, code, said};
use guest_shim::optee::TESTS;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, Flavour, whole};
use guest_shim::optee::words::Words;
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::smc;

use super::invoke::invokes;
use crate::held::{Held, NOBODY, STATS};

const AREA: &str = "names";

/// Numbers that a guest may guess.
const GUESSES: [(&str, u64); 8] = [
    ("0", 0),
    ("1", 1),
    ("2^32 - 1", 0xffff_ffff),
    ("2^32 + 1", 0x1_0000_0001),
    ("a physical address", 0x0e10_0000),
    ("its own memory's address", 0x4000_0000),
    ("2^63", 1 << 63),
    ("2^64 - 1", u64::MAX),
];

fn uses(client: &Client, cookie: u64) -> Result<alloc::string::String, alloc::string::String> {
    let part = Parameter::Registered {
        direction: Direction::InOut,
        offset: 0,
        size: 8,
        reference: cookie,
    };
    invokes(client, &[part])
}

fn cookies() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, cookie) in GUESSES {
        trials.push(Trial::new(
            AREA,
            format!("a reference to the cookie {name}"),
            "BAD_PARAMETERS",
            move |client, _| uses(client, cookie),
        ));
        trials.push(Trial::new(
            AREA,
            format!("the buffer with the cookie {name} is taken back"),
            "BAD_PARAMETERS",
            move |client, _| {
                said(&client.ask(&Words::new(command::UNREGISTER_SHM, &[whole(cookie)]))?)
            },
        ));
        trials.push(Trial::new(
            AREA,
            format!("a message in the buffer with the cookie {name}"),
            "EBADADDR",
            move |client, _| {
                let [a1, a2] = smc::split(cookie);
                Ok(code(
                    client
                        .start(smc::CALL_WITH_REGD_ARG, &[a1, a2, 0])?
                        .done()?,
                ))
            },
        ));
    }
    trials.push(Trial::new(
        AREA,
        "a buffer is used after it was taken back",
        "BAD_PARAMETERS",
        |client, _| {
            let (area, cookie) = (client.arena.pages(1), fresh_cookie());
            client.share(&area, cookie)?;
            client.take_back(cookie)?;
            uses(client, cookie)
        },
    ));
    trials.push(Trial::new(
        AREA,
        "a buffer is taken back twice",
        "BAD_PARAMETERS",
        |client, _| {
            let (area, cookie) = (client.arena.pages(1), fresh_cookie());
            client.share(&area, cookie)?;
            client.take_back(cookie)?;
            said(&client.ask(&Words::new(command::UNREGISTER_SHM, &[whole(cookie)]))?)
        },
    ));
    trials
}

/// Messages for a session, with what OP-TEE says where there is none.
const ABOUT: [(&str, u32, &str); 3] = [
    ("a command to", command::INVOKE_COMMAND, "BAD_PARAMETERS"),
    ("a cancellation of", command::CANCEL, "BAD_PARAMETERS"),
    ("the close of", command::CLOSE_SESSION, "ITEM_NOT_FOUND"),
];

fn sessions() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (what, number, gets) in ABOUT {
        for session in [0, 0x7fff_ffff, 0x8000_0000, 0xdead_beef, u32::MAX] {
            trials.push(Trial::new(
                AREA,
                format!("{what} session {session:#x}"),
                gets,
                move |client, _| said(&client.ask(&Words::new(number, &[]).to(session, 0))?),
            ));
        }
        trials.push(Trial::new(
            AREA,
            format!("{what} each of sessions 1 to 63, none of which is its own"),
            gets,
            move |client, _| {
                for session in 1..64 {
                    let came = said(&client.ask(&Words::new(number, &[]).to(session, 0))?)?;
                    if came != gets {
                        return Ok(format!("{came} for {session}"));
                    }
                }
                Ok(gets.into())
            },
        ));
        trials.push(Trial::new(
            AREA,
            format!("{what} a session that is closed"),
            gets,
            move |client, _| {
                let session = client.open(Flavour::RpcArgument, TESTS)?;
                client.close(Flavour::RpcArgument, session)?;
                said(&client.ask(&Words::new(number, &[]).to(session, 0))?)
            },
        ));
        trials.push(Trial::new(
            AREA,
            format!("{what} the number that comes next, while a session opens"),
            gets,
            move |client, _| {
                let last = client.open(Flavour::RpcArgument, TESTS)?;
                let opening = Held::open(client, NOBODY)?;
                let came = said(&client.ask(&Words::new(number, &[]).to(last + 1, 0))?)?;
                opening.end()?;
                client.close(Flavour::RpcArgument, last)?;
                Ok(came)
            },
        ));
    }
    trials
}

fn threads() -> Vec<Trial> {
    let mut trials = Vec::new();
    let returns = |client: &Client, thread: u64| Ok(code(client.resume(thread, [0; 4])?.done()?));
    for (name, thread) in GUESSES
        .into_iter()
        .chain([("63", 63), ("64", 64), ("127", 127)])
    {
        trials.push(Trial::new(
            AREA,
            format!("a return with the thread ID {name}, while no call is under way"),
            "ERESUME",
            move |client, _| returns(client, thread),
        ));
    }
    for (name, change) in [
        ("the next one", 1_i64),
        ("the one before", -1),
        ("the same place's next one", 64),
        ("the same place's one before", -64),
    ] {
        trials.push(Trial::new(
            AREA,
            format!("a return with {name} to the thread ID of a call under way"),
            "ERESUME",
            move |client, _| {
                let opening = Held::open(client, NOBODY)?;
                let wrong = opening.thread()?.wrapping_add_signed(change);
                let came = returns(client, wrong)?;
                opening.end()?;
                Ok(came)
            },
        ));
    }
    trials.push(Trial::new(
        AREA,
        "a return with a thread ID that was good once",
        "ERESUME",
        move |client, _| {
            let mut opening = Held::open(client, NOBODY)?;
            let once = opening.thread()?;
            opening.deny()?;
            let came = returns(client, once)?;
            opening.end()?;
            Ok(came)
        },
    ));
    trials.push(Trial::new(
        AREA,
        "a return for a call of the kernel before",
        "ERESUME",
        move |client, _| {
            let session = client.open(Flavour::RpcArgument, STATS)?;
            let once = Held::ask_time(client, session)?.thread()?;
            let _ = client.call(smc::EXCHANGE_CAPABILITIES, &[0]);
            let came = returns(client, once)?;
            client.close(Flavour::RpcArgument, session)?;
            Ok(came)
        },
    ));
    trials
}

pub fn trials() -> Vec<Trial> {
    [cookies(), sessions(), threads()]
        .into_iter()
        .flatten()
        .collect()
}
