//! A client that calls in each way that there is and looks at everything that comes back.

use alloc::string::String;

use optee_abi::message::{Direction, Parameter, command, size_with};
use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction, status};

use super::answer::{Answer, Asked};
use super::arena::{Area, Arena, fresh_cookie};
use super::page::PAGE;
use super::simple_client::opening;
use super::supplicant::Supplicant;
use crate::arch::exchange::Exchange;
use crate::optee::words::Words;
use crate::runtime::check::Outcome;
use crate::runtime::conduit::call;
use crate::runtime::environment::Environment;
use crate::{check, check_eq};
use smccc::Conduit;

/// What memory holds that nobody is to write to.
const UNTOUCHED: u64 = 0x756e_746f_7563_6864;

/// Where a message lies in its registered buffer, so that it is not at the start of anything.
const OFFSET: u64 = 0x208;

/// How often a call may come back for interrupts: those of other guests may come as often as they
/// like.
const INTERRUPTS_MAX: u32 = 1_000_000;

/// The functions that carry a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// CALL_WITH_ARG
    Argument,
    /// CALL_WITH_RPC_ARG
    RpcArgument,
    /// CALL_WITH_REGD_ARG
    RegisteredArgument,
}

/// All of them.
pub const FLAVOURS: [Flavour; 3] = [
    Flavour::Argument,
    Flavour::RpcArgument,
    Flavour::RegisteredArgument,
];

/// A message that lies ready to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    flavour: Flavour,
    area: Area,
    /// Where the message starts in `area`.
    offset: u64,
    /// Words of the message.
    words: usize,
    /// The cookie of `area`, if it is registered.
    cookie: u64,
}

impl Ready {
    /// Where the room for RPCs lies behind the message, unless there is none.
    #[must_use]
    pub fn room(&self) -> Option<(Area, u64)> {
        let offset = self.offset + self.words as u64 * 8;
        (self.flavour != Flavour::Argument).then_some((self.area, offset))
    }
}

/// A client of OP-TEE.
#[derive(Debug)]
pub struct Client {
    conduit: Conduit,
    /// Memory for messages, lists and buffers.
    pub arena: Arena,
    /// Words of an RPC argument.
    room: usize,
}

/// What a message came back as.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The return code of the call.
    pub status: u32,
    /// The message, as it was sent.
    pub sent: Words,
    /// The message, as it came back.
    pub came: Words,
}

impl Reply {
    /// Whether the call and the message came back with `result`, and nothing else of the message
    /// changed.
    ///
    /// # Errors
    ///
    /// Says what is different.
    pub fn is(&self, result: u32) -> Result<(), String> {
        self.is_with(result, &[])
    }

    /// Whether the call and the message came back with `result` and these words of parameters, and
    /// nothing else of the message changed.
    ///
    /// # Errors
    ///
    /// Says what is different.
    pub fn is_with(&self, result: u32, parameters: &[(usize, [u64; 3])]) -> Result<(), String> {
        check_eq!(self.status, status::OK, "the return code");
        check_eq!(self.came.result(), result, "the result");
        let mut expected = self.sent.clone();
        expected.set_result(result, self.came.origin());
        if expected.command() == command::OPEN_SESSION {
            expected.set_session(self.came.session());
        }
        for (index, words) in parameters {
            expected.set_parameter(*index, *words);
        }
        check_eq!(self.came, expected, "the message");
        Ok(())
    }

    /// Whether the mediator refused the message by itself, with `result`, and left the rest of it
    /// alone.
    ///
    /// # Errors
    ///
    /// Says what is different.
    pub fn is_refused(&self, result: u32) -> Result<(), String> {
        self.is(result)?;
        check_eq!(self.came.origin(), result::ORIGIN_COMMS, "the origin");
        Ok(())
    }

    /// Whether the call as a whole was refused with this return code, and the message left alone.
    ///
    /// # Errors
    ///
    /// Says what is different.
    pub fn is_no_message(&self, status: u32) -> Result<(), String> {
        check_eq!(self.status, status, "the return code");
        check_eq!(self.came, self.sent, "the message");
        Ok(())
    }
}

impl Client {
    /// A client of the guest's TEE, with all of the spare memory.
    ///
    /// # Errors
    ///
    /// There is no TEE, or it does not say what it is capable of.
    pub fn new(environment: &Environment) -> Result<Self, String> {
        let conduit = environment.tee.ok_or("there is no TEE")?;
        let exchange = call(conduit, smc::EXCHANGE_CAPABILITIES, &[0]);
        let [code, _, _, parameters]: [u64; 4] = exchange.results();
        check_eq!(code, u64::from(status::OK), "EXCHANGE_CAPABILITIES");
        Ok(Self {
            conduit,
            arena: Arena::of(environment),
            room: size_with(parameters as usize) / 8,
        })
    }

    /// The same driver's, for another vCPU, with memory of its own.
    #[must_use]
    pub fn for_another_vcpu(&self) -> Self {
        Self {
            conduit: self.conduit,
            arena: self.arena.part(),
            room: self.room,
        }
    }

    /// Bytes of an RPC argument.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.room as u64 * 8
    }

    /// A call with nothing done about what comes back.
    #[must_use]
    pub fn call(&self, id: u32, arguments: &[u64]) -> Exchange {
        call(self.conduit, id, arguments)
    }

    /// Makes a yielding call. Interrupts are taken until it is over or asks for more.
    ///
    /// # Errors
    ///
    /// It changes registers that it has to keep, or has no end.
    pub fn start(&self, id: u32, arguments: &[u64]) -> Result<Answer, String> {
        self.await_answer(self.call(id, arguments))
    }

    /// Returns from what was asked for, with these values in a1, a2, a4 and a5.
    ///
    /// # Errors
    ///
    /// As for [`Client::start`].
    pub fn resume(&self, thread: u64, [a1, a2, a4, a5]: [u64; 4]) -> Result<Answer, String> {
        self.start(smc::RETURN_FROM_RPC, &[a1, a2, thread, a4, a5])
    }

    fn await_answer(&self, mut exchange: Exchange) -> Result<Answer, String> {
        for _ in 0..INTERRUPTS_MAX {
            exchange.keeps_all_but(4)?;
            let [a0, a1, a2, thread]: [u64; 4] = exchange.results();
            match Returned::from_a0(a0 as u32) {
                Returned::Done(code) => return Ok(Answer::Done(code)),
                Returned::Rpc(RpcFunction::ForeignInterrupt) => {
                    exchange = self.call(smc::RETURN_FROM_RPC, &[0, 0, thread, 0, 0]);
                }
                Returned::Rpc(function) => {
                    return Ok(Answer::Asks(Asked {
                        function,
                        value: smc::join(a1, a2),
                        upper: a1,
                        thread,
                    }));
                }
            }
        }
        Err(String::from("interrupts have no end"))
    }

    /// Puts a message where this flavour wants it. Around it lies what nobody is to touch.
    ///
    /// # Errors
    ///
    /// The memory for it can't be registered.
    pub fn prepare(&self, flavour: Flavour, words: &Words) -> Result<Ready, String> {
        let area = self.arena.pages(2);
        let mut ready = Ready {
            flavour,
            area,
            offset: 0,
            words: words.0.len(),
            cookie: 0,
        };
        if flavour == Flavour::RegisteredArgument {
            ready.offset = OFFSET;
            ready.cookie = fresh_cookie();
            let registered = self.register(&area, ready.cookie)?;
            check_eq!(registered, result::SUCCESS, "registering the message");
        }
        self.write(&ready, words);
        Ok(ready)
    }

    /// Puts another message of the same length in the place of one.
    pub fn write(&self, ready: &Ready, words: &Words) {
        ready.area.fill(UNTOUCHED);
        ready.area.store(ready.offset, &words.0);
    }

    /// Calls with a message that lies ready.
    ///
    /// # Errors
    ///
    /// As for [`Client::start`].
    pub fn send(&self, ready: &Ready) -> Result<Answer, String> {
        let [a1, a2] = smc::split(ready.area.address);
        match ready.flavour {
            Flavour::Argument => self.start(smc::CALL_WITH_ARG, &[a1, a2]),
            Flavour::RpcArgument => self.start(smc::CALL_WITH_RPC_ARG, &[a1, a2]),
            Flavour::RegisteredArgument => {
                let [a1, a2] = smc::split(ready.cookie);
                self.start(smc::CALL_WITH_REGD_ARG, &[a1, a2, ready.offset])
            }
        }
    }

    /// Does what a call asks for until it is over.
    ///
    /// # Errors
    ///
    /// It asks for something that can't be done, or as for [`Client::start`].
    pub fn see_through(
        &self,
        ready: &Ready,
        mut answer: Answer,
        supplicant: &mut Supplicant,
    ) -> Result<u32, String> {
        loop {
            match answer {
                Answer::Done(code) => return Ok(code),
                Answer::Asks(asked) => {
                    let values = supplicant.serve(&self.arena, &asked, ready.room())?;
                    answer = self.resume(asked.thread, values)?;
                }
            }
        }
    }

    /// Reads what became of a message whose call is over, and checks that nothing around it
    /// changed.
    ///
    /// # Errors
    ///
    /// Something did.
    pub fn collect(&self, ready: &Ready, sent: &Words, status: u32) -> Result<Reply, String> {
        let Ready { area, offset, .. } = *ready;
        let came = Words(area.load(offset, ready.words));
        let mut end = offset + ready.words as u64 * 8;
        if ready.room().is_some() {
            end += self.room_bytes();
        }
        for offset in (0..offset).chain(end..area.len).step_by(8) {
            check_eq!(area.read(offset), UNTOUCHED, "the word at {offset:#x}");
        }
        if ready.cookie != 0 {
            let unregistered = self.unregister(ready.cookie)?;
            check_eq!(unregistered, result::SUCCESS, "taking the message back");
        }
        Ok(Reply {
            status,
            sent: sent.clone(),
            came,
        })
    }

    /// Sends a message and sees it through.
    ///
    /// # Errors
    ///
    /// Something changed that should not, or can't be done.
    pub fn converse(
        &self,
        flavour: Flavour,
        words: &Words,
        supplicant: &mut Supplicant,
    ) -> Result<Reply, String> {
        let ready = self.prepare(flavour, words)?;
        let answer = self.send(&ready)?;
        let status = self.see_through(&ready, answer, supplicant)?;
        self.collect(&ready, words, status)
    }

    /// Sends a message that needs no help, with CALL_WITH_RPC_ARG.
    ///
    /// # Errors
    ///
    /// It asks for help, or as for [`Client::converse`].
    pub fn ask(&self, words: &Words) -> Result<Reply, String> {
        self.converse(Flavour::RpcArgument, words, &mut Supplicant::none())
    }

    /// Opens a session with the trusted application of this UUID, by this flavour; gives its
    /// number.
    ///
    /// # Errors
    ///
    /// It does not open.
    pub fn open(&self, flavour: Flavour, application: [u8; 16]) -> Result<u32, String> {
        let words = Words::of(&opening(application), 2);
        let reply = self.converse(flavour, &words, &mut Supplicant::none())?;
        reply.is(result::SUCCESS)?;
        check!(reply.came.session() != 0, "the session has the number 0");
        Ok(reply.came.session())
    }

    /// Closes a session, by this flavour.
    ///
    /// # Errors
    ///
    /// It does not close.
    pub fn close(&self, flavour: Flavour, session: u32) -> Result<(), String> {
        let words = Words::new(command::CLOSE_SESSION, &[]).to(session, 0);
        let reply = self.converse(flavour, &words, &mut Supplicant::none())?;
        reply.is(result::SUCCESS)
    }

    /// Registers contiguous memory by a list of its pages, as `cookie`; gives the result.
    ///
    /// # Errors
    ///
    /// As for [`Client::ask`].
    pub fn register(&self, area: &Area, cookie: u64) -> Result<u32, String> {
        let list = self.list(area.addresses());
        self.register_list(list.address, area.len, cookie)
    }

    /// Registers `size` bytes in the pages of the list at `address`, as `cookie`; gives the result.
    ///
    /// # Errors
    ///
    /// As for [`Client::ask`].
    pub fn register_list(&self, address: u64, size: u64, cookie: u64) -> Result<u32, String> {
        let buffer = Parameter::Temporary {
            direction: Direction::Output,
            list: true,
            address,
            size,
            reference: cookie,
        };
        self.outcome(&Words::new(command::REGISTER_SHM, &[buffer]))
    }

    /// Takes a registered buffer back; gives the result.
    ///
    /// # Errors
    ///
    /// As for [`Client::ask`].
    pub fn unregister(&self, cookie: u64) -> Result<u32, String> {
        self.outcome(&Words::new(command::UNREGISTER_SHM, &[whole(cookie)]))
    }

    /// Registers the pages of `area` as `cookie`.
    ///
    /// # Errors
    ///
    /// As for [`Client::ask`], or it was refused.
    pub fn share(&self, area: &Area, cookie: u64) -> Outcome {
        let registered = self.register(area, cookie)?;
        check_eq!(registered, result::SUCCESS, "registering {cookie:#x}");
        Ok(())
    }

    /// Takes a registered buffer back.
    ///
    /// # Errors
    ///
    /// As for [`Client::ask`], or it was refused.
    pub fn take_back(&self, cookie: u64) -> Outcome {
        let returned = self.unregister(cookie)?;
        check_eq!(returned, result::SUCCESS, "taking {cookie:#x} back");
        Ok(())
    }

    /// The result of a message that changes nothing else.
    fn outcome(&self, words: &Words) -> Result<u32, String> {
        let reply = self.ask(words)?;
        let result = reply.came.result();
        reply.is(result)?;
        Ok(result)
    }

    /// A list of these pages: 511 to a page of the list, then the address of the next one
    /// (`optee_msg.h`, `OPTEE_MSG_ATTR_NONCONTIG`). The link of the last page leads nowhere.
    #[must_use]
    pub fn list(&self, pages: impl Iterator<Item = u64>) -> Area {
        let pages: alloc::vec::Vec<u64> = pages.collect();
        let list = self.arena.pages(pages.len().div_ceil(511) as u64);
        for (index, entries) in (0..).zip(pages.chunks(511)) {
            list.store(index * PAGE, entries);
            if (index + 1) * PAGE < list.len {
                list.write(index * PAGE + 511 * 8, list.page(index + 1));
            } else {
                list.write(index * PAGE + 511 * 8, UNTOUCHED);
            }
        }
        list
    }
}

/// A registered buffer as a whole, as the message names it that takes it back.
#[must_use]
pub fn whole(cookie: u64) -> Parameter {
    Parameter::Registered {
        direction: Direction::Input,
        offset: 0,
        size: 0,
        reference: cookie,
    }
}
