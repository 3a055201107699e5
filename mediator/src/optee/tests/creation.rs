//! Probing and creation.

use std::string::ToString;
use std::vec::Vec;

use optee_abi::result;
use optee_abi::smc::{self, RpcFunction, status};

use crate::Tee;
use crate::optee::fakes::{Act, CLIENT, RAM, World, create, pa_of};
use crate::optee::{ClientId, CreateError, Limits, Optee, ProbeError};

fn probe_with(
    change: impl FnOnce(&mut crate::optee::fakes::OpteeState),
) -> Result<Optee, ProbeError> {
    let world = World::new(0);
    change(&mut world.optee());
    Optee::probe(&world)
}

#[test]
fn probing_tells_the_revision() {
    let optee = probe_with(|_| ()).unwrap();
    assert_eq!(optee.revision().to_string(), "4.10 (0000abcd)");
    assert_eq!(optee.threads(), 2);
    assert_eq!(optee.notification_max(), 66);
}

#[test]
fn probing_refuses_what_can_not_be_mediated() {
    let no_tos = [u32::MAX, 0, 0, 0];
    assert_eq!(
        probe_with(|optee| optee.uid = no_tos).unwrap_err(),
        ProbeError::NotOptee { uid: no_tos }
    );
    assert_eq!(
        probe_with(|optee| optee.major = 3).unwrap_err(),
        ProbeError::Protocol { major: 3, minor: 0 }
    );
    for missing in [2, 3, 6] {
        let error = probe_with(|optee| optee.capabilities &= !(1 << missing)).unwrap_err();
        assert!(matches!(error, ProbeError::Lacks(_)), "{error}");
    }
    assert_eq!(
        probe_with(|optee| optee.threads = 0).unwrap_err(),
        ProbeError::Threads(0)
    );
    assert_eq!(
        probe_with(|optee| optee.threads = 65).unwrap_err(),
        ProbeError::Threads(65)
    );
    for count in [0, 7] {
        let error = probe_with(|optee| optee.rpc_parameters = count).unwrap_err();
        assert_eq!(error, ProbeError::RpcParameters(count));
    }
}

#[test]
fn the_hypervisor_is_no_client() {
    assert_eq!(ClientId::new(0), None);
}

#[test]
fn creation_names_the_guest_and_registers_the_messages() {
    let world = World::new(100);
    let guest = create(&world, Limits::default()).unwrap();
    assert_eq!(world.optee().guests, [CLIENT]);
    let shared: Vec<_> = world.optee().shared.values().cloned().collect();
    assert_eq!(shared.len(), 1);
    assert!(!shared[0].pages.contains(&pa_of(RAM)));
    assert_eq!(
        world.pinned(),
        0,
        "the hypervisor's own pages are not pinned"
    );
    guest.destroy();
    assert_eq!(world.optee().guests, []);
}

#[test]
fn creation_says_how_many_shadow_pages_it_needs() {
    let world = World::new(10);
    let error = create(&world, Limits::default()).unwrap_err();
    let CreateError::ShadowPages {
        needed,
        present: 10,
    } = error
    else {
        panic!("{error}")
    };
    // A page of messages, and for each thread the list of 64 MiB from the middle of a page on.
    assert_eq!(needed, 1 + 2 * 33);
    assert_eq!(world.optee().guests, [], "OP-TEE was not bothered");
    assert!(create(&World::new(needed), Limits::default()).is_ok());
}

#[test]
fn a_guest_too_many_is_refused() {
    let world = World::new(100);
    world.optee().room = 0;
    let error = create(&world, Limits::default()).unwrap_err();
    assert_eq!(error, CreateError::NoRoom);
    assert!(error.to_string().contains("no room for another guest"));
    assert_eq!(
        world.0.destroyed.load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[test]
fn creation_takes_interrupts_and_goes_on() {
    let world = World::new(100);
    for _ in 0..5 {
        world.act(Act::Interrupt);
    }
    assert!(create(&world, Limits::default()).is_ok());
}

#[test]
fn creation_refuses_what_only_a_guest_could_do() {
    for function in [
        RpcFunction::Alloc,
        RpcFunction::Free,
        RpcFunction::Command,
        RpcFunction::Unknown(9),
    ] {
        let world = World::new(100);
        world.act(Act::Bare(function));
        assert!(create(&world, Limits::default()).is_ok());
        let optee = world.optee();
        let is_return = |call: &&[u64; 8]| call[0] == u64::from(smc::RETURN_FROM_RPC);
        let answer = *optee.calls.iter().rfind(is_return).unwrap();
        let client = u64::from(CLIENT);
        assert_eq!(
            answer,
            [
                u64::from(smc::RETURN_FROM_RPC),
                0,
                0,
                crate::optee::fakes::OPTEE_THREAD,
                0,
                0,
                0,
                client
            ],
            "{function:?}"
        );
    }
}

#[test]
fn a_failed_creation_leaves_no_guest() {
    for (act, error) in [
        (
            Act::Status(status::ENOMEM),
            CreateError::Register {
                status: status::ENOMEM,
                result: result::GENERIC,
            },
        ),
        (
            Act::Result(result::OUT_OF_MEMORY),
            CreateError::Register {
                status: 0,
                result: result::OUT_OF_MEMORY,
            },
        ),
    ] {
        let world = World::new(100);
        world.act(act);
        assert_eq!(create(&world, Limits::default()).unwrap_err(), error);
        assert_eq!(world.optee().guests, []);
    }
}

#[test]
fn creation_ends_when_interrupts_do_not() {
    let world = World::new(100);
    for _ in 0..100_000 {
        world.act(Act::Interrupt);
    }
    assert_eq!(
        create(&world, Limits::default()).unwrap_err(),
        CreateError::Interrupted
    );
    assert_eq!(world.optee().guests, []);
}
