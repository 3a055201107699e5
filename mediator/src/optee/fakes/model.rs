//! A model of what OP-TEE can run out of and what it does not survive: the oracle of tests that
//! attack it.
//!
//! It opens sessions as OP-TEE does, step by step, with the numbers of OP-TEE 4.5 to 4.10. Where
//! OP-TEE would halt for all guests, the model panics.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter, command, size_with, uuid_words};
use optee_abi::smc::{self, RpcFunction, status};
use optee_abi::{result, rpc};

use super::lookup::Named;
use super::machine::World;
use super::optee::{NOTIFICATION_MAX, RPC_PARAMETERS, SharedMemory, THREADS};
use crate::optee::IDENTIFIERS;
use crate::ports::SecureWorld;

/// Part of OP-TEE.
pub const PSEUDO: [u8; 16] = [1; 16];
/// Loaded anew for each session.
pub const SEVERAL: [u8; 16] = [2; 16];
/// Loaded once for all sessions.
pub const SINGLE: [u8; 16] = [3; 16];
/// Loaded once, and never let go.
pub const KEPT_ALIVE: [u8; 16] = [4; 16];
/// The same, out of the guest's secure storage rather than of its file system.
pub const STORED: [u8; 16] = [5; 16];
pub const STORED_KEPT_ALIVE: [u8; 16] = [6; 16];
/// Nobody has it.
pub const NOBODY: [u8; 16] = [9; 16];

/// What a command (`func`) has an application do.
pub const WORK: u32 = 0;
pub const ASK: u32 = 1;
pub const NEVER_END: u32 = 2;
/// Has the pseudo-TA put [`SEVERAL`] into secure storage, out of which it is loaded from then on
/// (`secstor_ta_mgmt`).
pub const INSTALL: u32 = 3;

/// `MAX_XLAT_TABLES`, and those of them that are in use before anything is mapped, at worst.
const TABLES: usize = 11;
const TABLES_AT_START: usize = 8;
const PAGES_A_TABLE: u64 = 512;
/// With this many instances the memory of trusted applications is full, out of which OP-TEE takes
/// tables from 4.6 on.
const INSTANCES_FILL_MEMORY: usize = 20;
/// This many guests can be created on OP-TEE 4.6 to 4.10, which keeps translation tables of those
/// that are gone.
const CREATED_MAX: u32 = 106;
/// `CFG_CORE_HEAP_SIZE`; a buffer takes 64 bytes and 8 for each page.
const HEAP: u64 = 192 << 10;

/// The secure world, as all guests share it.
pub struct Secure {
    pub revision: [u64; 2],
    /// Address space identifiers that are left.
    identifiers: u32,
    guests: BTreeMap<u16, Instance>,
    created: u32,
    /// Thread by thread: an interrupt comes next.
    pub interrupt: bool,
}

/// OP-TEE for one guest.
#[derive(Default)]
struct Instance {
    threads: [Option<Thread>; THREADS],
    sessions: BTreeMap<u32, Session>,
    last: u32,
    instances: Vec<Option<TrustedApplication>>,
    registered: BTreeMap<u64, SharedMemory>,
    mapped: Vec<(u64, u64)>,
    /// Registered memory that is mapped: where, and by how many calls.
    buffers: BTreeMap<u64, (u64, u32)>,
    tables: BTreeSet<u64>,
    heap: u64,
    installed: bool,
    /// The guest is gone: answers are the mediator's own.
    gone: bool,
}

struct TrustedApplication {
    name: [u8; 16],
    sessions: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    /// There is none yet.
    None,
    Pseudo,
    /// The instance at this place.
    Instance(usize),
}

struct Session {
    context: Context,
    users: u32,
}

/// What a thread is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    FileMemory,
    File,
    Size,
    Memory,
    Load,
    FreeMemory,
    FreeFile,
    Wait,
    Asked,
    Never,
}

struct Thread {
    at: u64,
    message: Message,
    count: usize,
    named: Named,
    stage: Stage,
    session: u32,
    result: u32,
    /// The registered memory that it has mapped, and the page with its message otherwise.
    buffers: Vec<u64>,
    map: Option<u64>,
    file: Option<(u64, u64)>,
    memory: Option<(u64, u64)>,
}

enum Next {
    Ask(Box<Message>),
    Interrupt,
    Done(u32),
}

#[derive(Clone)]
pub struct Model {
    pub secure: Arc<Mutex<Secure>>,
    pub machine: World,
    pub client: u16,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model of guest {}", self.client)
    }
}

fn ask(request: Message) -> Next {
    Next::Ask(Box::new(request))
}

fn halt(why: &str) -> ! {
    panic!("OP-TEE halts for all guests: {why}")
}

impl Secure {
    pub fn new(revision: [u64; 2]) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            revision,
            identifiers: IDENTIFIERS,
            guests: BTreeMap::new(),
            created: 0,
            interrupt: false,
        }))
    }

    /// The mediator answers for this guest from now on.
    pub fn guest_is_gone(&mut self, client: u16) {
        if let Some(instance) = self.guests.get_mut(&client) {
            instance.gone = true;
        }
    }

    /// The guest answers for itself.
    pub fn guest_is_there(&mut self, client: u16) {
        if let Some(instance) = self.guests.get_mut(&client) {
            instance.gone = false;
        }
    }

    /// How many buffers of a guest's own are registered.
    pub fn registered(&self, client: u16) -> u64 {
        let own = |instance: &Instance| {
            let handles = instance.registered.keys();
            handles.filter(|&&handle| handle as u32 != u32::MAX).count() as u64
        };
        self.guests.get(&client).map_or(0, own)
    }

    fn survives(&self) -> bool {
        (self.revision[0], self.revision[1]) >= (4, 10)
    }
}

impl Instance {
    /// The first gap that is large enough.
    fn map(&mut self, pages: u64, tables_are_memory: bool) -> u64 {
        let mut start = 0;
        for &(at, len) in &self.mapped {
            if at - start >= pages {
                break;
            }
            start = at + len;
        }
        self.mapped.push((start, pages));
        self.mapped.sort_unstable();
        for table in start / PAGES_A_TABLE..(start + pages).div_ceil(PAGES_A_TABLE) {
            let new = self.tables.insert(table);
            let used = self.instances.iter().flatten().count();
            if new && tables_are_memory && used >= INSTANCES_FILL_MEMORY {
                halt("no memory for a translation table");
            }
            if new && !tables_are_memory && TABLES_AT_START + self.tables.len() > TABLES {
                halt("no translation table");
            }
        }
        start
    }

    /// Maps registered memory, if no call has.
    fn map_buffer(&mut self, cookie: u64, tables_are_memory: bool) {
        if let Some((_, calls)) = self.buffers.get_mut(&cookie) {
            *calls += 1;
            return;
        }
        let pages = self.registered[&cookie].pages.len() as u64;
        let start = self.map(pages, tables_are_memory);
        self.buffers.insert(cookie, (start, 1));
    }

    fn unmap_buffer(&mut self, cookie: u64) {
        let (start, calls) = self.buffers[&cookie];
        self.buffers.insert(cookie, (start, calls - 1));
        if calls == 1 {
            self.buffers.remove(&cookie);
            self.unmap(start);
        }
    }

    fn unmap(&mut self, start: u64) {
        self.mapped.retain(|&(at, _)| at != start);
    }

    /// Registers memory that a message or an answer names; `None` where the heap has no room.
    fn register(&mut self, machine: &World, parameter: &Parameter) -> Option<(u64, u64)> {
        let Parameter::Temporary {
            list: true,
            address,
            size,
            reference,
            ..
        } = *parameter
        else {
            return None;
        };
        let memory = machine.follow(address, size);
        let pages = memory.pages.len() as u64;
        let heap = 64 + 8 * pages;
        if self.heap + heap > HEAP {
            return None;
        }
        self.heap += heap;
        assert!(self.registered.insert(reference, memory).is_none());
        Some((reference, pages))
    }

    fn forget(&mut self, cookie: u64) -> bool {
        let Some(memory) = self.registered.remove(&cookie) else {
            return false;
        };
        self.heap -= 64 + 8 * memory.pages.len() as u64;
        true
    }
}

fn value(words: [u64; 3]) -> Parameter {
    Parameter::Value {
        direction: Direction::Input,
        meta: false,
        words,
    }
}

fn memory(cookie: u64, size: u64) -> Parameter {
    Parameter::Registered {
        direction: Direction::InOut,
        offset: 0,
        size,
        reference: cookie,
    }
}

impl Secure {
    fn yielding(&mut self, machine: &World, client: u16, registers: [u64; 8]) -> [u64; 8] {
        let Some(mut instance) = self.guests.remove(&client) else {
            return [u64::from(status::ENOTAVAIL), 0, 0, 0, 0, 0, 0, 0];
        };
        let returned = self.call(machine, &mut instance, registers);
        self.guests.insert(client, instance);
        returned
    }

    fn call(&mut self, machine: &World, instance: &mut Instance, registers: [u64; 8]) -> [u64; 8] {
        let function = registers[0] as u32;
        let named = smc::join(registers[1], registers[2]);
        let tables_are_memory = self.revision >= [4, 6];
        let mut answer = None;
        let index = if function == smc::RETURN_FROM_RPC {
            registers[3] as usize
        } else {
            let Some(free) = instance.threads.iter().position(Option::is_none) else {
                return [u64::from(status::ETHREAD_LIMIT), 0, 0, 0, 0, 0, 0, 0];
            };
            let mut buffers = Vec::new();
            let (at, map) = if function == smc::CALL_WITH_REGD_ARG {
                let memory = &instance.registered[&named];
                let page = memory.pages[(registers[3] / 4096) as usize];
                instance.map_buffer(named, tables_are_memory);
                buffers.push(named);
                (page + registers[3] % 4096, None)
            } else {
                (named, Some(instance.map(1, tables_are_memory)))
            };
            let (message, count) = machine.message_at(at);
            let named = Named::by(&message, count);
            let others = instance.threads.iter().flatten();
            named.assert_found_beside(others.map(|thread| &thread.named));
            instance.threads[free] = Some(Thread {
                at,
                message,
                count,
                named,
                stage: Stage::Begin,
                session: 0,
                result: result::SUCCESS,
                buffers,
                map,
                file: None,
                memory: None,
            });
            free
        };
        let mut thread = instance.threads[index]
            .take()
            .expect("a thread that is suspended");
        let room = thread.at + size_with(thread.count) as u64;
        if function == smc::RETURN_FROM_RPC {
            let mut came = Message::default();
            machine.physical_read(room, came.bytes_mut(RPC_PARAMETERS));
            answer = Some(came);
        }
        if core::mem::take(&mut self.interrupt) && thread.stage == Stage::Begin {
            instance.threads[index] = Some(thread);
            return suspended(RpcFunction::ForeignInterrupt, index);
        }
        match self.advance(machine, instance, &mut thread, answer) {
            Next::Ask(request) => {
                machine.write_shadow(room, request.bytes(RPC_PARAMETERS));
                instance.threads[index] = Some(thread);
                suspended(RpcFunction::Command, index)
            }
            Next::Interrupt => {
                instance.threads[index] = Some(thread);
                suspended(RpcFunction::ForeignInterrupt, index)
            }
            Next::Done(result) => {
                for cookie in thread.buffers {
                    instance.unmap_buffer(cookie);
                }
                thread.map.into_iter().for_each(|map| instance.unmap(map));
                let mut message = thread.message;
                message.set_result(result, result::ORIGIN_TEE);
                machine.write_shadow(thread.at, message.bytes(thread.count));
                [0; 8]
            }
        }
    }

    fn advance(
        &mut self,
        machine: &World,
        instance: &mut Instance,
        thread: &mut Thread,
        answer: Option<Message>,
    ) -> Next {
        match (thread.message.command(), thread.stage) {
            (command::OPEN_SESSION, Stage::Begin) => self.begin_opening(instance, thread),
            (command::OPEN_SESSION, _) => {
                self.go_on_opening(machine, instance, thread, &answer.unwrap_or_default())
            }
            (command::INVOKE_COMMAND, Stage::Begin) => self.invoke(instance, thread),
            (command::INVOKE_COMMAND, Stage::Never) => Next::Interrupt,
            (command::INVOKE_COMMAND, _) => {
                if let Some(session) = instance.sessions.get_mut(&thread.session) {
                    session.users -= 1;
                }
                Next::Done(result::SUCCESS)
            }
            (command::CLOSE_SESSION, _) => self.close(instance, thread),
            (command::CANCEL, _) => match instance.sessions.get(&thread.message.session()) {
                None => Next::Done(result::BAD_PARAMETERS),
                Some(session) if session.context == Context::None && !self.survives() => {
                    halt("a session is cancelled that has no context")
                }
                Some(_) => Next::Done(result::SUCCESS),
            },
            (command::REGISTER_SHM, _) => {
                let parameter = thread.message.parameter(0).unwrap();
                match instance.register(machine, &parameter) {
                    Some(_) => Next::Done(result::SUCCESS),
                    None => Next::Done(result::BAD_PARAMETERS),
                }
            }
            (command::UNREGISTER_SHM, _)
                if instance.buffers.contains_key(&thread.message.words(0)[2]) =>
            {
                thread.stage = Stage::Wait;
                ask(Message::new(rpc::NOTIFICATION, &[value([0, 66, 0])]))
            }
            (command::UNREGISTER_SHM, _) => match instance.forget(thread.message.words(0)[2]) {
                true => Next::Done(result::SUCCESS),
                false => Next::Done(result::BAD_PARAMETERS),
            },
            _ => Next::Done(result::SUCCESS),
        }
    }

    fn begin_opening(&mut self, instance: &mut Instance, thread: &mut Thread) -> Next {
        instance.last += 1;
        thread.session = instance.last;
        thread.message.set_session(instance.last);
        let Some(name) = thread.message.application() else {
            return Next::Done(result::BAD_PARAMETERS);
        };
        let runs = instance.instances.iter().position(|running| {
            running
                .as_ref()
                .is_some_and(|it| it.name == name && name != SEVERAL && name != STORED)
        });
        let context = match (name, runs) {
            (PSEUDO, _) => Context::Pseudo,
            (_, Some(place)) => {
                if let Some(running) = &mut instance.instances[place] {
                    running.sessions += 1;
                }
                Context::Instance(place)
            }
            _ => Context::None,
        };
        let session = Session { context, users: 0 };
        instance.sessions.insert(thread.session, session);
        if context != Context::None {
            return Next::Done(result::SUCCESS);
        }
        if self.identifiers == 0 {
            instance.sessions.remove(&thread.session);
            return Next::Done(result::OUT_OF_MEMORY);
        }
        self.identifiers -= 1;
        thread.stage = Stage::FileMemory;
        ask(Message::new(rpc::SHM_ALLOC, &[value([0, 4096, 8])]))
    }

    fn go_on_opening(
        &mut self,
        machine: &World,
        instance: &mut Instance,
        thread: &mut Thread,
        answer: &Message,
    ) -> Next {
        let refused = answer.result() != result::SUCCESS;
        let tables_are_memory = self.revision >= [4, 6];
        let about_files = matches!(
            thread.stage,
            Stage::FileMemory | Stage::File | Stage::Memory
        );
        if refused && about_files && instance.gone && !self.survives() {
            halt("the mediator answers with an error about files");
        }
        let name = thread.message.application().unwrap_or_default();
        let [first, second] = uuid_words(name);
        let is_stored =
            name == STORED || name == STORED_KEPT_ALIVE || name == SEVERAL && instance.installed;
        let mut provided = || {
            let parameter = answer.parameter(0).ok().filter(|_| !refused)?;
            let (cookie, pages) = instance.register(machine, &parameter)?;
            Some((cookie, instance.map(pages, tables_are_memory)))
        };
        match thread.stage {
            Stage::FileMemory => {
                thread.file = provided();
                match thread.file {
                    Some((cookie, _)) => {
                        thread.stage = Stage::File;
                        ask(Message::new(
                            rpc::FS,
                            &[value([3, 0, 0]), memory(cookie, 4096)],
                        ))
                    }
                    None => self.end_opening(instance, thread, result::OUT_OF_MEMORY),
                }
            }
            Stage::File if is_stored => match refused {
                true => self.end_opening(instance, thread, result::ITEM_NOT_FOUND),
                false => self.run(instance, thread, name),
            },
            Stage::File => {
                thread.stage = Stage::Size;
                let none = Parameter::null(Direction::Output, 0);
                ask(Message::new(
                    rpc::LOAD_TA,
                    &[value([first, second, 0]), none],
                ))
            }
            Stage::Size if refused => self.end_opening(instance, thread, answer.result()),
            Stage::Size => {
                thread.stage = Stage::Memory;
                let size = answer.words(1)[1].max(1);
                ask(Message::new(rpc::SHM_ALLOC, &[value([0, size, 8])]))
            }
            Stage::Memory => {
                thread.memory = provided();
                match thread.memory {
                    Some((cookie, _)) => {
                        thread.stage = Stage::Load;
                        let application = memory(cookie, 1);
                        ask(Message::new(
                            rpc::LOAD_TA,
                            &[value([first, second, 0]), application],
                        ))
                    }
                    None => self.end_opening(instance, thread, result::OUT_OF_MEMORY),
                }
            }
            Stage::Load if refused || name == NOBODY => {
                self.end_opening(instance, thread, result::ITEM_NOT_FOUND)
            }
            Stage::Load => self.run(instance, thread, name),
            Stage::FreeMemory | Stage::FreeFile => self.free_memory(instance, thread),
            other => unreachable!("{other:?}"),
        }
    }

    /// The application is loaded.
    fn run(&mut self, instance: &mut Instance, thread: &mut Thread, name: [u8; 16]) -> Next {
        let place = instance.instances.len();
        instance
            .instances
            .push(Some(TrustedApplication { name, sessions: 1 }));
        if let Some(session) = instance.sessions.get_mut(&thread.session) {
            session.context = Context::Instance(place);
        }
        self.free_memory(instance, thread)
    }

    fn end_opening(&mut self, instance: &mut Instance, thread: &mut Thread, result: u32) -> Next {
        thread.result = result;
        instance.sessions.remove(&thread.session);
        thread.message.set_session(0);
        self.identifiers += 1;
        self.free_memory(instance, thread)
    }

    /// Lets go of what the guest provided, then tells it.
    fn free_memory(&mut self, instance: &mut Instance, thread: &mut Thread) -> Next {
        let (stage, memory) = match thread.memory.take() {
            Some(memory) => (Stage::FreeMemory, Some(memory)),
            None => (Stage::FreeFile, thread.file.take()),
        };
        let Some((cookie, map)) = memory else {
            return Next::Done(thread.result);
        };
        thread.stage = stage;
        instance.unmap(map);
        instance.forget(cookie);
        ask(Message::new(rpc::SHM_FREE, &[value([0, cookie, 0])]))
    }

    fn invoke(&mut self, instance: &mut Instance, thread: &mut Thread) -> Next {
        let tables_are_memory = self.revision >= [4, 6];
        thread.session = thread.message.session();
        let is_known = |index| match thread.message.parameter(index) {
            Ok(Parameter::Registered { reference, .. }) => {
                instance.registered.contains_key(&reference)
            }
            _ => true,
        };
        if !(0..thread.count).all(is_known) {
            return Next::Done(result::BAD_PARAMETERS);
        }
        let Some(session) = instance.sessions.get_mut(&thread.session) else {
            return Next::Done(result::BAD_PARAMETERS);
        };
        match session.context {
            Context::None if self.survives() => return Next::Done(result::BAD_PARAMETERS),
            Context::None => halt("a session is used that has no context"),
            Context::Pseudo | Context::Instance(_) => {}
        }
        session.users += 1;
        let is_pseudo = session.context == Context::Pseudo;
        if is_pseudo {
            for index in 0..thread.count {
                if let Ok(Parameter::Registered { reference, .. }) = thread.message.parameter(index)
                {
                    instance.map_buffer(reference, tables_are_memory);
                    thread.buffers.push(reference);
                }
            }
        }
        match thread.message.function() {
            ASK => {
                thread.stage = Stage::Asked;
                ask(Message::new(rpc::SUSPEND, &[value([1, 0, 0])]))
            }
            NEVER_END if instance.sessions[&thread.session].context != Context::Pseudo => {
                thread.stage = Stage::Never;
                Next::Interrupt
            }
            function => {
                instance.installed |= function == INSTALL && is_pseudo;
                if let Some(session) = instance.sessions.get_mut(&thread.session) {
                    session.users -= 1;
                }
                Next::Done(result::SUCCESS)
            }
        }
    }

    fn close(&mut self, instance: &mut Instance, thread: &mut Thread) -> Next {
        let number = thread.message.session();
        let Some(session) = instance.sessions.get(&number) else {
            return Next::Done(result::ITEM_NOT_FOUND);
        };
        if session.context == Context::None && !self.survives() {
            halt("a session is closed that has no context");
        }
        if session.users > 0 {
            thread.stage = Stage::Wait;
            return ask(Message::new(rpc::NOTIFICATION, &[value([0, 65, 0])]));
        }
        if let Context::Instance(place) = session.context
            && let Some(running) = &mut instance.instances[place]
        {
            running.sessions -= 1;
            let kept_alive = [KEPT_ALIVE, STORED_KEPT_ALIVE].contains(&running.name);
            if running.sessions == 0 && !kept_alive {
                instance.instances[place] = None;
                self.identifiers += 1;
            }
        }
        instance.sessions.remove(&number);
        Next::Done(result::SUCCESS)
    }
}

fn suspended(function: RpcFunction, thread: usize) -> [u64; 8] {
    [u64::from(function.a0()), 0, 0, thread as u64, 0, 0, 0, 0]
}

impl SecureWorld for Model {
    fn smc(&self, registers: [u64; 8]) -> [u64; 8] {
        crate::sync::others_may_go_first();
        let mut secure = self
            .secure
            .lock()
            .unwrap_or_else(|halted| halted.into_inner());
        let function = registers[0] as u32;
        if function & smc::FAST_CALL == 0 {
            return secure.yielding(&self.machine, registers[7] as u16, registers);
        }
        let [a, b, c, d] = match function {
            smc::CALLS_UID => smc::API_UID.map(u64::from),
            smc::CALLS_REVISION => [2, 0, 0, 0],
            smc::GET_OS_UUID => [1, 2, 3, 4],
            smc::GET_OS_REVISION => [secure.revision[0], secure.revision[1], 0, 0],
            smc::EXCHANGE_CAPABILITIES => [0, 0xfc, NOTIFICATION_MAX.into(), RPC_PARAMETERS as u64],
            smc::GET_THREAD_COUNT => [0, THREADS as u64, 0, 0],
            smc::VM_CREATED => {
                secure.created += 1;
                if secure.revision >= [4, 6] && secure.created > CREATED_MAX {
                    halt("no memory for another guest's translation tables");
                }
                let before = secure
                    .guests
                    .insert(registers[1] as u16, Instance::default());
                assert!(before.is_none(), "two guests with one ID");
                [0; 4]
            }
            // The identifiers of what runs on do not come back.
            smc::VM_DESTROYED => {
                secure.guests.remove(&(registers[1] as u16));
                [0; 4]
            }
            smc::ENABLE_ASYNC_NOTIF | smc::GET_ASYNC_NOTIF_VALUE => [0; 4],
            other => panic!("OP-TEE is asked {other:#x}"),
        };
        [a, b, c, d, 0, 0, 0, 0]
    }
}
