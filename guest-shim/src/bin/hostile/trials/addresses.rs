//! Addresses of memory that is not the guest's, in every place where one can stand.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::kit::trials::{Trial, code, result, said};
use guest_shim::optee::PAGE;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, Flavour};
use guest_shim::optee::words::Words;
use guest_shim::runtime::environment::Environment;
use host_abi::memory_map::guest::{DISTRIBUTOR, REDISTRIBUTORS, UART};
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::smc::{self, RpcFunction};
use optee_abi::{result, rpc};

use super::invoke::invokes;
use crate::held::{Held, NOBODY, STATS};

const AREA: &str = "addresses";

/// `STATS_CMD_GET_TIME` of [`STATS`].
const GET_TIME: u32 = 4;
/// What `TMEM_OUTPUT` is.
const CONTIGUOUS: u64 = 0xa;
/// The same with a list of pages.
const LIST: u64 = 0x20a;

/// Where an address can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Message(u32),
    Buffer,
    BufferList,
    PageOfBuffer,
    LastPageOfBuffer,
    LinkOfList,
    Temporary,
    TemporaryList,
    PageOfTemporary,
    RoomForRpcs,
    RpcMemory,
    RpcMemoryList,
}

const PLACES: [Place; 13] = [
    Place::Message(smc::CALL_WITH_ARG),
    Place::Message(smc::CALL_WITH_RPC_ARG),
    Place::Buffer,
    Place::BufferList,
    Place::PageOfBuffer,
    Place::LastPageOfBuffer,
    Place::LinkOfList,
    Place::Temporary,
    Place::TemporaryList,
    Place::PageOfTemporary,
    Place::RoomForRpcs,
    Place::RpcMemory,
    Place::RpcMemoryList,
];

/// Memory that is not the guest's, aligned to a page.
fn foreign(environment: &Environment) -> Vec<(&'static str, u64)> {
    let (start, _) = environment.memory;
    let end = environment.memory_end();
    alloc::vec![
        ("the distributor", DISTRIBUTOR),
        ("a redistributor", REDISTRIBUTORS),
        ("the UART", UART),
        ("TF-A", 0x0e00_0000),
        ("OP-TEE", 0x0e10_0000),
        ("the page before memory", start - PAGE),
        ("the page behind memory", end),
        (
            "what is another guest's or EL2's by number",
            end + (256 << 20)
        ),
        ("2^40", 1 << 40),
        ("2^48", 1 << 48),
        ("2^63", 1 << 63),
        ("the last page of all", !(PAGE - 1)),
    ]
}

/// Addresses of the guest's own memory that are not aligned as they have to be.
fn unaligned(environment: &Environment) -> Vec<(&'static str, u64)> {
    let last = environment.memory_end() - PAGE;
    alloc::vec![
        ("its last page and 1", last + 1),
        ("its last page and 4", last + 4)
    ]
}

fn memory(list: bool, address: u64, size: u64, reference: u64) -> Parameter {
    Parameter::Temporary {
        direction: Direction::Output,
        list,
        address,
        size,
        reference,
    }
}

fn registers(client: &Client, parameter: Parameter) -> Result<String, String> {
    said(&client.ask(&Words::new(command::REGISTER_SHM, &[parameter]))?)
}

/// OP-TEE asks for memory for an RPC argument, and gets `address`.
fn gives_room(client: &Client, address: u64) -> Result<String, String> {
    let session = client.open(Flavour::RpcArgument, STATS)?;
    let time = Parameter::Value {
        direction: Direction::Output,
        meta: false,
        words: [0; 3],
    };
    let words = Words::new(command::INVOKE_COMMAND, &[time; 2]).to(session, GET_TIME);
    let ready = client.prepare(Flavour::Argument, &words)?;
    let asked = client.send(&ready)?.asked()?;
    let cookie = fresh_cookie();
    let ([a1, a2], [a4, a5]) = (smc::split(address), smc::split(cookie));
    let freed = client.resume(asked.thread, [a1, a2, a4, a5])?.asked()?;
    if (freed.function, freed.value) != (RpcFunction::Free, cookie) {
        return Err(format!("it asks for {freed:x?}"));
    }
    let code = client.resume(freed.thread, [0; 4])?.done()?;
    let came = said(&client.collect(&ready, &words, code)?)?;
    client.close(Flavour::RpcArgument, session)?;
    Ok(format!("its cookie back, then {came}"))
}

/// OP-TEE asks for memory, and gets `address`.
fn gives_memory(client: &Client, attributes: u64, address: u64) -> Result<String, String> {
    let mut opening = Held::open(client, NOBODY)?;
    let asked = opening.command()?.ok_or("nothing is asked for")?;
    if asked.command() != rpc::SHM_ALLOC {
        return Err(format!("it asks for command {}", asked.command()));
    }
    let cookie = fresh_cookie();
    let mut answer = asked.with_attributes(0, attributes);
    answer.set_parameter(0, [address, PAGE, cookie]);
    opening.answer(answer, result::SUCCESS)?;
    let freed = opening.command()?.ok_or("nothing is freed")?;
    let back = freed.command() == rpc::SHM_FREE && freed.parameter(0)[1] == cookie;
    opening.answer(freed, result::SUCCESS)?;
    let reply = opening.end()?;
    if !back {
        return Err(String::from("its cookie does not come back"));
    }
    Ok(format!(
        "its cookie back, then {}",
        result(reply.came.result())
    ))
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Message(smc::CALL_WITH_ARG) => "of a message",
            Self::Message(_) => "of a message with room for RPCs",
            Self::Buffer => "of a buffer",
            Self::BufferList => "of a buffer's list",
            Self::PageOfBuffer => "of a buffer's only page",
            Self::LastPageOfBuffer => "of the last of 600 pages of a buffer",
            Self::LinkOfList => "of the second page of a list",
            Self::Temporary => "of temporary memory",
            Self::TemporaryList => "of a list of temporary memory",
            Self::PageOfTemporary => "of a page of temporary memory",
            Self::RoomForRpcs => "of room for an RPC argument",
            Self::RpcMemory => "of memory that OP-TEE asks for",
            Self::RpcMemoryList => "of a list of memory that OP-TEE asks for",
        }
    }

    fn gets(self) -> &'static str {
        match self {
            Self::Message(_) => "EBADADDR",
            Self::RoomForRpcs => "its cookie back, then OUT_OF_MEMORY",
            Self::RpcMemory | Self::RpcMemoryList => "its cookie back, then OUT_OF_MEMORY",
            _ => "BAD_PARAMETERS",
        }
    }

    fn attempt(self, client: &Client, address: u64) -> Result<String, String> {
        let cookie = fresh_cookie();
        match self {
            Self::Message(function) => {
                let [a1, a2] = smc::split(address);
                Ok(code(client.start(function, &[a1, a2])?.done()?))
            }
            Self::Buffer => registers(client, memory(false, address, PAGE, cookie)),
            Self::BufferList => registers(client, memory(true, address, PAGE, cookie)),
            Self::PageOfBuffer => {
                let list = client.list([address].into_iter());
                registers(client, memory(true, list.address, PAGE, cookie))
            }
            Self::LastPageOfBuffer => {
                let good = client.arena.pages(1).address;
                let list = client.list(core::iter::repeat_n(good, 599).chain([address]));
                registers(client, memory(true, list.address, 600 * PAGE, cookie))
            }
            Self::LinkOfList => {
                let good = client.arena.pages(1).address;
                let list = client.list(core::iter::repeat_n(good, 600));
                list.write(511 * 8, address);
                registers(client, memory(true, list.address, 600 * PAGE, cookie))
            }
            Self::Temporary => invokes(client, &[memory(false, address, 8, 0)]),
            Self::TemporaryList => invokes(client, &[memory(true, address, 8, 0)]),
            Self::PageOfTemporary => {
                let list = client.list([address].into_iter());
                invokes(client, &[memory(true, list.address, 8, 0)])
            }
            Self::RoomForRpcs => gives_room(client, address),
            Self::RpcMemory => gives_memory(client, CONTIGUOUS, address),
            Self::RpcMemoryList => gives_memory(client, LIST, address),
        }
    }
}

pub fn trials(environment: &Environment) -> Vec<Trial> {
    let of = |place: Place, (name, address): (&str, u64)| {
        Trial::new(
            AREA,
            format!("{name} as the address {}", place.name()),
            place.gets(),
            move |client, _| place.attempt(client, address),
        )
    };
    let mut trials = Vec::new();
    for place in PLACES {
        trials.extend(
            foreign(environment)
                .into_iter()
                .map(|address| of(place, address)),
        );
    }
    for place in [
        Place::Message(smc::CALL_WITH_ARG),
        Place::Message(smc::CALL_WITH_RPC_ARG),
        Place::PageOfBuffer,
        Place::LastPageOfBuffer,
        Place::LinkOfList,
        Place::PageOfTemporary,
        Place::RoomForRpcs,
    ] {
        trials.extend(
            unaligned(environment)
                .into_iter()
                .map(|address| of(place, address)),
        );
    }
    trials
}
