//! Yielding calls to OP-TEE: real messages, and messages that must be refused (`optee_msg.h`, OP-TEE 4.5.0).

use alloc::format;
use alloc::string::String;

use guest_shim::arch::memory::SpareMemory;
use guest_shim::case;
use guest_shim::cases::Outcome;
use guest_shim::conduit::call;
use guest_shim::environment::Environment;
use guest_shim::{check, check_eq};
use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use crate::other_vcpu::on_other_vcpu;
use crate::tee::call_tee;

const PAGE: u64 = 4096;

/// The pseudo-TA that lists devices, which is in every OP-TEE (`PTA_DEVICE_UUID`, `pta_device.h`):
/// 7011a688-ddde-4053-a5a9-7b3c4ddf13b8.
const DEVICE_LIST: [u8; 16] = [
    0x70, 0x11, 0xa6, 0x88, 0xdd, 0xde, 0x40, 0x53, 0xa5, 0xa9, 0x7b, 0x3c, 0x4d, 0xdf, 0x13, 0xb8,
];

/// A page of the guest that messages, lists or buffers lie in; cleared when it is not used any more.
struct Page {
    memory: SpareMemory,
    address: u64,
}

impl Page {
    /// Page number `index` of the spare memory.
    fn of(environment: &Environment, index: u64) -> Self {
        let memory = SpareMemory::of(environment.memory);
        let (start, _) = memory.bounds();
        Self {
            memory,
            address: start.next_multiple_of(PAGE) + index * PAGE,
        }
    }

    fn store(&self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        assert!(rest.is_empty(), "messages and lists consist of words");
        for (n, word) in words.iter().enumerate() {
            let address = self.address + n as u64 * 8;
            self.memory.write(address, u64::from_le_bytes(*word));
        }
    }

    fn load(&self, bytes: &mut [u8]) {
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (n, word) in words.iter_mut().enumerate() {
            let value = self.memory.read(self.address + n as u64 * 8);
            *word = value.to_le_bytes();
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        for address in (self.address..self.address + PAGE).step_by(8) {
            self.memory.write(address, 0);
        }
    }
}

/// Sends a message with CALL_WITH_ARG and sees the call through; gives the return code and the message as it came back.
fn converse(
    environment: &Environment,
    message: &Message,
    count: usize,
) -> Result<(u32, Message), String> {
    let conduit = environment.tee.ok_or("there is no TEE")?;
    let page = Page::of(environment, 0);
    let rpc_page = Page::of(environment, 1);
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
                [a4, a5] = [0, 1];
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
    let (code, reply) = converse(environment, message, count)?;
    check_eq!(code, status::OK, "the return code");
    Ok(reply.result())
}

fn open_session(environment: &Environment) -> Result<u32, String> {
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
    // The second one is the client's identity and login, here that of nobody in particular (TEE_LOGIN_PUBLIC).
    let message = Message::new(command::OPEN_SESSION, &[meta(DEVICE_LIST), meta([0; 16])]);
    let (code, reply) = converse(environment, &message, 2)?;
    check_eq!(code, status::OK, "the return code of OPEN_SESSION");
    check_eq!(
        reply.result(),
        result::SUCCESS,
        "the result of OPEN_SESSION"
    );
    Ok(reply.session())
}

fn close_session(environment: &Environment, session: u32) -> Result<u32, String> {
    let mut message = Message::new(command::CLOSE_SESSION, &[]);
    message.set_session(session);
    result_of(environment, &message, 0)
}

/// A message at an address that is not the guest's, or not a page's.
fn refused_at(environment: &Environment, id: u32) -> Outcome {
    let (start, _) = environment.memory;
    for address in [
        0,
        0x0900_0000,
        0x0e10_0000,
        start - PAGE,
        environment.memory_end(),
        environment.memory_end() + (1 << 30),
        1 << 40,
        u64::MAX - (PAGE - 1),
        start + 8,
        start + PAGE - 8,
    ] {
        let [upper, lower] = smc::split(address);
        call_tee(environment, id, &[upper, lower, 0], |exchange| {
            let code = exchange.after[0] as u32;
            check_eq!(code, status::EBADADDR, "the return code for {address:#x}");
            exchange.keeps_all_but(1)
        })?;
    }
    Ok(())
}

case!(4, messages_outside_of_memory_are_refused);
fn messages_outside_of_memory_are_refused(environment: &Environment) -> Outcome {
    refused_at(environment, smc::CALL_WITH_ARG)
}

case!(4, messages_with_rpc_argument_outside_of_memory_are_refused);
fn messages_with_rpc_argument_outside_of_memory_are_refused(environment: &Environment) -> Outcome {
    refused_at(environment, smc::CALL_WITH_RPC_ARG)
}

case!(
    4,
    messages_in_buffers_that_were_never_registered_are_refused
);
fn messages_in_buffers_that_were_never_registered_are_refused(
    environment: &Environment,
) -> Outcome {
    for cookie in [0, 1, environment.memory.0, 1 << 63, u64::MAX] {
        for offset in [0, 8, 0xffff_fff8] {
            let [upper, lower] = smc::split(cookie);
            call_tee(
                environment,
                smc::CALL_WITH_REGD_ARG,
                &[upper, lower, offset],
                |exchange| {
                    let code = exchange.after[0] as u32;
                    check_eq!(code, status::EBADADDR, "the return code for {cookie:#x}");
                    exchange.keeps_all_but(1)
                },
            )?;
        }
    }
    Ok(())
}

case!(4, an_rpc_that_was_never_asked_for_cannot_return);
fn an_rpc_that_was_never_asked_for_cannot_return(environment: &Environment) -> Outcome {
    for thread in [0, 1, 2, 3, 0xffff_ffff] {
        call_tee(
            environment,
            smc::RETURN_FROM_RPC,
            &[0, 0, thread],
            |exchange| {
                let code = exchange.after[0] as u32;
                check_eq!(code, status::ERESUME, "the return code for thread {thread}");
                exchange.keeps_all_but(1)
            },
        )?;
    }
    Ok(())
}

case!(4, unknown_message_commands_are_refused);
fn unknown_message_commands_are_refused(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    for unknown in [8, 0x8000_0000, u32::MAX] {
        let (code, _) = converse(environment, &Message::new(unknown, &[]), 0)?;
        check_eq!(
            code,
            status::EBADCMD,
            "the return code of command {unknown:#x}"
        );
    }
    Ok(())
}

case!(4, a_session_opens_and_closes);
fn a_session_opens_and_closes(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    for _ in 0..3 {
        let session = open_session(environment)?;
        check_eq!(
            close_session(environment, session)?,
            result::SUCCESS,
            "the result of CLOSE_SESSION"
        );
    }
    Ok(())
}

case!(9, a_session_opens_and_closes_on_another_vcpu);
fn a_session_opens_and_closes_on_another_vcpu(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    let session = open_session(environment)?;
    let own = environment.clone();
    let closed = on_other_vcpu(environment, move |_| close_session(&own, session))??;
    check_eq!(
        closed,
        result::SUCCESS,
        "the result of CLOSE_SESSION on vCPU 1"
    );
    Ok(())
}

case!(4, sessions_that_were_never_opened_do_not_close);
fn sessions_that_were_never_opened_do_not_close(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    let session = open_session(environment)?;
    close_session(environment, session)?;
    for session in [session, 0, 0x7777, u32::MAX] {
        let closed = close_session(environment, session)?;
        check!(
            closed != result::SUCCESS,
            "session {session:#x} closes although it is not open"
        );
    }
    Ok(())
}

/// Registers the page at `address` by a list, as `cookie`.
fn register(environment: &Environment, address: u64, cookie: u64) -> Result<u32, String> {
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

fn unregister(environment: &Environment, cookie: u64) -> Result<u32, String> {
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

case!(4, a_buffer_registers_and_unregisters);
fn a_buffer_registers_and_unregisters(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    let page = Page::of(environment, 3);
    for cookie in [0x1234, page.address, 1 << 63] {
        let registered = register(environment, page.address, cookie)?;
        check_eq!(registered, result::SUCCESS, "the result of REGISTER_SHM");
        let unregistered = unregister(environment, cookie)?;
        check_eq!(
            unregistered,
            result::SUCCESS,
            "the result of UNREGISTER_SHM"
        );
    }
    Ok(())
}

case!(4, buffers_outside_of_memory_do_not_register);
fn buffers_outside_of_memory_do_not_register(environment: &Environment) -> Outcome {
    if environment.tee.is_none() {
        return call_tee(environment, smc::CALL_WITH_ARG, &[0, 0], |_| Ok(()));
    }
    // Devices, secure memory, the hypervisor's own and what lies behind this guest's.
    for address in [
        0,
        0x0900_0000,
        0x0e10_0000,
        0x6000_0000,
        environment.memory_end(),
        1 << 40,
        !(PAGE - 1),
    ] {
        let registered = register(environment, address, 0x4321)?;
        check!(
            registered != result::SUCCESS,
            "the page at {address:#x} is registered"
        );
        let unregistered = unregister(environment, 0x4321)?;
        check!(
            unregistered != result::SUCCESS,
            "the page at {address:#x} was registered after all"
        );
    }
    Ok(())
}
