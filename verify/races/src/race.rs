//! A race: a machine, what its vCPUs do at the same time, and what must hold afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mediator::Tee as _;
use mediator::optee::fakes::{
    Guest, LIST, World, assert_nothing_left, call_at, get, guest, put, put_list,
};
use optee_abi::message::{Message, size_with};
use optee_abi::smc::{self, RpcFunction, status};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};
use smccc::CallRegisters;

/// Names how many orders of each kind are tried.
const ORDERS: &str = "RACES_ORDERS";

/// How many it is otherwise.
const ORDERS_USUALLY: usize = 300;

/// Changes of who runs that decide, in the second kind.
const CHANGES: usize = 3;

const SEED: u64 = 0x5eed;

/// Memory that one vCPU uses for its messages and lists.
const OF_EACH: u64 = 0x4000;

/// No call asks for more than this.
const RETURNS_MAX: usize = 60;

/// Runs a race in all the orders that are tried.
pub(crate) fn in_many_orders(race: fn()) {
    let named = std::env::var(ORDERS).map(|orders| orders.parse());
    let orders = named.map_or(ORDERS_USUALLY, |orders| orders.expect("a number of orders"));
    run(RandomScheduler::new_from_seed(SEED, orders), race);
    run(PctScheduler::new_from_seed(SEED, CHANGES, orders), race);
}

fn run(scheduler: impl Scheduler + 'static, race: fn()) {
    let mut config = Config::new();
    // The made-up machine keeps messages on the stack.
    config.stack_size = 1 << 20;
    Runner::new(scheduler, config).run(race);
}

/// A machine with a guest.
#[derive(Clone)]
pub(crate) struct Race {
    pub(crate) world: World,
    pub(crate) guest: Arc<Guest>,
    /// A thread ID that all vCPUs know.
    known: Arc<AtomicU64>,
}

impl Race {
    pub(crate) fn new() -> Self {
        let (world, guest) = guest();
        Self {
            world,
            guest: Arc::new(guest),
            known: Arc::default(),
        }
    }

    /// Tells all vCPUs a thread ID.
    pub(crate) fn tell(&self, thread: u64) {
        self.known.store(thread, Ordering::Relaxed);
    }

    /// Does all of these at the same time, each on a vCPU of its own, and gives what they found.
    pub(crate) fn at_once<T: Send + 'static, const N: usize>(
        &self,
        vcpus: [fn(&Vcpu) -> T; N],
    ) -> [T; N] {
        let mut index = 0;
        let started = vcpus.map(|work| {
            let vcpu = self.vcpu(index);
            index += 1;
            thread::spawn(move || work(&vcpu))
        });
        started.map(|vcpu| vcpu.join().expect("no vCPU panics"))
    }

    pub(crate) fn vcpu(&self, index: u64) -> Vcpu {
        Vcpu {
            race: self.clone(),
            at: mediator::optee::fakes::ARG + index * OF_EACH,
            list: LIST + index * OF_EACH,
        }
    }

    /// The guest ends, and nothing of it is left.
    pub(crate) fn ends(&self) {
        while self.guest.tear_down(false) == mediator::Teardown::Interrupted {}
        assert_eq!(self.world.suspended(), 0, "OP-TEE's threads");
        self.guest.destroy();
        assert_nothing_left(&self.world, &self.guest);
    }
}

/// One vCPU of the guest.
pub(crate) struct Vcpu {
    race: Race,
    at: u64,
    list: u64,
}

impl Vcpu {
    pub(crate) fn world(&self) -> &World {
        &self.race.world
    }

    pub(crate) fn guest(&self) -> &Guest {
        &self.race.guest
    }

    /// Makes a call with `message`.
    pub(crate) fn send(&self, message: &Message) -> CallRegisters {
        put(self.world(), self.at, message);
        call_at(self.guest(), self.at)
    }

    /// Goes on with a call, as a guest does that answers all commands with what they came with,
    /// until it is over.
    pub(crate) fn see_through(&self, mut registers: CallRegisters) -> u32 {
        for _ in 0..RETURNS_MAX {
            let asks = [
                RpcFunction::Command,
                RpcFunction::ForeignInterrupt,
                RpcFunction::Alloc,
                RpcFunction::Free,
            ];
            if !asks
                .iter()
                .any(|function| registers[0] == u64::from(function.a0()))
            {
                return registers[0] as u32;
            }
            thread::yield_now();
            registers = self.resume(registers[3]);
        }
        panic!("a call has no end");
    }

    /// Returns with this thread ID.
    pub(crate) fn resume(&self, thread: u64) -> CallRegisters {
        mediator::optee::fakes::smc_with(
            self.guest(),
            &[u64::from(smc::RETURN_FROM_RPC), 0, 0, thread],
        )
    }

    /// The thread ID that all vCPUs were told.
    pub(crate) fn told(&self) -> u64 {
        self.race.known.load(Ordering::Relaxed)
    }

    /// Where the guest has its RPC argument for a call with `message`.
    pub(crate) fn room_of(&self, message: &Message) -> u64 {
        self.at + size_with(message.count().unwrap_or(0)) as u64
    }

    /// Makes a call and sees it through. `None` where there is no thread for it; the result
    /// otherwise.
    pub(crate) fn ask(&self, message: &Message) -> Option<u32> {
        match self.see_through(self.send(message)) {
            status::ETHREAD_LIMIT => None,
            code => {
                assert_eq!(code, status::OK, "the return code");
                Some(self.message().result())
            }
        }
    }

    /// The message as it came back.
    pub(crate) fn message(&self) -> Message {
        get(self.world(), self.at)
    }

    /// Puts a list of `count` pages from `ipa` on where this vCPU has its lists, and gives where
    /// that is.
    pub(crate) fn list(&self, ipa: u64, count: u64) -> u64 {
        let pages: Vec<u64> = (0..count).map(|page| ipa + page * 0x2000).collect();
        put_list(self.world(), self.list, &pages);
        self.list
    }
}
