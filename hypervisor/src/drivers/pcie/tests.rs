use super::function::Function;
use super::model::{BarKind, FunctionKind, ModelBridge};
use super::*;
use std::string::ToString;
use std::vec::Vec;

/// 16 MiB of registers, which CPUs find elsewhere than functions.
const WINDOW: Window = Window {
    pa: 0x50_1000_0000,
    bus_address: 0x1000_0000,
    len: 16 << 20,
};
const PORT: u8 = 3;

fn bridge(kind: FunctionKind) -> &'static ModelBridge {
    ModelBridge::leaked(std::vec![(PORT, std::vec![kind])])
}

fn with_bars(bars: &[(usize, BarKind)]) -> FunctionKind {
    FunctionKind {
        bars: bars.to_vec(),
        ..FunctionKind::disk()
    }
}

/// The function behind the port, which does nothing yet.
fn found(bridge: &'static ModelBridge) -> Function {
    let mut window = WINDOW;
    Function::find(bridge, PORT, 1, &mut window).unwrap_or_else(|error| panic!("{error}"))
}

fn why_not(bridge: &'static ModelBridge, port: u8) -> PcieError {
    silence(bridge);
    let mut window = WINDOW;
    let found = Function::find(bridge, port, 1, &mut window);
    let error = found.err().expect("it can't be given away");
    assert_eq!(bridge.requester(PORT), None, "it accesses no memory");
    error
}

/// Each BAR of the function answers where it is said to be, from its first to its last byte.
fn answers(bridge: &ModelBridge, port: u8, function: &Function) {
    for bar in function.bars() {
        let at = bar.pa.0 - WINDOW.pa + WINDOW.bus_address;
        for offset in [0, bar.size / 2, bar.size - 1] {
            let expected = Some((port, bar.number, offset));
            assert_eq!(bridge.memory_at(at + offset), expected);
        }
    }
}

#[test]
fn a_function_is_found_and_answers_where_it_was_placed() {
    let bridge = bridge(FunctionKind::disk());
    let function = found(bridge);
    assert_eq!(function.requester(), 0x100);
    assert_eq!(function.words()[0], 0x1042_1af4);
    assert_eq!(function.words()[16], 0x0010_0009, "a capability");
    let bars: Vec<_> = function.bars().iter().collect();
    let what: Vec<_> = bars
        .iter()
        .map(|it| (it.number, it.size, it.kind))
        .collect();
    assert_eq!(what, [(4, 0x4000, 0xc), (1, 0x1000, 0)]);
    assert_eq!([true, false], [0, 1].map(|n| bars[n].is_wide()));
    function.set_up();
    answers(bridge, PORT, &function);
}

#[test]
fn it_does_nothing_before_it_is_told() {
    let bridge = bridge(FunctionKind::disk());
    assert_eq!(
        bridge.requester(PORT),
        Some(0x900),
        "as the firmware left it"
    );
    let function = found(bridge);
    bridge.set_interrupt(PORT, true);
    assert_eq!(bridge.requester(PORT), None);
    assert_eq!(bridge.command(PORT), 0);
    function.set_up();
    assert_eq!(bridge.requester(PORT), None);
    assert!(!bridge.line(PORT) && function.has_interrupt());
    function.set_command(true, false);
    assert_eq!(bridge.requester(PORT), Some(function.requester()));
    assert!(!bridge.line(PORT));
    function.set_command(false, true);
    assert_eq!(bridge.requester(PORT), None);
    assert!(bridge.line(PORT));
    answers(bridge, PORT, &function);
    bridge.set_interrupt(PORT, false);
    assert!(!bridge.line(PORT) && !function.has_interrupt());
}

#[test]
fn its_port_leads_all_that_it_does_to_the_smmu() {
    let bridge = bridge(FunctionKind::disk());
    found(bridge);
    assert_eq!(bridge.extended(PORT, 0x53), 0x001f_007f);
}

#[test]
fn its_port_is_asked_for_nothing_that_it_can_not() {
    for (words, at, expected) in [
        // Source Validation and Upstream Forwarding alone.
        (&[(0x40, 0x0001_000d), (0x41, 0x11)][..], 0x41, 0x11_0011),
        (&[], 0x40, 0),
        // Lists that lead to themselves, into the header, and to the end.
        (&[(0x40, 0x1001_0001)], 0x41, 0),
        (&[(0x40, 0x0401_0001)], 0x41, 0),
        (&[(0x40, 0xffff_0001)], 0x3ff, 0),
        (&[(0x40, u32::MAX)], 0x41, 0),
        (&[(0x40, 0xffc1_0001), (0x3ff, 0x000d)], 0x3ff, 0x000d),
    ] {
        let bridge = bridge(FunctionKind::disk());
        bridge.set_extended(PORT, words);
        found(bridge);
        assert_eq!(bridge.extended(PORT, at), expected);
    }
}

#[test]
fn its_port_forwards_its_window_and_nothing_else() {
    let bridge = bridge(FunctionKind::disk());
    let function = found(bridge);
    function.set_up();
    let first = WINDOW.bus_address;
    let last = first + (1 << 20) - 1;
    assert!(bridge.forwards(PORT, first) && bridge.forwards(PORT, last));
    // Among them what the firmware had behind the port.
    for address in [
        0,
        first - 1,
        last + 1,
        0x1ff0_0000,
        0x2000_0000,
        0xffff_ffff,
        0x80_0000_0000,
        0x80_fff0_0000,
        0x81_0000_0000,
        0x81_fff0_0000,
    ] {
        assert!(!bridge.forwards(PORT, address), "{address:#x}");
    }
}

#[test]
fn errors_in_the_status_are_left_for_who_looks_for_them() {
    let bridge = bridge(FunctionKind::disk());
    let function = found(bridge);
    function.set_up();
    function.set_command(true, true);
    assert!(bridge.has_errors(PORT));
}

#[test]
fn several_functions_have_buses_and_windows_of_their_own() {
    let kinds = [
        FunctionKind::disk(),
        with_bars(&[(0, BarKind::Memory32(2 << 20, 0))]),
        with_bars(&[
            (0, BarKind::Memory64(0x1000, 0x8)),
            (2, BarKind::Memory32(0x2000, 0)),
        ]),
        FunctionKind::disk(),
    ];
    let ports = (1..).zip(kinds).map(|(port, kind)| (port, std::vec![kind]));
    let bridge = ModelBridge::leaked(ports.collect());
    let mut window = WINDOW;
    let functions: Vec<_> = (1..=4)
        .map(|port| {
            (
                port,
                Function::find(bridge, port, port + 10, &mut window).unwrap(),
            )
        })
        .collect();
    let mut places: Vec<(u64, u64)> = Vec::new();
    for (port, function) in &functions {
        assert_eq!(function.requester(), u32::from(port + 10) << 8);
        function.set_up();
        function.set_command(true, false);
        for bar in function.bars() {
            let (start, end) = (bar.pa.0, bar.pa.0 + bar.size);
            assert!(start >= WINDOW.pa && end <= WINDOW.pa + WINDOW.len);
            assert!(start.is_multiple_of(bar.size));
            assert!(places.iter().all(|&(from, to)| end <= from || to <= start));
            places.push((start, end));
        }
    }
    for (port, function) in &functions {
        answers(bridge, *port, function);
        assert_eq!(bridge.requester(*port), Some(function.requester()));
    }
}

#[test]
fn a_window_that_begins_anywhere_serves() {
    let bridge = bridge(with_bars(&[(0, BarKind::Memory32(4 << 20, 0))]));
    let mut window = Window {
        pa: WINDOW.pa + 0x1000,
        bus_address: WINDOW.bus_address + 0x1000,
        len: WINDOW.len - 0x1000,
    };
    let function = Function::find(bridge, PORT, 1, &mut window).unwrap();
    assert_eq!(function.bars()[0].pa.0, WINDOW.pa + (4 << 20));
    function.set_up();
    answers(bridge, PORT, &function);
    assert_eq!(window.bus_address, WINDOW.bus_address + (8 << 20));
    assert_eq!(window.pa, WINDOW.pa + (8 << 20));
    assert_eq!(window.len, WINDOW.len - (8 << 20));
}

#[test]
fn bars_of_every_kind_are_sized() {
    for (bars, expected) in [
        (
            std::vec![(0, BarKind::Memory32(0x1000, 0))],
            std::vec![(0, 0x1000)],
        ),
        (
            std::vec![(5, BarKind::Memory32(0x8000, 0x8))],
            std::vec![(5, 0x8000)],
        ),
        (
            std::vec![(4, BarKind::Memory64(8 << 20, 0x8))],
            std::vec![(4, 8 << 20)],
        ),
        (
            std::vec![(0, BarKind::Io(0x20)), (1, BarKind::Memory32(0x1000, 0))],
            std::vec![(1, 0x1000)],
        ),
        (std::vec![(0, BarKind::Io(0x20))], std::vec![]),
        (std::vec![], std::vec![]),
    ] {
        let bridge = bridge(with_bars(&bars));
        let function = found(bridge);
        let sizes = function.bars().iter().map(|bar| (bar.number, bar.size));
        assert_eq!(sizes.collect::<Vec<_>>(), expected);
        function.set_up();
        answers(bridge, PORT, &function);
    }
}

#[test]
fn where_no_port_or_function_is_none_is_given_away() {
    assert_eq!(why_not(bridge(FunctionKind::disk()), 4), PcieError::NoPort);
    assert_eq!(
        why_not(bridge(FunctionKind::disk()), 31),
        PcieError::NotAPort
    );
    let empty = ModelBridge::leaked(std::vec![(PORT, Vec::new())]);
    assert_eq!(why_not(empty, PORT), PcieError::Empty);
}

#[test]
fn only_one_endpoint_is_given_away() {
    let with_header = |header| FunctionKind {
        header,
        ..FunctionKind::disk()
    };
    for header in [0x80, 0x01, 0x02, 0x81] {
        assert_eq!(
            why_not(bridge(with_header(header)), PORT),
            PcieError::NotOneFunction
        );
    }
}

#[test]
fn what_has_no_line_or_another_one_is_not_given_away() {
    for pin in [0, 2, 4] {
        let kind = FunctionKind {
            pin,
            ..FunctionKind::disk()
        };
        assert_eq!(why_not(bridge(kind), PORT), PcieError::NoLine);
    }
}

#[test]
fn a_bar_smaller_than_a_page_is_not_given_away() {
    for (number, bar, size) in [
        (0, BarKind::Memory32(0x800, 0), 0x800),
        (2, BarKind::Memory32(0x10, 0), 0x10),
        (4, BarKind::Memory64(0x800, 0x8), 0x800),
    ] {
        let error = why_not(bridge(with_bars(&[(number, bar)])), PORT);
        assert_eq!(error, PcieError::SmallBar { bar: number, size });
    }
}

#[test]
fn bars_that_do_not_fit_into_the_window_are_refused() {
    let refused = |bars: &[_]| why_not(bridge(with_bars(bars)), PORT);
    let no_room = |bytes| PcieError::NoRoom { bytes };
    let just = [(0, BarKind::Memory32(16 << 20, 0))];
    assert_eq!(found(bridge(with_bars(&just))).bars().len(), 1);
    for bytes in [32 << 20, 1 << 31] {
        assert_eq!(
            refused(&[(0, BarKind::Memory32(bytes, 0))]),
            no_room(bytes.into())
        );
    }
    for bytes in [1 << 31, 1 << 32, 1 << 40, 1 << 62, 1 << 63] {
        assert_eq!(
            refused(&[(0, BarKind::Memory64(bytes, 0x8))]),
            no_room(bytes)
        );
    }
    let two = [
        (0, BarKind::Memory32(16 << 20, 0)),
        (1, BarKind::Memory32(0x1000, 0)),
    ];
    assert_eq!(refused(&two), no_room(17 << 20));
    let endless = [0, 2, 4].map(|number| (number, BarKind::Memory64(1 << 63, 0)));
    assert_eq!(refused(&endless), no_room(u64::MAX));
}

#[test]
fn bars_that_no_specification_knows_do_not_stop_the_machine() {
    // Reserved types, one of 64 bits where there is no other register, and ones without an address.
    for (number, bar) in [
        (0, BarKind::Memory32(0x1000, 0b010)),
        (0, BarKind::Memory32(0x1000, 0b110)),
        (5, BarKind::Memory32(0x1000, 0b100)),
        (0, BarKind::Memory32(0, 0b1000)),
        (0, BarKind::Memory64(0, 0b1000)),
    ] {
        let bridge = bridge(with_bars(&[(number, bar)]));
        let mut window = WINDOW;
        if let Ok(function) = Function::find(bridge, PORT, 1, &mut window) {
            function.set_up();
            answers(bridge, PORT, &function);
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (error, text) in [
        (PcieError::NoPort, "nothing is there"),
        (PcieError::NotAPort, "it is no root port"),
        (PcieError::Empty, "nothing is behind it"),
        (
            PcieError::NotOneFunction,
            "what is behind it is not one endpoint function",
        ),
        (
            PcieError::NoLine,
            "what is behind it does not interrupt by a line (INTx)",
        ),
        (
            PcieError::SmallBar { bar: 2, size: 256 },
            "BAR 2 of what is behind it has 256 bytes, which is less than a page",
        ),
        (
            PcieError::NoRoom { bytes: 0x10_0000 },
            "0x100000 bytes of registers do not fit into the window of the host bridge",
        ),
        (PcieError::NoBus, "there are no bus numbers left"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_reset_forgets_all_and_setting_it_up_puts_its_bars_back() {
    let bridge = bridge(FunctionKind::disk());
    let function = found(bridge);
    for _ in 0..2 {
        function.set_up();
        function.set_command(true, true);
        bridge.set_interrupt(PORT, true);
        function.begin_reset();
        assert!(bridge.in_reset(PORT) && !function.is_there());
        assert_eq!(bridge.requester(PORT), None);
        assert!(!bridge.line(PORT));
        // Nobody hears what it is told now.
        function.set_up();
        function.set_command(true, true);
        function.end_reset();
        assert!(!bridge.in_reset(PORT) && function.is_there());
        assert_eq!(bridge.command(PORT), 0);
        let at = function.bars()[0].pa.0 - WINDOW.pa + WINDOW.bus_address;
        assert_eq!(bridge.memory_at(at), None);
        function.set_up();
        answers(bridge, PORT, &function);
        assert_eq!(bridge.requester(PORT), None);
        assert!(!function.has_interrupt());
    }
}

#[test]
fn a_reset_ends_its_accesses_first() {
    let bridge = bridge(FunctionKind::disk());
    let function = found(bridge);
    function.set_up();
    function.set_command(true, true);
    bridge.before_writes(|address, at, value| {
        // Bridge control of the port: by then the function is quiet.
        if address.bus() == 0 && at == 0x3c && value & 1 << 22 != 0 {
            QUIET.with(|quiet| assert!(quiet.get()));
        }
        if address.bus() == 1 && at == 0x04 && value & 1 << 2 == 0 {
            QUIET.with(|quiet| quiet.set(true));
        }
    });
    function.begin_reset();
    assert!(QUIET.with(std::cell::Cell::get) && bridge.in_reset(PORT));
}

std::thread_local! {
    static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[test]
fn one_that_is_slow_or_another_one_is_not_there_yet() {
    let slow = FunctionKind {
        slow: 3,
        ..FunctionKind::disk()
    };
    let bridge = bridge(slow);
    let function = found(bridge);
    function.begin_reset();
    function.end_reset();
    let answers: Vec<_> = (0..5).map(|_| function.is_there()).collect();
    assert_eq!(answers, [false, false, false, true, true]);
    let other = FunctionKind {
        id: 0x1041_1af4,
        ..FunctionKind::disk()
    };
    bridge.replace(PORT, other);
    assert!(!function.is_there());
}

#[test]
fn silenced_nothing_on_bus_0_or_behind_it_accesses_memory() {
    let ports = [1, 2, 30].map(|port| (port, std::vec![FunctionKind::disk()]));
    let bridge = ModelBridge::leaked(ports.into());
    assert!(
        [1, 2, 30]
            .iter()
            .all(|&port| bridge.requester(port).is_some())
    );
    assert!(bridge.others_access_memory());
    silence(bridge);
    assert!(
        [1, 2, 30]
            .iter()
            .all(|&port| bridge.requester(port).is_none())
    );
    assert!(!bridge.others_access_memory());
}

#[test]
fn a_window_gives_away_no_more_than_it_has() {
    let mut window = Window {
        pa: 0x5000,
        bus_address: 0x1_0000,
        len: 0x3000,
    };
    let refused = |bytes| Err(PcieError::NoRoom { bytes });
    assert_eq!(window.take(0x3001, 1), refused(0x3001));
    assert_eq!(window.take(u64::MAX, 0x1000), refused(u64::MAX));
    assert_eq!(window.take(0x1000, 1 << 63), refused(0x1000));
    let first = window.take(0x800, 0x800).unwrap();
    assert_eq!(
        (first.pa, first.bus_address, first.len),
        (0x5000, 0x1_0000, 0x800)
    );
    let second = window.take(0x1000, 0x1000).unwrap();
    assert_eq!((second.pa, second.bus_address), (0x6000, 0x1_1000));
    assert_eq!(window.take(0x1001, 1), refused(0x1001));
    assert!(window.take(0x1000, 0x1000).is_ok());
    assert_eq!(window.take(1, 1), refused(1));
    let mut last = Window {
        pa: 0,
        bus_address: u64::MAX - 0xfff,
        len: 0xfff,
    };
    assert_eq!(last.take(0x800, 0x2000), refused(0x800));
}
