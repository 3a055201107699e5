//! Whatever a guest and an OP-TEE do: nothing panics, nothing leaks, no physical address escapes.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mediator::optee::fakes::anything::{Step, play};
use mediator::optee::fakes::{ARG, BUFFER, LIST, NOWHERE, RAM, is_secret};
use optee_abi::smc;

/// More would say no more, and take long.
const STEPS_MAX: usize = 100;

/// A number that is made up and looks like a physical address would be taken for one that escapes.
fn unsuspicious(number: u64) -> u64 {
    if is_secret(number) { !number } else { number }
}

/// Addresses and sizes near what matters, and some that are far off.
fn number(input: &mut Unstructured<'_>) -> Result<u64> {
    const SPECIAL: [u64; 9] = [
        0x1000,
        0x1001,
        0x20_0000,
        u64::MAX,
        1 << 44,
        0x1_0000_0001,
        0xffff_ffff,
        RAM - 0x1000,
        NOWHERE,
    ];
    let near = |input: &mut Unstructured<'_>, from: u64, step: u64| {
        Ok(from + input.int_in_range(0..=7)? * step)
    };
    match input.int_in_range(0..=7)? {
        0..=2 => input.int_in_range(0..=3),
        3 => Ok(*input.choose(&SPECIAL)?),
        4 => near(input, ARG, 0x800),
        5 => near(input, BUFFER, 0x801),
        6 => near(input, LIST, 0x801),
        _ => input.arbitrary().map(unsuspicious),
    }
}

fn numbers(input: &mut Unstructured<'_>) -> Result<[u64; 4]> {
    Ok([
        number(input)?,
        number(input)?,
        number(input)?,
        number(input)?,
    ])
}

/// The bytes of a message with a command below `commands`, mostly.
fn message(input: &mut Unstructured<'_>, commands: u32) -> Result<Vec<u8>> {
    let command = match input.ratio(1, 8)? {
        true => input.arbitrary()?,
        false => input.int_in_range(0..=commands - 1)?,
    };
    let count: u32 = match input.int_in_range(0..=9)? {
        0 => input.arbitrary()?,
        1 => input.int_in_range(0..=7)?,
        _ => input.int_in_range(0..=4)?,
    };
    let result = if input.arbitrary()? {
        0
    } else {
        input.arbitrary()?
    };
    let header: [u32; 8] = [command, 0, 0, 0, 0, result, 0, count];
    let mut bytes = Vec::new();
    for pair in header.chunks(2) {
        let word = u64::from(pair[0]) | u64::from(pair[1]) << 32;
        bytes.extend(unsuspicious(word).to_le_bytes());
    }
    for parameter in 0..6 {
        if parameter >= count {
            bytes.extend([0; 32]);
            continue;
        }
        let attributes: u64 = match input.int_in_range(0..=7)? {
            0..=5 => input.int_in_range(0..=11)?,
            6 => u64::from(input.int_in_range(0_u16..=0x3ff)?),
            _ => input.arbitrary()?,
        };
        let [a, b, c, _] = numbers(input)?;
        bytes.extend(
            [attributes, a, b, c]
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
    }
    Ok(bytes)
}

fn step(input: &mut Unstructured<'_>) -> Result<Step> {
    let functions = [
        smc::CALL_WITH_ARG,
        smc::CALL_WITH_RPC_ARG,
        smc::CALL_WITH_REGD_ARG,
    ];
    Ok(match input.int_in_range(0..=15)? {
        0..=4 => {
            let message = message(input, 8)?;
            Step::Call(
                message,
                *input.choose(&functions)?,
                input.int_in_range(0..=3)?,
            )
        }
        5..=8 => {
            let which = input.int_in_range(0..=2)?;
            Step::Return(which, message(input, 26)?, numbers(input)?)
        }
        9 => Step::Other(number(input)?, numbers(input)?),
        10 => Step::Other(0xb200_0000 + input.int_in_range(0..=0x14)?, numbers(input)?),
        11 => Step::Interrupt,
        12 => Step::ThreadLimit,
        13 | 14 => Step::Command(message(input, 26)?),
        _ => match input.arbitrary()? {
            true => Step::Bare(input.int_in_range(0..=5)?),
            false => Step::Pending(input.arbitrary()?),
        },
    })
}

fn steps(input: &mut Unstructured<'_>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < STEPS_MAX {
        steps.push(step(input)?);
    }
    Ok(steps)
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(steps) = steps(&mut Unstructured::new(bytes)) {
        play(steps);
    }
});
