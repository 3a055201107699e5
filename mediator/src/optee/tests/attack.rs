//! A hostile guest beside an honest one, on a model of what OP-TEE can run out of and does not
//! survive. The honest one must not notice anything.

use std::sync::{Arc, Mutex};
use std::vec;
use std::vec::Vec;

use optee_abi::message::{Direction, Message, Parameter, command, size_with, uuid_words};
use optee_abi::result;
use optee_abi::rpc;
use optee_abi::smc::{self, RpcFunction};
use proptest::prelude::*;

use super::fake::model::{
    ASK, INSTALL, KEPT_ALIVE, Model, NEVER_END, NOBODY, PSEUDO, SEVERAL, SINGLE, STORED,
    STORED_KEPT_ALIVE, Secure, WORK,
};
use super::fake::{
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

struct Vm {
    model: Model,
    guest: Option<Guest>,
    lives: u32,
    lost: u32,
    /// The calls that wait for the guest: where the message is, the thread ID, and what it has to
    /// do.
    waiting: Vec<(u64, u64, RpcFunction)>,
    place: u64,
    cookie: u64,
    /// The highest number of a session that it has seen.
    last: u32,
}

impl Vm {
    fn new(secure: &Arc<Mutex<Secure>>, client: u16) -> Self {
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
    fn restart(&mut self) {
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
    fn call(&mut self, message: &Message) -> u64 {
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
    fn answer(&mut self, which: usize, answer: Answer) {
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
struct Answer {
    result: u32,
    /// More memory than was wanted, or the size of a trusted application.
    pages: u64,
}

const WELL: Answer = Answer {
    result: result::SUCCESS,
    pages: 0,
};

/// The supplicant has no such application.
const NOT_FOUND: Answer = Answer {
    result: result::ITEM_NOT_FOUND,
    pages: 0,
};

fn opening(name: [u8; 16]) -> Message {
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
fn works(vm: &mut Vm) {
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
enum Step {
    Open([u8; 16]),
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

fn step() -> impl Strategy<Value = Step> {
    let names = prop_oneof![
        1 => Just(PSEUDO),
        3 => Just(SEVERAL),
        1 => Just(SINGLE),
        1 => Just(KEPT_ALIVE),
        1 => Just(STORED),
        1 => Just(STORED_KEPT_ALIVE),
        2 => Just(NOBODY)
    ];
    let commands = prop_oneof![
        3 => Just(command::INVOKE_COMMAND),
        1 => Just(command::CLOSE_SESSION),
        1 => Just(command::CANCEL)
    ];
    let functions =
        prop_oneof![3 => Just(WORK), 2 => Just(ASK), 1 => Just(NEVER_END), 1 => Just(INSTALL)];
    let buffers = proptest::collection::vec(0_u64..5, 0..3);
    let answers = (
        prop_oneof![4 => Just(result::SUCCESS), 1 => Just(result::GENERIC)],
        prop_oneof![3 => Just(0_u64), 1 => 0_u64..8, 1 => 1_u64..1000],
    )
        .prop_map(|(result, pages)| Answer { result, pages });
    prop_oneof![
        4 => names.prop_map(Step::Open),
        4 => (commands, -2_i32..4, functions, buffers)
            .prop_map(|(command, far, function, buffers)| Step::About(command, far, function, buffers)),
        8 => (0_usize..3, answers).prop_map(|(which, answer)| Step::Answer(which, answer)),
        3 => (1_u8..20).prop_map(Step::Work),
        1 => Just(Step::Interrupt),
        1 => (1_u64..5, 1_u64..600).prop_map(|(cookie, pages)| Step::Register(cookie, pages)),
        1 => (1_u64..5).prop_map(Step::Unregister),
        1 => Just(Step::ProbeAnew),
        1 => Just(Step::Restart),
    ]
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

fn play(revision: [u64; 2], steps: Vec<Step>) {
    let secure = Secure::new(revision);
    let [mut hostile, mut honest] = [1, 2].map(|client| Vm::new(&secure, client));
    for step in steps {
        match step {
            Step::Open(name) => {
                hostile.call(&opening(name));
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_neighbour_does_not_notice(
        early in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        play(if early { [4, 5] } else { [4, 10] }, steps);
    }
}

/// Sessions that stay open and calls that never end, life after life.
#[test]
fn lives_that_leave_sessions_behind_cost_their_own_guest_alone() {
    for name in [SEVERAL, KEPT_ALIVE, STORED, STORED_KEPT_ALIVE] {
        let life = || {
            let open = [Step::Open(name), Step::Work(12)];
            let endless = |far| Step::About(command::INVOKE_COMMAND, far, NEVER_END, vec![]);
            vec![open; 28]
                .into_iter()
                .flatten()
                .chain([endless(0), endless(-1), Step::Restart])
        };
        play([4, 10], (0..150).flat_map(|_| life()).collect());
    }
}

/// Applications that OP-TEE loads without a word of it to the guest, whether it had the guest load
/// them before or not.
#[test]
fn applications_out_of_secure_storage_take_no_more_than_the_share() {
    let open = |name| [Step::Open(name), Step::Work(12)];
    let install = Step::About(command::INVOKE_COMMAND, 0, INSTALL, vec![]);
    for name in [SEVERAL, STORED, STORED_KEPT_ALIVE] {
        for revision in [[4, 5], [4, 10]] {
            let first = open(name)
                .into_iter()
                .chain(open(PSEUDO))
                .chain([install.clone()]);
            let others = (0..100).flat_map(|_| open(name));
            play(revision, first.chain(others).collect());
        }
    }
}

/// What never is loaded out of secure storage for a session, because it runs on, is counted in each
/// life.
#[test]
fn applications_kept_alive_out_of_secure_storage_are_charged_to_the_next_life() {
    let close = || Step::About(command::CLOSE_SESSION, 0, 0, vec![]);
    let open = || [Step::Open(STORED_KEPT_ALIVE), Step::Work(12)];
    let life = || {
        open()
            .into_iter()
            .chain([close()])
            .chain(open())
            .chain([close(), Step::Restart])
    };
    play([4, 10], (0..80).flat_map(|_| life()).collect());
}

/// A guest that ends in the middle of opening a session, before OP-TEE came to ask for anything.
#[test]
fn calls_cut_off_before_they_asked_for_anything_are_counted() {
    let life = || {
        [
            Step::Interrupt,
            Step::Open(SEVERAL),
            Step::Interrupt,
            Step::Open(SEVERAL),
            Step::Restart,
        ]
    };
    for revision in [[4, 5], [4, 10]] {
        play(revision, (0..80).flat_map(|_| life()).collect());
    }
}

/// A program tries names that nobody has: what it leaves in mind is nothing.
#[test]
fn names_that_nobody_has_leave_room_for_others() {
    let secure = Secure::new([4, 10]);
    let mut vm = Vm::new(&secure, 1);
    for number in 0..1000_u16 {
        let mut name = NOBODY;
        name[..2].copy_from_slice(&number.to_le_bytes());
        vm.call(&opening(name));
        // Memory, a file, then the application, then the memory back.
        for answer in [WELL, WELL, NOT_FOUND, WELL] {
            vm.answer(0, answer);
        }
        assert!(vm.waiting.is_empty());
    }
    works(&mut vm);
}

/// A kernel that takes the place of another one ends while a buffer of its own is shared.
#[test]
fn a_kernel_that_follows_another_and_ends_while_it_registers_is_renewed() {
    let stored = |pages| Answer {
        result: result::SUCCESS,
        pages,
    };
    play(
        [4, 10],
        vec![
            Step::Open(SEVERAL),
            Step::Open(SEVERAL),
            Step::Answer(0, stored(0)),
            Step::Answer(0, stored(0)),
            Step::ProbeAnew,
            Step::Register(4, 1),
            Step::Restart,
        ],
    );
}
