//! An OP-TEE that checks what it is given.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter, command, size_with};
use optee_abi::smc::{self, RpcFunction, status};
use optee_abi::{pagelist, result};

use super::lookup::Named;
use super::machine::{SHADOW_PA, World, is_secret};
use crate::ports::SecureWorld;

pub const RPC_PARAMETERS: usize = 4;
pub const NOTIFICATION_MAX: u32 = 66;
pub const THREADS: usize = 2;
/// What OP-TEE calls its first thread.
pub const OPTEE_THREAD: u64 = 0x7000;
/// What the made-up TA puts where a value comes back.
pub const TA_ORIGIN: u32 = 4;
/// The session that each guest has from the start, and the one that it opens first.
pub const READY: u32 = 0x50;
pub const SESSION: u32 = READY + 1;
pub const CLIENT: u16 = 3;
pub type Check = Box<dyn FnOnce(&Message) + Send>;

/// What OP-TEE does next on a yielding call, before it does what the message says.
pub enum Act {
    Interrupt,
    ThreadLimit,
    /// Does what the message says, as it does when there is no act.
    Obey,
    /// Ends the call with this return code.
    Status(u32),
    /// Ends the call with this result in the message.
    Result(u32),
    /// Sends an RPC of this function with nothing else.
    Bare(RpcFunction),
    /// Sends a command and checks the answer.
    Command(Box<Message>, Check),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMemory {
    pub pages: Vec<u64>,
    pub offset: u64,
    pub size: u64,
}

#[derive(Default)]
struct Thread {
    message: Option<u64>,
    count: usize,
    named: Named,
    check: Option<Check>,
}

/// The state of OP-TEE.
pub struct OpteeState {
    pub uid: [u32; 4],
    pub major: u32,
    /// Its release, major and minor.
    pub revision: [u64; 2],
    pub capabilities: u32,
    pub threads: u32,
    pub rpc_parameters: u32,
    pub notification_max: u32,
    pub room: usize,
    pub guests: Vec<u16>,
    pub shared: BTreeMap<u64, SharedMemory>,
    pub acts: VecDeque<Act>,
    /// After this many more messages, refuses one with an error of its own.
    pub refuse_after: Option<usize>,
    /// After this many more messages, ends a call with this return code.
    pub status_after: Option<(usize, u32)>,
    /// Gives up on what makes no sense instead of saying so.
    pub lenient: bool,
    /// What it answers is replaced on the way: what it knows is not what is believed of it.
    pub unbelieved: bool,
    /// Every call as it came.
    pub calls: Vec<[u64; 8]>,
    /// Every message as it came, once for each call.
    pub messages: Vec<(Message, usize)>,
    /// What it has to notify the guest of, once the guest wants to be.
    pub notifications: VecDeque<u32>,
    pub notifying: bool,
    /// The sessions that are open.
    pub sessions: BTreeSet<u32>,
    /// Those of them whose trusted application never gets done with a command.
    pub endless: BTreeSet<u32>,
    running: Vec<Thread>,
}
impl Default for OpteeState {
    fn default() -> Self {
        Self {
            uid: smc::API_UID,
            major: 2,
            revision: [4, 10],
            capabilities: 0xfc,
            threads: THREADS as u32,
            rpc_parameters: RPC_PARAMETERS as u32,
            notification_max: NOTIFICATION_MAX,
            room: 2,
            guests: Vec::new(),
            shared: BTreeMap::new(),
            acts: VecDeque::new(),
            refuse_after: None,
            lenient: false,
            unbelieved: false,
            status_after: None,
            calls: Vec::new(),
            messages: Vec::new(),
            notifications: VecDeque::new(),
            notifying: false,
            sessions: BTreeSet::new(),
            endless: BTreeSet::new(),
            running: Vec::new(),
        }
    }
}

impl World {
    pub fn optee(&self) -> MutexGuard<'_, OpteeState> {
        self.0.optee.lock().unwrap()
    }

    pub fn act(&self, act: Act) {
        self.optee().acts.push_back(act);
    }

    /// OP-TEE sends `request` and `check` looks at what it gets back.
    pub fn command(&self, request: Message, check: impl FnOnce(&Message) + Send + 'static) {
        self.act(Act::Command(Box::new(request), Box::new(check)));
    }
    /// The memory that OP-TEE knows of the guest.
    pub fn shared(&self) -> Vec<(u64, SharedMemory)> {
        let own = |handle: &u64| *handle & 0xffff_ffff == 0xffff_ffff;
        let optee = self.optee();
        optee
            .shared
            .iter()
            .filter(|(handle, _)| !own(handle))
            .map(|(handle, memory)| (*handle, memory.clone()))
            .collect()
    }

    /// How many of OP-TEE's threads are in the middle of a call.
    pub fn suspended(&self) -> usize {
        let optee = self.optee();
        let busy = |thread: &&Thread| thread.message.is_some();
        optee.running.iter().filter(busy).count()
    }

    /// The last message that OP-TEE got.
    pub fn last_message(&self) -> Message {
        self.optee()
            .messages
            .last()
            .expect("OP-TEE got a message")
            .0
    }

    /// How many messages OP-TEE got.
    pub fn message_count(&self) -> usize {
        self.optee().messages.len()
    }
    pub fn message_at(&self, pa: u64) -> (Message, usize) {
        let mut message = Message::default();
        self.physical_read(pa, message.bytes_mut(0));
        let count = message
            .count()
            .expect("OP-TEE gets no more parameters than it serves");
        self.physical_read(pa, message.bytes_mut(count));
        (message, count)
    }

    /// Follows a list of pages as OP-TEE does (`msg_param_extract_pages`).
    pub fn follow(&self, address: u64, size: u64) -> SharedMemory {
        let offset = address & 0xfff;
        let count = pagelist::pages_spanned(offset, size).unwrap();
        let mut list = address & !0xfff;
        let mut pages = Vec::new();
        while (pages.len() as u64) < count {
            for index in 0..511 {
                if pages.len() as u64 == count {
                    break;
                }
                let mut word = [0; 8];
                assert!(list >= SHADOW_PA, "OP-TEE reads lists from shadow memory");
                self.physical_read(list + index * 8, &mut word);
                let page = u64::from_le_bytes(word);
                assert_eq!(page & 0xfff, 0);
                assert!(
                    is_secret(page),
                    "OP-TEE is given an address {page:#x} that is not physical"
                );
                pages.push(page);
            }
            if (pages.len() as u64) < count {
                let mut word = [0; 8];
                self.physical_read(list + 511 * 8, &mut word);
                list = u64::from_le_bytes(word);
                assert_eq!(list & 0xfff, 0);
            }
        }
        SharedMemory {
            pages,
            offset,
            size,
        }
    }

    fn yield_call(&self, registers: [u64; 8]) -> [u64; 8] {
        let function = registers[0] as u32;
        let named = smc::join(registers[1], registers[2]);
        let mut optee = self.optee();
        let thread = match function {
            smc::RETURN_FROM_RPC => (registers[3] - OPTEE_THREAD) as usize,
            _ => {
                if matches!(optee.acts.front(), Some(Act::ThreadLimit)) {
                    optee.acts.pop_front();
                    return [u64::from(status::ETHREAD_LIMIT), 0, 0, 0, 0, 0, 0, 0];
                }
                let idle = |thread: &Thread| thread.message.is_none();
                match optee.running.iter().position(idle) {
                    Some(thread) => thread,
                    // Calls of a kernel that is gone have them.
                    None if optee.lenient => {
                        return [u64::from(status::ETHREAD_LIMIT), 0, 0, 0, 0, 0, 0, 0];
                    }
                    None => panic!("a slot has a thread"),
                }
            }
        };
        if function != smc::RETURN_FROM_RPC {
            let at = if function == smc::CALL_WITH_REGD_ARG {
                let memory = &optee.shared[&named];
                let offset = registers[3];
                assert!(offset + 512 <= memory.size);
                memory.pages[(offset / 4096) as usize] + offset % 4096
            } else {
                assert_eq!(function, smc::CALL_WITH_ARG);
                assert!(
                    optee.shared.is_empty(),
                    "only the first call names its message by address"
                );
                named
            };
            let (message, count) = self.message_at(at);
            optee.messages.push((message, count));
            let named = Named::by(&message, count);
            if !optee.unbelieved {
                let at_work = |thread: &&Thread| thread.message.is_some();
                let others = optee.running.iter().filter(at_work);
                named.assert_found_beside(others.map(|thread| &thread.named));
            }
            optee.running[thread] = Thread {
                message: Some(at),
                count,
                named,
                check: None,
            };
        }
        let Some(at) = optee.running[thread].message else {
            assert!(optee.lenient, "a suspended thread is resumed");
            return [u64::from(status::ERESUME), 0, 0, 0, 0, 0, 0, 0];
        };
        let count = optee.running[thread].count;
        if let Some(check) = optee.running[thread].check.take() {
            let mut answer = Message::default();
            self.physical_read(
                at + size_with(count) as u64,
                answer.bytes_mut(RPC_PARAMETERS),
            );
            drop(optee);
            check(&answer);
            optee = self.optee();
            self.learn_from_answer(&mut optee, &answer);
        }
        let suspend = |a0: RpcFunction, a1: u64| {
            [
                u64::from(a0.a0()),
                a1,
                0,
                OPTEE_THREAD + thread as u64,
                0,
                0,
                0,
                0,
            ]
        };
        let (message, _) = self.message_at(at);
        if message.command() == command::INVOKE_COMMAND
            && optee.endless.contains(&message.session())
        {
            return suspend(RpcFunction::ForeignInterrupt, 0);
        }
        if optee.acts.is_empty() {
            if let Some(left) = optee.refuse_after.take() {
                optee.refuse_after = left.checked_sub(1);
                if left == 0 {
                    optee.acts.push_back(Act::Result(result::GENERIC));
                }
            }
            if let Some((left, status)) = optee.status_after.take() {
                optee.status_after = left.checked_sub(1).map(|left| (left, status));
                if left == 0 {
                    optee.acts.push_back(Act::Status(status));
                }
            }
        }
        match optee.acts.pop_front() {
            Some(Act::Interrupt) => suspend(RpcFunction::ForeignInterrupt, 0),
            Some(Act::Bare(function)) => suspend(function, 160),
            Some(Act::Command(request, check)) => {
                optee.running[thread].check = Some(check);
                // Like OP-TEE, which puts its reference away before it has the guest free the
                // memory.
                if request.command() == optee_abi::rpc::SHM_FREE
                    && request.words(0)[1] & 0xffff_ffff != 0xffff_ffff
                {
                    optee.shared.remove(&request.words(0)[1]);
                }
                self.write_shadow(at + size_with(count) as u64, request.bytes(RPC_PARAMETERS));
                suspend(RpcFunction::Command, 0)
            }
            Some(Act::Status(status)) => {
                optee.running[thread].message = None;
                [u64::from(status), 0, 0, 0, 0, 0, 0, 0]
            }
            act => {
                optee.running[thread].message = None;
                let (mut message, _) = self.message_at(at);
                match act {
                    Some(Act::Result(result)) => message.set_result(result, result::ORIGIN_TEE),
                    _ => self.obey(&mut optee, &mut message, count),
                }
                self.write_shadow(at, message.bytes(count));
                [u64::from(status::OK), 0, 0, 0, 0, 0, 0, 0]
            }
        }
    }

    /// OP-TEE maps the memory that an answer gives it.
    fn learn_from_answer(&self, optee: &mut OpteeState, answer: &Message) {
        if answer.command() != optee_abi::rpc::SHM_ALLOC || answer.result() != result::SUCCESS {
            return;
        }
        let Ok(Parameter::Temporary {
            list: true,
            address,
            size,
            reference,
            ..
        }) = answer.parameter(0)
        else {
            assert!(
                optee.lenient,
                "OP-TEE asked for memory and got {:?}",
                answer.parameter(0)
            );
            return;
        };
        let memory = self.follow(address, size);
        let known = optee.shared.insert(reference, memory).is_some();
        assert!(!known || optee.lenient, "a handle is used twice");
    }

    /// What OP-TEE and the made-up TA do with a message.
    fn obey(&self, optee: &mut OpteeState, message: &mut Message, count: usize) {
        message.set_result(result::SUCCESS, TA_ORIGIN);
        match message.command() {
            command::REGISTER_SHM => {
                let Ok(Parameter::Temporary {
                    direction: Direction::Output,
                    list: true,
                    address,
                    size,
                    reference,
                }) = message.parameter(0)
                else {
                    panic!("OP-TEE refuses to register {:?}", message.parameter(0));
                };
                let memory = self.follow(address, size);
                if optee.shared.contains_key(&reference) {
                    assert!(optee.lenient, "a handle is used twice");
                    return message.set_result(result::BAD_PARAMETERS, result::ORIGIN_TEE);
                }
                optee.shared.insert(reference, memory);
            }
            command::UNREGISTER_SHM => {
                let [_, _, reference] = message.words(0);
                let known = optee.shared.remove(&reference).is_some();
                assert!(known || optee.lenient, "OP-TEE knows what it is to forget");
            }
            command::OPEN_SESSION => {
                let free = |session: &u32| !optee.sessions.contains(session);
                let session = (SESSION..).find(free).unwrap();
                optee.sessions.insert(session);
                message.set_session(session);
            }
            command::CLOSE_SESSION => {
                optee.sessions.remove(&message.session());
            }
            _ => {}
        }
        if !matches!(
            message.command(),
            command::OPEN_SESSION | command::INVOKE_COMMAND
        ) {
            return;
        }
        for index in 0..count {
            match message
                .parameter(index)
                .expect("OP-TEE gets defined attributes")
            {
                Parameter::Value {
                    direction,
                    words: [a, b, c],
                    ..
                } if direction.brings_back() => {
                    message.set_words(index, [a.wrapping_add(1), b.wrapping_add(2), c]);
                }
                Parameter::Registered {
                    direction,
                    offset,
                    size,
                    reference,
                } => {
                    let Some(memory) = optee.shared.get(&reference) else {
                        assert!(optee.lenient, "OP-TEE knows the memory of its messages");
                        return message.set_result(result::BAD_PARAMETERS, result::ORIGIN_TEE);
                    };
                    assert!(offset + size <= memory.pages.len() as u64 * 4096 - memory.offset);
                    if direction.brings_back() {
                        message.set_size(index, size / 2);
                    }
                }
                Parameter::Temporary {
                    direction,
                    address,
                    reference,
                    list,
                    ..
                } => {
                    assert_eq!(
                        (address, reference, list),
                        (0, 0, false),
                        "only null references are temporary"
                    );
                    if direction.brings_back() {
                        message.set_size(index, 0x1234);
                    }
                }
                Parameter::None | Parameter::Value { .. } => {}
            }
        }
    }
}

impl SecureWorld for World {
    fn smc(&self, registers: [u64; 8]) -> [u64; 8] {
        crate::sync::others_may_go_first();
        {
            let mut optee = self.optee();
            optee.calls.push(registers);
            let known: usize = optee
                .shared
                .iter()
                .filter(|(handle, _)| **handle & 0xffff_ffff != 0xffff_ffff)
                .map(|(_, memory)| memory.pages.len())
                .sum();
            assert!(
                optee.unbelieved || known as i64 <= self.pinned(),
                "OP-TEE knows {known} pages, {} are pinned",
                self.pinned()
            );
        }
        let ok = u64::from(status::OK);
        let client = registers[7] as u16;
        let function = registers[0] as u32;
        if function & smc::FAST_CALL == 0 {
            assert!(
                self.optee().guests.contains(&client),
                "a call for a guest that is none"
            );
            return self.yield_call(registers);
        }
        let of_guest = matches!(
            function,
            smc::ENABLE_ASYNC_NOTIF | smc::GET_ASYNC_NOTIF_VALUE
        );
        if of_guest {
            assert!(
                self.optee().guests.contains(&client),
                "a call for a guest that is none"
            );
        } else {
            assert_eq!(client, 0, "other fast calls are the hypervisor's own");
        }
        let mut optee = self.optee();
        let [a, b, c, d] = match function {
            smc::ENABLE_ASYNC_NOTIF => {
                optee.notifying = true;
                [ok, 0, 0, 0]
            }
            smc::GET_ASYNC_NOTIF_VALUE => {
                assert!(optee.notifying, "a guest is asked for that was not told");
                match optee.notifications.pop_front() {
                    Some(value) => {
                        let pending = u64::from(!optee.notifications.is_empty());
                        [ok, u64::from(value), 1 | pending << 1, 0]
                    }
                    None => [ok, 0, 0, 0],
                }
            }
            smc::CALLS_UID => optee.uid.map(u64::from),
            smc::CALLS_REVISION => [u64::from(optee.major), 0, 0, 0],
            smc::GET_OS_UUID => [1, 2, 3, 4],
            smc::GET_OS_REVISION => [optee.revision[0], optee.revision[1], 0xabcd, 0],
            smc::EXCHANGE_CAPABILITIES => [
                ok,
                u64::from(optee.capabilities),
                u64::from(optee.notification_max),
                u64::from(optee.rpc_parameters),
            ],
            smc::GET_THREAD_COUNT => [ok, u64::from(optee.threads), 0, 0],
            smc::VM_CREATED if optee.guests.len() < optee.room => {
                optee.guests.push(registers[1] as u16);
                optee.running = (0..THREADS).map(|_| Thread::default()).collect();
                [ok, 0, 0, 0]
            }
            smc::VM_CREATED => [u64::from(status::ENOTAVAIL), 0, 0, 0],
            smc::VM_DESTROYED => {
                optee.guests.retain(|guest| *guest != registers[1] as u16);
                optee.shared.clear();
                optee.sessions.clear();
                optee.notifying = false;
                self.0.destroyed.fetch_add(1, Ordering::SeqCst);
                [ok, 0, 0, 0]
            }
            _ => [u64::from(status::UNKNOWN_FUNCTION), 0, 0, 0],
        };
        [a, b, c, d, 0, 0, 0, 0]
    }
}
