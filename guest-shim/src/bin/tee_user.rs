//! Uses the TEE without end and without tidying up: to be restarted at any moment.
//!
//! It enables notifications, shares buffers, opens a session, leaves a call in the middle of an
//! RPC, another one each time, and then goes on with calls on OP-TEE's other thread.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod tee_user {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use guest_shim::arch::exchange::SUCCESS;
    use guest_shim::check_eq;
    use guest_shim::optee::{PAGE, Page, close_session, open_session, opening, register};
    use guest_shim::runtime::conduit::{call, smc};
    use guest_shim::runtime::environment::Environment;
    use optee_abi::message::{CAPACITY, Direction, Message, Parameter};
    use optee_abi::smc::{self, Returned, RpcFunction, status};
    use optee_abi::{pagelist, result, rpc};

    /// Buffers that stay registered.
    const BUFFERS: u64 = 8;
    /// Pages of spare memory, by number: messages of calls that end come first.
    const LEFT_MESSAGE: u64 = 4;
    const LEFT_ARGUMENT: u64 = 5;
    const FIRST_BUFFER: u64 = 8;
    const FIRST_FREE: u64 = FIRST_BUFFER + BUFFERS;

    /// A trusted application that OP-TEE has to ask the guest for.
    const ELSEWHERE: [u8; 16] = *b"bulkhead's guest";
    /// The bytes it is said to have. They are none that OP-TEE would load.
    const APPLICATION_BYTES: u64 = 3 * PAGE;
    /// How many RPCs OP-TEE 4.5.0 has before it gives up on the application: one for memory for the
    /// others, 12 commands, one to give the memory back.
    const RPCS: u64 = 14;

    /// `TEE_ERROR_ITEM_NOT_FOUND` (`tee_api_defines.h`, OP-TEE 4.5.0)
    const ITEM_NOT_FOUND: u32 = 0xffff_0008;

    /// TRNG_RND64 (DEN0098 1.0, §2.5).
    const RANDOM: u32 = 0xc400_0053;

    guest_shim::payload!(run);

    fn run(environment: &Environment) {
        match occupy(environment) {
            Ok(rpc) => guest_shim::println!("@@occupied, and left a call at {rpc}"),
            Err(reason) => {
                guest_shim::println!("@@failed {reason}");
                return;
            }
        }
        loop {
            if let Err(reason) = use_the_tee(environment) {
                guest_shim::println!("@@failed {reason}");
                return;
            }
        }
    }

    /// Leaves notifications enabled, buffers, a session and a call; says at which RPC.
    fn occupy(environment: &Environment) -> Result<String, String> {
        let conduit = environment.tee.ok_or("there is no TEE")?;
        let enabled = call(conduit, smc::ENABLE_ASYNC_NOTIF, &[]).results::<1>()[0];
        check_eq!(enabled as u32, status::OK, "ENABLE_ASYNC_NOTIF");
        for n in 0..BUFFERS {
            let buffer = Page::of(environment, FIRST_BUFFER + n);
            let registered = register(environment, buffer.address, buffer.address)?;
            check_eq!(registered, result::SUCCESS, "the result of REGISTER_SHM");
        }
        open_session(environment)?;
        let drawn = smc(RANDOM, &[64]);
        check_eq!(drawn.result(), SUCCESS, "TRNG_RND64");
        let [_, _, _, random]: [u64; 4] = drawn.results();
        leave_a_call(environment, random % RPCS)
    }

    /// Two calls, in which a restart may come at any point.
    fn use_the_tee(environment: &Environment) -> Result<(), String> {
        let session = open_session(environment)?;
        let closed = close_session(environment, session)?;
        check_eq!(closed, result::SUCCESS, "the result of CLOSE_SESSION");
        Ok(())
    }

    /// Begins a call in which OP-TEE asks for things, answers a number of RPCs and leaves it at the
    /// next one.
    fn leave_a_call(environment: &Environment, answers: u64) -> Result<String, String> {
        let conduit = environment.tee.ok_or("there is no TEE")?;
        let page = Page::of(environment, LEFT_MESSAGE);
        let argument = Page::of(environment, LEFT_ARGUMENT);
        page.store(opening(ELSEWHERE).bytes(2));
        let [upper, lower] = smc::split(page.address);
        let mut answered = 0;
        let mut free = FIRST_FREE;
        let mut exchange = call(conduit, smc::CALL_WITH_ARG, &[upper, lower]);
        let left_at = loop {
            let [a0, mut a1, mut a2, a3, mut a4, mut a5]: [u64; 6] = exchange.results();
            let rpc = match Returned::from_a0(a0 as u32) {
                Returned::Done(code) => {
                    return Err(format!(
                        "a call ends with {code:#x} after {answered} of {answers} RPCs"
                    ));
                }
                Returned::Rpc(rpc) => rpc,
            };
            if rpc != RpcFunction::ForeignInterrupt {
                if answered == answers {
                    break name(rpc, &argument);
                }
                answered += 1;
            }
            match rpc {
                RpcFunction::Alloc => {
                    [a1, a2] = smc::split(argument.address);
                    [a4, a5] = [a1, a2];
                }
                RpcFunction::Command => obey(environment, &argument, &mut free)?,
                RpcFunction::ForeignInterrupt | RpcFunction::Free => {}
                RpcFunction::Unknown(number) => return Err(format!("there is no RPC {number}")),
            }
            exchange = call(conduit, smc::RETURN_FROM_RPC, &[a1, a2, a3, a4, a5]);
        };
        // What lies in them is the call's, which is not over.
        core::mem::forget((page, argument));
        Ok(left_at)
    }

    fn name(rpc: RpcFunction, argument: &Page) -> String {
        if rpc != RpcFunction::Command {
            return format!("{rpc:?}");
        }
        let mut message = Message::default();
        argument.load(message.bytes_mut(0));
        match message.command() {
            rpc::LOAD_TA => String::from("LOAD_TA"),
            rpc::FS => String::from("FS"),
            rpc::SHM_ALLOC => String::from("SHM_ALLOC"),
            rpc::SHM_FREE => String::from("SHM_FREE"),
            other => format!("command {other}"),
        }
    }

    /// Does what an RPC asks for: gives memory and an application, and has no files.
    fn obey(environment: &Environment, argument: &Page, free: &mut u64) -> Result<(), String> {
        let mut message = Message::default();
        argument.load(message.bytes_mut(CAPACITY));
        let mut outcome = result::SUCCESS;
        match message.command() {
            rpc::SHM_ALLOC => {
                let [_, bytes, _] = message.words(0);
                message.set_parameter(0, allocate(environment, bytes, free)?);
            }
            rpc::SHM_FREE => {}
            rpc::LOAD_TA => message.set_size(1, APPLICATION_BYTES),
            _ => outcome = ITEM_NOT_FOUND,
        }
        message.set_result(outcome, 0);
        let count = message
            .count()
            .map_err(|_| "an RPC has too many parameters")?;
        argument.store(message.bytes(count));
        Ok(())
    }

    /// Pages that are used for nothing else, `bytes` in all, behind a list of them.
    fn allocate(
        environment: &Environment,
        bytes: u64,
        free: &mut u64,
    ) -> Result<Parameter, String> {
        let pages = bytes.div_ceil(PAGE);
        if pages > pagelist::ENTRIES as u64 {
            return Err(format!("an RPC asks for {pages} pages"));
        }
        let list = Page::of(environment, *free);
        let first = list.address + PAGE;
        let addresses = (first..).step_by(PAGE as usize).take(pages as usize);
        let entries: Vec<u8> = addresses.flat_map(u64::to_le_bytes).collect();
        list.store(&entries);
        *free += 1 + pages;
        let parameter = Parameter::Temporary {
            direction: Direction::Output,
            list: true,
            address: list.address,
            size: bytes,
            reference: list.address,
        };
        core::mem::forget(list);
        Ok(parameter)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "tee_user: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
