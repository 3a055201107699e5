//! A hostile guest beside an honest one, on a model of what OP-TEE can run out of and does not
//! survive. The honest one must not notice anything.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mediator::optee::fakes::attacker::{Answer, Step, play};
use mediator::optee::fakes::model::{
    ASK, INSTALL, KEPT_ALIVE, NEVER_END, NOBODY, PSEUDO, SEVERAL, SINGLE, STORED,
    STORED_KEPT_ALIVE, WORK,
};
use optee_abi::message::command;
use optee_abi::result;

/// More would say no more, and take long.
const STEPS_MAX: usize = 200;

fn answer(input: &mut Unstructured<'_>) -> Result<Answer> {
    Ok(Answer {
        result: *input.choose(&[result::SUCCESS, result::SUCCESS, result::GENERIC])?,
        pages: match input.int_in_range(0..=3)? {
            0 | 1 => 0,
            2 => input.int_in_range(0..=7)?,
            _ => input.int_in_range(1..=999)?,
        },
    })
}

fn about(input: &mut Unstructured<'_>) -> Result<Step> {
    let commands = [
        command::INVOKE_COMMAND,
        command::CLOSE_SESSION,
        command::CANCEL,
    ];
    let command = *input.choose(&commands)?;
    let far = input.int_in_range(-2..=3)?;
    let function = *input.choose(&[WORK, ASK, NEVER_END, INSTALL])?;
    let count = input.int_in_range(0..=2)?;
    let buffers = (0..count).map(|_| input.int_in_range(0..=4));
    Ok(Step::About(
        command,
        far,
        function,
        buffers.collect::<Result<_>>()?,
    ))
}

fn step(input: &mut Unstructured<'_>) -> Result<Step> {
    let names = [
        PSEUDO,
        SEVERAL,
        SINGLE,
        KEPT_ALIVE,
        STORED,
        STORED_KEPT_ALIVE,
        NOBODY,
    ];
    Ok(match input.int_in_range(0..=17)? {
        0..=2 => Step::Open(*input.choose(&names)?),
        3..=5 => about(input)?,
        6..=9 => Step::Answer(input.int_in_range(0..=2)?, answer(input)?),
        10 => Step::Work(input.int_in_range(1..=19)?),
        11 => Step::Interrupt,
        12 => Step::Register(input.int_in_range(1..=4)?, input.int_in_range(1..=599)?),
        13 => Step::Unregister(input.int_in_range(1..=4)?),
        14 => Step::ProbeAnew,
        15 | 16 => Step::Sessions(*input.choose(&names)?, input.int_in_range(1..=30)?),
        _ => Step::Restart,
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
    let mut input = Unstructured::new(bytes);
    let early = input.arbitrary().unwrap_or(false);
    if let Ok(steps) = steps(&mut input) {
        play(if early { [4, 5] } else { [4, 10] }, steps);
    }
});
