//! What a hostile guest has OP-TEE map, in any order: nothing lies behind the window that the guest
//! has.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mediator::optee::fakes::first_fit::{Step, THREADS, WINDOW_PAGES, play};

fn step(input: &mut Unstructured<'_>) -> Result<Step> {
    let thread = input.int_in_range(0..=THREADS - 1)?;
    Ok(match input.int_in_range(0..=7)? {
        0 => Step::Begin(thread),
        1 => Step::End(thread),
        2 | 3 => Step::Unmap(thread, input.arbitrary()?),
        4 => Step::Map(thread, input.int_in_range(1..=3)?),
        _ => Step::Map(thread, input.int_in_range(1..=1100)?),
    })
}

fn steps(input: &mut Unstructured<'_>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    while !input.is_empty() {
        steps.push(step(input)?);
    }
    Ok(steps)
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(steps) = steps(&mut Unstructured::new(bytes)) {
        let top = play(&steps);
        assert!(
            top <= WINDOW_PAGES,
            "something lies at page {top}: {steps:?}"
        );
    }
});
