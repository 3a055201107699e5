//! Lists of pages of every kind: OP-TEE gets the pages that the list names, in their order, or
//! nothing; also where the guest writes the list anew while it is read.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mediator::Tee as _;
use mediator::optee::Limits;
use mediator::optee::fakes::{
    ARG, BUFFER, LIST, NOWHERE, RAM, RAM_PAGES, assert_nothing_left, call_at, get, guest_with,
    is_rpc, pa_of, put, put_list, register_message, resume,
};
use optee_abi::result;
use optee_abi::smc::RpcFunction;
use std::sync::atomic::Ordering;

const PAGE: u64 = 4096;
/// Entries of a list's page that name pages of the buffer; the last one names the next page.
const ENTRIES: u64 = 511;
const PAGES_MAX: u64 = 1600;

/// A word of the list is another one, from the start or from the `after`th read on.
struct Change {
    entry: u64,
    word: u64,
    after: Option<usize>,
}

struct Case {
    pages: u64,
    /// Where in its first page the buffer begins.
    offset: u64,
    /// How many bytes less than whole pages it has.
    missing: u64,
    changes: Vec<Change>,
    /// Looks for an interrupt that find none, before each finds one.
    quiet: i64,
}

fn word(input: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match input.int_in_range(0..=7)? {
        0..=2 => RAM + input.int_in_range(0..=RAM_PAGES)? * PAGE,
        3 => LIST + input.int_in_range(0..=8)? * PAGE,
        4 => NOWHERE,
        5 => RAM + input.int_in_range(0..=0xffff)?,
        6 => 0,
        _ => input.arbitrary()?,
    })
}

fn case(input: &mut Unstructured<'_>) -> Result<Case> {
    let pages = match input.int_in_range(0..=3)? {
        0 => input.int_in_range(1..=8)?,
        1 => input.int_in_range(ENTRIES - 2..=ENTRIES + 2)?,
        2 => input.int_in_range(2 * ENTRIES - 2..=2 * ENTRIES + 2)?,
        _ => input.int_in_range(1..=PAGES_MAX)?,
    };
    let offset = if input.arbitrary()? {
        0
    } else {
        input.int_in_range(0..=PAGE - 1)?
    };
    let missing = if input.arbitrary()? {
        0
    } else {
        input.int_in_range(0..=PAGE)?
    };
    let quiet = if input.arbitrary()? {
        i64::MAX
    } else {
        input.int_in_range(0..=40)?
    };
    let mut changes = Vec::new();
    while !input.is_empty() && changes.len() < 8 {
        changes.push(Change {
            entry: input.int_in_range(0..=PAGES_MAX + 4)?,
            word: word(input)?,
            after: match input.arbitrary()? {
                true => None,
                false => Some(input.int_in_range(0..=6)?),
            },
        });
    }
    Ok(Case {
        pages,
        offset,
        missing,
        changes,
        quiet,
    })
}

/// Where word `entry` of a list lies whose pages follow each other.
fn place(entry: u64) -> u64 {
    LIST + entry * 8
}

fn is_ram(page: u64) -> bool {
    page.is_multiple_of(PAGE) && (RAM..RAM + RAM_PAGES * PAGE).contains(&page)
}

fn play(case: Case) {
    let (world, guest) = guest_with(Limits {
        buffer_bytes_max: PAGES_MAX * PAGE,
        ..Limits::default()
    });
    let named: Vec<u64> = (0..case.pages).map(|page| BUFFER + page * PAGE).collect();
    put_list(&world, LIST, &named);
    let (before, later): (Vec<_>, Vec<_>) = case
        .changes
        .into_iter()
        .partition(|change| change.after.is_none());
    for change in &before {
        world.poke_words(place(change.entry), &[change.word]);
    }
    let rewritten = !later.is_empty();
    let mut reads = 0;
    world.after_read(move |world, _, _| {
        for change in later.iter().filter(|change| change.after == Some(reads)) {
            world.poke_words(place(change.entry), &[change.word]);
        }
        reads += 1;
    });
    let size = (case.pages * PAGE).saturating_sub(case.missing);
    let address = LIST + case.offset;
    let expected = expected(&world, size, case.offset);
    put(&world, ARG, &register_message(address, size, 7));
    world.0.quiet.store(case.quiet, Ordering::SeqCst);
    let mut registers = call_at(&guest, ARG);
    for _ in 0..PAGES_MAX {
        if !is_rpc(&registers, RpcFunction::ForeignInterrupt) {
            break;
        }
        world.0.quiet.store(case.quiet, Ordering::SeqCst);
        registers = resume(&guest, &registers);
        if case.quiet <= 1 {
            world.0.quiet.store(i64::MAX, Ordering::SeqCst);
        }
    }
    assert_eq!(registers[0], 0, "the call is over");
    let shared = world.shared();
    let done = get(&world, ARG).result() == result::SUCCESS;
    assert_eq!(
        shared.len(),
        usize::from(done),
        "OP-TEE knows what was registered"
    );
    for (_, memory) in &shared {
        assert_eq!((memory.offset, memory.size), (case.offset, size));
        let pages = (size + case.offset).div_ceil(PAGE);
        assert_eq!(memory.pages.len() as u64, pages);
        assert_eq!(world.pinned() as u64, pages);
        if !rewritten {
            let expected = expected
                .clone()
                .expect("a list that names other memory is refused");
            assert_eq!(memory.pages, expected);
        }
    }
    if !rewritten && !done {
        assert_eq!(
            expected, None,
            "a list that names the guest's memory is taken"
        );
    }
    guest.destroy();
    assert_nothing_left(&world, &guest);
}

/// The physical pages that the list names as it is now, if all are the guest's.
fn expected(world: &mediator::optee::fakes::World, size: u64, offset: u64) -> Option<Vec<u64>> {
    let count = (size != 0).then(|| (size + offset).div_ceil(PAGE))?;
    if count * PAGE > PAGES_MAX * PAGE {
        return None;
    }
    let word = |at: u64| {
        let mut bytes = [0; 8];
        world.peek(at, &mut bytes);
        u64::from_le_bytes(bytes)
    };
    let mut list = LIST;
    let mut pages = Vec::new();
    loop {
        for entry in 0..ENTRIES {
            if pages.len() as u64 == count {
                return Some(pages);
            }
            let page = word(list + entry * 8);
            pages.push(is_ram(page).then(|| pa_of(page))?);
        }
        if pages.len() as u64 == count {
            return Some(pages);
        }
        list = word(list + ENTRIES * 8);
        if !is_ram(list) {
            return None;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(case) = case(&mut Unstructured::new(bytes)) {
        play(case);
    }
});
