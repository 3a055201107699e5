//! OP-TEE's window of mappings: it maps what calls of pseudo-TAs and its own RPCs use there, first
//! fit, and never frees a translation table that it needed once (`core_mmu_map_pages`,
//! `core/mm/core_mmu.c`, 4.5.0). When there is none left, it halts.
//!
//! A guest chooses when its memory goes and comes, by holding RPCs, and, where it is let, how large
//! it is.

use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::kit::random::Random;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, Flavour};
use guest_shim::optee::words::Words;
use guest_shim::optee::{PAGE, TESTS};
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check, check_eq};
use optee_abi::{result, rpc};

use crate::held::{Held, NOBODY, NOBODY_ELSE};

/// `OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | OPTEE_MSG_ATTR_NONCONTIG`
const LIST: u64 = 0x20a;

/// What is done to one of two calls that open a session.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It goes on to the next command to give memory, which gets this many pages.
    Give(usize, u64),
    /// It is denied all that it asks for, until it is over.
    End(usize),
}

use Step::{End, Give};

/// Sequences that spread the most over the window with no more than 1,024 pages at once, found by a
/// search for allocation orders that fragment it: they span 2,386 and 2,387 pages.
const SEQUENCES: [&[Step]; 2] = [
    &[
        Give(0, 13),
        Give(1, 10),
        Give(1, 1),
        Give(0, 5),
        End(1),
        Give(1, 12),
        End(0),
        Give(1, 31),
        Give(0, 100),
        End(1),
        Give(1, 166),
        End(0),
        Give(0, 685),
        End(1),
        Give(1, 339),
        End(0),
        Give(0, 317),
        Give(0, 23),
        Give(1, 344),
        End(0),
        Give(0, 341),
        End(1),
        Give(1, 681),
        Give(0, 1),
        End(1),
        Give(1, 682),
    ],
    &[
        Give(0, 340),
        Give(1, 226),
        Give(1, 114),
        Give(0, 1),
        End(1),
        Give(1, 1),
        Give(1, 682),
        End(0),
        Give(0, 341),
        End(1),
        Give(1, 680),
        Give(1, 1),
        Give(0, 1),
        End(1),
        Give(1, 682),
    ],
];

/// A guest that plays with two calls.
struct Player<'a> {
    client: &'a Client,
    calls: [Option<Call<'a>>; 2],
    /// A page that stands for all that is given.
    page: u64,
    /// Whether a call's second memory is what it wants, as large as its application is said to be,
    /// rather than more than it wants.
    as_wanted: bool,
}

/// One of the two calls.
struct Call<'a> {
    held: Held<'a>,
    /// How often memory was given to it.
    gifts: u32,
    /// Cookies of memory that it has.
    has: Vec<u64>,
}

impl<'a> Player<'a> {
    fn new(client: &'a Client, as_wanted: bool) -> Self {
        Self {
            client,
            calls: [None, None],
            page: client.arena.pages(1).address,
            as_wanted,
        }
    }

    fn step(&mut self, step: Step) -> Outcome {
        match step {
            Give(which, pages) => self.give(which, pages),
            End(which) => self.end(which),
        }
    }

    fn give(&mut self, which: usize, pages: u64) -> Outcome {
        let application = [NOBODY, NOBODY_ELSE][which];
        let mut call = match self.calls[which].take() {
            Some(call) => call,
            None => Call {
                held: Held::open(self.client, application)?,
                gifts: 0,
                has: Vec::new(),
            },
        };
        while let Some(words) = call.held.command()? {
            match words.command() {
                rpc::SHM_ALLOC => {
                    let [_, wanted, _] = words.parameter(0);
                    let wanted = wanted.div_ceil(PAGE);
                    let given = if self.as_wanted {
                        wanted
                    } else {
                        wanted.max(pages)
                    };
                    let cookie = fresh_cookie();
                    let list = self.client.list((0..given).map(|_| self.page));
                    let mut answer = words.with_attributes(0, LIST);
                    answer.set_parameter(0, [list.address, given * PAGE, cookie]);
                    call.has.push(cookie);
                    call.gifts += 1;
                    call.held.answer(answer, result::SUCCESS)?;
                    call.take_back()?;
                    if call.gifts == 1 {
                        // Lets go of what the other call needs to go on.
                        call.deny_until_it_loads()?;
                    }
                    self.calls[which] = Some(call);
                    return Ok(());
                }
                rpc::LOAD_TA => {
                    let mut answer = words;
                    let [address, _, reference] = answer.parameter(1);
                    let size = if self.as_wanted { pages * PAGE } else { PAGE };
                    answer.set_parameter(1, [address, size, reference]);
                    call.held.answer(answer, result::SUCCESS)?;
                }
                _ => {
                    call.take_back()?;
                    if call.held.command()?.is_some() {
                        call.held.deny()?;
                    }
                }
            }
        }
        call.over()
    }

    fn end(&mut self, which: usize) -> Outcome {
        match self.calls[which].take() {
            Some(call) => call.end(),
            None => Ok(()),
        }
    }
}

impl Call<'_> {
    /// Takes memory back that it is told to free; other memory than its own must not come.
    fn take_back(&mut self) -> Outcome {
        while let Some(words) = self.held.command()?
            && words.command() == rpc::SHM_FREE
        {
            let [_, cookie, _] = words.parameter(0);
            let before = self.has.len();
            self.has.retain(|own| *own != cookie);
            check_eq!(self.has.len() + 1, before, "memory {cookie:#x}");
            self.held.answer(words, result::SUCCESS)?;
        }
        Ok(())
    }

    /// Denies what it asks for until it wants its application.
    fn deny_until_it_loads(&mut self) -> Outcome {
        while let Some(command) = self.held.waits_for()?
            && command != rpc::LOAD_TA
            && command != rpc::SHM_ALLOC
        {
            self.take_back()?;
            if self.held.waits_for()?.is_some_and(|now| now == command) {
                self.held.deny()?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Outcome {
        while self.held.command()?.is_some() {
            self.take_back()?;
            if self.held.command()?.is_some() {
                self.held.deny()?;
            }
        }
        self.over()
    }

    /// It is over: it has not opened a session, and gave everything back.
    fn over(self) -> Outcome {
        check!(self.has.is_empty(), "it still has {:x?}", self.has);
        let reply = self.held.reply()?;
        check!(reply.came.result() != result::SUCCESS, "it opens");
        Ok(())
    }
}

/// Does these steps, ends both calls, and sees whether OP-TEE works as before.
fn play(client: &Client, as_wanted: bool, steps: impl Iterator<Item = Step>) -> Outcome {
    let mut player = Player::new(client, as_wanted);
    for step in steps {
        player
            .step(step)
            .map_err(|reason| alloc::format!("{step:?}: {reason}"))?;
    }
    player.end(0)?;
    player.end(1)?;
    let session = client.open(Flavour::RpcArgument, TESTS)?;
    client.close(Flavour::RpcArgument, session)
}

case!(4, sequences_that_fragment_op_tee_s_window_end_as_usual);
fn sequences_that_fragment_op_tee_s_window_end_as_usual(environment: &Environment) -> Outcome {
    for as_wanted in [false, true] {
        for steps in SEQUENCES {
            let client = Client::new(environment)?;
            play(&client, as_wanted, steps.iter().copied())?;
        }
    }
    Ok(())
}

case!(4, memory_that_comes_and_goes_at_random_is_no_harm);
fn memory_that_comes_and_goes_at_random_is_no_harm(environment: &Environment) -> Outcome {
    const SIZES: [u64; 12] = [1, 1, 128, 256, 340, 341, 342, 510, 511, 512, 1022, 1023];
    for seed in 1..=4_u64 {
        let client = Client::new(environment)?;
        let mut random = Random::new(seed);
        let steps = core::iter::from_fn(|| {
            let which = random.below(2) as usize;
            Some(match random.below(3) {
                0 => End(which),
                1 => Give(which, random.pick(&SIZES)),
                _ => Give(which, 1 + random.below(1023)),
            })
        });
        play(&client, seed % 2 == 0, steps.take(24))
            .map_err(|reason| alloc::format!("with seed {seed}: {reason}"))?;
    }
    Ok(())
}

case!(4, no_more_memory_is_used_than_was_wanted);
fn no_more_memory_is_used_than_was_wanted(environment: &Environment) -> Outcome {
    for pages in [2_u64, 64, 513, 2048] {
        let client = Client::new(environment)?;
        let mut held = Held::open(&client, NOBODY)?;
        let Some(words) = held.command()? else {
            return Err(String::from("it asks for nothing"));
        };
        check_eq!(words.command(), rpc::SHM_ALLOC, "the command");
        let [_, wanted, _] = words.parameter(0);
        check!(wanted <= PAGE, "it wants {wanted:#x} bytes");
        // Only the first page is memory. The others are of no use, so that they are no harm.
        let first = client.arena.pages(1);
        let nowhere = environment.memory_end();
        let list = client.list((0..pages).map(|n| if n == 0 { first.address } else { nowhere }));
        let cookie = fresh_cookie();
        let mut answer: Words = words.with_attributes(0, LIST);
        answer.set_parameter(0, [list.address, pages * PAGE, cookie]);
        held.answer(answer, result::SUCCESS)?;
        let next = held.waits_for()?;
        check!(
            next.is_some_and(|command| command != rpc::SHM_FREE),
            "{next:?} follows"
        );
        let reply = held.end()?;
        check!(reply.came.result() != result::SUCCESS, "it opens");
    }
    Ok(())
}
