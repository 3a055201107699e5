//! OP-TEE's answers are replaced, or OP-TEE is never asked: for every code that it can return, at
//! each entry of every kind of call.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use mediator::optee::fakes::attacker::{Vm, works};
use mediator::optee::fakes::model::Secure;
use mediator::optee::fakes::{World, assert_nothing_left, description, is_secret};
use mediator::optee::{Limits, Optee, Partition};
use mediator::ports::{Platform, Ports, SecureWorld};
use mediator::ta_access::TaAccess;
use mediator::{Teardown, Tee as _};
use optee_abi::smc::{self, RpcFunction, status};

use crate::scenario::{COOKIE, Call, PAGES, begin, issue, prepare, see_through};
use crate::{came, held};

/// What comes in place of what OP-TEE says.
const CODES: [(&str, u32); 14] = [
    ("OK", status::OK),
    ("ETHREAD_LIMIT", status::ETHREAD_LIMIT),
    ("EBUSY", status::EBUSY),
    ("ERESUME", status::ERESUME),
    ("EBADADDR", status::EBADADDR),
    ("EBADCMD", status::EBADCMD),
    ("ENOMEM", status::ENOMEM),
    ("ENOTAVAIL", status::ENOTAVAIL),
    ("an unknown function", status::UNKNOWN_FUNCTION),
    ("an unknown code", 0x1234_5678),
    ("a foreign interrupt", RpcFunction::ForeignInterrupt.a0()),
    ("a command", RpcFunction::Command.a0()),
    ("a wish for memory", RpcFunction::Alloc.a0()),
    ("a wish to free memory", RpcFunction::Free.a0()),
];

/// Entries that any kind of call makes at most.
const ENTRIES_MAX: i64 = 12;

/// A thread that OP-TEE does not have.
const NO_THREAD: u64 = 0x7001;

/// The way to OP-TEE, with one answer that is not OP-TEE's.
#[derive(Clone, Debug)]
struct Faulty {
    world: World,
    /// So many more yielding calls come and go as they should.
    good: Arc<AtomicI64>,
    code: Arc<AtomicU64>,
    /// Whether OP-TEE does what it is asked for all the same.
    does_it: bool,
}

impl SecureWorld for Faulty {
    fn smc(&self, registers: [u64; 8]) -> [u64; 8] {
        let yielding = registers[0] as u32 & smc::FAST_CALL == 0;
        if !yielding || self.good.fetch_sub(1, Ordering::SeqCst) != 0 {
            return self.world.smc(registers);
        }
        if self.does_it {
            let _ = self.world.smc(registers);
        }
        [
            self.code.load(Ordering::SeqCst),
            0,
            0,
            NO_THREAD,
            0,
            0,
            0,
            0,
        ]
    }
}

struct Machine;

impl Platform for Machine {
    type World = Faulty;
    type Memory = World;
    type Shadow = World;
    type Cpu = World;
}

/// What came of a call with the answer at entry `at` replaced.
fn with_fault(call: Call, at: i64, code: u32, does_it: bool) -> (bool, String) {
    let world = World::new(100);
    let optee = Optee::probe(&world).expect("OP-TEE is one");
    let good = Arc::new(AtomicI64::new(i64::MAX));
    let faulty = Faulty {
        world: world.clone(),
        good: Arc::clone(&good),
        code: Arc::new(AtomicU64::new(code.into())),
        does_it,
    };
    let ports = Ports::<Machine> {
        world: faulty,
        memory: world.clone(),
        shadow: world.clone(),
        cpu: world.clone(),
    };
    let guest = description(Limits::default(), TaAccess::All);
    let guest: Partition<Machine> = optee.create_partition(guest, ports).expect("it is made");
    guest.knows_ready_session(&world);
    {
        let mut optee = world.optee();
        optee.lenient = true;
        optee.unbelieved = true;
    }
    prepare(&world);
    let shared = Call::Register.message();
    let mut first = shared;
    first.set_words(0, {
        let [address, size, _] = shared.words(0);
        [address, size, COOKIE]
    });
    let registers = begin(&guest, &world, &first);
    assert_eq!(
        see_through(&guest, &world, &first, registers),
        Some(status::OK)
    );
    assert_eq!(world.pinned(), PAGES as i64);

    call.script(&world);
    good.store(at, Ordering::SeqCst);
    let message = call.message();
    let registers = begin(&guest, &world, &message);
    let ended = see_through(&guest, &world, &message, registers);
    let reached = good.load(Ordering::SeqCst) < 0;

    // Whatever became of it, the guest's other calls go on.
    world.optee().acts.clear();
    let next = Call::Invoke.message();
    let mut goes_on = false;
    for _ in 0..4 {
        let registers = begin(&guest, &world, &next);
        goes_on |= see_through(&guest, &world, &next, registers) == Some(status::OK);
    }
    let registers = issue(&guest, &[u64::from(smc::GET_OS_REVISION)]);
    assert!(!registers.iter().any(|register| is_secret(*register)));

    let mut torn_down = guest.tear_down(false);
    while torn_down == Teardown::Interrupted {
        torn_down = guest.tear_down(false);
    }
    guest.destroy();
    let stats = guest.stats();
    let left = (stats.buffers, stats.pinned_pages, stats.calls_in_flight);
    let pinned = world.pinned();
    // A thread that OP-TEE is said to have is one that never comes back, and its call is the
    // guest's.
    let lost = ended.is_none() && !goes_on;
    let came = if left == (0, 0, 0) && pinned == 0 && !lost {
        "an end, and nothing is left".to_owned()
    } else {
        format!("{ended:x?}, {left:?} are left, {pinned} pages pinned, goes on: {goes_on}")
    };
    (reached, came)
}

#[test]
fn every_answer_may_be_another_one() {
    for call in Call::ALL {
        let mut entries = 0;
        for at in 0..ENTRIES_MAX {
            let mut reached = false;
            for (name, code) in CODES {
                for (how, does_it) in [("instead of", false), ("after", true)] {
                    let (seen, what) = with_fault(call, at, code, does_it);
                    reached |= seen;
                    if seen {
                        came(
                            "answers",
                            &format!("{name} {how} what OP-TEE does at entry {at} of {call:?}"),
                            "an end, and nothing is left",
                            &what,
                        );
                    }
                }
            }
            entries += i64::from(reached);
        }
        assert!(
            (1..ENTRIES_MAX).contains(&entries),
            "{call:?}: {entries} entries"
        );
    }
}

#[test]
fn a_neighbour_goes_on_whatever_a_supplicant_answers() {
    use mediator::optee::fakes::attacker::{Answer, opening};
    use mediator::optee::fakes::model::SEVERAL;
    use optee_abi::result;
    let results = [
        result::SUCCESS,
        result::GENERIC,
        result::ACCESS_DENIED,
        result::BAD_PARAMETERS,
        result::ITEM_NOT_FOUND,
        result::NOT_SUPPORTED,
        result::OUT_OF_MEMORY,
        result::COMMUNICATION,
        result::SECURITY,
        u32::MAX,
    ];
    for result in results {
        for stage in 0..9 {
            let secure = Secure::new([4, 10]);
            let [mut hostile, mut honest] = [1, 2].map(|client| Vm::new(&secure, client));
            hostile.call(&opening(SEVERAL));
            for step in 0..12 {
                let result = if step == stage {
                    result
                } else {
                    result::SUCCESS
                };
                hostile.answer(0, Answer { result, pages: 0 });
                works(&mut honest);
            }
            held(
                "answers",
                &format!(
                    "the result {result:#x} to what is asked for at step {stage} of an opening"
                ),
                "the neighbour opens, works and closes",
            );
        }
    }
}

#[test]
fn nothing_is_left_without_a_fault() {
    let (world, guest) = mediator::optee::fakes::guest();
    prepare(&world);
    for call in Call::ALL {
        call.script(&world);
        let message = call.message();
        let registers = begin(&guest, &world, &message);
        assert_eq!(
            see_through(&guest, &world, &message, registers),
            Some(status::OK),
            "{call:?}"
        );
    }
    guest.destroy();
    assert_nothing_left(&world, &guest);
}
