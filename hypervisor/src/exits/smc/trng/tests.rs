use super::*;
use crate::exits::smc;
use crate::vm::testing::Bench;
use smccc::Conduit;

/// Calls, where there is randomness, and gives x0 to x3.
fn ask(function: u32, argument: u64) -> [u64; 4] {
    entropy::init([7; 32]);
    let mut bench = Bench::new(1);
    let vcpu = &mut bench.vcpus[0];
    vcpu.context.x[..4].copy_from_slice(&[u64::from(function), argument, u64::MAX, u64::MAX]);
    assert_eq!(smc::call(vcpu, Conduit::Smc, 0), Next::Resume);
    core::array::from_fn(|n| vcpu.context.x[n])
}

#[test]
fn the_version_is_1_0() {
    assert_eq!(ask(VERSION, 0)[0], 0x1_0000);
}

#[test]
fn features_tells_of_what_is_there() {
    for function in [VERSION, FEATURES, GET_UUID, RND_32, RND_64] {
        assert_eq!(ask(FEATURES, u64::from(function))[0], 0, "{function:#x}");
    }
    for function in [0x8400_0054, 0x8400_004f, 0xc400_0050, 0x8400_0000] {
        assert_eq!(ask(FEATURES, function)[0], NOT_SUPPORTED, "{function:#x}");
    }
}

#[test]
fn as_many_bits_as_are_asked_for_come_from_x3_on() {
    for (function, width) in [(RND_32, 32), (RND_64, 64)] {
        for bits in [1, 31, 32, 33, 63, 64, 65, 96, 97, 128, 192] {
            let [result, high, middle, low] = ask(function, bits);
            if bits > 3 * width {
                assert_eq!(result, INVALID_PARAMETERS, "{bits}");
                continue;
            }
            assert_eq!(result, 0, "{bits}");
            for (n, word) in [low, middle, high].into_iter().enumerate() {
                let wanted = bits.saturating_sub(n as u64 * width).min(width);
                let above = if wanted == 64 { 0 } else { word >> wanted };
                assert_eq!(above, 0, "{bits} bits, word {n}");
            }
        }
    }
}

#[test]
fn no_bits_are_no_parameter() {
    assert_eq!(ask(RND_32, 0)[0], INVALID_PARAMETERS);
    assert_eq!(ask(RND_64, 0)[0], INVALID_PARAMETERS);
    assert_eq!(ask(RND_32, 1 << 32)[0], INVALID_PARAMETERS, "32 bits count");
}

#[test]
fn two_answers_differ() {
    assert_ne!(ask(RND_64, 192), ask(RND_64, 192));
}

#[test]
fn what_is_not_there_is_not_supported() {
    for function in [0x8400_0054, 0xc400_0050, 0x8400_ff01] {
        assert_eq!(ask(function, 0)[0], NOT_SUPPORTED, "{function:#x}");
    }
}
