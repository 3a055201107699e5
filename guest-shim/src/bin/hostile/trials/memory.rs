//! Sizes that wrap, parts beyond their buffer, lists that are none, counts of parameters.

use alloc::format;
use alloc::vec::Vec;

use guest_shim::kit::trials::{Trial, code, said};
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, FLAVOURS, Flavour};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::optee::{PAGE, TESTS};
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::smc;

use super::invoke::{PARAMS, invokes};

fn temporary(direction: Direction, list: bool, address: u64, size: u64, cookie: u64) -> Parameter {
    Parameter::Temporary {
        direction,
        list,
        address,
        size,
        reference: cookie,
    }
}

fn sizes() -> Vec<Trial> {
    let mut trials = Vec::new();
    for list in [false, true] {
        let what = if list { "a list" } else { "contiguous memory" };
        for (offset, size, gets) in [
            (8, u64::MAX, "BAD_PARAMETERS"),
            (8, u64::MAX - 7, "BAD_PARAMETERS"),
            (0, u64::MAX, "OUT_OF_MEMORY"),
            (0, 1 << 63, "OUT_OF_MEMORY"),
            (0, 1 << 44, "OUT_OF_MEMORY"),
            (0, (64 << 20) + 1, "OUT_OF_MEMORY"),
        ] {
            let of = move |client: &Client| client.arena.pages(1).address + offset;
            trials.push(Trial::new(
                "sizes",
                format!("{size:#x} bytes of temporary memory by {what}, from {offset}"),
                gets,
                move |client, _| {
                    let address = of(client);
                    invokes(
                        client,
                        &[temporary(Direction::InOut, list, address, size, 0)],
                    )
                },
            ));
            trials.push(Trial::new(
                "sizes",
                format!("a buffer of {size:#x} bytes by {what}, from {offset}"),
                gets,
                move |client, _| {
                    let (address, cookie) = (of(client), fresh_cookie());
                    let buffer = temporary(Direction::Output, list, address, size, cookie);
                    said(&client.ask(&Words::new(command::REGISTER_SHM, &[buffer]))?)
                },
            ));
        }
    }
    for (offset, size) in [
        (0, 2 * PAGE + 1),
        (1, 2 * PAGE),
        (2 * PAGE, 1),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
        (u64::MAX - PAGE + 1, PAGE),
        (1 << 63, 1 << 63),
        (1 << 32, 8),
    ] {
        trials.push(Trial::new(
            "sizes",
            format!("{size:#x} bytes from {offset:#x} on of a buffer of two pages"),
            "SECURITY",
            move |client, _| {
                let (area, cookie) = (client.arena.pages(2), fresh_cookie());
                client.share(&area, cookie)?;
                let part = Parameter::Registered {
                    direction: Direction::InOut,
                    offset,
                    size,
                    reference: cookie,
                };
                let came = invokes(client, &[part])?;
                client.take_back(cookie)?;
                Ok(came)
            },
        ));
    }
    trials
}

fn counts() -> Vec<Trial> {
    let mut trials = Vec::new();
    for flavour in FLAVOURS {
        for (count, gets) in [
            (7, "BAD_PARAMETERS"),
            (8, "BAD_PARAMETERS"),
            (127, "BAD_PARAMETERS"),
            (128, "EBADADDR"),
            (0x1_0000, "EBADADDR"),
            (0x07ff_ffff, "EBADADDR"),
            (0x8000_0000, "EBADADDR"),
            (u32::MAX, "EBADADDR"),
        ] {
            trials.push(Trial::new(
                "parameter counts",
                format!("{count} parameters, by {flavour:?}"),
                gets,
                move |client, _| {
                    let words = Words::new(command::INVOKE_COMMAND, &[]).claiming(count);
                    said(&client.converse(flavour, &words, &mut Supplicant::none())?)
                },
            ));
        }
    }
    trials
}

/// Attributes that mean nothing, in each place of a parameter.
fn attributes() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, attributes) in [
        ("type 4", 4),
        ("type 8", 8),
        ("type 12", 12),
        ("type 255", 0xff),
        ("a fragment", 1 << 9 | 1),
        ("every bit", u64::MAX),
        ("bit 63", 1 << 63),
    ] {
        for index in 0..4 {
            trials.push(Trial::new(
                "attributes",
                format!("{name} at parameter {index} of 4"),
                "BAD_PARAMETERS",
                move |client, _| {
                    let session = client.open(Flavour::RpcArgument, TESTS)?;
                    let words = Words::new(command::INVOKE_COMMAND, &[Parameter::None; 4])
                        .to(session, PARAMS)
                        .with_attributes(index, attributes);
                    let came = said(&client.ask(&words)?)?;
                    client.close(Flavour::RpcArgument, session)?;
                    Ok(came)
                },
            ));
        }
    }
    trials
}

fn lists() -> Vec<Trial> {
    let registers = |client: &Client, address: u64, size: u64| {
        let cookie = fresh_cookie();
        let buffer = temporary(Direction::Output, true, address, size, cookie);
        let came = said(&client.ask(&Words::new(command::REGISTER_SHM, &[buffer]))?)?;
        if came == "SUCCESS" {
            client.take_back(cookie)?;
        }
        Ok(came)
    };
    alloc::vec![
        Trial::new(
            "page lists",
            "a list whose link leads back to it: each page is one that the guest has",
            "SUCCESS",
            move |client, _| {
                let good = client.arena.pages(1).address;
                let list = client.list(core::iter::repeat_n(good, 511));
                list.write(511 * 8, list.address);
                registers(client, list.address, 511 * 3 * PAGE)
            },
        ),
        Trial::new(
            "page lists",
            "a list that names itself as a page",
            "SUCCESS",
            move |client, _| {
                let list = client.arena.pages(1);
                list.write(0, list.address);
                registers(client, list.address, PAGE)
            },
        ),
        Trial::new(
            "page lists",
            "a list that begins with its last entry, which is a link to another one",
            "BAD_PARAMETERS",
            move |client, _| {
                let list = client.list([0].into_iter());
                registers(client, list.address + 511 * 8, 2 * PAGE)
            },
        ),
        Trial::new(
            "page lists",
            "a list of zeros",
            "BAD_PARAMETERS",
            move |client, _| registers(client, client.arena.pages(1).address, 3 * PAGE),
        ),
        Trial::new(
            "page lists",
            "a list that is one page short",
            "BAD_PARAMETERS",
            move |client, _| {
                let good = client.arena.pages(1).address;
                let list = client.list([good, good].into_iter());
                registers(client, list.address, 3 * PAGE)
            },
        ),
        Trial::new(
            "page lists",
            "a chain of two lists that has the first one as its third",
            "SUCCESS",
            move |client, _| {
                let good = client.arena.pages(1).address;
                let list = client.list(core::iter::repeat_n(good, 1022));
                list.write(1023 * 8, list.address);
                registers(client, list.address, 1500 * PAGE)
            },
        ),
        Trial::new(
            "page lists",
            "a message in a buffer that was never shared",
            "EBADADDR",
            |client, _| {
                let [a1, a2] = smc::split(fresh_cookie());
                Ok(code(
                    client
                        .start(smc::CALL_WITH_REGD_ARG, &[a1, a2, 0])?
                        .done()?,
                ))
            },
        ),
    ]
}

pub fn trials() -> Vec<Trial> {
    [sizes(), counts(), attributes(), lists()]
        .into_iter()
        .flatten()
        .collect()
}
