//! What tests do as the guest.

use std::vec::Vec;

use optee_abi::message::{CAPACITY, Direction, Message, Parameter, command, size_with};
use optee_abi::result;
use optee_abi::smc::{self, RpcFunction, status};

use super::machine::{RAM, World, is_secret};
use super::optee::{CLIENT, READY};
use crate::Tee;
use crate::optee::applications::Charge;
use crate::optee::{
    ClientId, CreateError, Guest as Description, HashSecret, Limits, Optee, Partition,
};
use crate::ports::Platform;
use crate::ta_access::TaAccess;
use smccc::CallRegisters;

pub type Guest = Partition<World>;
pub fn create(world: &World, limits: Limits) -> Result<Guest, CreateError> {
    create_with(world, limits, TaAccess::All)
}

pub fn create_with(world: &World, limits: Limits, access: TaAccess) -> Result<Guest, CreateError> {
    let optee = Optee::probe(world).unwrap();
    let guest = optee.create_partition(description(limits, access), world.ports())?;
    guest.knows_ready_session(world);
    Ok(guest)
}

impl<P: Platform> Partition<P> {
    /// The session [`READY`] is open, without a message that opened it.
    pub fn knows_ready_session(&self, world: &World) {
        world.optee().sessions.insert(READY);
        self.sessions.opened(READY, None, Charge::default());
    }
}

/// Who the guest is.
pub fn description(limits: Limits, access: TaAccess) -> Description {
    Description {
        client: ClientId::new(CLIENT).unwrap(),
        limits,
        access,
        lives: 0,
        identifiers_lost: 0,
        secret: HashSecret([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]),
    }
}

/// A machine and a guest on it.
pub fn guest_with(limits: Limits) -> (World, Guest) {
    let world = World::new(100);
    let guest = create(&world, limits).unwrap();
    {
        let mut optee = world.optee();
        optee.messages.clear();
        optee.calls.clear();
    }
    (world, guest)
}

pub fn guest() -> (World, Guest) {
    guest_with(Limits::default())
}

/// Where tests put messages.
pub const ARG: u64 = RAM + 0x10_0000;
/// Where tests put lists of pages.
pub const LIST: u64 = RAM + 0x20_0000;
/// Where tests have buffers.
pub const BUFFER: u64 = RAM + 0x100_0000;

/// Issues a call and checks that it leaves in the registers what it may.
pub fn smc_with(guest: &Guest, arguments: &[u64]) -> CallRegisters {
    let mut registers: CallRegisters = core::array::from_fn(|index| 0xabc0 + index as u64);
    registers[..arguments.len()].copy_from_slice(arguments);
    let before = registers;
    guest.call(&mut registers);
    assert_eq!(registers[4..], before[4..], "x4 to x17 are left alone");
    for register in registers {
        assert!(!is_secret(register), "the guest gets to see {register:#x}");
    }
    registers
}

pub fn put(world: &World, ipa: u64, message: &Message) {
    world.poke(ipa, message.bytes(message.count().unwrap_or(CAPACITY)));
}

pub fn get(world: &World, ipa: u64) -> Message {
    let mut message = Message::default();
    world.peek(ipa, message.bytes_mut(CAPACITY));
    message
}

/// Calls with the message that lies at `ipa`, with room for RPCs behind it.
pub fn call_at(guest: &Guest, ipa: u64) -> CallRegisters {
    let [a1, a2] = smc::split(ipa);
    smc_with(guest, &[u64::from(smc::CALL_WITH_RPC_ARG), a1, a2])
}

/// Puts a message at [`ARG`] and calls with it.
pub fn send(world: &World, guest: &Guest, message: &Message) -> CallRegisters {
    put(world, ARG, message);
    call_at(guest, ARG)
}

/// The same for a message that is done in one go, and gives the message as it came back.
pub fn exchange(world: &World, guest: &Guest, message: &Message) -> Message {
    let registers = send(world, guest, message);
    assert_eq!(registers[0], u64::from(status::OK));
    get(world, ARG)
}

/// Returns from an RPC as Linux does: with the registers of the return.
pub fn resume(guest: &Guest, registers: &CallRegisters) -> CallRegisters {
    smc_with(
        guest,
        &[
            u64::from(smc::RETURN_FROM_RPC),
            registers[1],
            registers[2],
            registers[3],
        ],
    )
}

pub fn is_rpc(registers: &CallRegisters, function: RpcFunction) -> bool {
    registers[0] == u64::from(function.a0())
}

/// Where the RPC argument behind the message at [`ARG`] is.
pub fn rpc_arg(message: &Message) -> u64 {
    ARG + size_with(message.count().unwrap()) as u64
}

pub fn value(direction: Direction, words: [u64; 3]) -> Parameter {
    Parameter::Value {
        direction,
        meta: false,
        words,
    }
}

pub fn invoke(parameters: &[Parameter]) -> Message {
    let mut message = Message::new(command::INVOKE_COMMAND, parameters);
    message.set_session(READY);
    message
}

pub fn registered(direction: Direction, cookie: u64, offset: u64, size: u64) -> Parameter {
    Parameter::Registered {
        direction,
        offset,
        size,
        reference: cookie,
    }
}

pub fn temporary(list: bool, address: u64, size: u64, reference: u64) -> Parameter {
    Parameter::Temporary {
        direction: Direction::InOut,
        list,
        address,
        size,
        reference,
    }
}

/// Writes a list of `pages` at `ipa`, each page of the list after the other, with a stray link at
/// its end.
pub fn put_list(world: &World, ipa: u64, pages: &[u64]) {
    for (index, chunk) in pages.chunks(511).enumerate() {
        let at = ipa + index as u64 * 4096;
        world.poke_words(at, chunk);
        if chunk.len() == 511 {
            world.poke_words(at + 511 * 8, &[at + 4096]);
        }
    }
}

pub fn register_message(address: u64, size: u64, cookie: u64) -> Message {
    let buffer = Parameter::Temporary {
        direction: Direction::Output,
        list: true,
        address,
        size,
        reference: cookie,
    };
    Message::new(command::REGISTER_SHM, &[buffer])
}

pub fn unregister_message(cookie: u64) -> Message {
    Message::new(
        command::UNREGISTER_SHM,
        &[registered(Direction::Input, cookie, 0, 0)],
    )
}

/// Registers `count` pages from `ipa` on as `cookie`.
pub fn register(world: &World, guest: &Guest, cookie: u64, ipa: u64, count: u64) {
    let pages: Vec<u64> = (0..count).map(|page| ipa + page * 4096).collect();
    put_list(world, LIST, &pages);
    let reply = exchange(world, guest, &register_message(LIST, count * 4096, cookie));
    assert_eq!(reply.result(), result::SUCCESS);
}

/// All that a guest holds is given back.
pub fn assert_nothing_left(world: &World, guest: &Guest) {
    let stats = guest.stats();
    assert_eq!(guest.window.pages(), 0);
    assert_eq!(
        (stats.buffers, stats.pinned_pages, stats.calls_in_flight),
        (0, 0, 0)
    );
    assert_eq!(world.pinned(), 0);
    assert_eq!(guest.pool.free_pages(), 100 - 1);
}
