//! Tests of the host bridge, from where a guest's Linux stands.

mod capabilities;

use super::function::{FunctionControl, VirtualBar};
use super::*;
use addresses::Ipa;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL_ONES: u64 = 0xffff_ffff;

const COMMAND: u64 = 0x04;
const CACHE_LINE: u64 = 0x0c;
const BAR_0: u64 = 0x10;
const ROM: u64 = 0x30;
const CAPABILITY_POINTER: u64 = 0x34;
const INTERRUPT_LINE: u64 = 0x3c;

/// The function behind: what it was told, and whether it has an interrupt.
#[derive(Default)]
struct Device {
    told: Mutex<Vec<(bool, bool)>>,
    interrupt: AtomicBool,
}

impl FunctionControl for Device {
    fn set_command(&self, bus_master: bool, line: bool) {
        self.told.lock().unwrap().push((bus_master, line));
    }

    fn has_interrupt(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}

impl Device {
    fn take_told(&self) -> Vec<(bool, bool)> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

/// A virtio disk's configuration space as the firmware left it, with no capabilities.
fn found() -> [u32; 64] {
    let mut words = [0; 64];
    words[0] = 0x1042_1af4;
    // Status: errors, and an interrupt that was there. Command: everything on.
    words[1] = 0xf908_0547;
    words[2] = 0x0100_0001;
    // BIST, header type 0, latency timer and cache line size.
    words[3] = 0x8000_4010;
    words[4] = 0x1001_000c;
    words[5] = 0x0000_0080;
    words[6] = 0x1002_0000;
    words[9] = 0x0000_c001;
    words[10] = 0xdead_beef;
    words[11] = 0x1100_1af4;
    words[12] = 0xfff0_0001;
    // Latency fields, pin A, and a line that the firmware wrote.
    words[15] = 0x0102_0125;
    words
}

/// A BAR of 64 bits, one of 32 bits, and one of 64 bits whose size says itself in the upper half.
fn bars() -> [VirtualBar; 3] {
    let bar = |number, ipa, size, kind| VirtualBar {
        number,
        ipa: Ipa(ipa),
        size,
        kind,
    };
    [
        bar(0, 0x1000_0000, 0x4000, 0xc),
        bar(2, 0x1000_4000, 0x1000, 0x0),
        bar(3, 0x20_0000_0000, 0x2_0000_0000, 0x4),
    ]
}

struct Bench {
    device: Arc<Device>,
    function: Arc<VirtualFunction>,
    bridge: VirtualHostBridge,
}

impl Bench {
    fn with(found: &[u32; 64]) -> Self {
        let device = Arc::new(Device::default());
        let control = Arc::clone(&device) as Arc<dyn FunctionControl>;
        let function = Arc::new(VirtualFunction::new(control, found, &bars()));
        let other: Arc<dyn FunctionControl> = Arc::new(Device::default());
        let mut second = *found;
        second[0] = 0x1041_1af4;
        let second = Arc::new(VirtualFunction::new(other, &second, &[]));
        let bridge = VirtualHostBridge::new(std::vec![Arc::clone(&function), second]);
        Self {
            device,
            function,
            bridge,
        }
    }

    fn new() -> Self {
        Self::with(&found())
    }

    fn load(&self, offset: u64, bytes: usize) -> u64 {
        let access = Access {
            vcpu: 0,
            offset,
            bytes,
        };
        let load = self.bridge.load(access);
        assert_eq!(load.kicks, Kicks::NONE);
        load.value.expect("nothing is waited for")
    }

    fn word(&self, offset: u64) -> u64 {
        self.load(offset, 4)
    }

    fn store(&self, offset: u64, bytes: usize, value: u64) {
        let access = Access {
            vcpu: 0,
            offset,
            bytes,
        };
        assert_eq!(self.bridge.store(access, value), Kicks::NONE);
    }

    fn set_word(&self, offset: u64, value: u64) {
        self.store(offset, 4, value);
    }

    /// What Linux does to learn the size of a BAR's register: `__pci_read_base`.
    fn size(&self, bar: u64) -> u64 {
        let offset = BAR_0 + 4 * bar;
        let before = self.word(offset);
        self.set_word(offset, ALL_ONES);
        let mask = self.word(offset);
        self.set_word(offset, before);
        assert_eq!(self.word(offset), before);
        mask
    }
}

#[test]
fn a_guest_sees_who_made_the_function_and_what_it_is() {
    let bench = Bench::new();
    assert_eq!(bench.word(0), 0x1042_1af4);
    assert_eq!(bench.word(8), 0x0100_0001, "class and revision");
    assert_eq!(bench.word(0x2c), 0x1100_1af4, "subsystem");
    assert_eq!(bench.load(0x0e, 1), 0, "one function, no bridge");
    assert_eq!(bench.load(0x3d, 1), 1, "pin A");
}

#[test]
fn nothing_is_left_of_what_the_firmware_did() {
    let bench = Bench::new();
    assert_eq!(bench.word(COMMAND), 0);
    assert_eq!(bench.word(CACHE_LINE), 0);
    assert_eq!(bench.word(0x28), 0, "the card bus pointer");
    assert_eq!(bench.word(ROM), 0, "no ROM");
    assert_eq!(bench.word(CAPABILITY_POINTER), 0);
    assert_eq!(bench.word(INTERRUPT_LINE), 0x100);
}

#[test]
fn bars_are_where_they_are_mapped() {
    let bench = Bench::new();
    let expected = [0x1000_000c, 0, 0x1000_4000, 0x4, 0x20, 0];
    for (bar, expected) in (0..).zip(expected) {
        assert_eq!(bench.word(BAR_0 + 4 * bar), expected, "BAR {bar}");
    }
}

#[test]
fn bars_tell_their_sizes() {
    let bench = Bench::new();
    assert_eq!([0, 1].map(|n| bench.size(n)), [0xffff_c00c, ALL_ONES]);
    assert_eq!(bench.size(2), 0xffff_f000);
    assert_eq!([3, 4].map(|n| bench.size(n)), [0x4, 0xffff_fffe]);
    assert_eq!(bench.size(5), 0, "the I/O BAR is none");
    bench.set_word(ROM, 0xffff_f800);
    assert_eq!(bench.word(ROM), 0);
}

#[test]
fn both_halves_of_a_bar_tell_its_size_at_once() {
    let bench = Bench::new();
    bench.store(BAR_0, 8, u64::MAX);
    assert_eq!(bench.load(BAR_0, 8), 0xffff_ffff_ffff_c00c);
    bench.store(BAR_0, 8, 0x1000_0000);
    assert_eq!(bench.load(BAR_0, 8), 0x1000_000c);
}

#[test]
fn bars_do_not_move() {
    let bench = Bench::new();
    let before: Vec<_> = (0..6).map(|bar| bench.word(BAR_0 + 4 * bar)).collect();
    for value in [0, 0x1234_5000, 0x4000_0000, 0xffff_0000, 0xffff_ff00] {
        for (bar, before) in (0..).zip(&before) {
            let offset = BAR_0 + 4 * bar;
            bench.set_word(offset, value);
            let now = bench.word(offset);
            let sizes = [0xffff_c00c, 0xffff_f000];
            assert!(now == *before || sizes.contains(&now), "{now:#x}");
            bench.store(offset + 3, 1, 0x40);
            assert_eq!(bench.word(offset), *before);
        }
    }
    assert_eq!(bench.device.take_told(), [], "the function hears nothing");
}

#[test]
fn the_function_is_told_of_memory_access_and_line_alone() {
    let bench = Bench::new();
    for (written, seen, told) in [
        (0x0006, 0x0006, (true, true)),
        (0x0406, 0x0406, (true, false)),
        (0x0002, 0x0002, (false, true)),
        // Parity errors and SERR may be set, and mean nothing.
        (0x0142, 0x0142, (false, true)),
        // No I/O, special cycles, invalidations, snooping or back-to-back transfers.
        (0xfabf_0001 | 0xf2b9, 0x0000, (false, true)),
        (0xffff_ffff, 0x0546, (true, false)),
        (0xffff_0000, 0x0000, (false, true)),
    ] {
        bench.set_word(COMMAND, written);
        assert_eq!(bench.word(COMMAND), seen, "{written:#x}");
        assert_eq!(bench.device.take_told(), [told], "{written:#x}");
    }
}

#[test]
fn parts_of_the_command_can_be_written() {
    let bench = Bench::new();
    bench.store(COMMAND, 2, 0x0406);
    assert_eq!(bench.word(COMMAND), 0x0406);
    bench.store(COMMAND + 1, 1, 0);
    assert_eq!(bench.word(COMMAND), 0x0006);
    bench.store(COMMAND, 1, 0x02);
    assert_eq!(bench.word(COMMAND), 0x0002);
    // The status register has nothing to be cleared.
    bench.store(COMMAND + 2, 2, 0xffff);
    assert_eq!(bench.word(COMMAND), 0x0002);
    let told = bench.device.take_told();
    assert_eq!(
        told,
        [(true, false), (true, true), (false, true), (false, true)]
    );
}

#[test]
fn the_status_says_whether_there_is_an_interrupt_now() {
    let bench = Bench::new();
    assert_eq!(bench.load(COMMAND + 2, 2), 0);
    bench.device.interrupt.store(true, Ordering::Relaxed);
    assert_eq!(bench.load(COMMAND + 2, 2), 1 << 3);
    bench.store(COMMAND, 2, 1 << 10);
    assert_eq!(
        bench.load(COMMAND + 2, 2),
        1 << 3,
        "though it is not raised"
    );
    bench.device.interrupt.store(false, Ordering::Relaxed);
    assert_eq!(bench.load(COMMAND + 2, 2), 0);
}

#[test]
fn what_means_nothing_is_kept() {
    let bench = Bench::new();
    bench.set_word(CACHE_LINE, 0xffff_ff10);
    assert_eq!(bench.word(CACHE_LINE), 0x10);
    bench.set_word(INTERRUPT_LINE, 0xffff_ff2a);
    assert_eq!(bench.word(INTERRUPT_LINE), 0x12a);
    bench.store(INTERRUPT_LINE, 1, 0x2b);
    assert_eq!(bench.word(INTERRUPT_LINE), 0x12b);
    bench.store(INTERRUPT_LINE + 1, 1, 4);
    assert_eq!(bench.word(INTERRUPT_LINE), 0x12b, "the pin is the pin");
    assert_eq!(bench.device.take_told(), []);
}

#[test]
fn nothing_else_can_be_written() {
    let bench = Bench::new();
    let before: Vec<_> = (0..64).map(|n| bench.word(4 * n)).collect();
    for n in (0..64).filter(|n| ![1, 3, 15].contains(n)) {
        for value in [0, 0x5555_5555, 0xaaaa_aaaa] {
            bench.set_word(4 * n, value);
            assert_eq!(bench.word(4 * n), before[n as usize], "{:#x}", 4 * n);
        }
    }
    assert_eq!(bench.device.take_told(), []);
}

#[test]
fn bytes_halfwords_and_double_words_are_parts_of_words() {
    let bench = Bench::new();
    for at in (0..0x40).step_by(4) {
        let word = bench.word(at);
        for byte in 0..4 {
            assert_eq!(bench.load(at + byte, 1), word >> (8 * byte) & 0xff);
        }
        for half in [0, 2] {
            assert_eq!(bench.load(at + half, 2), word >> (8 * half) & 0xffff);
        }
        assert_eq!(bench.load(at, 8), bench.word(at + 4) << 32 | word);
    }
    bench.store(COMMAND - 4, 8, 0x6_0000_0000);
    assert_eq!(bench.word(COMMAND), 6, "the upper half");
    assert_eq!(bench.device.take_told(), [(true, true)]);
    // More than was stored is not looked at.
    bench.store(COMMAND, 1, 0xffff_ff02);
    assert_eq!(bench.word(COMMAND), 2);
}

#[test]
fn there_is_no_extended_space() {
    let bench = Bench::new();
    for offset in [0x100, 0x104, 0x400, 0xffc] {
        bench.set_word(offset, ALL_ONES);
        assert_eq!(bench.word(offset), 0, "{offset:#x}");
    }
    assert_eq!(bench.load(0xff8, 8), 0);
    bench.store(0xffc, 8, u64::MAX);
    assert_eq!(bench.load(0xffc, 8), 0, "not the next function");
    assert_eq!(bench.device.take_told(), []);
}

#[test]
fn where_no_function_is_all_bits_read_as_one() {
    let bench = Bench::new();
    let device = |n: u64| n << 15;
    let function = |n: u64| n << 12;
    for offset in [
        function(1),
        function(7) + 0x10,
        device(1) + function(1),
        device(2),
        device(31) + function(7) + 0xffc,
        device(32),
        1 << 20,
        u64::MAX - 7,
    ] {
        for bytes in [1, 2, 4, 8] {
            bench.store(offset, bytes, u64::MAX);
            let ones = u64::MAX >> (64 - 8 * bytes);
            assert_eq!(bench.load(offset, bytes), ones, "{offset:#x}");
        }
    }
    assert_eq!(bench.device.take_told(), []);
    assert_eq!(bench.word(device(1)), 0x1041_1af4, "the second function");
}

#[test]
fn another_life_finds_it_as_after_power_on() {
    let bench = Bench::new();
    let before: Vec<_> = (0..64).map(|n| bench.word(4 * n)).collect();
    for n in 0..64 {
        bench.set_word(4 * n, ALL_ONES);
    }
    assert_ne!(bench.word(COMMAND), 0);
    bench.device.take_told();
    bench.function.reset();
    let after: Vec<_> = (0..64).map(|n| bench.word(4 * n)).collect();
    assert_eq!(after, before);
    assert_eq!(bench.device.take_told(), [], "who resets it tells it");
}
