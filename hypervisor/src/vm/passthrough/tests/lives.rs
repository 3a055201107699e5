//! Lives of a VM with devices.

use super::*;
use crate::devices::bus::{Access, MmioDevice};
use crate::devices::gicv3::kicks::Kicks;
use crate::vm::power::{After, Life, Status, Step};
use crate::vm::testing::{self, description};
use crate::vm::virtual_machine::Vm;

struct Lives {
    bench: testing::Bench,
    parts: Parts,
}

impl Lives {
    fn off() -> Self {
        let mut parts = None;
        let vm = testing::vm_with_devices(1, description(1), |ram| {
            let (made, devices) = devices(Kind::STAGE_2, &FunctionKind::disk(), ram);
            parts = Some(made);
            Some(devices)
        });
        Self {
            bench: testing::Bench::of(vm),
            parts: parts.expect("it was made"),
        }
    }

    fn vm(&self) -> &'static Vm {
        self.bench.vm
    }

    /// As [`testing::Bench::work`], while time passes; `each` is called between steps.
    fn work(&mut self, mut each: impl FnMut(&Parts)) -> Step {
        let _ = self.bench.vcpus[0].look();
        for _ in 0..1_000_000 {
            each(&self.parts);
            match self.bench.vcpus[0].do_other_work() {
                Step::GoesOn => pass(10),
                step => return step,
            }
        }
        panic!("it comes to an end");
    }

    fn start(&mut self) {
        self.vm().ask_for_start();
        assert_eq!(self.work(reaches_nothing), Step::Done);
        assert!(matches!(self.bench.vcpus[0].look(), Status::On { .. }));
    }

    /// The guest's access to the configuration space of function 0 of a device.
    fn configuration(&self, device: u64) -> (&'static dyn MmioDevice, u64) {
        let at = Ipa(GuestLayout::PCI_CONFIGURATION.0 + (device << 15));
        self.vm().bus.find(at).expect("a host bridge")
    }

    fn set_command(&self, device: u64, value: u64) {
        let (bridge, base) = self.configuration(device);
        let access = Access {
            vcpu: 0,
            offset: base + 4,
            bytes: 2,
        };
        assert_eq!(bridge.store(access, value), Kicks::NONE);
    }

    fn word(&self, device: u64, at: u64) -> u64 {
        let (bridge, base) = self.configuration(device);
        let access = Access {
            vcpu: 0,
            offset: base + at,
            bytes: 4,
        };
        bridge.load(access).value.expect("it is known")
    }
}

/// What is done at this moment by a device that tries.
fn reaches_nothing(parts: &Parts) {
    for (port, stream) in PORTS.into_iter().zip(STREAMS) {
        assert_eq!(parts.bridge.requester(port), None);
        assert_eq!(parts.smmu.dma(stream, GuestLayout::RAM.0, true), ABORTED);
    }
}

#[test]
fn a_vm_starts_when_its_devices_are_ready() {
    let mut lives = Lives::off();
    let before = timer::now();
    lives.start();
    let waited = timer::now() - before;
    assert!(waited > timer::frequency() / 10, "{waited}");
    assert!(lines_are_on());
    assert_eq!(lives.word(0, 0), 0x1042_1af4);
    assert_eq!(lives.word(1, 0), 0x1042_1af4);
    assert_eq!(lives.word(2, 0), 0xffff_ffff);
    reaches_nothing_yet(&lives);
}

/// The guest has not told them to.
fn reaches_nothing_yet(lives: &Lives) {
    for port in PORTS {
        assert_eq!(lives.parts.bridge.requester(port), None);
    }
}

#[test]
fn a_device_reaches_the_memory_of_the_life_that_told_it_to() {
    let mut lives = Lives::off();
    lives.start();
    let start = lives.vm().ram.extents()[0].pa.0;
    for _ in 0..2 {
        assert_eq!(lives.word(0, 4) & 0xffff, 0, "as after power-on");
        reaches_nothing_yet(&lives);
        lives.set_command(0, 0b110);
        assert_eq!(lives.parts.bridge.requester(PORTS[0]), Some(STREAMS[0]));
        let reached = lives.parts.smmu.dma(STREAMS[0], GuestLayout::RAM.0, true);
        assert_eq!(reached, Ok(start));

        assert!(lives.vm().stop(After::Restart, None));
        // It reaches the memory until the VM has come to its end, and not while it is filled.
        assert_eq!(lives.work(|_| {}), Step::Done, "it ends");
        assert!(!lines_are_on());
        assert_eq!(lives.work(reaches_nothing), Step::Done, "it starts");
        assert!(matches!(lives.bench.vcpus[0].look(), Status::On { .. }));
        assert!(lines_are_on());
    }
}

#[test]
fn a_vm_that_is_off_keeps_its_devices_in_reset() {
    let mut lives = Lives::off();
    lives.start();
    lives.set_command(0, 0b110);
    assert!(lives.vm().stop(After::Off, None));
    assert_eq!(lives.work(|_| {}), Step::Off);
    reaches_nothing(&lives.parts);
    assert!(PORTS.iter().all(|&port| lives.parts.bridge.in_reset(port)));
    assert!(lives.vm().start_again());
    assert_eq!(lives.work(reaches_nothing), Step::Done);
    assert_eq!(lives.vm().life(), Life::Running);
}

#[test]
fn a_vm_whose_devices_can_not_be_handed_over_is_off_and_they_are_in_reset() {
    let mut lives = Lives::off();
    lives.vm().ask_for_start();
    // The first device is attached, the second one is not.
    lives.parts.smmu.stop_after(4);
    assert_eq!(lives.work(|_| {}), Step::Off);
    assert_eq!(lives.vm().life(), Life::Off);
    assert!(!lines_are_on());
    for (port, stream) in PORTS.into_iter().zip(STREAMS) {
        assert!(lives.parts.bridge.in_reset(port));
        assert_eq!(lives.parts.smmu.entry_in_memory(stream)[0], 1);
    }
}

#[test]
fn an_interrupt_of_a_device_becomes_its_guests() {
    let mut lives = Lives::off();
    lives.start();
    let gic = &lives.vm().gic;
    let _ = gic.distributor_write(0, 4, 0b10);
    for register in [0x84, 0x104] {
        let _ = gic.distributor_write(register, 4, u64::from(u32::MAX));
    }
    assert!(!lives.vm().raise_device_interrupt(38), "nobody's");
    assert!(!gic.has_pending(0));
    lives.parts.bridge.set_interrupt(PORTS[0], true);
    assert!(lives.parts.bridge.line(PORTS[0]));
    assert!(lives.vm().raise_device_interrupt(LINES[0].physical));
    assert!(gic.has_pending(0));
    let vcpu = &mut lives.bench.vcpus[0];
    vcpu.load(&lives.bench.cpu);
    vcpu.sync_interrupts(&lives.bench.cpu);
    let list_register = fake::register("ich_lr0_el2");
    assert_eq!(list_register & 0xffff_ffff, u64::from(LINES[0].intid));
    let physical = u64::from(LINES[0].physical);
    assert_eq!(list_register >> 32 & 0x3ff, physical);
    assert_eq!(list_register >> 61 & 1, 1, "HW");
    lives.bench.vcpus[0].save(&lives.bench.cpu);
    assert!(!testing::vm(2, description(1)).raise_device_interrupt(36));
}
