//! A small client: messages in pages of spare memory, sent with CALL_WITH_ARG and seen through.

use alloc::format;
use alloc::string::String;

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use super::page::{PAGE, Page};
use crate::check_eq;
use crate::runtime::conduit::call;
use crate::runtime::environment::Environment;

/// The pseudo-TA that lists devices, which is in every OP-TEE (`PTA_DEVICE_UUID`, `pta_device.h`):
/// 7011a688-ddde-4053-a5a9-7b3c4ddf13b8.
pub const DEVICE_LIST: [u8; 16] = [
    0x70, 0x11, 0xa6, 0x88, 0xdd, 0xde, 0x40, 0x53, 0xa5, 0xa9, 0x7b, 0x3c, 0x4d, 0xdf, 0x13, 0xb8,
];

/// The pseudo-TA of OP-TEE's own tests (`PTA_INVOKE_TESTS_UUID`, `pta_invoke_tests.h`):
/// d96a5b40-c3e5-21e3-8794-1002a5d5c61b.
pub const TESTS: [u8; 16] = [
    0xd9, 0x6a, 0x5b, 0x40, 0xc3, 0xe5, 0x21, 0xe3, 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b,
];

/// Sends a message of `count` parameters with CALL_WITH_ARG and sees the call through; gives the
/// return code and the message as it came back. The page of spare memory with number `first` and
/// the next one are used for it.
///
/// # Errors
///
/// There is no TEE, or it asks for something. Then the call is left as it is.
pub fn converse(
    environment: &Environment,
    first: u64,
    message: &Message,
    count: usize,
) -> Result<(u32, Message), String> {
    let conduit = environment.tee.ok_or("there is no TEE")?;
    let page = Page::of(environment, first);
    let rpc_page = Page::of(environment, first + 1);
    page.store(message.bytes(count));
    let [upper, lower] = smc::split(page.address);
    let mut exchange = call(conduit, smc::CALL_WITH_ARG, &[upper, lower]);
    // Interrupts of other guests may come between as often as they like.
    for _ in 0..100_000 {
        let [a0, mut a1, mut a2, a3, mut a4, mut a5]: [u64; 6] = exchange.results();
        match Returned::from_a0(a0 as u32) {
            Returned::Done(code) => {
                exchange.keeps_all_but(6)?;
                let mut reply = *message;
                page.load(reply.bytes_mut(count));
                return Ok((code, reply));
            }
            Returned::Rpc(RpcFunction::Alloc) => {
                [a1, a2] = smc::split(rpc_page.address);
                [a4, a5] = smc::split(rpc_page.address);
            }
            Returned::Rpc(RpcFunction::ForeignInterrupt | RpcFunction::Free) => {}
            Returned::Rpc(other) => return Err(format!("the TEE asks for {other:?}")),
        }
        exchange = call(conduit, smc::RETURN_FROM_RPC, &[a1, a2, a3, a4, a5]);
    }
    Err(String::from("the call does not end"))
}

/// The result of a message that the TEE took.
fn result_of(environment: &Environment, message: &Message, count: usize) -> Result<u32, String> {
    let (code, reply) = converse(environment, 0, message, count)?;
    check_eq!(code, status::OK, "the return code");
    Ok(reply.result())
}

/// The message that opens a session with the trusted application of this UUID; it has two
/// parameters.
pub fn opening(application: [u8; 16]) -> Message {
    let meta = |bytes: [u8; 16]| {
        let (words, _) = bytes.as_chunks::<8>();
        Parameter::Value {
            direction: Direction::Input,
            meta: true,
            words: [
                u64::from_le_bytes(words[0]),
                u64::from_le_bytes(words[1]),
                0,
            ],
        }
    };
    // The second one is the client's identity and login, here that of nobody in particular
    // (TEE_LOGIN_PUBLIC).
    Message::new(command::OPEN_SESSION, &[meta(application), meta([0; 16])])
}

/// Opens a session with [`DEVICE_LIST`]; gives its number.
///
/// # Errors
///
/// It does not open.
pub fn open_session(environment: &Environment) -> Result<u32, String> {
    let (code, reply) = converse(environment, 0, &opening(DEVICE_LIST), 2)?;
    check_eq!(code, status::OK, "the return code of OPEN_SESSION");
    check_eq!(
        reply.result(),
        result::SUCCESS,
        "the result of OPEN_SESSION"
    );
    Ok(reply.session())
}

/// Closes a session; gives the result.
///
/// # Errors
///
/// The TEE does not take the message.
pub fn close_session(environment: &Environment, session: u32) -> Result<u32, String> {
    let mut message = Message::new(command::CLOSE_SESSION, &[]);
    message.set_session(session);
    result_of(environment, &message, 0)
}

/// Registers the page at `address` by a list, as `cookie`; gives the result.
///
/// # Errors
///
/// The TEE does not take the message.
pub fn register(environment: &Environment, address: u64, cookie: u64) -> Result<u32, String> {
    let list = Page::of(environment, 2);
    list.store(&address.to_le_bytes());
    let buffer = Parameter::Temporary {
        direction: Direction::Output,
        list: true,
        address: list.address,
        size: PAGE,
        reference: cookie,
    };
    result_of(
        environment,
        &Message::new(command::REGISTER_SHM, &[buffer]),
        1,
    )
}

/// Takes a registered buffer back; gives the result.
///
/// # Errors
///
/// The TEE does not take the message.
pub fn unregister(environment: &Environment, cookie: u64) -> Result<u32, String> {
    let buffer = Parameter::Registered {
        direction: Direction::Input,
        offset: 0,
        size: 0,
        reference: cookie,
    };
    result_of(
        environment,
        &Message::new(command::UNREGISTER_SHM, &[buffer]),
        1,
    )
}
