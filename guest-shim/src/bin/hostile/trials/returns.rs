//! Answers to what OP-TEE asks for: other results, other commands' answers, memory that is none,
//! memory that is taken away.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::kit::trials::{Trial, result, said};
use guest_shim::optee::PAGE;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, Flavour, whole};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use optee_abi::message::command;
use optee_abi::{result, rpc};

use crate::held::{Held, NOBODY, STATS};

const AREA: &str = "answers to RPCs";

/// Has OP-TEE ask for the time, and gives it what `answer` makes of the command.
fn tells_time(
    client: &Client,
    answer: impl FnOnce(Words) -> (Words, u32),
) -> Result<String, String> {
    let session = client.open(Flavour::RpcArgument, STATS)?;
    let mut asking = Held::ask_time(client, session)?;
    let asked = asking.command()?.ok_or("it asks for nothing")?;
    if asked.command() != rpc::GET_TIME {
        return Err(format!("it asks for command {}", asked.command()));
    }
    let (words, code) = answer(asked);
    asking.answer(words, code)?;
    let reply = asking.reply()?;
    let came = result(reply.came.result());
    client.close(Flavour::RpcArgument, session)?;
    Ok(came)
}

fn results() -> Vec<Trial> {
    let mut trials = Vec::new();
    for code in [
        result::GENERIC,
        result::BAD_PARAMETERS,
        result::NOT_SUPPORTED,
        result::OUT_OF_MEMORY,
        result::COMMUNICATION,
        0x1234_5678,
        0x8000_0000,
        u32::MAX,
    ] {
        trials.push(Trial::new(
            AREA,
            format!("the time with the result {code:#x}"),
            result(code),
            move |client, _| tells_time(client, |asked| (asked, code)),
        ));
    }
    for number in [
        rpc::SHM_ALLOC,
        rpc::SHM_FREE,
        rpc::LOAD_TA,
        rpc::FS,
        0x7777,
        u32::MAX,
    ] {
        trials.push(Trial::new(
            AREA,
            format!("the time in an answer that calls itself command {number}"),
            "SUCCESS",
            move |client, _| {
                tells_time(client, |mut asked| {
                    asked.0[0] = asked.0[0] & !0xffff_ffff | u64::from(number);
                    (asked, result::SUCCESS)
                })
            },
        ));
    }
    for count in [0, 2, 6, 127, u32::MAX] {
        trials.push(Trial::new(
            AREA,
            format!("the time in an answer with {count} parameters"),
            "SUCCESS",
            move |client, _| tells_time(client, |asked| (asked.claiming(count), result::SUCCESS)),
        ));
    }
    trials
}

/// OP-TEE wants memory, and gets an answer with these attributes and words; gives what becomes of
/// the call.
fn gives(client: &Client, attributes: u64, words: [u64; 3]) -> Result<String, String> {
    let mut opening = Held::open(client, NOBODY)?;
    let mut answer = opening
        .command()?
        .ok_or("it asks for nothing")?
        .with_attributes(0, attributes);
    answer.set_parameter(0, words);
    opening.answer(answer, result::SUCCESS)?;
    let mut back = "";
    if let Some(freed) = opening.command()?
        && freed.command() == rpc::SHM_FREE
        && freed.parameter(0)[1] == words[2]
    {
        back = "its cookie back, then ";
        opening.answer(freed, result::SUCCESS)?;
    }
    let reply = opening.end()?;
    Ok(format!("{back}{}", result(reply.came.result())))
}

fn memory() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, attributes) in [
        ("nothing", 0),
        ("a value", 1),
        ("a value that comes back", 3),
        ("a registered buffer", 6),
        ("temporary memory to read", 9),
        ("temporary memory of every bit", u64::MAX),
    ] {
        trials.push(Trial::new(
            AREA,
            format!("{name} in place of memory"),
            "OUT_OF_MEMORY",
            move |client, _| {
                let page = client.arena.pages(1).address;
                gives(client, attributes, [page, PAGE, fresh_cookie()])
            },
        ));
    }
    const REFUSED: &str = "its cookie back, then OUT_OF_MEMORY";
    // Of more than it wants, OP-TEE gets what it wants.
    for (name, size, gets) in [
        ("no bytes", 0, REFUSED),
        ("one byte", 1, REFUSED),
        ("2^63 bytes", 1 << 63, "ITEM_NOT_FOUND"),
        ("all bytes", u64::MAX, "ITEM_NOT_FOUND"),
    ] {
        trials.push(Trial::new(
            AREA,
            format!("{name} of memory"),
            gets,
            move |client, _| {
                let page = client.arena.pages(1).address;
                gives(client, 0xa, [page, size, fresh_cookie()])
            },
        ));
    }
    trials.push(Trial::new(
        AREA,
        "memory with the cookie of a buffer that is shared",
        "OUT_OF_MEMORY",
        |client, _| {
            let (area, cookie) = (client.arena.pages(1), fresh_cookie());
            client.share(&area, cookie)?;
            let came = gives(client, 0xa, [area.address, PAGE, cookie])?;
            client.take_back(cookie)?;
            Ok(came)
        },
    ));
    trials.push(Trial::new(
        AREA,
        "memory that OP-TEE uses is taken back by its cookie",
        "BAD_PARAMETERS, then ITEM_NOT_FOUND",
        |client, _| {
            let mut supplicant = Supplicant::new(false, [0; 2]);
            let mut opening = Held::open(client, NOBODY)?;
            opening.serve(&mut supplicant)?;
            let cookies = supplicant.cookies();
            let cookie = *cookies.first().ok_or("no memory was given")?;
            let words = Words::new(command::UNREGISTER_SHM, &[whole(cookie)]);
            let came = said(&client.ask(&words)?)?;
            while opening.waits_for()?.is_some() {
                opening.serve(&mut supplicant)?;
            }
            let reply = opening.reply()?;
            supplicant.has_all_back()?;
            Ok(format!("{came}, then {}", result(reply.came.result())))
        },
    ));
    trials
}

pub fn trials() -> Vec<Trial> {
    [results(), memory()].into_iter().flatten().collect()
}
