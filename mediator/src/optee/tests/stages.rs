//! A guest goes, or starts another kernel, at each stage of its calls: nothing of it is left, and
//! nothing is written to memory that is not the call's any more.

use std::format;
use std::sync::atomic::Ordering;
use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::smc::{self, Returned, RpcFunction, status};
use optee_abi::{result, rpc};

use crate::optee::fakes::{
    ARG, Act, BUFFER, Guest, LIST, READY, World, assert_nothing_left, exchange, guest, invoke, put,
    put_list, register, register_message, smc_with, temporary, unregister_message, value,
};
use crate::{Teardown, Tee};
use smccc::CallRegisters;

/// Where the call that is left lies, and where the guest has room for RPCs if it is asked.
const LEFT: u64 = ARG + 0x1_0000;
const ARGUMENT: u64 = ARG + 0x2_0000;
/// Pages of a buffer whose translation stops for interrupts.
const PAGES: u64 = 200;
/// No call has more returns to the guest than this.
const RETURNS_MAX: usize = 200;

/// The call that has nothing shared but for itself.
const TEMPORARY_MEMORY: &str = "temporary memory";

/// The call that comes to its end only after another one.
const WAITS_FOR_ANOTHER: &str = "a close of a used session";

/// A call that a guest leaves.
struct Scenario {
    name: &'static str,
    function: u32,
    message: Message,
    /// How many times OP-TEE is entered anew for it.
    errands: usize,
    /// What OP-TEE asks for in each of them.
    asks: &'static [u32],
    /// What comes before.
    prepare: fn(&World, &Guest),
}

/// How a guest goes.
#[derive(Clone, Copy, Debug)]
enum Going {
    ForGood,
    ToComeBack,
    ForAnotherKernel,
}

fn with_lists() -> Message {
    let size = PAGES * 4096;
    invoke(&[
        temporary(true, LIST, size, 1),
        value(Direction::InOut, [1, 2, 3]),
        temporary(true, LIST, size, 2),
    ])
}

fn message(command: u32) -> Message {
    let mut message = Message::new(command, &[]);
    message.set_session(READY);
    message
}

/// Lets the memory for messages fall behind twice, so that it is renewed and the one before is
/// retired.
fn fall_behind(world: &World, guest: &Guest) {
    for cookie in 100..165 {
        register(world, guest, cookie, BUFFER, 1);
    }
    exchange(world, guest, &invoke(&[]));
    for cookie in 200..265 {
        register(world, guest, cookie, BUFFER, 1);
    }
}

fn register_one(world: &World, guest: &Guest) {
    register(world, guest, 7, BUFFER, 1);
}

fn use_the_session(world: &World, guest: &Guest) {
    world.act(Act::Interrupt);
    put(world, ARG, &invoke(&[]));
    crate::optee::fakes::call_at(guest, ARG);
}

fn nothing(_: &World, _: &Guest) {}

fn scenarios() -> Vec<Scenario> {
    let call = |name, message, errands, prepare| Scenario {
        name,
        function: smc::CALL_WITH_RPC_ARG,
        message,
        errands,
        asks: &[],
        prepare,
    };
    let asking = |name, function, message| Scenario {
        name,
        function,
        message,
        errands: 1,
        asks: &[
            rpc::LOAD_TA,
            rpc::SHM_ALLOC,
            rpc::FS,
            rpc::NOTIFICATION,
            rpc::SHM_ALLOC,
            rpc::BENCH_REG,
        ],
        prepare: nothing,
    };
    let register_again = register_message(LIST, PAGES * 4096, 7);
    std::vec![
        call(TEMPORARY_MEMORY, with_lists(), 5, nothing),
        call("renewal", with_lists(), 7, fall_behind),
        call("a buffer", register_again, 1, nothing),
        call("a buffer in place of one", register_again, 2, register_one),
        call("a buffer less", unregister_message(7), 1, register_one),
        call("a close", message(command::CLOSE_SESSION), 1, nothing),
        call(
            WAITS_FOR_ANOTHER,
            message(command::CLOSE_SESSION),
            1,
            use_the_session,
        ),
        asking("requests", smc::CALL_WITH_RPC_ARG, invoke(&[])),
        asking("requests with memory", smc::CALL_WITH_ARG, invoke(&[])),
        asking(
            "requests while a session opens",
            smc::CALL_WITH_ARG,
            message(command::OPEN_SESSION),
        ),
    ]
}

fn is_over(registers: &CallRegisters) -> bool {
    matches!(Returned::from_a0(registers[0] as u32), Returned::Done(_))
}

fn request(command: u32) -> Message {
    let words = match command {
        rpc::SHM_ALLOC => [0, PAGES * 4096, 8],
        rpc::NOTIFICATION => [rpc::NOTIFICATION_SEND, 65, 0],
        _ => [1, 2, 3],
    };
    Message::new(command, &[value(Direction::Input, words)])
}

impl Scenario {
    /// OP-TEE has no thread, then is interrupted, each time that it is entered for the call, and
    /// before and after all that it asks for.
    fn script(&self, world: &World) {
        for _ in 0..self.errands {
            world.act(Act::ThreadLimit);
            world.act(Act::Interrupt);
            for command in self.asks {
                world.command(request(*command), |_| ());
                world.act(Act::Interrupt);
            }
            world.act(Act::Obey);
        }
    }

    /// After how many returns it is over at the latest, or after how many they are all alike.
    fn returns_max(&self) -> usize {
        match self.name {
            WAITS_FOR_ANOTHER => 3,
            _ => RETURNS_MAX,
        }
    }

    fn call(&self, world: &World, guest: &Guest) -> CallRegisters {
        put(world, LEFT, &self.message);
        let [a1, a2] = smc::split(LEFT);
        smc_with(guest, &[u64::from(self.function), a1, a2])
    }

    /// Where the guest has its RPC argument.
    fn argument(&self) -> u64 {
        let behind = optee_abi::message::size_with(self.message.count().unwrap());
        match self.function {
            smc::CALL_WITH_ARG => ARGUMENT,
            _ => LEFT + behind as u64,
        }
    }

    /// Does what the guest is asked for, as a guest does that knows nothing of a memory limit.
    fn obey(&self, world: &World, guest: &Guest, asked: &CallRegisters) -> CallRegisters {
        let mut answer = [u64::from(smc::RETURN_FROM_RPC), 0, 0, asked[3], 0, 0];
        let is = |function: RpcFunction| asked[0] == u64::from(function.a0());
        if is(RpcFunction::Alloc) {
            [answer[1], answer[2]] = smc::split(ARGUMENT);
            answer[5] = 0x77;
        } else if is(RpcFunction::Command) {
            let at = self.argument();
            let request = crate::optee::fakes::get(world, at);
            let mut reply = request;
            if request.command() == rpc::SHM_ALLOC {
                // The second time it is no memory.
                let list = if guest.stats().buffers.is_multiple_of(2) {
                    LIST
                } else {
                    0x1000
                };
                let memory = Parameter::Temporary {
                    direction: Direction::Output,
                    list: true,
                    address: list,
                    size: PAGES * 4096,
                    reference: 0x88 + list,
                };
                reply = Message::new(rpc::SHM_ALLOC, &[memory]);
            }
            reply.set_result(result::SUCCESS, 0);
            put(world, at, &reply);
        }
        smc_with(guest, &answer)
    }

    /// Goes on with the call for `returns` returns to the guest. `None` if it is over before.
    fn run(&self, world: &World, guest: &Guest, returns: usize) -> Option<CallRegisters> {
        let mut registers = self.call(world, guest);
        for _ in 0..returns {
            if is_over(&registers) {
                return None;
            }
            registers = self.obey(world, guest, &registers);
        }
        (!is_over(&registers)).then_some(registers)
    }
}

/// What is in memory that a call is done with.
const OTHER: [u8; 0x400] = [0xee; 0x400];

fn assert_untouched(world: &World, what: &str) {
    for at in [LEFT, ARGUMENT] {
        let mut now = OTHER;
        world.peek(at, &mut now);
        assert_eq!(now, OTHER, "{what}: {at:#x} was written");
    }
}

/// Tears the guest down, taking all interrupts.
fn tear_down(guest: &Guest, again: bool) -> Teardown {
    for _ in 0..1000 {
        match guest.tear_down(again) {
            Teardown::Interrupted => {}
            done => return done,
        }
    }
    panic!("it is interrupted without end");
}

/// The calls of another kernel, until OP-TEE has nothing else to do.
fn run_another_kernel(world: &World, guest: &Guest, what: &str) {
    assert_eq!(
        smc_with(guest, &[u64::from(smc::EXCHANGE_CAPABILITIES), 0])[0],
        u64::from(status::OK)
    );
    world.optee().lenient = true;
    let own = Scenario {
        name: "another kernel",
        function: smc::CALL_WITH_RPC_ARG,
        message: invoke(&[]),
        errands: 1,
        asks: &[],
        prepare: nothing,
    };
    for _ in 0..RETURNS_MAX {
        put(world, ARG, &own.message);
        let mut registers = crate::optee::fakes::call_at(guest, ARG);
        for _ in 0..RETURNS_MAX {
            if is_over(&registers) {
                break;
            }
            registers = crate::optee::fakes::resume(guest, &registers);
        }
        assert_eq!(registers[0], u64::from(status::OK), "{what}");
        if world.suspended() == 0 && world.optee().acts.is_empty() {
            return;
        }
    }
    panic!("{what}: the calls of the kernel before are not over");
}

#[test]
fn a_guest_goes_at_each_stage_of_a_call() {
    for scenario in scenarios() {
        for going in [Going::ForGood, Going::ToComeBack, Going::ForAnotherKernel] {
            let most = scenario.returns_max();
            let leaves = |returns: &usize| leave(&scenario, going, *returns);
            let returns = (0..most).take_while(leaves).count();
            let entries = scenario.errands * (2 + 2 * scenario.asks.len());
            assert!(
                (entries.min(most)..=most).contains(&returns) && returns < RETURNS_MAX,
                "{}: {returns} returns",
                scenario.name
            );
        }
    }
}

/// Has a guest go after `returns` returns from a call. `false` if the call is over before.
fn leave(scenario: &Scenario, going: Going, returns: usize) -> bool {
    let what = format!("{}, {going:?} after {returns}", scenario.name);
    let (world, guest) = guest();
    // Not contiguous, so that each page is looked up.
    let pages: Vec<u64> = (0..PAGES).map(|page| BUFFER + page * 0x2000).collect();
    put_list(&world, LIST, &pages);
    (scenario.prepare)(&world, &guest);
    put_list(&world, LIST, &pages);
    scenario.script(&world);
    world.0.quiet.store(0, Ordering::SeqCst);
    if scenario.run(&world, &guest, returns).is_none() {
        return false;
    }
    world.0.quiet.store(i64::MAX, Ordering::SeqCst);
    for at in [LEFT, ARGUMENT] {
        world.poke(at, &OTHER);
    }
    world.optee().messages.clear();
    match going {
        Going::ForGood => {
            // What OP-TEE opens without having it loaded counts as kept alive.
            let done = tear_down(&guest, false);
            assert!(
                matches!(
                    done,
                    Teardown::Done {
                        left: 0,
                        lost: 0..=1
                    }
                ),
                "{what}: {done:?}"
            );
        }
        Going::ToComeBack => {
            assert_eq!(tear_down(&guest, true), Teardown::Renewed, "{what}");
            assert_nothing_left_for_the_next(&world, &guest, &what);
        }
        Going::ForAnotherKernel => {
            run_another_kernel(&world, &guest, &what);
            if scenario.name == TEMPORARY_MEMORY {
                assert_eq!((world.pinned(), world.shared()), (0, Vec::new()), "{what}");
            }
            assert_untouched(&world, &what);
            assert_eq!(tear_down(&guest, true), Teardown::Renewed, "{what}");
            assert_nothing_left_for_the_next(&world, &guest, &what);
        }
    }
    if !matches!(going, Going::ForAnotherKernel) {
        let begun = |(message, _): &(Message, usize)| {
            matches!(
                message.command(),
                command::INVOKE_COMMAND | command::REGISTER_SHM
            )
        };
        let begun = world.optee().messages.iter().any(begun);
        assert!(!begun, "{what}: OP-TEE begins something for nobody");
    }
    assert_untouched(&world, &what);
    assert_eq!(world.suspended(), 0, "{what}");
    assert_eq!(world.optee().sessions.len(), 0, "{what}");
    guest.destroy();
    assert_nothing_left(&world, &guest);
    true
}

/// A guest that starts again finds OP-TEE as it was.
fn assert_nothing_left_for_the_next(world: &World, guest: &Guest, what: &str) {
    assert_eq!(world.pinned(), 0, "{what}");
    assert_eq!(world.shared(), [], "{what}");
    assert_eq!(guest.window.pages(), 0, "{what}");
    assert_eq!(guest.pool.free_pages(), 99, "{what}");
    assert_eq!(guest.stats().calls_in_flight, 0, "{what}");
}
