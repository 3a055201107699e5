//! Random guests and a random OP-TEE ([`anything`](crate::optee::fakes::anything)).

use std::vec;
use std::vec::Vec;

use optee_abi::rpc;
use optee_abi::smc;
use proptest::prelude::*;

use crate::optee::fakes::anything::{Step, play};
use crate::optee::fakes::{ARG, BUFFER, LIST, NOWHERE, RAM};

/// Addresses and sizes near what matters, and some that are far off.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        Just(0x1000),
        Just(0x1001),
        Just(0x20_0000),
        Just(u64::MAX),
        Just(1 << 44),
        Just(0x1_0000_0001),
        Just(0xffff_ffff),
        (0_u64..8).prop_map(|page| ARG + page * 0x800),
        (0_u64..8).prop_map(|page| BUFFER + page * 0x801),
        (0_u64..4).prop_map(|page| LIST + page * 0x801),
        Just(RAM - 0x1000),
        Just(NOWHERE),
        any::<u64>(),
    ]
}

fn parameter() -> impl Strategy<Value = [u64; 4]> {
    let attributes = prop_oneof![
        Just(0_u64),
        1_u64..4,
        5_u64..8,
        9_u64..12,
        (9_u64..12).prop_map(|kind| kind | 0x200),
        (0_u64..16).prop_map(|kind| kind | 0x100),
        any::<u64>(),
    ];
    (attributes, number(), number(), number())
        .prop_map(|(attributes, a, b, c)| [attributes, a, b, c])
}

/// The bytes of a message, defined or not.
fn message(commands: impl Strategy<Value = u32>) -> impl Strategy<Value = Vec<u8>> {
    let count = prop_oneof![8 => 0_u32..5, 1 => 0_u32..8, 1 => any::<u32>()];
    (
        commands,
        count,
        any::<u32>(),
        proptest::collection::vec(parameter(), 6),
    )
        .prop_map(|(command, count, result, parameters)| {
            let header = [
                command,
                0,
                0,
                0,
                0,
                if result & 1 == 0 { 0 } else { result },
                0,
                count,
            ];
            let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
            bytes.extend(
                parameters
                    .iter()
                    .flatten()
                    .flat_map(|word| word.to_le_bytes()),
            );
            bytes
        })
}

fn step() -> impl Strategy<Value = Step> {
    let registers = || [number(), number(), number(), number()];
    let functions = prop_oneof![
        Just(smc::CALL_WITH_ARG),
        Just(smc::CALL_WITH_RPC_ARG),
        Just(smc::CALL_WITH_REGD_ARG)
    ];
    prop_oneof![
        6 => (message(prop_oneof![6 => 0_u32..8, 1 => any::<u32>()]), functions, 0_u64..4)
            .prop_map(|(message, function, cookie)| Step::Call(message, function, cookie)),
        6 => (0_usize..3, message(0_u32..26), registers()).prop_map(|(which, message, r)| Step::Return(which, message, r)),
        1 => (number(), registers()).prop_map(|(function, registers)| Step::Other(function, registers)),
        1 => (0xb200_0000_u64..0xb200_0015, registers()).prop_map(|(function, r)| Step::Other(function, r)),
        2 => Just(Step::Interrupt),
        1 => Just(Step::ThreadLimit),
        4 => message(prop_oneof![Just(rpc::SHM_ALLOC), Just(rpc::FS), 0_u32..26]).prop_map(Step::Command),
        1 => (0_u16..6).prop_map(Step::Bare),
        1 => any::<bool>().prop_map(Step::Pending),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_leaks(steps in proptest::collection::vec(step(), 1..60)) {
        play(steps);
    }
}
