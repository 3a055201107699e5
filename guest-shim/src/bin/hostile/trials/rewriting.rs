//! Another vCPU rewrites what a call is made of, as fast as it can, while the call is made: what is
//! done is what one of the two says.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_shim::arch::exchange::Exchange;
use guest_shim::kit::trials::{Trial, code, result};
use guest_shim::optee::arena::{Area, fresh_cookie};
use guest_shim::optee::client::{Client, Flavour, whole};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::optee::{PAGE, TESTS};
use guest_shim::runtime::conduit::call;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu;
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::smc::{self, Returned, RpcFunction, status};
use smccc::Conduit;

use super::invoke::PARAMS;
use crate::held::{Held, STATS};

const AREA: &str = "rewriting";

/// Calls that are made while the other vCPU writes.
const CALLS: u32 = 300;

/// The vCPU that writes.
const OTHER: usize = 1;

static STOP: AtomicBool = AtomicBool::new(false);

/// Does `work` while the other vCPU stores these two words in turn at `offset` of `area`.
fn while_rewritten<T>(
    environment: &Environment,
    (area, offset): (Area, u64),
    [one, other]: [u64; 2],
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    STOP.store(false, Ordering::Release);
    vcpu::start(environment, OTHER, move |_| {
        while !STOP.load(Ordering::Acquire) {
            area.write(offset, one);
            area.write(offset, other);
        }
    })?;
    let done = work();
    STOP.store(true, Ordering::Release);
    vcpu::wait_until_off(environment, OTHER)?;
    done
}

/// What came, if all that did may.
fn only(came: &[String], may: &'static str) -> String {
    let others = came
        .iter()
        .find(|came| !may.split(" or ").any(|one| one == **came));
    others.cloned().unwrap_or_else(|| String::from(may))
}

/// Words of a message: the command, the session, the count; of its only parameter, the attributes
/// and three more.
const MESSAGE: [(&str, u64, u64, &str); 7] = [
    ("the command", 0, 0x7777, "SUCCESS or EBADCMD"),
    ("the session", 8, 0x4444_4444, "SUCCESS or BAD_PARAMETERS"),
    (
        "the number of parameters",
        24,
        127 << 32,
        "SUCCESS or BAD_PARAMETERS",
    ),
    ("the attributes", 32, 0x20b, "SUCCESS or BAD_PARAMETERS"),
    (
        "the attributes, to nonsense",
        32,
        0xff,
        "SUCCESS or BAD_PARAMETERS",
    ),
    ("the address", 40, 0x0e10_0000, "SUCCESS or BAD_PARAMETERS"),
    (
        "the size",
        48,
        u64::MAX,
        "SUCCESS or BAD_PARAMETERS or OUT_OF_MEMORY",
    ),
];

fn messages() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, offset, evil, may) in MESSAGE {
        trials.push(Trial::new(
            AREA,
            format!("{name} of a message, {CALLS} times"),
            may,
            move |client, environment| {
                let session = client.open(Flavour::RpcArgument, TESTS)?;
                let data = client.arena.pages(1);
                let memory = Parameter::Temporary {
                    direction: Direction::InOut,
                    list: false,
                    address: data.address,
                    size: 16,
                    reference: 0,
                };
                let words = Words::new(command::INVOKE_COMMAND, &[memory]).to(session, PARAMS);
                let area = client.arena.pages(2);
                let good = words.0[(offset / 8) as usize];
                // Of a word that has another number in its other half, that stays.
                let evil = if offset < 32 {
                    good & !wide(offset) | evil
                } else {
                    evil
                };
                let came = while_rewritten(environment, (area, offset), [good, evil], || {
                    let mut came = Vec::new();
                    for _ in 0..CALLS {
                        area.store(0, &words.0);
                        let [a1, a2] = smc::split(area.address);
                        let answer = client.start(smc::CALL_WITH_RPC_ARG, &[a1, a2])?.done()?;
                        let now = Words(area.load(0, words.0.len()));
                        came.push(match answer {
                            status::OK => result(now.result()),
                            other => code(other),
                        });
                    }
                    Ok(came)
                })?;
                client.close(Flavour::RpcArgument, session)?;
                Ok(only(&came, may))
            },
        ));
    }
    trials
}

/// The half of the word at `offset` of a message that is rewritten.
fn wide(offset: u64) -> u64 {
    if offset == 24 {
        0xffff_ffff << 32
    } else {
        0xffff_ffff
    }
}

fn lists() -> Vec<Trial> {
    let registers = |client: &Client, list: Area, pages: u64| {
        let cookie = fresh_cookie();
        let done = client.register_list(list.address, pages * PAGE, cookie)?;
        if done == optee_abi::result::SUCCESS {
            client.take_back(cookie)?;
        }
        Ok(result(done))
    };
    let mut trials = Vec::new();
    for (name, offset) in [
        ("the first page of a list", 0),
        ("the last page of a list", 599 % 511 * 8 + PAGE),
        ("the link of a list", 511 * 8),
    ] {
        for (what, evil) in [
            ("OP-TEE", 0x0e10_0000),
            ("the UART", 0x0900_0000),
            ("no page's start", 0x4000_0001),
            ("2^63", 1 << 63),
        ] {
            trials.push(Trial::new(
                AREA,
                format!("{name}, to {what}, 100 times"),
                "SUCCESS or BAD_PARAMETERS",
                move |client, environment| {
                    let good = client.arena.pages(1).address;
                    let list = client.list(core::iter::repeat_n(good, 600));
                    let words = [list.read(offset), evil];
                    let came = while_rewritten(environment, (list, offset), words, || {
                        (0..100)
                            .map(|_| registers(client, list, 600))
                            .collect::<Result<Vec<_>, _>>()
                    })?;
                    Ok(only(&came, "SUCCESS or BAD_PARAMETERS"))
                },
            ));
        }
    }
    trials
}

fn returns() -> Vec<Trial> {
    alloc::vec![
        Trial::new(
            AREA,
            "two vCPUs return with one thread ID, 100 times",
            "once ERESUME each time",
            |client, environment| {
                static THREAD: AtomicU64 = AtomicU64::new(0);
                static CAME: AtomicU32 = AtomicU32::new(0);
                static BEGUN: AtomicBool = AtomicBool::new(false);
                let conduit = environment.tee.ok_or("there is no TEE")?;
                let mut odd = String::new();
                for _ in 0..100 {
                    let session = client.open(Flavour::RpcArgument, STATS)?;
                    let asking = Held::ask_time(client, session)?;
                    THREAD.store(asking.thread()?, Ordering::Release);
                    BEGUN.store(false, Ordering::Release);
                    vcpu::start(environment, OTHER, move |_| {
                        BEGUN.store(true, Ordering::Release);
                        let thread = THREAD.load(Ordering::Acquire);
                        let exchange = call(conduit, smc::RETURN_FROM_RPC, &[0, 0, thread, 0, 0]);
                        CAME.store(sees_through(conduit, exchange), Ordering::Release);
                    })?;
                    while !BEGUN.load(Ordering::Acquire) {
                        core::hint::spin_loop();
                    }
                    let thread = THREAD.load(Ordering::Acquire);
                    let own = client.resume(thread, [0; 4])?.done()?;
                    vcpu::wait_until_off(environment, OTHER)?;
                    let codes = [own, CAME.load(Ordering::Acquire)];
                    let refused = codes.iter().filter(|code| **code == status::ERESUME);
                    if refused.count() != 1 {
                        odd = format!("{codes:x?}");
                    }
                    // Whoever it was got the call to its end.
                    client.close(Flavour::RpcArgument, session)?;
                }
                Ok(if odd.is_empty() {
                    String::from("once ERESUME each time")
                } else {
                    odd
                })
            },
        ),
        Trial::new(
            AREA,
            "one vCPU registers and takes back what another one refers to, 300 times",
            "SUCCESS or BAD_PARAMETERS",
            |client, environment| {
                let session = client.open(Flavour::RpcArgument, TESTS)?;
                let (data, cookie) = (client.arena.pages(1), fresh_cookie());
                let part = Parameter::Registered {
                    direction: Direction::InOut,
                    offset: 8,
                    size: 16,
                    reference: cookie,
                };
                let words = Words::new(command::INVOKE_COMMAND, &[part]).to(session, PARAMS);
                let list = client.list(data.addresses());
                let buffer = Parameter::Temporary {
                    direction: Direction::Output,
                    list: true,
                    address: list.address,
                    size: PAGE,
                    reference: cookie,
                };
                let there = Words::new(command::REGISTER_SHM, &[buffer]);
                let away = Words::new(command::UNREGISTER_SHM, &[whole(cookie)]);
                let other = client.for_another_vcpu();
                let ready = other.prepare(Flavour::RpcArgument, &there)?;
                STOP.store(false, Ordering::Release);
                vcpu::start(environment, OTHER, move |_| {
                    while !STOP.load(Ordering::Acquire) {
                        for message in [&there, &away] {
                            other.write(&ready, message);
                            // What came of it is seen by who refers to the buffer.
                            let _ = other.send(&ready).and_then(|answer| {
                                other.see_through(&ready, answer, &mut Supplicant::none())
                            });
                        }
                    }
                })?;
                let mut came = Vec::new();
                for _ in 0..CALLS {
                    let reply = client.ask(&words)?;
                    came.push(match reply.status {
                        status::OK => result(reply.came.result()),
                        other => code(other),
                    });
                }
                STOP.store(true, Ordering::Release);
                vcpu::wait_until_off(environment, OTHER)?;
                client.close(Flavour::RpcArgument, session)?;
                Ok(only(&came, "SUCCESS or BAD_PARAMETERS"))
            },
        ),
    ]
}

/// Takes interrupts until a call is over; gives its return code.
fn sees_through(conduit: Conduit, mut exchange: Exchange) -> u32 {
    loop {
        let [a0, _, _, thread]: [u64; 4] = exchange.results();
        let Returned::Rpc(RpcFunction::ForeignInterrupt) = Returned::from_a0(a0 as u32) else {
            return a0 as u32;
        };
        exchange = call(conduit, smc::RETURN_FROM_RPC, &[0, 0, thread, 0, 0]);
    }
}

pub fn trials(environment: &Environment) -> Vec<Trial> {
    if environment.vcpus.len() <= OTHER {
        return Vec::new();
    }
    [messages(), lists(), returns()]
        .into_iter()
        .flatten()
        .collect()
}
