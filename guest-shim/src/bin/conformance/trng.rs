//! The random number service (Arm TRNG Firmware Interface, DEN0098 1.0).

use alloc::collections::BTreeSet;
use alloc::string::String;

use guest_shim::arch::exchange::{Exchange, NOT_SUPPORTED, SUCCESS};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::{call, smc};
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};
use smccc::Conduit;

const VERSION: u32 = 0x8400_0050;
const FEATURES: u32 = 0x8400_0051;
const GET_UUID: u32 = 0x8400_0052;
const RND_32: u32 = 0x8400_0053;
const RND_64: u32 = 0xc400_0053;

/// TRNG_INVALID_PARAMETERS and TRNG_NO_ENTROPY.
const INVALID_PARAMETERS: i64 = -2;
const NO_ENTROPY: i64 = -3;

/// How often a draw may find no entropy.
const TRIES: usize = 1000;

/// Draws `bits` bits: x3, x2 and x1, the lowest first.
fn draw(id: u32, bits: u64) -> Result<(Exchange, [u64; 3]), String> {
    for _ in 0..TRIES {
        let exchange = smc(id, &[bits]);
        match exchange.result() {
            NO_ENTROPY => {}
            SUCCESS => {
                let [_, high, middle, low] = exchange.results();
                return Ok((exchange, [low, middle, high]));
            }
            error => return Err(alloc::format!("{bits} bits of {id:#x}: {error}")),
        }
    }
    Err(alloc::format!("there is no entropy after {TRIES} tries"))
}

/// Whether a draw of each length keeps the bits above it clear.
fn unused_bits_are_clear(id: u32, width: u32) -> Outcome {
    for bits in 1..=3 * width {
        let (exchange, words) = draw(id, u64::from(bits))?;
        for (n, word) in words.into_iter().enumerate() {
            let used = bits.saturating_sub(n as u32 * width).min(width);
            let unused = word.checked_shr(used).unwrap_or(0);
            check_eq!(
                unused,
                0,
                "what is above {bits} bits in x{}, {word:#x},",
                3 - n
            );
        }
        exchange.keeps_all_but(4)?;
    }
    Ok(())
}

case!(3, trng_is_version_1);
fn trng_is_version_1(_: &Environment) -> Outcome {
    let version = smc(VERSION, &[]).result();
    check!(
        (0x1_0000..0x2_0000).contains(&version),
        "TRNG_VERSION is {version:#x}"
    );
    Ok(())
}

case!(3, trng_features_name_its_functions);
fn trng_features_name_its_functions(_: &Environment) -> Outcome {
    for id in [VERSION, FEATURES, GET_UUID, RND_32, RND_64] {
        let result = smc(FEATURES, &[u64::from(id)]).result();
        check!(result >= 0, "TRNG_FEATURES({id:#x}) is {result}");
    }
    for id in [0x8400_0054, 0xc400_0050, 0x8400_0000, 0, 0xffff_ffff] {
        let exchange = smc(FEATURES, &[id]);
        check_eq!(exchange.result(), NOT_SUPPORTED, "TRNG_FEATURES({id:#x})");
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, trng_has_a_uuid);
fn trng_has_a_uuid(_: &Environment) -> Outcome {
    let exchange = smc(GET_UUID, &[]);
    let uuid: [u64; 4] = exchange.results();
    check!(uuid[0] as u32 != u32::MAX, "there is no UUID");
    check!(uuid != [0; 4], "the UUID is zero");
    check!(
        uuid.iter().all(|word| word >> 32 == 0),
        "the UUID is {uuid:#x?}"
    );
    exchange.keeps_all_but(4)
}

case!(3, trng_32_draws_1_to_96_bits);
fn trng_32_draws_1_to_96_bits(_: &Environment) -> Outcome {
    unused_bits_are_clear(RND_32, 32)
}

case!(3, trng_64_draws_1_to_192_bits);
fn trng_64_draws_1_to_192_bits(_: &Environment) -> Outcome {
    unused_bits_are_clear(RND_64, 64)
}

case!(3, trng_refuses_no_bits_and_too_many);
fn trng_refuses_no_bits_and_too_many(_: &Environment) -> Outcome {
    for conduit in Conduit::ALL {
        for (id, lengths) in [
            (RND_32, [0, 97, 0x8000_0000, 0xffff_ffff]),
            (RND_64, [0, 193, 1 << 32, u64::MAX]),
        ] {
            for bits in lengths {
                let exchange = call(conduit, id, &[bits]);
                check_eq!(
                    exchange.result(),
                    INVALID_PARAMETERS,
                    "{bits} bits of {id:#x}"
                );
                exchange.keeps_all_but(1)?;
            }
        }
    }
    Ok(())
}

case!(3, trng_32_looks_at_32_bits_of_the_length);
fn trng_32_looks_at_32_bits_of_the_length(_: &Environment) -> Outcome {
    draw(RND_32, 0xdead_beef_0000_0020).map(|_| ())
}

case!(3, trng_draws_differ);
fn trng_draws_differ(_: &Environment) -> Outcome {
    let mut seen = BTreeSet::new();
    for _ in 0..256 {
        let (_, words) = draw(RND_64, 192)?;
        check!(seen.insert(words), "{words:#x?} came twice");
    }
    Ok(())
}

case!(3, trng_bits_are_both_ones_and_zeros);
fn trng_bits_are_both_ones_and_zeros(_: &Environment) -> Outcome {
    let (mut ones, mut zeros) = ([0; 3], [0; 3]);
    for _ in 0..64 {
        let (_, words) = draw(RND_64, 192)?;
        for (n, word) in words.into_iter().enumerate() {
            ones[n] |= word;
            zeros[n] |= !word;
        }
    }
    check_eq!(ones, [u64::MAX; 3], "the bits that were ever 1");
    check_eq!(zeros, [u64::MAX; 3], "the bits that were ever 0");
    Ok(())
}

case!(3, trng_has_no_other_forms);
fn trng_has_no_other_forms(_: &Environment) -> Outcome {
    for id in [
        0xc400_0050,
        0xc400_0051,
        0xc400_0052,
        0x0400_0053,
        0x4400_0053,
        0x8400_0054,
    ] {
        let exchange = smc(id, &[32]);
        check_eq!(exchange.result(), NOT_SUPPORTED, "call {id:#x}");
        exchange.keeps_all_but(1)?;
    }
    Ok(())
}

case!(3, trng_vcpus_draw_differently);
fn trng_vcpus_draw_differently(environment: &Environment) -> Outcome {
    let draws = || -> Result<BTreeSet<[u64; 3]>, String> {
        (0..32).map(|_| Ok(draw(RND_64, 192)?.1)).collect()
    };
    let others = crate::other_vcpu::on_other_vcpu(environment, move |_| draws())??;
    check!(draws()?.is_disjoint(&others), "both vCPUs drew the same");
    Ok(())
}
