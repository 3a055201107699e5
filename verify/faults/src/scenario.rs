//! Calls of a guest, seen through as a guest does that serves what it is asked for.

use mediator::Tee;
use mediator::optee::fakes::attacker::opening;
use mediator::optee::fakes::{
    ARG, BUFFER, LIST, READY, World, get, invoke, put, put_list, register_message, registered,
    temporary, unregister_message, value,
};
use optee_abi::message::{Direction, Message, Parameter, command, size_with};
use optee_abi::smc::{self, RpcFunction};
use optee_abi::{result, rpc};
use smccc::CallRegisters;

/// Pages of a buffer.
pub(crate) const PAGES: u64 = 20;
/// The cookie of the buffer that is shared beforehand.
pub(crate) const COOKIE: u64 = 7;
/// No call has more returns than this.
const RETURNS_MAX: usize = 300;

/// A call, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Invoke,
    WithBuffer,
    WithTemporaryMemory,
    Register,
    RegisterAgain,
    Unregister,
    Open,
    Close,
    /// OP-TEE asks for memory, for something else, and has the memory freed.
    Asking,
}

impl Call {
    pub(crate) const ALL: [Self; 9] = [
        Self::Invoke,
        Self::WithBuffer,
        Self::WithTemporaryMemory,
        Self::Register,
        Self::RegisterAgain,
        Self::Unregister,
        Self::Open,
        Self::Close,
        Self::Asking,
    ];

    pub(crate) fn message(self) -> Message {
        match self {
            Self::Invoke | Self::Asking => invoke(&[value(Direction::InOut, [1, 2, 3])]),
            Self::WithBuffer => invoke(&[registered(Direction::InOut, COOKIE, 8, 16)]),
            Self::WithTemporaryMemory => invoke(&[
                temporary(true, LIST, PAGES * 4096, 1),
                temporary(true, LIST, 4096, 2),
            ]),
            Self::Register => register_message(LIST, PAGES * 4096, 8),
            Self::RegisterAgain => register_message(LIST, PAGES * 4096, COOKIE),
            Self::Unregister => unregister_message(COOKIE),
            Self::Open => opening([1; 16]),
            Self::Close => {
                let mut message = Message::new(command::CLOSE_SESSION, &[]);
                message.set_session(READY);
                message
            }
        }
    }

    /// What OP-TEE asks for before it obeys.
    pub(crate) fn script(self, world: &World) {
        if self != Self::Asking {
            return;
        }
        let ask = |command, words| {
            world.command(
                Message::new(command, &[value(Direction::Input, words)]),
                |_| (),
            );
        };
        ask(rpc::SHM_ALLOC, [0, PAGES * 4096, 8]);
        ask(rpc::FS, [1, 2, 3]);
        ask(rpc::NOTIFICATION, [rpc::NOTIFICATION_SEND, 65, 0]);
    }
}

/// Puts a list of pages that are not contiguous where calls have theirs.
pub(crate) fn prepare(world: &World) {
    let pages: Vec<u64> = (0..PAGES).map(|page| BUFFER + page * 0x2000).collect();
    put_list(world, LIST, &pages);
}

/// Issues a call of the guest's.
pub(crate) fn issue(tee: &impl Tee, arguments: &[u64]) -> CallRegisters {
    let mut registers: CallRegisters = core::array::from_fn(|index| 0xabc0 + index as u64);
    registers[..arguments.len()].copy_from_slice(arguments);
    tee.call(&mut registers);
    registers
}

/// Begins `message` at a place of its own.
pub(crate) fn begin(tee: &impl Tee, world: &World, message: &Message) -> CallRegisters {
    put(world, ARG, message);
    let [a1, a2] = smc::split(ARG);
    issue(tee, &[u64::from(smc::CALL_WITH_RPC_ARG), a1, a2])
}

/// Whether a call is over.
pub(crate) fn is_over(registers: &CallRegisters) -> bool {
    registers[0] >> 16 != 0xffff || registers[0] as u32 == smc::status::UNKNOWN_FUNCTION
}

/// Does what the guest is asked for.
pub(crate) fn serve(
    tee: &impl Tee,
    world: &World,
    message: &Message,
    asked: &CallRegisters,
) -> CallRegisters {
    if asked[0] == u64::from(RpcFunction::Command.a0()) {
        let at = ARG + size_with(message.count().unwrap_or(0)) as u64;
        let mut answer = get(world, at);
        if answer.command() == rpc::SHM_ALLOC {
            let memory = Parameter::Temporary {
                direction: Direction::Output,
                list: true,
                address: LIST,
                size: PAGES * 4096,
                reference: 0x88,
            };
            answer = Message::new(rpc::SHM_ALLOC, &[memory]);
        }
        answer.set_result(result::SUCCESS, 0);
        put(world, at, &answer);
    }
    issue(
        tee,
        &[u64::from(smc::RETURN_FROM_RPC), 0, 0, asked[3], 0, 0],
    )
}

/// Sees a call through; gives its return code, or nothing if it has no end.
pub(crate) fn see_through(
    tee: &impl Tee,
    world: &World,
    message: &Message,
    mut registers: CallRegisters,
) -> Option<u32> {
    for _ in 0..RETURNS_MAX {
        if is_over(&registers) {
            return Some(registers[0] as u32);
        }
        registers = serve(tee, world, message, &registers);
    }
    None
}
