//! A hostile guest beside an honest one, on a model of what OP-TEE can run out of and does not
//! survive. The honest one must not notice anything.

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter, command, size_with, uuid_words};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{self, RpcFunction};

use super::model::{Model, SEVERAL, Secure, WORK};
use super::{
    ARG, BUFFER, LIST, TICKS_PER_SECOND, World, description, put_list, register_message,
    unregister_message,
};
use crate::optee::{ClientId, Guest as Description, IDENTIFIERS, Limits, Optee, Partition};
use crate::ports::{Platform, Ports};
use crate::ta_access::TaAccess;
use crate::{Teardown, Tee};
use smccc::CallRegisters;

type Guest = Partition<Model>;

impl Platform for Model {
    type World = Self;
    type Memory = World;
    type Shadow = World;
    type Cpu = World;
}

/// Pages in the longest list that a guest gives.
const LIST_PAGES: u64 = 1100;
/// Calls that a guest makes in different places.
const PLACES: u64 = 4;
/// A buffer of this many pages is registered under this cookie.
const SHARED: [(u64, u64); 3] = [(1, 1), (2, 400), (3, 900)];

/// Stands for temporary memory where a buffer is named.
const TEMPORARY: u64 = 0;

pub struct Vm {
    model: Model,
    guest: Option<Guest>,
    lives: u32,
    lost: u32,
    /// The calls that wait for the guest: where the message is, the thread ID, and what it has to
    /// do.
    pub waiting: Vec<(u64, u64, RpcFunction)>,
    place: u64,
    cookie: u64,
    /// The highest number of a session that it has seen.
    last: u32,
}

impl Vm {
    pub fn new(secure: &Arc<Mutex<Secure>>, client: u16) -> Self {
        let machine = World::new(120);
        let pages: Vec<u64> = (0..LIST_PAGES).map(|page| BUFFER + page * 4096).collect();
        put_list(&machine, LIST, &pages);
        let model = Model {
            secure: Arc::clone(secure),
            machine,
            client,
        };
        let mut vm = Self {
            model,
            guest: None,
            lives: 0,
            lost: 0,
            waiting: Vec::new(),
            place: 0,
            cookie: 100,
            last: 0,
        };
        vm.start();
        vm
    }

    fn start(&mut self) {
        self.model
            .secure
            .lock()
            .unwrap()
            .guest_is_there(self.model.client);
        self.last = 0;
        self.waiting.clear();
        if self.guest.is_none() {
            self.create();
        }
        for (cookie, pages) in SHARED {
            self.call(&register_message(LIST, pages * 4096, cookie));
        }
    }

    fn create(&mut self) {
        let limits = Limits {
            instances_max: IDENTIFIERS / 2 - 2,
            ..Limits::default()
        };
        let machine = &self.model.machine;
        let ports = Ports::<Model> {
            world: self.model.clone(),
            memory: machine.clone(),
            shadow: machine.clone(),
            cpu: machine.clone(),
        };
        let optee = Optee::probe(&self.model).unwrap();
        let guest = Description {
            client: ClientId::new(self.model.client).unwrap(),
            lives: self.lives,
            identifiers_lost: self.lost,
            ..description(limits, TaAccess::All)
        };
        self.guest = optee.create_partition(guest, ports).ok();
        self.lives += 1;
    }

    /// The guest ends, whatever it left, and starts again.
    pub fn restart(&mut self) {
        if let Some(guest) = self.guest.take() {
            self.model
                .secure
                .lock()
                .unwrap()
                .guest_is_gone(self.model.client);
            let done = (0..1000).find_map(|_| {
                let clock = &self.model.machine.0.clock;
                clock.fetch_add(TICKS_PER_SECOND / 50, std::sync::atomic::Ordering::SeqCst);
                match guest.tear_down(true) {
                    Teardown::Interrupted => None,
                    done => Some(done),
                }
            });
            let all_is_over = guest.stats().calls_in_flight == 0 && guest.sessions.count() == 0;
            assert_eq!(
                all_is_over,
                done == Some(Teardown::Renewed),
                "what is as new serves on"
            );
            match done.expect("it has five seconds") {
                Teardown::Done { lost, .. } => {
                    self.lost += lost;
                    guest.destroy();
                }
                _ => self.guest = Some(guest),
            }
            assert_eq!(self.model.machine.pinned(), 0);
        }
        self.start();
    }

    fn smc(&mut self, at: u64, registers: &[u64]) {
        let Some(guest) = &self.guest else {
            return;
        };
        let mut all: CallRegisters = [0; 18];
        all[..registers.len()].copy_from_slice(registers);
        guest.call(&mut all);
        for function in [
            RpcFunction::Command,
            RpcFunction::ForeignInterrupt,
            RpcFunction::Free,
        ] {
            if all[0] == u64::from(function.a0()) {
                self.waiting.push((at, all[3], function));
            }
        }
    }

    /// Calls, and gives where the message is.
    pub fn call(&mut self, message: &Message) -> u64 {
        self.place = (self.place + 1) % PLACES;
        let at = ARG + self.place * 4096;
        let machine = &self.model.machine;
        machine.poke(at, message.bytes(message.count().unwrap()));
        let [a1, a2] = smc::split(at);
        self.smc(at, &[u64::from(smc::CALL_WITH_RPC_ARG), a1, a2]);
        self.see(at);
        at
    }

    fn read(&self, at: u64, count: usize) -> Message {
        let mut message = Message::default();
        self.model.machine.peek(at, message.bytes_mut(count));
        message
    }

    /// Remembers the session that a message at `at` may have opened.
    fn see(&mut self, at: u64) {
        let message = self.read(at, 0);
        if message.command() == command::OPEN_SESSION && message.result() == result::SUCCESS {
            self.last = self.last.max(message.session());
        }
    }

    /// Does what the call at `which` of those that wait asks for, as `answer` says.
    pub fn answer(&mut self, which: usize, answer: Answer) {
        if self.waiting.is_empty() {
            return;
        }
        let (at, thread, function) = self.waiting.remove(which % self.waiting.len());
        if function == RpcFunction::Command {
            let room = at + size_with(self.read(at, 0).count().unwrap_or(0)) as u64;
            let mut request = self.read(room, 4);
            match request.command() {
                rpc::SHM_ALLOC => {
                    let [_, wanted, _] = request.words(0);
                    self.cookie += 1;
                    let size = wanted + answer.pages * 4096;
                    let memory = Parameter::Temporary {
                        direction: Direction::Output,
                        list: true,
                        address: LIST,
                        size: size.min(LIST_PAGES * 4096),
                        reference: self.cookie,
                    };
                    request.set_parameter(0, memory);
                }
                rpc::LOAD_TA => {
                    let [a, _, c] = request.words(1);
                    request.set_words(1, [a, 1 + answer.pages * 4096, c]);
                }
                _ => {}
            }
            request.set_result(answer.result, 1);
            self.model.machine.poke(room, request.bytes(4));
        }
        self.smc(at, &[u64::from(smc::RETURN_FROM_RPC), 0, 0, thread]);
        self.see(at);
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub result: u32,
    /// More memory than was wanted, or the size of a trusted application.
    pub pages: u64,
}

pub const WELL: Answer = Answer {
    result: result::SUCCESS,
    pages: 0,
};

/// The supplicant has no such application.
pub const NOT_FOUND: Answer = Answer {
    result: result::ITEM_NOT_FOUND,
    pages: 0,
};

pub fn opening(name: [u8; 16]) -> Message {
    let meta = |words| Parameter::Value {
        direction: Direction::Input,
        meta: true,
        words,
    };
    let [first, second] = uuid_words(name);
    Message::new(
        command::OPEN_SESSION,
        &[meta([first, second, 0]), meta([0; 3])],
    )
}

fn about(command: u32, session: u32, function: u32, buffers: &[u64]) -> Message {
    let parameters: Vec<Parameter> = buffers
        .iter()
        .map(|&cookie| match cookie {
            TEMPORARY => Parameter::Temporary {
                direction: Direction::Input,
                list: true,
                address: LIST,
                size: 3 * 4096,
                reference: 0,
            },
            _ => Parameter::Registered {
                direction: Direction::Input,
                offset: 0,
                size: 1,
                reference: cookie,
            },
        })
        .collect();
    let mut message = Message::new(command, &parameters);
    message.set_session(session);
    message.set_function(function);
    message
}

/// The honest guest loads an application, uses it and closes it.
pub fn works(vm: &mut Vm) {
    let at = vm.call(&opening(SEVERAL));
    while !vm.waiting.is_empty() {
        vm.answer(0, WELL);
    }
    let opened = vm.read(at, 0);
    assert_eq!(
        opened.result(),
        result::SUCCESS,
        "the neighbour opens a session"
    );
    for (command, function) in [(command::INVOKE_COMMAND, WORK), (command::CLOSE_SESSION, 0)] {
        let at = vm.call(&about(command, opened.session(), function, &[]));
        assert_eq!(
            vm.read(at, 0).result(),
            result::SUCCESS,
            "the neighbour's command {command}"
        );
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Open([u8; 16]),
    /// This many sessions, and all that it is asked for meanwhile.
    Sessions([u8; 16], u8),
    /// A command, how far the session is from the latest one that it knows, what the application
    /// does, and with what.
    About(u32, i32, u32, Vec<u64>),
    Answer(usize, Answer),
    /// Does all that it is asked for, this many times.
    Work(u8),
    Interrupt,
    /// Registers this many pages under this cookie, or takes it back.
    Register(u64, u64),
    Unregister(u64),
    ProbeAnew,
    Restart,
}

impl Vm {
    /// Once no call is under way any more, nothing is left but what is registered.
    fn ends_calls(&mut self) {
        self.smc(0, &[u64::from(smc::EXCHANGE_CAPABILITIES), 0]);
        self.waiting.clear();
        for _ in 0..20 {
            self.call(&about(command::CANCEL, 0, 0, &[]));
        }
        let Some(guest) = &self.guest else {
            return;
        };
        let stats = guest.stats();
        if stats.calls_in_flight == 0 {
            assert_eq!(guest.window.pages(), 0, "of OP-TEE's address space");
            let secure = self.model.secure.lock().unwrap();
            let known = secure.registered(self.model.client);
            assert_eq!(stats.buffers, known, "buffers that OP-TEE knows");
            assert_eq!(self.model.machine.pinned(), stats.pinned_pages as i64);
        }
    }
}

pub fn play(revision: [u64; 2], steps: Vec<Step>) {
    let secure = Secure::new(revision);
    let [mut hostile, mut honest] = [1, 2].map(|client| Vm::new(&secure, client));
    for step in steps {
        match step {
            Step::Open(name) => {
                hostile.call(&opening(name));
            }
            Step::Sessions(name, count) => {
                for _ in 0..count {
                    hostile.call(&opening(name));
                    (0..12).for_each(|_| hostile.answer(0, WELL));
                }
            }
            Step::About(command, far, function, buffers) => {
                let session = hostile.last.wrapping_add_signed(far);
                let buffers = if command == command::INVOKE_COMMAND {
                    &buffers[..]
                } else {
                    &[]
                };
                hostile.call(&about(command, session, function, buffers));
            }
            Step::Answer(which, answer) => hostile.answer(which, answer),
            Step::Work(times) => (0..times).for_each(|_| hostile.answer(0, WELL)),
            Step::Interrupt => secure.lock().unwrap().interrupt = true,
            Step::Register(cookie, pages) => {
                hostile.call(&register_message(LIST, pages * 4096, cookie));
            }
            Step::Unregister(cookie) => {
                hostile.call(&unregister_message(cookie));
            }
            Step::ProbeAnew => hostile.smc(0, &[u64::from(smc::EXCHANGE_CAPABILITIES), 0]),
            Step::Restart => hostile.restart(),
        }
        let interrupt = core::mem::take(&mut secure.lock().unwrap().interrupt);
        works(&mut honest);
        secure.lock().unwrap().interrupt = interrupt;
    }
    secure.lock().unwrap().interrupt = false;
    hostile.ends_calls();
}
