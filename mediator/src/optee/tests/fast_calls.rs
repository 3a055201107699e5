//! Fast calls, and numbers that are no call.

use optee_abi::smc::{self, status};

use crate::Tee;

use crate::optee::fakes::{NOTIFICATION_MAX, RPC_PARAMETERS, guest, smc_with};

const UNTOUCHED: [u64; 3] = [0xabc1, 0xabc2, 0xabc3];

#[test]
fn fast_calls_are_answered_without_op_tee() {
    let (world, guest) = guest();
    let ask = |function: u32| {
        // The upper half of a register means nothing.
        let [a, b, c, d, ..] = smc_with(&guest, &[0xdead_0000_0000_0000 | u64::from(function)]);
        [a, b, c, d]
    };
    let [_, b, c, d] = [0, UNTOUCHED[0], UNTOUCHED[1], UNTOUCHED[2]];
    assert_eq!(ask(smc::CALLS_COUNT), [15, b, c, d]);
    assert_eq!(ask(smc::CALLS_UID), smc::API_UID.map(u64::from));
    assert_eq!(ask(smc::CALLS_REVISION), [2, 0, c, d]);
    assert_eq!(ask(smc::GET_OS_UUID), [1, 2, 3, 4]);
    assert_eq!(ask(smc::GET_OS_REVISION), [4, 10, 0xabcd, d]);
    assert_eq!(ask(smc::GET_THREAD_COUNT), [0, 2, c, d]);
    assert_eq!(world.optee().calls.len(), 0);
    assert_eq!(guest.stats().calls.fast, 6);
}

#[test]
fn what_is_not_offered_is_not_available() {
    let (world, guest) = guest();
    let registers = smc_with(&guest, &[u64::from(smc::GET_SHM_CONFIG)]);
    assert_eq!(registers[0], u64::from(status::ENOTAVAIL));
    assert_eq!(registers[1..4], UNTOUCHED);
    assert_eq!(world.optee().calls.len(), 0);
}

#[test]
fn the_trusted_os_s_functions_are_owned_and_no_others() {
    let (_, guest) = guest();
    for owned in [smc::CALLS_UID, smc::CALL_WITH_ARG, smc::GET_OS_UUID] {
        assert!(guest.owns(owned), "{owned:#x}");
    }
    for other in [0x8400_0000, 0xb100_0000, 0x8000_0000, 0xc600_ff01] {
        assert!(!guest.owns(other), "{other:#x}");
    }
    assert!(!guest.owns(smc::CALL_WITH_ARG | smc::SMC64));
}

#[test]
fn what_is_not_for_guests_is_unknown() {
    let (world, guest) = guest();
    let protected_memory = smc::GET_SHM_CONFIG + 13;
    let smc64 = smc::CALL_WITH_ARG | smc::SMC64;
    let unknown_yielding = smc::CALL_WITH_ARG + 100;
    for function in [
        smc::L2CC_MUTEX,
        smc::BOOT_SECONDARY,
        smc::VM_CREATED,
        smc::VM_DESTROYED,
        protected_memory,
        smc64,
        unknown_yielding,
    ] {
        let registers = smc_with(&guest, &[u64::from(function), 1]);
        assert_eq!(
            registers[0],
            u64::from(status::UNKNOWN_FUNCTION),
            "{function:#x}"
        );
        assert_eq!(registers[1], 1);
    }
    assert_eq!(world.optee().calls.len(), 0);
    assert_eq!(guest.stats().refused, 7);
    assert_eq!(guest.stats().calls.fast, 5, "those that yield are none");
}

#[test]
fn capabilities_are_those_that_are_carried_and_that_op_tee_has() {
    let (_, guest) = guest();
    let registers = smc_with(&guest, &[u64::from(smc::EXCHANGE_CAPABILITIES), 1]);
    // OP-TEE has all but reserved and unregistered memory; virtualization stays hidden.
    let [values, parameters] = [u64::from(NOTIFICATION_MAX), RPC_PARAMETERS as u64];
    assert_eq!(registers[..4], [0, 0b1111_0100, values, parameters]);
}

#[test]
fn an_unknown_capability_of_the_guest_is_refused() {
    let (_, guest) = guest();
    let registers = smc_with(&guest, &[u64::from(smc::EXCHANGE_CAPABILITIES), 2]);
    assert_eq!(registers[..2], [u64::from(status::ENOTAVAIL), 0b1111_0100]);
    assert_eq!(registers[2..4], UNTOUCHED[1..]);
}
