use super::*;
use crate::optee::fakes::first_fit::{Step, THREADS, play};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn step() -> impl Strategy<Value = Step> {
    let pages = prop_oneof![
        1_u64..4,
        1_u64..1100,
        prop_oneof![
            Just(31_u64),
            Just(100),
            Just(128),
            Just(166),
            Just(255),
            Just(256),
            Just(257),
            Just(284),
            Just(339),
            Just(341),
            Just(342),
            Just(510),
            Just(511),
            Just(512),
            Just(681),
            Just(1018),
            Just(1019)
        ],
    ];
    let thread = || 0..THREADS;
    prop_oneof![
        2 => thread().prop_map(Step::Begin),
        5 => (thread(), pages).prop_map(|(thread, pages)| Step::Map(thread, pages)),
        3 => (thread(), any::<bool>()).prop_map(|(thread, last)| Step::Unmap(thread, last)),
        2 => thread().prop_map(Step::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_leads_behind_the_window(steps in proptest::collection::vec(step(), 1..80)) {
        let top = play(&steps);
        prop_assert!(top <= WINDOW_PAGES, "{top}");
    }
}

/// Changes a sequence again and again and keeps what reaches farther up, as somebody who looks for
/// a hole would.
#[test]
fn a_search_for_a_worse_order_stays_in_the_window() {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut draw = || step().new_tree(&mut runner).unwrap().current();
    let mut farthest = 0;
    for _ in 0..10 {
        let mut best: Vec<Step> = (0..20).map(|_| draw()).collect();
        let mut reached = play(&best);
        for round in 0..2000 {
            let mut steps = best.clone();
            let at = (round * 7) % steps.len();
            match round % 4 {
                0 => steps[at] = draw(),
                1 if steps.len() < 60 => steps.insert(at, draw()),
                2 => match &mut steps[at] {
                    Step::Map(_, pages) if round % 8 < 4 => *pages += 1,
                    Step::Map(_, pages) => *pages = (*pages - 1).max(1),
                    _ => steps.swap(at, 0),
                },
                _ if steps.len() > 10 => {
                    steps.remove(at);
                }
                _ => {}
            }
            let top = play(&steps);
            if top >= reached {
                (best, reached) = (steps, top);
            }
        }
        farthest = farthest.max(reached);
    }
    assert!(farthest <= WINDOW_PAGES, "{farthest}");
    assert!(
        farthest > WINDOW_PAGES / 2,
        "the search got no farther than {farthest}"
    );
}

#[test]
fn the_sequence_that_once_reached_five_tables_is_refused_in_part() {
    let sequence = [
        (0, 13),
        (1, 10),
        (1, 1),
        (0, 5),
        (1, 0),
        (1, 12),
        (0, 0),
        (1, 31),
        (0, 100),
        (1, 0),
        (1, 166),
        (0, 0),
        (0, 685),
        (1, 0),
        (1, 339),
        (0, 0),
        (0, 317),
        (0, 23),
        (1, 344),
        (0, 0),
        (0, 341),
        (1, 0),
        (1, 681),
        (0, 1),
        (1, 0),
        (1, 682),
    ];
    let steps: Vec<Step> = sequence
        .into_iter()
        .flat_map(|(thread, pages)| match pages {
            0 => vec![Step::End(thread)],
            pages => vec![Step::Begin(thread), Step::Map(thread, pages)],
        })
        .collect();
    assert!(play(&steps) <= WINDOW_PAGES);
}

#[test]
fn trusted_applications_of_usual_sizes_always_fit() {
    // Two threads load one application after the other, never both idle.
    for pages in [9_u64, 30, 93, 108, 140] {
        let window = CoreWindow::new(THREADS).unwrap();
        let mut held = window.take_for_rpc(pages).unwrap();
        for _ in 0..100 {
            let block = window.take_for_rpc(2).unwrap();
            let next = window.take_for_rpc(pages).expect("there is room");
            window.give_back(held);
            window.give_back(block);
            held = next;
        }
    }
}

#[test]
fn a_large_one_fits_beside_another_and_always_alone() {
    let window = CoreWindow::new(THREADS).unwrap();
    for _ in 0..10 {
        let one = window.take_for_rpc(284).unwrap();
        let other = window.take_for_rpc(284).unwrap();
        window.give_back(one);
        window.give_back(other);
        window.call_ends(None, || true);
    }
}

#[test]
fn all_of_it_comes_back() {
    let window = CoreWindow::new(THREADS).unwrap();
    let room = u64::from(END - small_pieces(THREADS) - kept_for_files(THREADS));
    for _ in 0..3 {
        assert_eq!(window.take_for_rpc(room + 1), None);
        assert_eq!(window.take_for_rpc(u64::MAX), None);
        let all = window.take_for_rpc(room).unwrap();
        assert_eq!(window.pages(), room);
        assert_eq!(window.take_for_rpc(3), None);
        let files: Vec<_> = (0..THREADS)
            .map(|_| window.take_for_rpc(2).unwrap())
            .collect();
        files.into_iter().for_each(|file| window.give_back(file));
        window.give_back(all);
        window.call_ends(None, || true);
    }
    let mut four = Mapping::default();
    assert!(four.is_empty());
    (0..4).for_each(|_| four.add(room / 4));
    let four = window.take_for_call(four).unwrap();
    window.give_back(four);
    let shares: Vec<_> = core::iter::from_fn(|| window.take_for_rpc(1)).collect();
    assert_eq!(shares.len(), 6 * THREADS);
}
