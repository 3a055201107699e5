use super::event::DeviceAccess;
use super::model::{FREQUENCY, Kind, ModelSmmu, Refused, TRIED};
use super::*;
use crate::arch::fake;
use addresses::Pa;
use std::string::ToString;
use std::vec::Vec;

/// Functions on buses 1 and 2.
const DISK: u32 = 0x100;
const NETWORK: u32 = 0x200;
const LAST: u32 = 0x2ff;

const F_TRANSLATION: Result<u64, Refused> = Err(Refused::Event(0x10));
const F_PERMISSION: Result<u64, Refused> = Err(Refused::Event(0x13));
const BAD_STREAM: Result<u64, Refused> = Err(Refused::Event(0x02));
const ABORTED: Result<u64, Refused> = Err(Refused::Aborted);

/// Both kinds of SMMU.
const KINDS: [Kind; 2] = [Kind::STAGE_1, Kind::STAGE_2];

/// Translation tables with a page at [`TRIED`], a page after it that can be read only, and a block
/// of 2 MiB in the next 2 MiB.
struct Tables {
    levels: [table::Table; 3],
    tag: u16,
    page: u64,
}

impl Tables {
    fn new(stage: Stage, tag: u16, page: u64) -> Self {
        // AF and SH; stage 1: nG, AP; stage 2: MemAttr, S2AP.
        let (read_write, read_only) = match stage {
            Stage::One => (1 << 11 | 0b01 << 6, 1 << 11 | 0b11 << 6),
            Stage::Two => (0b1111 << 2 | 0b11 << 6, 0b1111 << 2 | 0b01 << 6),
        };
        let leaf =
            |kind: u64, output: u64, rights: u64| output | rights | 1 << 10 | 0b11 << 8 | kind;
        let levels = [(); 3].map(|()| table::Table::new(512).unwrap());
        let [first, second, third] = &levels;
        first.write(1, second.address().0 | 3);
        second.write(0, third.address().0 | 3);
        second.write(1, leaf(1, page + (2 << 20), read_write));
        third.write(0, leaf(3, page, read_write));
        third.write(1, leaf(3, page + 0x1000, read_only));
        Self { levels, tag, page }
    }

    fn translation(&self) -> Translation {
        Translation {
            root: self.levels[0].address(),
            ipa_bits: 39,
            tag: self.tag,
        }
    }
}

fn turned_on(kind: Kind) -> (ModelSmmu, Smmu) {
    let model = ModelSmmu::new(kind);
    let smmu = Smmu::new(Box::new(model.clone()), LAST).unwrap();
    (model, smmu)
}

fn why_not(kind: Kind) -> SmmuError {
    let smmu = Smmu::new(Box::new(ModelSmmu::new(kind)), LAST);
    smmu.err().expect("it can't be used")
}

/// Has a device warm all caches with everything that it could ask for.
fn try_all(model: &ModelSmmu, stream: u32) -> Vec<Result<u64, Refused>> {
    let accesses = [
        (TRIED, true),
        (TRIED + 0xff8, false),
        (TRIED + 0x1008, false),
        (TRIED + 0x1008, true),
        (TRIED + 0x2000, false),
        (TRIED + (2 << 20) + 0x1_2345, true),
        (TRIED + (4 << 20), false),
        (0, false),
        (1 << 39, true),
        (u64::MAX, false),
    ];
    let accesses = accesses.into_iter();
    accesses
        .map(|(address, write)| model.dma(stream, address, write))
        .collect()
}

fn reached(page: u64) -> [Result<u64, Refused>; 10] {
    [
        Ok(page),
        Ok(page + 0xff8),
        Ok(page + 0x1008),
        F_PERMISSION,
        F_TRANSLATION,
        Ok(page + (2 << 20) + 0x1_2345),
        F_TRANSLATION,
        F_TRANSLATION,
        F_TRANSLATION,
        F_TRANSLATION,
    ]
}

#[test]
fn no_stream_reaches_anything_before_it_is_attached() {
    for kind in KINDS {
        let (model, smmu) = turned_on(kind);
        for stream in [0, 8, DISK, NETWORK, LAST, LAST + 1, 0xffff, u32::MAX] {
            assert!(try_all(&model, stream).iter().all(|it| *it == BAD_STREAM));
        }
        smmu.add(DISK).unwrap();
        for stream in [DISK, DISK + 1, DISK + 0xff] {
            assert!(try_all(&model, stream).iter().all(|it| *it == ABORTED));
        }
        assert_eq!(model.dma(NETWORK, TRIED, false), BAD_STREAM);
    }
}

#[test]
fn what_is_attached_reaches_exactly_what_its_tables_say() {
    for (kind, stage) in KINDS.into_iter().zip([Stage::One, Stage::Two]) {
        let (model, smmu) = turned_on(kind);
        assert_eq!(smmu.stage(), stage);
        let disk = Tables::new(stage, 1, 0x1_0000_0000);
        let network = Tables::new(stage, 2, 0x2_0000_0000);
        for (stream, tables) in [(DISK, &disk), (NETWORK, &network)] {
            smmu.add(stream).unwrap();
            try_all(&model, stream);
            smmu.attach(stream, &tables.translation()).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(try_all(&model, DISK), reached(disk.page));
            assert_eq!(try_all(&model, NETWORK), reached(network.page));
        }
        assert_eq!(model.dma(DISK + 1, TRIED, false), ABORTED, "its neighbour");
    }
}

#[test]
fn a_device_that_says_it_has_translated_reaches_nothing() {
    let (model, smmu) = turned_on(Kind::WITH_ATS);
    let tables = Tables::new(Stage::Two, 1, 0x1_0000_0000);
    smmu.add(DISK).unwrap();
    assert_eq!(model.translated_dma(NETWORK, TRIED), BAD_STREAM);
    assert_eq!(model.translated_dma(DISK, TRIED), ABORTED);
    smmu.attach(DISK, &tables.translation()).unwrap();
    let forbidden = Err(Refused::Event(0x07));
    for address in [tables.page, TRIED, 0] {
        assert_eq!(model.translated_dma(DISK, address), forbidden);
    }
    assert_eq!(model.dma(DISK, TRIED, false), Ok(tables.page));
    smmu.detach(DISK, 1).unwrap();
    assert_eq!(model.translated_dma(DISK, tables.page), ABORTED);
}

#[test]
fn what_is_detached_reaches_nothing_although_it_was_known_well() {
    for (kind, stage) in KINDS.into_iter().zip([Stage::One, Stage::Two]) {
        let (model, smmu) = turned_on(kind);
        let disk = Tables::new(stage, 1, 0x1_0000_0000);
        let network = Tables::new(stage, 2, 0x2_0000_0000);
        smmu.add(DISK).unwrap();
        smmu.add(NETWORK).unwrap();
        smmu.attach(NETWORK, &network.translation()).unwrap();
        for _ in 0..3 {
            smmu.attach(DISK, &disk.translation()).unwrap();
            assert_eq!(try_all(&model, DISK), reached(disk.page));
            assert_eq!(try_all(&model, NETWORK), reached(network.page));
            smmu.detach(DISK, disk.tag).unwrap();
            assert!(try_all(&model, DISK).iter().all(|it| *it == ABORTED));
            assert!(!model.keeps_translations_of(disk.tag));
            assert!(model.keeps_translations_of(network.tag), "that stays");
            assert_eq!(try_all(&model, NETWORK), reached(network.page));
        }
    }
}

#[test]
fn a_stream_can_be_attached_to_other_tables_later() {
    for (kind, stage) in KINDS.into_iter().zip([Stage::One, Stage::Two]) {
        let (model, smmu) = turned_on(kind);
        smmu.add(DISK).unwrap();
        // The tag stays: what is known of the first tables may not be used for the second ones.
        for page in [0x1_0000_0000, 0x3_0000_0000] {
            let tables = Tables::new(stage, 1, page);
            smmu.attach(DISK, &tables.translation()).unwrap();
            assert_eq!(try_all(&model, DISK), reached(page));
            smmu.detach(DISK, 1).unwrap();
        }
    }
}

#[test]
fn an_entry_that_is_made_to_abort_is_never_half_of_two() {
    // The SMMU may read it at any time, so that what it says changes in one word.
    for (kind, stage) in KINDS.into_iter().zip([Stage::One, Stage::Two]) {
        let (model, smmu) = turned_on(kind);
        let tables = Tables::new(stage, 1, 0x1_0000_0000);
        smmu.add(DISK).unwrap();
        smmu.attach(DISK, &tables.translation()).unwrap();
        let attached = model.entry_in_memory(DISK);
        smmu.detach(DISK, 1).unwrap();
        let detached = model.entry_in_memory(DISK);
        assert_eq!(detached[0], 1, "valid, and aborts");
        assert_eq!(detached[1..], attached[1..]);
    }
}

#[test]
fn nothing_bypasses_it_while_it_is_turned_on() {
    // The model has devices try between any two accesses to registers.
    for kind in KINDS {
        for (cr0, gbpa) in [(0, 0), (0, 1 << 20), (0b1, 0), (0b1101, 0)] {
            let model = ModelSmmu::new(Kind { cr0, gbpa, ..kind });
            let streams = [0, 8, DISK, NETWORK, 0xffff];
            let pages = [TRIED, TRIED + 0x1000, 0];
            model.keep_what_was_before(&streams, 1, &pages);
            let smmu = Smmu::new(Box::new(model.clone()), LAST).unwrap();
            assert_eq!(model.first_write(), Some(offset::GBPA), "before all else");
            assert!(!model.keeps_translations_of(1));
            for stream in streams {
                assert_eq!(model.dma(stream, TRIED, false), BAD_STREAM);
            }
            smmu.add(DISK).unwrap();
            let tables = Tables::new(smmu.stage(), 1, 0x1_0000_0000);
            smmu.attach(DISK, &tables.translation()).unwrap();
            assert_eq!(try_all(&model, DISK), reached(tables.page));
        }
    }
}

#[test]
fn an_smmu_that_lacks_what_is_needed_is_refused() {
    let kind = Kind::STAGE_2;
    let idr0 = |idr0| Kind { idr0, ..kind };
    let idr1 = |idr1| Kind { idr1, ..kind };
    for (without, what) in [
        (idr0(kind.idr0 & !0b11), "translation"),
        (
            idr0(kind.idr0 & !(0b11 << 2) | 0b01 << 2),
            "tables of AArch64",
        ),
        (idr0(kind.idr0 | 0b11 << 21), "little-endian tables"),
        (idr0(kind.idr0 & !(1 << 4)), "coherent walks of its tables"),
        (
            idr0(kind.idr0 & !(0b11 << 24) | 0b10 << 24),
            "faults that end at once",
        ),
        (
            idr0(kind.idr0 & !(0b11 << 27)),
            "stream tables of two levels",
        ),
        (idr1(kind.idr1 | 1 << 29), "tables and queues anywhere"),
        (idr1(kind.idr1 | 1 << 30), "tables and queues anywhere"),
        (
            idr1(kind.idr1 & !(0x1f << 21) | 7 << 21),
            "queues of 256 entries",
        ),
        (
            idr1(kind.idr1 & !(0x1f << 16) | 7 << 16),
            "queues of 256 entries",
        ),
        (
            Kind {
                idr5: kind.idr5 & !(1 << 4),
                ..kind
            },
            "pages of 4 KiB",
        ),
    ] {
        assert_eq!(why_not(without), SmmuError::Lacks(what));
    }
    let too_few = idr1(kind.idr1 & !0x3f | 9);
    assert_eq!(why_not(too_few), SmmuError::NoSuchStream(LAST));
    assert_eq!(
        SmmuError::Lacks("wings").to_string(),
        "the SMMU lacks wings"
    );
}

#[test]
fn an_smmu_that_has_more_than_is_needed_serves() {
    let kind = Kind::STAGE_2;
    for other in [
        // Both stages; AArch32, too; any endianness; stalls where asked for; many streams.
        Kind {
            idr0: kind.idr0 | 0b11,
            ..kind
        },
        Kind {
            idr0: kind.idr0 | 0b01 << 2,
            ..kind
        },
        Kind {
            idr0: kind.idr0 & !(0b11 << 21),
            ..kind
        },
        Kind {
            idr0: kind.idr0 & !(0b11 << 24),
            ..kind
        },
        Kind {
            idr1: kind.idr1 & !0x3f | 32,
            ..kind
        },
        Kind {
            idr1: kind.idr1 & !0x3f | 10,
            ..kind
        },
        Kind {
            idr1: 8 << 21 | 8 << 16 | 16,
            ..kind
        },
        // 52 bits of address, of which tables of 4 KiB say 48.
        Kind {
            idr5: 1 << 4 | 1 << 6 | 0b110,
            ..kind
        },
    ] {
        let (model, smmu) = turned_on(other);
        assert_eq!(smmu.stage(), Stage::Two);
        smmu.add(DISK).unwrap();
        let tables = Tables::new(Stage::Two, 1, 0x1_0000_0000);
        smmu.attach(DISK, &tables.translation()).unwrap();
        assert_eq!(try_all(&model, DISK), reached(tables.page));
    }
}

#[test]
fn an_smmu_that_does_not_answer_is_given_up_after_a_while() {
    let kind = Kind::STAGE_2;
    for (silent, still_bypasses) in [
        (
            Kind {
                updates: false,
                ..kind
            },
            false,
        ),
        (
            Kind {
                gbpa: 1 << 31,
                updates: false,
                ..kind
            },
            true,
        ),
        (
            Kind {
                acknowledges: false,
                ..kind
            },
            false,
        ),
        (
            Kind {
                commands: 0,
                ..kind
            },
            false,
        ),
        (
            Kind {
                commands: 2,
                ..kind
            },
            false,
        ),
        (
            Kind {
                illegal: Some(0x04),
                ..kind
            },
            false,
        ),
        (
            Kind {
                illegal: Some(0x46),
                ..kind
            },
            false,
        ),
    ] {
        let model = ModelSmmu::new(silent);
        let before = fake::register("cntpct_el0");
        let refused = Smmu::new(Box::new(model.clone()), LAST).err();
        assert_eq!(refused, Some(SmmuError::Unresponsive));
        let waited = fake::register("cntpct_el0") - before;
        assert!(
            (FREQUENCY / 10..FREQUENCY / 5).contains(&waited),
            "{waited}"
        );
        let bypassed = model.dma(DISK, TRIED, false) == Ok(TRIED);
        assert_eq!(bypassed, still_bypasses);
    }
}

#[test]
fn an_smmu_that_goes_silent_later_is_told_of() {
    let (model, smmu) = turned_on(Kind::STAGE_2);
    smmu.add(DISK).unwrap();
    let tables = Tables::new(Stage::Two, 1, 0x1_0000_0000);
    smmu.attach(DISK, &tables.translation()).unwrap();
    model.stop_after(1);
    assert_eq!(smmu.detach(DISK, 1), Err(SmmuError::Unresponsive));
    assert_eq!(smmu.add(NETWORK), Err(SmmuError::Unresponsive));
    let attached = smmu.attach(NETWORK, &tables.translation());
    assert_eq!(attached, Err(SmmuError::Unresponsive));
    assert_eq!(model.entry_in_memory(DISK)[0], 1, "it was told to abort");
}

#[test]
fn a_stream_without_room_is_not_attached() {
    for kind in KINDS {
        let (model, smmu) = turned_on(kind);
        let tables = Tables::new(smmu.stage(), 1, 0x1_0000_0000);
        for stream in [DISK, LAST + 1, u32::MAX] {
            let refused = SmmuError::NoSuchStream(stream);
            assert_eq!(smmu.attach(stream, &tables.translation()), Err(refused));
            assert_eq!(smmu.detach(stream, 1), Err(refused));
        }
        assert!(smmu.add(0x1_0000).is_err(), "beyond the table");
        assert_eq!(model.dma(DISK, TRIED, false), BAD_STREAM);
    }
}

#[test]
fn many_changes_go_around_the_queue_of_commands() {
    for kind in KINDS {
        let (model, smmu) = turned_on(kind);
        let tables = Tables::new(smmu.stage(), 1, 0x1_0000_0000);
        smmu.add(DISK).unwrap();
        for _ in 0..300 {
            smmu.attach(DISK, &tables.translation()).unwrap();
            assert_eq!(model.dma(DISK, TRIED, true), Ok(tables.page));
            smmu.detach(DISK, 1).unwrap();
            assert_eq!(model.dma(DISK, TRIED, true), ABORTED);
        }
    }
}

fn attached(kind: Kind) -> (ModelSmmu, Smmu, Tables) {
    let (model, smmu) = turned_on(kind);
    let tables = Tables::new(smmu.stage(), 1, 0x1_0000_0000);
    smmu.add(DISK).unwrap();
    smmu.attach(DISK, &tables.translation()).unwrap();
    (model, smmu, tables)
}

fn fault(kind: u8, address: u64, read: bool) -> Event {
    Event {
        kind,
        stream: DISK,
        access: Some(DeviceAccess { address, read }),
    }
}

#[test]
fn events_say_who_tried_what() {
    for kind in KINDS {
        let (model, smmu, _tables) = attached(kind);
        assert!(!smmu.has_events() && smmu.take_event().is_none());
        let _ = model.dma(DISK, 0xdead_b000, false);
        let _ = model.dma(DISK, 0x7f_ffff_fff8, true);
        let _ = model.dma(DISK, TRIED + 0x1010, true);
        let _ = model.dma(0xfff0, 0x1234, true);
        assert!(smmu.has_events());
        let expected = [
            fault(0x10, 0xdead_b000, true),
            fault(0x10, 0x7f_ffff_fff8, false),
            fault(0x13, TRIED + 0x1010, false),
            Event {
                kind: 0x02,
                stream: 0xfff0,
                access: None,
            },
        ];
        for event in expected {
            assert_eq!(smmu.take_event(), Some((event, false)));
        }
        assert!(!smmu.has_events() && smmu.take_event().is_none());
        let [read, written, _, unknown] = expected.map(|event| event.to_string());
        assert_eq!(
            read,
            "it read from 0xdeadb000, which its guest does not have"
        );
        assert_eq!(
            written,
            "it wrote to 0x7ffffffff8, which its guest does not have"
        );
        assert_eq!(unknown, "event 0x02 of the SMMU");
    }
}

#[test]
fn an_aborted_stream_makes_no_events() {
    let (model, smmu, _tables) = attached(Kind::STAGE_2);
    smmu.detach(DISK, 1).unwrap();
    try_all(&model, DISK);
    assert!(!smmu.has_events());
}

#[test]
fn events_go_around_their_queue() {
    let (model, smmu, _tables) = attached(Kind::STAGE_2);
    let mut next = 0;
    for count in [1, 255, 256, 3, 256, 200, 100] {
        for n in next..next + count {
            let _ = model.dma(DISK, n * 0x1000, false);
        }
        for n in next..next + count {
            let event = fault(0x10, n * 0x1000, true);
            assert_eq!(smmu.take_event(), Some((event, false)), "{n}");
        }
        assert!(!smmu.has_events());
        next += count;
    }
}

#[test]
fn events_that_were_lost_are_told_once_each_time() {
    let (model, smmu, _tables) = attached(Kind::STAGE_2);
    for round in 0..3 {
        for n in 0..300 {
            let _ = model.dma(DISK, n * 0x1000, false);
        }
        assert!(model.has_overflowed());
        let taken: Vec<_> = core::iter::from_fn(|| smmu.take_event()).collect();
        assert_eq!(taken.len(), 256, "as many as there is room for");
        let lost = taken.iter().filter(|(_, lost)| *lost).count();
        assert_eq!(lost, 1, "round {round}");
        assert!(!model.has_overflowed(), "it was acknowledged");
        for (n, (event, _)) in (0..).zip(taken) {
            assert_eq!(event, fault(0x10, n * 0x1000, true));
        }
    }
}

#[test]
fn events_interrupt_unless_they_are_not_to() {
    let (model, smmu) = turned_on(Kind::STAGE_2);
    assert!(model.interrupts());
    smmu.set_event_interrupt(false);
    assert!(!model.interrupts());
    smmu.set_event_interrupt(true);
    assert!(model.interrupts());
}

#[test]
fn what_is_attached_lies_where_the_smmu_finds_it() {
    // Tables whose root is beyond 32 bits, and an address size that is said in full.
    let translation = Translation {
        root: Pa(0x7f12_3456_7000),
        ipa_bits: 39,
        tag: 0x1234,
    };
    let context = translation.context(0b101);
    assert_eq!(context[0] >> 48, 0x1234, "ASID");
    assert_eq!(context[1], 0x7f12_3456_7000, "TTB0");
    let entry = translation.entry(None, 0b101);
    assert_eq!(entry[2] & 0xffff, 0x1234, "S2VMID");
    assert_eq!(entry[3], 0x7f12_3456_7000, "S2TTB");
    let entry = translation.entry(Some(Pa(0x7f12_3456_7040)), 0b101);
    assert_eq!(entry[0], 0x7f12_3456_7040 | 0b1011, "S1ContextPtr");
}
