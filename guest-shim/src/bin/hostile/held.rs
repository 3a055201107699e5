//! Calls that are taken one RPC at a time, and held at any of them.

use alloc::string::String;

use guest_shim::optee::answer::Answer;
use guest_shim::optee::client::{Client, Flavour, Ready, Reply};
use guest_shim::optee::opening;
use guest_shim::optee::supplicant::{ITEM_NOT_FOUND, Supplicant};
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::{check, check_eq};
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::smc::RpcFunction;
use optee_abi::{result, rpc};

/// Trusted applications that nobody has: to open one keeps OP-TEE asking for a while.
pub const NOBODY: [u8; 16] = *b"nobody-has-this!";
pub const NOBODY_ELSE: [u8; 16] = *b"nobody-has-that!";

/// The pseudo-TA that asks the guest for its time (`STATS_UUID`, `pta_stats.h`):
/// d96a5b40-e2c7-b1af-8794-1002a5d5c61b.
pub const STATS: [u8; 16] = [
    0xd9, 0x6a, 0x5b, 0x40, 0xe2, 0xc7, 0xb1, 0xaf, 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b,
];

/// `STATS_CMD_GET_TIME` of [`STATS`].
const GET_TIME: u32 = 4;

/// A call under way.
pub struct Held<'a> {
    client: &'a Client,
    words: Words,
    ready: Ready,
    answer: Answer,
}

impl<'a> Held<'a> {
    /// Sends a message, with room for RPCs behind it.
    pub fn send(client: &'a Client, words: Words) -> Result<Self, String> {
        let ready = client.prepare(Flavour::RpcArgument, &words)?;
        let answer = client.send(&ready)?;
        Ok(Self {
            client,
            words,
            ready,
            answer,
        })
    }

    /// Begins to open a session.
    pub fn open(client: &'a Client, application: [u8; 16]) -> Result<Self, String> {
        Self::send(client, Words::of(&opening(application), 2))
    }

    /// Has OP-TEE ask the guest for its time, in a session with [`STATS`].
    pub fn ask_time(client: &'a Client, session: u32) -> Result<Self, String> {
        let time = Parameter::Value {
            direction: Direction::Output,
            meta: false,
            words: [0; 3],
        };
        let words = Words::new(command::INVOKE_COMMAND, &[time; 2]).to(session, GET_TIME);
        Self::send(client, words)
    }

    /// The command that it waits for, unless it is over.
    pub fn command(&self) -> Result<Option<Words>, String> {
        let Answer::Asks(asked) = self.answer else {
            return Ok(None);
        };
        check_eq!(asked.function, RpcFunction::Command, "what is asked for");
        let (area, offset) = self.ready.room().ok_or("there is no room")?;
        let count = (area.read(offset + 24) >> 32) as usize;
        check!(count <= 6, "a command has {count} parameters");
        Ok(Some(Words(area.load(offset, 4 + 4 * count))))
    }

    /// The number of the command that it waits for.
    pub fn waits_for(&self) -> Result<Option<u32>, String> {
        Ok(self.command()?.map(|words| words.command()))
    }

    /// The thread ID to return with.
    pub fn thread(&self) -> Result<u64, String> {
        Ok(self.answer.asked()?.thread)
    }

    /// Answers the command with these words and this result.
    pub fn answer(&mut self, mut words: Words, code: u32) -> Outcome {
        words.set_result(code, result::ORIGIN_COMMS);
        let (area, offset) = self.ready.room().ok_or("there is no room")?;
        area.store(offset, &words.0);
        self.answer = self.client.resume(self.thread()?, [0; 4])?;
        Ok(())
    }

    /// Answers the command as one that has nothing: what is to be freed is freed, a notification is
    /// sent or came, all else is not there.
    pub fn deny(&mut self) -> Outcome {
        let Some(words) = self.command()? else {
            return Err(String::from("the call is over"));
        };
        let code = match words.command() {
            rpc::SHM_FREE | rpc::NOTIFICATION => result::SUCCESS,
            _ => ITEM_NOT_FOUND,
        };
        self.answer(words, code)
    }

    /// Denies what it asks for until it is over; gives the reply.
    pub fn end(mut self) -> Result<Reply, String> {
        while self.command()?.is_some() {
            self.deny()?;
        }
        self.reply()
    }

    /// Has `supplicant` serve the command that it waits for.
    pub fn serve(&mut self, supplicant: &mut Supplicant) -> Outcome {
        let asked = self.answer.asked()?;
        let values = supplicant.serve(&self.client.arena, &asked, self.ready.room())?;
        self.answer = self.client.resume(asked.thread, values)?;
        Ok(())
    }

    /// The reply to a call that is over.
    pub fn reply(self) -> Result<Reply, String> {
        let code = self.answer.done()?;
        self.client.collect(&self.ready, &self.words, code)
    }
}
