//! A VM's devices between its lives: what they reach and when, told by models of the host bridge,
//! the SMMU and the interrupt controller.

mod lives;

use super::*;
use crate::arch::fake;
use crate::drivers::pcie::Window;
use crate::drivers::pcie::model::{FunctionKind, ModelBridge};
use crate::drivers::smmuv3::model::{Kind, ModelSmmu, Refused};
use crate::mm::guest_memory::GuestRam;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::testing;
use std::boxed::Box;

/// A disk and a network.
const PORTS: [u8; 2] = [1, 2];
const STREAMS: [u32; 2] = [0x100, 0x200];
const LINES: [Line; 2] = [
    Line {
        physical: 36,
        intid: 35,
    },
    Line {
        physical: 37,
        intid: 36,
    },
];

const KINDS: [Kind; 2] = [Kind::STAGE_1, Kind::STAGE_2];
const ABORTED: Result<u64, Refused> = Err(Refused::Aborted);

/// What the machine has, of which [`Passthrough`] is the VM's.
pub(in crate::vm) struct Parts {
    pub(in crate::vm) smmu: ModelSmmu,
    pub(in crate::vm) bridge: &'static ModelBridge,
    pub(in crate::vm) driver: &'static Smmu,
}

/// The devices of a VM with VMID 1 and this memory.
pub(in crate::vm) fn devices(
    smmu: Kind,
    function: &FunctionKind,
    ram: &GuestRam,
) -> (Parts, Passthrough) {
    let model = ModelSmmu::new(smmu);
    let driver = Smmu::new(Box::new(model.clone()), 0x2ff).expect("an SMMU that serves");
    let driver: &'static Smmu = Box::leak(Box::new(driver));
    let ports = PORTS.map(|port| (port, std::vec![function.clone()]));
    let bridge = ModelBridge::leaked(ports.into());
    let mut window = Window {
        pa: 0x1000_0000,
        bus_address: 0x1000_0000,
        len: 16 << 20,
    };
    let functions = PORTS.map(|port| {
        let function = Function::find(bridge, port, port, &mut window).expect("a function");
        let stream = function.requester();
        driver.add(stream).expect("room for the stream");
        let bars = function.bars().iter().map(|bar| Ipa(bar.pa.0));
        PassedFunction {
            bars: bars.collect(),
            function,
            stream,
        }
    });
    for line in LINES {
        gicv3::assign_spi(line.physical, 0);
    }
    let tables = DmaTables::new(driver.stage(), 1, GuestLayout::RAM, ram).expect("tables");
    let passthrough = Passthrough::new(functions.into(), LINES.to_vec(), driver, tables);
    let parts = Parts {
        smmu: model,
        bridge,
        driver,
    };
    (parts, passthrough)
}

struct Bench {
    parts: Parts,
    devices: Passthrough,
    ram: &'static GuestRam,
}

impl Bench {
    fn with(smmu: Kind, function: &FunctionKind) -> Self {
        let ram = testing::vm(1, testing::description(1)).ram;
        let (parts, devices) = devices(smmu, function, ram);
        Self {
            parts,
            devices,
            ram,
        }
    }

    /// In reset.
    fn new(smmu: Kind) -> Self {
        Self::with(smmu, &FunctionKind::disk())
    }

    /// Handed over, after all resets.
    fn handed_over(smmu: Kind) -> Self {
        let bench = Self::new(smmu);
        bench.wait_for_reset();
        bench.devices.hand_over().expect("the SMMU answers");
        bench
    }

    fn wait_for_reset(&self) {
        for _ in 0..2000 {
            if self.devices.is_reset() {
                return;
            }
            pass(timer::frequency() / 1000);
        }
        panic!("a second is enough");
    }

    /// The guest has all devices use memory.
    fn use_them(&self) {
        for (passed, _) in &self.devices.functions {
            passed.set_command(true, true);
        }
    }

    /// What a device does that reads or writes the VM's memory, if it can: what it reaches.
    fn dma(&self, n: usize) -> Option<Result<u64, Refused>> {
        let requester = self.parts.bridge.requester(PORTS[n])?;
        assert_eq!(requester, STREAMS[n]);
        Some(self.parts.smmu.dma(requester, GuestLayout::RAM.0, true))
    }

    /// Nothing reaches the memory: not even if a device did what it can't, being in reset.
    fn nothing_reaches_memory(&self) {
        for (n, stream) in STREAMS.into_iter().enumerate() {
            assert_eq!(self.dma(n), None);
            let at = GuestLayout::RAM.0;
            assert_eq!(self.parts.smmu.dma(stream, at, false), ABORTED);
        }
        assert!(!self.parts.smmu.keeps_translations_of(1));
    }

    fn are_in_reset(&self) -> bool {
        let [first, second] = PORTS.map(|port| self.parts.bridge.in_reset(port));
        assert_eq!(first, second, "all of them");
        first
    }
}

/// Time passes.
fn pass(ticks: u64) {
    let now = fake::register("cntpct_el0");
    fake::set_register("cntpct_el0", now + ticks);
}

fn lines_are_on() -> bool {
    let [first, second] = LINES.map(|line| fake::guest_spi(line.physical).expect("a guest's"));
    assert_eq!(first.enabled, second.enabled, "all of them");
    first.enabled
}

#[test]
fn before_a_vm_starts_its_devices_are_held_in_reset() {
    let bench = Bench::new(Kind::STAGE_2);
    assert!(bench.are_in_reset() && !lines_are_on());
    bench.nothing_reaches_memory();
    assert!(!bench.devices.is_reset());
    assert_eq!(bench.devices.take_away(), Ok(()), "nobody has them");
}

#[test]
fn a_reset_takes_its_time() {
    let bench = Bench::new(Kind::STAGE_2);
    let millisecond = timer::frequency() / 1000;
    pass(millisecond);
    assert!(!bench.devices.is_reset());
    assert!(bench.are_in_reset(), "for more than a millisecond");
    pass(1);
    assert!(!bench.devices.is_reset());
    assert!(!bench.are_in_reset());
    pass(100 * millisecond);
    assert!(!bench.devices.is_reset(), "they are let alone for so long");
    pass(1);
    assert!(bench.devices.is_reset());
    assert!(bench.devices.is_reset(), "and they stay so");
}

#[test]
fn the_reset_ends_late_where_nobody_looks() {
    let bench = Bench::new(Kind::STAGE_2);
    pass(10 * timer::frequency());
    assert!(!bench.devices.is_reset());
    assert!(!bench.are_in_reset());
    assert!(!bench.devices.is_reset(), "100 ms begin when it ends");
}

#[test]
fn one_that_comes_back_late_is_waited_for() {
    let slow = FunctionKind {
        slow: 5,
        ..FunctionKind::disk()
    };
    let bench = Bench::with(Kind::STAGE_2, &slow);
    let millisecond = timer::frequency() / 1000;
    pass(millisecond + 1);
    assert!(!bench.devices.is_reset());
    pass(100 * millisecond + 1);
    let looks = (0..100).position(|_| bench.devices.is_reset());
    // The first is asked until it answers, then the second.
    assert_eq!(looks, Some(10));
}

#[test]
fn one_that_does_not_come_back_is_waited_for_a_second() {
    let gone = FunctionKind {
        slow: u32::MAX,
        ..FunctionKind::disk()
    };
    let bench = Bench::with(Kind::STAGE_2, &gone);
    pass(timer::frequency() / 1000 + 1);
    assert!(!bench.devices.is_reset());
    pass(timer::frequency());
    assert!(!bench.devices.is_reset());
    pass(1);
    assert!(bench.devices.is_reset(), "nobody waits any longer");
    assert_eq!(bench.devices.hand_over(), Err(NotHandedOver::Gone(0)));
    assert_eq!(bench.devices.take_away(), Ok(()));
    assert_eq!([0, 1].map(|n| bench.dma(n)), [None; 2]);
}

#[test]
fn handed_over_they_reach_the_memory_when_the_guest_says_so() {
    for kind in KINDS {
        let bench = Bench::handed_over(kind);
        assert!(lines_are_on() && !bench.are_in_reset());
        assert_eq!([0, 1].map(|n| bench.dma(n)), [None; 2]);
        bench.use_them();
        let start = bench.ram.extents()[0].pa.0;
        assert_eq!([0, 1].map(|n| bench.dma(n)), [Some(Ok(start)); 2]);
        for (n, port) in PORTS.into_iter().enumerate() {
            bench.parts.bridge.set_interrupt(port, true);
            assert!(bench.parts.bridge.line(port));
            let (passed, _) = &bench.devices.functions[n];
            for (bar, ipa) in passed.bars() {
                let answers = bench.parts.bridge.memory_at(ipa.0);
                assert_eq!(answers, Some((port, bar.number, 0)));
            }
        }
    }
}

#[test]
fn taken_away_they_are_quiet_then_in_reset_then_forgotten() {
    for kind in KINDS {
        let bench = Bench::handed_over(kind);
        bench.use_them();
        assert!(
            [0, 1]
                .iter()
                .all(|&n| bench.dma(n).is_some_and(|it| it.is_ok()))
        );
        let bridge = bench.parts.bridge;
        bridge.before_writes(|_, _, _| assert!(!lines_are_on(), "lines are off first"));
        bench.parts.smmu.before_commands(move |_| {
            for port in PORTS {
                assert!(bridge.in_reset(port) && bridge.requester(port).is_none());
            }
        });
        assert_eq!(bench.devices.take_away(), Ok(()));
        assert!(bench.are_in_reset() && !lines_are_on());
        bench.nothing_reaches_memory();
    }
}

#[test]
fn an_interrupt_that_its_guest_had_is_not_active_any_more() {
    let bench = Bench::handed_over(Kind::STAGE_2);
    fake::raise(LINES[0].physical);
    let _ = gicv3::acknowledge();
    let is_active = || {
        fake::guest_spi(LINES[0].physical)
            .expect("a guest's")
            .active
    };
    assert!(is_active());
    assert_eq!(bench.devices.take_away(), Ok(()));
    assert!(!is_active());
}

#[test]
fn what_was_taken_away_is_not_taken_again() {
    let bench = Bench::handed_over(Kind::STAGE_2);
    assert_eq!(bench.devices.take_away(), Ok(()));
    bench
        .parts
        .bridge
        .before_writes(|_, _, _| panic!("nobody touches them"));
    bench
        .parts
        .smmu
        .before_commands(|_| panic!("nobody tells the SMMU"));
    let before = *bench.devices.reset.lock();
    pass(10);
    assert_eq!(bench.devices.take_away(), Ok(()));
    assert_eq!(
        *bench.devices.reset.lock(),
        before,
        "the reset does not begin anew"
    );
}

#[test]
fn each_life_finds_them_as_after_power_on() {
    for kind in KINDS {
        let bench = Bench::handed_over(kind);
        let before = PORTS.map(|port| bench.parts.bridge.command(port));
        for _ in 0..3 {
            bench.use_them();
            bench.parts.bridge.set_interrupt(PORTS[0], true);
            assert!(bench.dma(0).is_some_and(|it| it.is_ok()));
            assert_eq!(bench.devices.take_away(), Ok(()));
            bench.nothing_reaches_memory();
            bench.wait_for_reset();
            bench.nothing_reaches_memory();
            assert_eq!(bench.devices.hand_over(), Ok(()));
            assert_eq!(PORTS.map(|port| bench.parts.bridge.command(port)), before);
            assert!(!bench.parts.bridge.line(PORTS[0]) && lines_are_on());
            assert_eq!(bench.dma(0), None);
        }
    }
}

#[test]
fn an_smmu_that_goes_silent_leaves_all_of_them_in_reset() {
    let bench = Bench::handed_over(Kind::STAGE_2);
    bench.use_them();
    assert!(
        [0, 1]
            .iter()
            .all(|&n| bench.dma(n).is_some_and(|it| it.is_ok()))
    );
    bench.parts.smmu.stop_after(0);
    assert_eq!(bench.devices.take_away(), Err(SmmuError::Unresponsive));
    assert!(bench.are_in_reset() && !lines_are_on());
    for (n, stream) in STREAMS.into_iter().enumerate() {
        assert_eq!(bench.dma(n), None);
        let entry = bench.parts.smmu.entry_in_memory(stream);
        assert_eq!(entry[0], 1, "it was told that {stream:#x} aborts");
    }
}

#[test]
fn a_hand_over_that_fails_half_way_can_be_taken_back() {
    for kind in KINDS {
        let bench = Bench::new(kind);
        bench.wait_for_reset();
        // The first stream is attached, the second one is not.
        bench
            .parts
            .smmu
            .stop_after(if kind.idr0 & 1 == 0 { 6 } else { 4 });
        let silent = NotHandedOver::Smmu(SmmuError::Unresponsive);
        assert_eq!(bench.devices.hand_over(), Err(silent));
        assert!(!lines_are_on());
        assert_eq!(
            bench.parts.smmu.entry_in_memory(STREAMS[0])[0] & 0b1001,
            0b1001
        );
        assert_eq!(bench.devices.take_away(), Err(SmmuError::Unresponsive));
        assert!(bench.are_in_reset());
        for stream in STREAMS {
            assert_eq!(bench.parts.smmu.entry_in_memory(stream)[0], 1);
        }
        bench.parts.smmu.stop_after(usize::MAX);
        bench.wait_for_reset();
        assert_eq!(bench.devices.hand_over(), Ok(()));
        bench.use_them();
        assert!(
            [0, 1]
                .iter()
                .all(|&n| bench.dma(n).is_some_and(|it| it.is_ok()))
        );
    }
}

#[test]
fn lines_and_streams_are_known_by_their_numbers() {
    let bench = Bench::new(Kind::STAGE_2);
    assert_eq!(bench.devices.lines(), LINES);
    assert_eq!(bench.devices.intid(36), Some(35));
    assert_eq!(bench.devices.intid(37), Some(36));
    assert_eq!(bench.devices.intid(35), None);
    assert_eq!(bench.devices.device(0x100), Some(0));
    assert_eq!(bench.devices.device(0x200), Some(1));
    assert_eq!(bench.devices.device(0x101), None);
}
