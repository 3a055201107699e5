//! Which capabilities a guest sees: its vendor's own, linked in the order in which they were found.

use super::*;
use proptest::prelude::*;

const POWER_MANAGEMENT: u8 = 0x01;
const MSI: u8 = 0x05;
const VENDOR: u8 = 0x09;
const EXPRESS: u8 = 0x10;
const MSI_X: u8 = 0x11;

/// Configuration space with capabilities: where each is, what it is, which comes next, and its
/// length, where a vendor's own has that.
fn with_capabilities(first: u8, capabilities: &[(usize, u8, u8, u8)]) -> [u32; 64] {
    let mut bytes: Vec<u8> = found().iter().flat_map(|word| word.to_le_bytes()).collect();
    for (at, byte) in bytes.iter_mut().enumerate().skip(0x40) {
        *byte = at as u8 | 1;
    }
    bytes[0x06] |= 1 << 4;
    bytes[0x34] = first;
    for &(at, id, next, len) in capabilities {
        bytes[at..at + 2].copy_from_slice(&[id, next]);
        if at + 2 < bytes.len() {
            bytes[at + 2] = len;
        }
    }
    words(&bytes)
}

fn words(bytes: &[u8]) -> [u32; 64] {
    let (words, _) = bytes.as_chunks::<4>();
    core::array::from_fn(|n| u32::from_le_bytes(words[n]))
}

/// Walks the list as Linux does, without its limit: where capabilities are.
fn walk(bench: &Bench) -> Vec<u64> {
    let mut list = Vec::new();
    if bench.load(COMMAND + 2, 2) & 1 << 4 == 0 {
        return list;
    }
    let mut at = bench.load(CAPABILITY_POINTER, 1) & !3;
    while at >= 0x40 {
        assert!(!list.contains(&at), "the list has an end");
        assert_eq!(bench.load(at, 1), u64::from(VENDOR), "at {at:#x}");
        list.push(at);
        at = bench.load(at + 1, 1) & !3;
    }
    list
}

fn list(words: &[u32; 64]) -> Vec<u64> {
    walk(&Bench::with(words))
}

#[test]
fn only_the_vendors_own_are_seen() {
    // As a virtio function has them.
    let found = with_capabilities(
        0x98,
        &[
            (0x98, MSI_X, 0x84, 0),
            (0x84, VENDOR, 0x70, 0x14),
            (0x70, MSI, 0x60, 0),
            (0x60, VENDOR, 0x50, 0x10),
            (0x50, POWER_MANAGEMENT, 0x44, 0),
            (0x44, VENDOR, 0xa8, 0x0c),
            (0xa8, EXPRESS, 0, 0),
        ],
    );
    let bench = Bench::with(&found);
    assert_eq!(walk(&bench), [0x84, 0x60, 0x44]);
    let seen = [0x84..0x98, 0x60..0x70, 0x44..0x50];
    for at in 0x40..0x100 {
        let byte = bench.load(at, 1);
        let is_link = seen.iter().any(|range| at == range.start + 1);
        if seen.iter().any(|range| range.contains(&at)) {
            let original = found[at as usize / 4] >> (8 * (at % 4)) & 0xff;
            assert!(is_link || byte == u64::from(original), "{at:#x}");
        } else {
            assert_eq!(byte, 0, "{at:#x}");
        }
    }
}

#[test]
fn where_none_is_seen_there_is_no_list() {
    for found in [
        with_capabilities(0x40, &[(0x40, MSI, 0x50, 0), (0x50, MSI_X, 0, 0)]),
        with_capabilities(0, &[]),
        with_capabilities(0x3c, &[]),
    ] {
        let bench = Bench::with(&found);
        assert_eq!(bench.load(COMMAND + 2, 2), 0);
        assert_eq!(bench.word(CAPABILITY_POINTER), 0);
        assert!((0x40..0x100).all(|at| bench.load(at, 1) == 0));
    }
    let mut unsaid = with_capabilities(0x40, &[(0x40, VENDOR, 0, 8)]);
    unsaid[1] &= !(1 << 20);
    assert_eq!(list(&unsaid), [], "the status says that there are none");
}

#[test]
fn a_list_that_goes_in_circles_ends() {
    let to_itself = with_capabilities(0x40, &[(0x40, VENDOR, 0x40, 8)]);
    assert_eq!(list(&to_itself), [0x40]);
    let of_two = with_capabilities(0x40, &[(0x40, VENDOR, 0x50, 8), (0x50, VENDOR, 0x40, 8)]);
    assert_eq!(list(&of_two), [0x40, 0x50]);
    let around_another = with_capabilities(
        0x40,
        &[
            (0x40, MSI, 0x50, 0),
            (0x50, VENDOR, 0x60, 8),
            (0x60, MSI_X, 0x40, 0),
        ],
    );
    assert_eq!(list(&around_another), [0x50]);
}

#[test]
fn a_list_that_leads_into_the_header_ends_there() {
    let found = with_capabilities(0x40, &[(0x40, VENDOR, 0x3c, 8)]);
    assert_eq!(list(&found), [0x40]);
    let found = with_capabilities(0x42, &[(0x40, VENDOR, 0x51, 8), (0x50, VENDOR, 0x03, 8)]);
    assert_eq!(
        list(&found),
        [0x40, 0x50],
        "the lower two bits do not count"
    );
}

#[test]
fn a_length_beyond_the_end_ends_with_the_space() {
    let found = with_capabilities(0xf8, &[(0xf8, VENDOR, 0xfc, 0xff), (0xfc, VENDOR, 0, 0)]);
    assert_eq!(list(&found), [0xf8, 0xfc]);
    let shortest = with_capabilities(0x40, &[(0x40, VENDOR, 0, 0)]);
    let bench = Bench::with(&shortest);
    assert_eq!(walk(&bench), [0x40]);
    assert_eq!(bench.word(0x44), 0, "nothing beyond what it must have");
}

#[test]
fn one_that_covers_another_does_not_bring_that_back() {
    // The first one found lies within the last one, whose bytes are copied over its link.
    let found = with_capabilities(
        0x48,
        &[
            (0x48, VENDOR, 0x80, 4),
            (0x80, MSI, 0x50, 0),
            (0x50, VENDOR, 0x40, 4),
            (0x40, VENDOR, 0, 0x48),
        ],
    );
    assert_eq!(list(&found), [0x48, 0x50, 0x40]);
}

/// Any configuration space, and such in which capabilities are likely.
fn any_space() -> impl Strategy<Value = [u32; 64]> {
    let likely = prop::sample::select(std::vec![
        VENDOR, VENDOR, MSI, MSI_X, 0x40, 0x44, 0x50, 0x90, 0xf8, 0xfc, 0xff, 0,
    ]);
    let byte = prop_oneof![any::<u8>(), likely];
    let bytes = prop::collection::vec(byte, 256);
    (bytes, any::<bool>()).prop_map(|(mut bytes, has_list)| {
        bytes[6] = bytes[6] & !(1 << 4) | u8::from(has_list) << 4;
        words(&bytes)
    })
}

proptest! {
    #[test]
    fn whatever_a_function_has_the_list_ends_and_is_the_vendors(found in any_space()) {
        let bench = Bench::with(&found);
        let list = walk(&bench);
        for at in list {
            prop_assert_eq!(found[at as usize / 4] as u8, VENDOR);
        }
    }

    #[test]
    fn whatever_a_guest_does_it_is_told_no_more(
        found in any_space(),
        accesses in prop::collection::vec(
            (any::<bool>(), 0..0x3000_u64, prop::sample::select(std::vec![1, 2, 4, 8]), any::<u64>()),
            1..100,
        ),
    ) {
        let bench = Bench::with(&found);
        let before = walk(&bench);
        for (stores, offset, bytes, value) in accesses {
            if stores {
                bench.store(offset, bytes, value);
            } else {
                let _ = bench.load(offset, bytes);
            }
        }
        prop_assert_eq!(walk(&bench), before);
        prop_assert_eq!(bench.word(BAR_0 + 8) & 0xffff_f000 == 0x1000_4000
            || bench.word(BAR_0 + 8) == 0xffff_f000, true);
        prop_assert_eq!(bench.word(COMMAND) & 0xfa90, 0);
    }
}
