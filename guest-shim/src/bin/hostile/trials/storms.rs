//! As much of one thing as all vCPUs can do.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_shim::arch::exchange::NOT_SUPPORTED;
use guest_shim::kit::trials::Trial;
use guest_shim::runtime::conduit::call;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu;
use optee_abi::smc::{self, status};
use smccc::Conduit;

const AREA: &str = "storms";

/// Calls of each vCPU.
const CALLS: u64 = 20_000;
/// Lines of each vCPU.
const LINES: u64 = 300;

/// What no owner has.
const REFUSED: u32 = 0xc500_7ffd;

/// Has all vCPUs do `work` at once; gives the sum of what they say.
fn on_all(environment: &Environment, work: fn(Conduit) -> u64) -> Result<u64, String> {
    static SUM: AtomicU64 = AtomicU64::new(0);
    let conduit = environment.tee.ok_or("there is no TEE")?;
    SUM.store(0, Ordering::Release);
    let others = 1..environment.vcpus.len();
    for index in others.clone() {
        vcpu::start(environment, index, move |_| {
            SUM.fetch_add(work(conduit), Ordering::AcqRel);
        })?;
    }
    let own = work(conduit);
    for index in others {
        vcpu::wait_until_off(environment, index)?;
    }
    Ok(own + SUM.load(Ordering::Acquire))
}

fn count(function: u32, arguments: [u64; 4], conduit: Conduit, answer: i64) -> u64 {
    let answered = |_: &u64| call(conduit, function, &arguments).result() == answer;
    (0..CALLS).filter(answered).count() as u64
}

pub fn trials(environment: &Environment) -> Vec<Trial> {
    let vcpus = environment.vcpus.len() as u64;
    let storm = |what: &str, gets: &str, work: fn(Conduit) -> u64| {
        let all = CALLS * vcpus;
        let gets = format!("{gets}, {all} times");
        let same = gets.clone();
        Trial::new(
            AREA,
            format!("{what}, from all vCPUs"),
            gets,
            move |_, environment| match on_all(environment, work)? {
                count if count == all => Ok(same.clone()),
                count => Ok(format!("{count} times")),
            },
        )
    };
    alloc::vec![
        storm("calls that nobody has", "NOT_SUPPORTED", |conduit| {
            count(REFUSED, [0; 4], conduit, NOT_SUPPORTED)
        }),
        storm("messages at no address", "EBADADDR", |conduit| {
            count(
                smc::CALL_WITH_RPC_ARG,
                [0; 4],
                conduit,
                i64::from(status::EBADADDR),
            )
        }),
        storm("returns to nothing", "ERESUME", |conduit| {
            count(
                smc::RETURN_FROM_RPC,
                [0; 4],
                conduit,
                i64::from(status::ERESUME),
            )
        }),
        Trial::new(
            AREA,
            format!("{LINES} lines of console from each vCPU"),
            "the guest goes on",
            |_, environment| {
                on_all(environment, |_| {
                    for line in 0..LINES {
                        guest_shim::println!("{line} of a flood that is as long as a line may be");
                    }
                    LINES
                })?;
                Ok(String::from("the guest goes on"))
            },
        ),
    ]
}
