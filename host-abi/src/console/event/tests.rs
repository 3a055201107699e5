use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::binding::{self, MAX_VCPUS, TeeChoice};
use crate::console::{Cause, Charge, CpuList, Instructions, TeeCalls};

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,30}".prop_filter("reserved", |name| binding::is_guest_name(name))
}

fn word() -> impl Strategy<Value = String> {
    "[!-~]{1,20}"
}

fn revision() -> impl Strategy<Value = String> {
    (any::<u32>(), any::<u32>(), any::<Option<u32>>()).prop_map(|(major, minor, build)| match build
    {
        Some(build) => format!("{major}.{minor} ({build:08x})"),
        None => format!("{major}.{minor}"),
    })
}

prop_compose! {
    fn summary()(
        mib: u64,
        cpus in prop::collection::vec(any::<u32>(), 1..=MAX_VCPUS),
        tee in prop::sample::select(&TeeChoice::ALL[..]),
    ) -> Summary {
        let mut list = CpuList::default();
        cpus.into_iter().for_each(|cpu| list.push(cpu).unwrap());
        Summary { mib, cpus: list, tee }
    }
}

prop_compose! {
    fn tee_stats()(n: [u64; 20]) -> TeeStats {
        TeeStats {
            calls: TeeCalls {
                fast: n[0],
                open_session: n[1],
                invoke_command: n[2],
                close_session: n[3],
                register: n[4],
                unregister: n[5],
                other: n[6],
            },
            rpcs: n[7],
            foreign_interrupts: n[8],
            pauses: n[9],
            notifications: n[10],
            paced: n[11],
            opens_denied: n[12],
            instances_refused: n[13],
            refused: n[14],
            bytes_copied: n[15],
            entries_translated: n[16],
            buffers: n[17],
            pinned_pages: n[18],
            calls_in_flight: n[19],
        }
    }
}

prop_compose! {
    fn charge()(times in 1..=u64::MAX, cycles: u64, instructions: Option<(u64, u64)>) -> Charge {
        let instructions = instructions.map(|(total, longest)| Instructions { total, longest });
        Charge { times, instructions, cycles }
    }
}

prop_compose! {
    fn bill()(charges in prop::collection::btree_map(0..Cause::COUNT, charge(), 1..=Cause::COUNT)) -> Bill {
        let mut bill = Bill::default();
        for (number, charge) in charges {
            bill.set(Cause::ALL[number], charge);
        }
        bill
    }
}

/// What the fields of any event are made of.
#[derive(Clone, Debug)]
struct Material {
    name: String,
    word: String,
    revisions: [String; 2],
    /// Text of a kind that is no sentence.
    text: String,
    summary: Summary,
    state: GuestState,
    numbers: [u64; 4],
    small: [u32; 2],
    conduit: &'static str,
    tee: TeeStats,
    bill: Bill,
    topic: Topic,
    severity: Severity,
}

prop_compose! {
    fn material()(
        (name, word, revisions, text) in (name(), word(), [revision(), revision()], "~\\PC*"),
        (summary, tee, bill) in (summary(), tee_stats(), bill()),
        state in prop::sample::select(&GuestState::ALL[..]),
        topic in prop::sample::select(&Topic::ALL[..]),
        conduit in prop::sample::select(&["smc", "hvc"][..]),
        severity in prop::sample::select(&[Severity::Info, Severity::Warning, Severity::Error][..]),
        numbers: [u64; 4],
        small: [u32; 2],
    ) -> Material {
        Material { name, word, revisions, text, summary, state, numbers, small, conduit, tee, bill, topic, severity }
    }
}

/// An event of each kind.
fn events(material: &Material) -> Vec<Event<'_>> {
    let Material {
        name,
        word,
        text,
        conduit,
        ..
    } = material;
    let (name, word, text, conduit): (&str, &str, &str, &str) = (name, word, text, conduit);
    let [revision, survivor] = &material.revisions;
    let (revision, survivor): (&str, &str) = (revision, survivor);
    let [n, m, k, _] = material.numbers;
    let [i, j] = material.small;
    let summary = material.summary;
    let function = Function(i);
    std::vec![
        Event::Up {
            version: "0.1.0",
            cpus: i as usize
        },
        Event::TeeServes { revision },
        Event::TeeIsHaltedByStorage { revision, survivor },
        Event::AllOff,
        Event::Panic { message: text },
        Event::Started { name, summary },
        Event::EntersKernel {
            name,
            nanoseconds: n
        },
        Event::Off { name },
        Event::Reset { name },
        Event::ResetUntold { name, times: n },
        Event::Stopped { name, reason: text },
        Event::Refused {
            name,
            conduit,
            function
        },
        Event::RefusedWithOthers {
            name,
            conduit,
            function,
            others: n
        },
        Event::PagesKept { name, pages: n },
        Event::CallsKept { name, count: n },
        Event::IdentifiersKept {
            name,
            lost: i,
            all: j
        },
        Event::NoTee { name, reason: text },
        Event::OutputLost { name, bytes: n },
        Event::LinesLost { lines: n, bytes: m },
        Event::Listed {
            name,
            state: material.state,
            summary
        },
        Event::Heap {
            stats: HeapStats {
                bytes: n,
                allocations: m,
                free: k
            }
        },
        Event::Guest {
            name,
            stats: GuestStats {
                starts: n,
                refused: m,
                forwarded: k,
                pages: n
            },
        },
        Event::Tee {
            name,
            stats: material.tee
        },
        Event::Bill {
            name,
            bill: material.bill
        },
        Event::Help {
            topic: material.topic
        },
        Event::Attached { name },
        Event::Detached { name },
        Event::NotRunning { name },
        Event::Busy { name },
        Event::NoSuchGuest { word },
        Event::UnknownCommand { word },
        Event::NameWanted { word },
        Event::TooManyWords { word },
        Event::TooManyCommands,
        Event::Note {
            severity: material.severity,
            text
        },
    ]
}

/// Which sentence it is.
fn kind(event: &Event<'_>) -> String {
    let debug = format!("{event:?}");
    let end = debug.find([' ', '{']).unwrap_or(debug.len());
    debug[..end].to_string()
}

proptest! {
    #[test]
    fn what_is_written_is_read(material in material()) {
        let events = events(&material);
        // Each sentence, and the note that is none.
        prop_assert_eq!(events.len(), READERS.len() + 1);
        for event in events {
            let line = event.to_string();
            prop_assert_eq!(Event::parse(&line), event);
        }
    }

    #[test]
    fn any_line_is_read_and_written_again_as_it_was(line in "\\PC*") {
        prop_assert_eq!(Event::parse(&line).to_string(), line);
    }

    #[test]
    fn what_looks_like_a_sentence_is_written_again_as_it_was(
        material in material(),
        at: prop::sample::Index,
        other in "[ -~]{0,3}",
    ) {
        for event in events(&material) {
            let mut line: Vec<char> = event.to_string().chars().collect();
            let at = at.index(line.len());
            line.splice(at..=at, other.chars());
            let line: String = line.into_iter().collect();
            prop_assert_eq!(Event::parse(&line).to_string(), line);
        }
    }

    #[test]
    fn a_guest_s_event_names_it(material in material()) {
        for event in events(&material) {
            let named = format!("{event:?}").contains(" name: ");
            prop_assert_eq!(event.guest(), named.then_some(material.name.as_str()));
        }
    }

    #[test]
    fn the_parts_of_the_tee_s_line_make_all_of_it(stats in tee_stats()) {
        let mut line = String::new();
        for part in 0..TeeStats::PARTS {
            stats.write_part(part, &mut line).unwrap();
        }
        prop_assert_eq!(line, stats.to_string());
    }

    #[test]
    fn entries_make_a_bill(bill in bill()) {
        let mut line = String::from("vm1: EL2: ");
        let mut first = true;
        for cause in Cause::ALL {
            if let Some(charge) = bill.charge(cause) {
                Bill::write_entry(&mut line, first, cause, &charge).unwrap();
                first = false;
            }
        }
        prop_assert_eq!(Event::parse(&line), Event::Bill { name: "vm1", bill });
    }
}

#[test]
fn numbers_that_are_written_otherwise_are_no_numbers() {
    for number in ["", "+1", "-1", "01", "1.0", "18446744073709551616"] {
        let line = format!("vm1: reset {number} more times");
        assert_eq!(kind(&Event::parse(&line)), "Note", "{line}");
    }
}

#[test]
fn a_summary_names_a_cpu_for_each_vcpu() {
    for cpus in [
        "2 vCPUs on CPUs 0",
        "1 vCPUs on CPUs 0,1",
        "0 vCPUs on CPUs ",
    ] {
        let line = format!("vm1: started, 512 MiB, {cpus}, tee none");
        assert_eq!(kind(&Event::parse(&line)), "Note", "{line}");
    }
    let cpus = ["0"; MAX_VCPUS + 1].join(",");
    let line = format!(
        "vm1: started, 1 MiB, {} vCPUs on CPUs {cpus}, tee none",
        MAX_VCPUS + 1
    );
    assert_eq!(kind(&Event::parse(&line)), "Note", "{line}");
}

#[test]
fn entries_of_a_bill_have_their_order_and_no_empty_ones() {
    for entries in [
        "1 interrupts in 5 cycles; 1 fast TEE calls in 5 cycles",
        "1 interrupts in 5 cycles; 1 interrupts in 5 cycles",
        "0 interrupts in 5 cycles",
        "1 visits in 5 cycles",
        "1 interrupts in 5 cycles; ",
        "",
    ] {
        let line = format!("vm1: EL2: {entries}");
        assert_eq!(kind(&Event::parse(&line)), "Note", "{line}");
    }
}

#[test]
fn other_lines_are_notes() {
    let note = |severity, text| Event::Note { severity, text };
    for (line, expected) in [
        ("", note(Severity::Info, "")),
        ("warning: it rains", note(Severity::Warning, "it rains")),
        (
            "error: vm1: it rains",
            note(Severity::Error, "vm1: it rains"),
        ),
        (
            "vm1: stopped: it rains",
            note(Severity::Info, "vm1: stopped: it rains"),
        ),
        ("warning: vm1: off", note(Severity::Warning, "vm1: off")),
    ] {
        assert_eq!(Event::parse(line), expected);
    }
}

/// The lines of the tables of the page that says what programs can rely on: their last column.
fn documented_lines() -> Vec<&'static str> {
    include_str!("../../../../docs/console.md")
        .lines()
        .filter_map(|row| row.strip_suffix("` |")?.rsplit_once("| `"))
        .map(|(_, line)| line)
        .collect()
}

#[test]
fn what_is_documented_is_what_there_is() {
    let mut documented: Vec<String> = Vec::new();
    for line in documented_lines() {
        let kind = kind(&Event::parse(line));
        assert_ne!(kind, "Note", "{line}");
        documented.push(kind);
    }
    documented.sort();
    documented.dedup();
    assert_eq!(documented.len(), READERS.len(), "{documented:?}");
}
