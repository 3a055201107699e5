//! What OP-TEE commands a guest to do.

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{RpcFunction, status};

use crate::Tee as _;
use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, World, assert_nothing_left, get, guest, invoke, is_rpc, register,
    registered, resume, rpc_arg, send, temporary, value,
};
use smccc::CallRegisters;

/// Sends `request` in a call that the guest makes, and gives the command as the guest gets it.
fn command(
    world: &World,
    guest: &Guest,
    request: Message,
    check: impl FnOnce(&Message) + Send + 'static,
) -> CallRegisters {
    world.command(request, check);
    send(world, guest, &invoke(&[]))
}

/// The mediator answers `request` itself with `expected`, and the guest does not see it.
fn assert_kept_from_the_guest(request: Message, expected: u32) {
    let (world, guest) = guest();
    register(&world, &guest, 7, BUFFER, 1);
    let registers = command(&world, &guest, request, move |answer| {
        assert_eq!(
            (answer.result(), answer.origin()),
            (expected, result::ORIGIN_COMMS)
        );
    });
    assert_eq!(registers[0], u64::from(status::OK));
}

#[test]
fn values_go_both_ways() {
    let (world, guest) = guest();
    let request = Message::new(
        rpc::FS,
        &[
            value(Direction::Input, [1, 2, 3]),
            value(Direction::Output, [4, 5, 6]),
            value(Direction::InOut, [7, 8, 9]),
            Parameter::None,
        ],
    );
    let registers = command(&world, &guest, request, |answer| {
        assert_eq!(answer.words(0), [1, 2, 3], "it does not come back");
        assert_eq!(answer.words(1), [40, 50, 60]);
        assert_eq!(answer.words(2), [70, 80, 90]);
        assert_eq!((answer.result(), answer.origin()), (0xffff_0001, 3));
    });
    assert!(is_rpc(&registers, RpcFunction::Command));
    let at = rpc_arg(&invoke(&[]));
    let mut seen = get(&world, at);
    assert_eq!((seen.command(), seen.count()), (rpc::FS, Ok(4)));
    assert_eq!(
        [seen.words(0), seen.words(1), seen.words(2)],
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    );
    for (index, word) in [10, 40, 70].into_iter().enumerate() {
        seen.set_words(index, [word, word + 10, word + 20]);
    }
    seen.set_result(0xffff_0001, 3);
    world.poke(at, seen.bytes(4));
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
    assert_eq!(guest.stats().rpcs, 1);
    assert_nothing_left(&world, &guest);
}

#[test]
fn every_command_that_guests_serve_reaches_them() {
    for number in [
        rpc::LOAD_TA,
        rpc::RPMB,
        rpc::FS,
        rpc::GET_TIME,
        rpc::NOTIFICATION,
        rpc::SUSPEND,
        rpc::SHM_ALLOC,
        rpc::GPROF,
        rpc::SOCKET,
        rpc::FTRACE,
        rpc::SUPP_PLUGIN,
        rpc::I2C_TRANSFER,
        rpc::RPMB_PROBE_RESET,
        rpc::RPMB_PROBE_NEXT,
        rpc::RPMB_FRAMES,
    ] {
        let (world, guest) = guest();
        let request = Message::new(number, &[value(Direction::Input, [1, 2, 3])]);
        let registers = command(&world, &guest, request, |_| ());
        assert!(is_rpc(&registers, RpcFunction::Command), "{number}");
        assert_eq!(get(&world, rpc_arg(&invoke(&[]))).command(), number);
    }
}

#[test]
fn commands_whose_values_nobody_knows_are_kept_from_the_guest() {
    for number in [rpc::BENCH_REG, 8, 13, 25, 0xffff_ffff] {
        let request = Message::new(number, &[value(Direction::Input, [0, 0x5a_4000_0000, 0])]);
        assert_kept_from_the_guest(request, result::NOT_SUPPORTED);
    }
}

#[test]
fn memory_is_named_by_the_guests_cookie() {
    let (world, guest) = guest();
    register(&world, &guest, 0xc00c1e, BUFFER, 1);
    let handle = world.shared()[0].0;
    let request = Message::new(
        rpc::LOAD_TA,
        &[
            registered(Direction::Output, handle, 0x10, 0x20),
            registered(Direction::Input, handle, 0, 0x1000),
            temporary(false, 0, 0x99, 0),
            registered(Direction::InOut, 0, 0, 0),
        ],
    );
    let registers = command(&world, &guest, request, move |answer| {
        assert_eq!(answer.words(0), [0x10, 0x8, handle], "a size comes back");
        assert_eq!(answer.words(1), [0, 0x1000, handle]);
        assert_eq!(
            answer.words(2),
            [0, 0x1_0000, 0],
            "as does one that was asked for"
        );
    });
    let at = rpc_arg(&invoke(&[]));
    let mut seen = get(&world, at);
    assert_eq!(
        seen.parameter(0),
        Ok(registered(Direction::Output, 0xc00c1e, 0x10, 0x20))
    );
    assert_eq!(
        seen.parameter(1),
        Ok(registered(Direction::Input, 0xc00c1e, 0, 0x1000))
    );
    assert_eq!(seen.parameter(2), Ok(temporary(false, 0, 0x99, 0)));
    assert_eq!(seen.parameter(3), Ok(temporary(false, 0, 0, 0)));
    // The guest answers with sizes, and with names and offsets that nobody asked for.
    seen.set_parameter(0, registered(Direction::Output, 0x666, 0x999, 0x8));
    seen.set_parameter(1, registered(Direction::Output, 0x666, 0x999, 0x8));
    seen.set_parameter(2, temporary(true, 0x666, 0x1_0000, 0x999));
    seen.set_result(result::SUCCESS, 0);
    world.poke(at, seen.bytes(4));
    assert_eq!(resume(&guest, &registers)[0], u64::from(status::OK));
}

#[test]
fn memory_that_the_guest_does_not_share_is_kept_from_it() {
    for parameter in [
        registered(Direction::Output, 0x1234_5678, 0, 1),
        registered(Direction::Output, 0xffff_ffff, 0, 1),
        registered(Direction::Output, 7, 0, 1),
        registered(Direction::Output, 0x1_0000_0001, 0, 0x1001),
        registered(Direction::Output, 0x1_0000_0001, u64::MAX, 2),
        temporary(false, 0x5a_4000_0000, 16, 0),
        temporary(true, 0x77_0000_0000, 16, 0x1_0000_0001),
        Parameter::Value {
            direction: Direction::Input,
            meta: true,
            words: [0; 3],
        },
    ] {
        assert_kept_from_the_guest(Message::new(rpc::FS, &[parameter]), result::BAD_PARAMETERS);
    }
}

#[test]
fn more_parameters_than_there_is_room_for_are_kept_from_the_guest() {
    let request = Message::new(rpc::FS, &[value(Direction::Input, [1, 2, 3]); 5]);
    let (world, guest) = guest();
    world.command(request, |answer| {
        assert_eq!(answer.result(), result::BAD_PARAMETERS);
    });
    assert_eq!(send(&world, &guest, &invoke(&[]))[0], u64::from(status::OK));
}

#[test]
fn an_answer_is_read_once_after_the_guest_returned() {
    let (world, guest) = guest();
    let request = Message::new(rpc::GET_TIME, &[value(Direction::Output, [0; 3])]);
    let registers = command(&world, &guest, request, |answer| {
        assert_eq!(
            (answer.command(), answer.count()),
            (rpc::GET_TIME, Ok(1)),
            "what OP-TEE asked stands"
        );
        assert_eq!(answer.words(0), [1, 2, 3]);
    });
    let at = rpc_arg(&invoke(&[]));
    let reply = Message::new(0xffff, &[value(Direction::InOut, [1, 2, 3]); 6]);
    world.poke(at, reply.bytes(6));
    world.0.reads.lock().unwrap().clear();
    world.after_read(move |world, _, _| world.poke(at, &[0xff; 64]));
    resume(&guest, &registers);
    assert_eq!(*world.0.reads.lock().unwrap(), [(at, 64)]);
}

#[test]
fn what_op_tee_need_not_ask_gets_an_empty_answer() {
    for function in [
        RpcFunction::Alloc,
        RpcFunction::Free,
        RpcFunction::Unknown(7),
    ] {
        let (world, guest) = guest();
        world.act(Act::Bare(function));
        assert_eq!(send(&world, &guest, &invoke(&[]))[0], u64::from(status::OK));
        assert_eq!(
            world.optee().calls.last().unwrap()[1..6],
            [0, 0, crate::optee::fakes::OPTEE_THREAD, 0, 0]
        );
    }
}

#[test]
fn several_commands_come_in_one_call_with_interrupts_between() {
    let (world, guest) = guest();
    for number in 0..3 {
        world.act(Act::Interrupt);
        let request = Message::new(rpc::SUSPEND, &[value(Direction::Input, [number, 0, 0])]);
        world.command(request, |answer| {
            assert_eq!(answer.result(), result::SUCCESS);
        });
    }
    let message = invoke(&[value(Direction::InOut, [1, 2, 3])]);
    let mut registers = send(&world, &guest, &message);
    for number in 0..3 {
        assert!(is_rpc(&registers, RpcFunction::ForeignInterrupt));
        registers = resume(&guest, &registers);
        assert!(is_rpc(&registers, RpcFunction::Command));
        let mut seen = get(&world, rpc_arg(&message));
        assert_eq!(seen.words(0)[0], number);
        seen.set_result(result::SUCCESS, 0);
        world.poke(rpc_arg(&message), seen.bytes(1));
        registers = resume(&guest, &registers);
    }
    assert_eq!(registers[0], u64::from(status::OK));
    assert_eq!(get(&world, ARG).words(0), [2, 4, 3]);
    assert_eq!(get(&world, ARG).command(), command::INVOKE_COMMAND);
}
