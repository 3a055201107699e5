//! Calls of the TEE that make some sense.

use guest_shim::arch::memory::SpareMemory;
use guest_shim::kit::random::Random;
use guest_shim::optee::words::Words;
use guest_shim::optee::{DEVICE_LIST, PAGE, TESTS, opening};
use guest_shim::runtime::conduit::call;
use optee_abi::message::{Message, command};
use optee_abi::result;
use optee_abi::smc::{self, Returned, RpcFunction};
use smccc::Conduit;

/// Pages that a vCPU has for messages, lists and buffers.
const PAGES: u64 = 64;
/// Calls that it remembers as waiting for it.
const HELD: usize = 4;
/// How often a call may come back for interrupts before it is left.
const INTERRUPTS_MAX: u32 = 10_000;

/// `STATS_UUID`, and one that nobody has.
const STATS: [u8; 16] = [
    0xd9, 0x6a, 0x5b, 0x40, 0xe2, 0xc7, 0xb1, 0xaf, 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b,
];
const NOBODY: [u8; 16] = *b"nobody-has-this!";

const FUNCTIONS: [u32; 3] = [
    smc::CALL_WITH_ARG,
    smc::CALL_WITH_RPC_ARG,
    smc::CALL_WITH_REGD_ARG,
];

const ATTRIBUTES: [u64; 16] = [
    0, 1, 2, 3, 5, 6, 7, 9, 0xa, 0xb, 0x209, 0x20a, 0x20b, 0x101, 0x102, 0x401,
];

const RESULTS: [u32; 6] = [
    result::SUCCESS,
    result::SUCCESS,
    0xffff_0008,
    result::OUT_OF_MEMORY,
    result::COMMUNICATION,
    result::GENERIC,
];

/// A call that waits for the guest.
#[derive(Clone, Copy, Debug)]
struct Held {
    thread: u64,
    function: RpcFunction,
    /// The page with the message, which the room for RPCs follows.
    message: u64,
    /// Words of the message.
    words: u64,
}

/// A vCPU's view of the TEE.
pub struct Tee {
    conduit: Conduit,
    memory: SpareMemory,
    /// Its first page.
    start: u64,
    memory_end: u64,
    held: [Option<Held>; HELD],
    /// Sessions that opened, the last ones.
    sessions: [u32; 4],
}

impl Tee {
    pub fn new(conduit: Conduit, memory: SpareMemory, vcpu: usize, memory_end: u64) -> Self {
        let start = memory.bounds().0.next_multiple_of(PAGE) + vcpu as u64 * PAGES * PAGE;
        Self {
            conduit,
            memory,
            start,
            memory_end,
            held: [None; HELD],
            sessions: [1, 2, 3, 4],
        }
    }

    pub fn act(&mut self, random: &mut Random) {
        match random.below(8) {
            0..4 => self.send(random),
            4..7 => self.resume(random),
            _ => {
                let number = random.below(22) as u32;
                let [a, b] = [self.number(random), self.number(random)];
                let _ = call(self.conduit, 0xb200_0000 | number, &[a, b, 0]);
            }
        }
    }

    fn page(&self, random: &mut Random) -> u64 {
        self.start + random.below(PAGES) * PAGE
    }

    fn number(&self, random: &mut Random) -> u64 {
        match random.below(8) {
            0..3 => self.page(random),
            3 => self.page(random) + random.below(PAGE / 8) * 8,
            4 => random.below(32),
            5 => PAGE << random.below(14),
            6 => self.memory_end + random.below(16) * 0x800,
            _ => random.bits() | 1 << 40,
        }
    }

    fn message(&mut self, random: &mut Random) -> Words {
        let what = random.below(9) as u32;
        if what == command::OPEN_SESSION && !random.once_in(4) {
            let application = random.pick(&[DEVICE_LIST, TESTS, STATS, NOBODY]);
            return Words::of(&opening(application), 2);
        }
        let count = random.below(5) as usize;
        let session = if random.once_in(4) {
            random.below(16) as u32
        } else {
            random.pick(&self.sessions)
        };
        let mut words =
            Words::of(&Message::new(what, &[]), count).to(session, random.below(12) as u32);
        words = words.claiming(if random.once_in(16) {
            random.bits() as u32
        } else {
            count as u32
        });
        for index in 0..count {
            let attributes = if random.once_in(16) {
                random.bits()
            } else {
                random.pick(&ATTRIBUTES)
            };
            words = words.with_attributes(index, attributes);
            let parameter = [(); 3].map(|()| self.number(random));
            words.set_parameter(index, parameter);
        }
        words
    }

    fn store(&self, address: u64, words: &[u64]) {
        for (address, word) in (address..).step_by(8).zip(words) {
            self.memory.write(address, *word);
        }
    }

    /// Lists of pages, so that there is something to find.
    fn write_list(&self, random: &mut Random) {
        let list = self.page(random);
        for n in 0..8 {
            let entry = if random.once_in(16) {
                self.number(random)
            } else {
                self.page(random)
            };
            self.memory.write(list + n * 8, entry);
        }
        self.memory.write(list + 511 * 8, self.page(random));
    }

    fn send(&mut self, random: &mut Random) {
        self.write_list(random);
        let words = self.message(random);
        let message = self.page(random);
        self.store(message, &words.0);
        let function = random.pick(&FUNCTIONS);
        let named = if function == smc::CALL_WITH_REGD_ARG || random.once_in(32) {
            self.number(random)
        } else {
            message
        };
        let [a1, a2] = smc::split(named);
        let opens = words.command() == command::OPEN_SESSION;
        let count = words.0.len() as u64;
        let returned = self.call(function, [a1, a2, 0, 0, 0], message, count, random);
        if returned == Some(0) && opens {
            let session = self.memory.read(message + 8) as u32;
            self.sessions[random.below(4) as usize] = session;
        }
    }

    /// Calls and takes interrupts; the return code, if it is over.
    fn call(
        &mut self,
        function: u32,
        arguments: [u64; 5],
        message: u64,
        words: u64,
        random: &mut Random,
    ) -> Option<u32> {
        let mut exchange = call(self.conduit, function, &arguments);
        for _ in 0..INTERRUPTS_MAX {
            let [a0, _, _, thread]: [u64; 4] = exchange.results();
            match Returned::from_a0(a0 as u32) {
                Returned::Done(code) => return Some(code),
                Returned::Rpc(RpcFunction::ForeignInterrupt) => {
                    exchange = call(self.conduit, smc::RETURN_FROM_RPC, &[0, 0, thread, 0, 0]);
                }
                Returned::Rpc(function) => {
                    self.held[random.below(HELD as u64) as usize] = Some(Held {
                        thread,
                        function,
                        message,
                        words,
                    });
                    return None;
                }
            }
        }
        None
    }

    fn resume(&mut self, random: &mut Random) {
        let which = random.below(HELD as u64) as usize;
        let Some(held) = self.held[which].take() else {
            if random.once_in(8) {
                let thread = random.below(64);
                let _ = self.call(
                    smc::RETURN_FROM_RPC,
                    [0, 0, thread, 0, 0],
                    self.start,
                    4,
                    random,
                );
            }
            return;
        };
        let page = self.page(random);
        let [a1, a2] = smc::split(if random.once_in(8) {
            self.number(random)
        } else {
            page
        });
        let [a4, a5] = smc::split(self.number(random));
        let room = held.message + held.words * 8;
        if held.function == RpcFunction::Command && room + 128 <= self.start + PAGES * PAGE {
            // The result, and at times everything else of the answer.
            let code = random.pick(&RESULTS);
            let upper = self.memory.read(room + 16) & 0xffff_ffff;
            self.memory.write(room + 16, upper | u64::from(code) << 32);
            if random.once_in(2) {
                self.memory.write(room + 32, random.pick(&ATTRIBUTES));
                for n in 1..4 {
                    self.memory.write(room + 32 + n * 8, self.number(random));
                }
            }
        }
        let _ = self.call(
            smc::RETURN_FROM_RPC,
            [a1, a2, held.thread, a4, a5],
            held.message,
            held.words,
            random,
        );
    }
}
