//! SPIs that stand for physical ones, whose devices hold their inputs up until they are served.

use super::*;

/// The guest's INTID, and that of the machine.
const DISK: u32 = 35;
const PHYSICAL: u32 = 197;

/// The physical GIC's side of one level-sensitive SPI.
#[derive(Default)]
struct Line {
    /// The device holds its input up.
    up: bool,
    /// EL2 acknowledged it, and nobody deactivated it since.
    active: bool,
}

impl Line {
    /// If it fires, EL2 acknowledges it and passes it on.
    fn fire(&mut self, gic: &VirtualGic) -> Option<Kicks> {
        (self.up && !self.active).then(|| {
            self.active = true;
            gic.raise_hardware_spi(DISK, PHYSICAL)
        })
    }

    /// What the guest or the hypervisor deactivated; each time it was active.
    fn settle(&mut self, cpu: &mut Cpu) -> usize {
        let deactivated = std::mem::take(&mut cpu.deactivated);
        for physical in &deactivated {
            assert_eq!(*physical, PHYSICAL);
            assert!(std::mem::take(&mut self.active), "once each time");
        }
        deactivated.len()
    }
}

fn raised() -> (VirtualGic, Cpu, Line) {
    let gic = gic(2);
    let mut line = Line {
        up: true,
        active: false,
    };
    assert_eq!(line.fire(&gic), Some(Kicks(0b01)));
    (gic, Cpu::default(), line)
}

fn bit(intid: u32) -> u64 {
    1 << (intid - 32)
}

fn set_enabled(gic: &VirtualGic, enabled: bool) -> Kicks {
    let register = if enabled { ISENABLER } else { ICENABLER };
    gic.distributor_write(register + 4, 4, bit(DISK))
}

fn is_pending(gic: &VirtualGic) -> bool {
    gic.distributor_read(ISPENDR + 4, 4) & bit(DISK) != 0
}

fn is_active(gic: &VirtualGic) -> bool {
    gic.distributor_read(ISACTIVER + 4, 4) & bit(DISK) != 0
}

#[test]
fn the_list_register_names_the_physical_interrupt() {
    let (gic, mut cpu, mut line) = raised();
    assert!(gic.needs_sync(0) && gic.has_pending(0) && !gic.has_pending(1));
    sync(&gic, 0, &mut cpu);
    let lr = cpu.lr(DISK);
    assert_eq!(lr & (HW | PENDING | ACTIVE), HW | PENDING);
    assert_eq!(lr >> PINTID_SHIFT & 0x3ff, u64::from(PHYSICAL));
    assert_eq!(priority(lr), 0xa0);
    line.up = false;
    assert_eq!(cpu.serve(), [DISK]);
    assert_eq!(line.settle(&mut cpu), 1, "by the guest's end of it");
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert!(!is_pending(&gic) && !is_active(&gic));
}

#[test]
fn it_comes_again_as_long_as_its_input_is_up() {
    let (gic, mut cpu, mut line) = raised();
    for _ in 0..3 {
        sync(&gic, 0, &mut cpu);
        assert_eq!(line.fire(&gic), None, "it is active");
        assert_eq!(cpu.serve(), [DISK]);
        assert_eq!(line.settle(&mut cpu), 1);
        assert_eq!(line.fire(&gic), Some(Kicks(0b01)), "still listed");
    }
    sync(&gic, 0, &mut cpu);
    line.up = false;
    assert_eq!(cpu.serve(), [DISK]);
    assert_eq!(line.settle(&mut cpu), 1);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
}

#[test]
fn it_is_not_taken_from_the_guest_that_serves_it() {
    let (gic, mut cpu, mut line) = raised();
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(DISK));
    for _ in 0..2 {
        let _ = gic.save(0, &mut cpu);
        assert_eq!(line.settle(&mut cpu), 0);
        assert!(is_active(&gic) && !gic.has_pending(0));
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.lr(DISK) & (HW | PENDING | ACTIVE), HW | ACTIVE);
        assert_eq!(cpu.lr(DISK) >> PINTID_SHIFT & 0x3ff, u64::from(PHYSICAL));
    }
    cpu.end(DISK);
    assert_eq!(line.settle(&mut cpu), 1);
}

#[test]
fn it_stays_pending_while_its_vcpu_is_elsewhere() {
    let (gic, mut cpu, mut line) = raised();
    sync(&gic, 0, &mut cpu);
    let _ = gic.save(0, &mut cpu);
    assert!(gic.has_pending(0) && is_pending(&gic));
    assert_eq!(line.settle(&mut cpu), 0);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [DISK]);
    assert_eq!(line.settle(&mut cpu), 1);
}

#[test]
fn clearing_its_active_state_deactivates_the_physical_one() {
    let (gic, mut cpu, mut line) = raised();
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(DISK));
    sync(&gic, 0, &mut cpu);
    let kicks = gic.distributor_write(ICACTIVER + 4, 4, bit(DISK));
    assert_eq!(kicks, Kicks(0b01), "who has it gives it up");
    sync(&gic, 0, &mut cpu);
    assert_eq!(line.settle(&mut cpu), 1);
    assert_eq!(cpu.in_use(), []);
    assert!(!is_active(&gic));
    for _ in 0..2 {
        let _ = gic.save(0, &mut cpu);
        sync(&gic, 0, &mut cpu);
        assert_eq!(line.settle(&mut cpu), 0, "no more than once");
    }
    assert_eq!(line.fire(&gic), Some(Kicks(0b01)));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [DISK]);
    assert_eq!(line.settle(&mut cpu), 1);
}

#[test]
fn clearing_it_in_no_list_register_has_any_vcpu_deactivate_it() {
    for comes_by in [0, 1] {
        let (gic, mut cpu, mut line) = raised();
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.acknowledge(), Some(DISK));
        let _ = gic.save(0, &mut cpu);
        sync(&gic, 1, &mut Cpu::default());
        let kicks = gic.distributor_write(ICACTIVER + 4, 4, bit(DISK));
        assert_eq!(kicks, Kicks(0b11));
        assert!(gic.needs_sync(comes_by));
        let mut cpus = [Cpu::default(), Cpu::default()];
        for vcpu in [comes_by, 1 - comes_by] {
            sync(&gic, vcpu, &mut cpus[vcpu]);
        }
        assert_eq!(line.settle(&mut cpus[comes_by]), 1);
        assert_eq!(line.settle(&mut cpus[1 - comes_by]), 0);
        assert!(!is_active(&gic));
    }
}

#[test]
fn in_two_steps_the_second_one_deactivates_it() {
    for deactivates in [0, 1] {
        let (gic, _, mut line) = raised();
        let mut cpu = Cpu {
            two_steps: true,
            ..Cpu::default()
        };
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.acknowledge(), Some(DISK));
        cpu.end(DISK);
        sync(&gic, 0, &mut cpu);
        assert_eq!(line.settle(&mut cpu), 0, "its priority was dropped");
        assert_eq!(gic.deactivate(deactivates, DISK), Kicks(0b01));
        sync(&gic, 0, &mut cpu);
        assert_eq!(line.settle(&mut cpu), 1);
        assert_eq!(cpu.in_use(), []);
        let _ = gic.deactivate(deactivates, DISK);
        sync(&gic, 0, &mut cpu);
        assert_eq!(line.settle(&mut cpu), 0, "no more than once");
    }
}

#[test]
fn in_two_steps_it_may_be_in_no_list_register_by_then() {
    let (gic, _, mut line) = raised();
    let mut cpu = Cpu {
        two_steps: true,
        ..Cpu::default()
    };
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(DISK));
    cpu.end(DISK);
    let _ = gic.save(0, &mut cpu);
    assert_eq!(gic.deactivate(0, DISK), Kicks(0b11));
    sync(&gic, 0, &mut cpu);
    assert_eq!(line.settle(&mut cpu), 1);
    assert_eq!(cpu.in_use(), []);
}

#[test]
fn a_vcpu_that_starts_anew_gives_up_what_it_had_active() {
    let (gic, mut cpu, mut line) = raised();
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(DISK));
    let _ = gic.save(0, &mut cpu);
    gic.reset_vcpu(0);
    assert!(!is_active(&gic));
    assert!(gic.needs_sync(0), "it deactivates the physical one");
    for _ in 0..2 {
        sync(&gic, 0, &mut cpu);
    }
    assert_eq!(line.settle(&mut cpu), 1);
    assert_eq!(line.fire(&gic), Some(Kicks(0b01)));
}

#[test]
fn a_vcpu_that_starts_anew_keeps_what_waits_for_it() {
    let (gic, mut cpu, mut line) = raised();
    sync(&gic, 0, &mut cpu);
    let _ = gic.save(0, &mut cpu);
    gic.reset_vcpu(0);
    assert!(gic.has_pending(0));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [DISK]);
    assert_eq!(line.settle(&mut cpu), 1);
}

#[test]
fn disabled_and_enabled_again_it_is_still_pending() {
    for listed_before in [false, true] {
        let (gic, mut cpu, mut line) = raised();
        if listed_before {
            sync(&gic, 0, &mut cpu);
        }
        let _ = set_enabled(&gic, false);
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.in_use(), []);
        assert!(!gic.has_pending(0) && is_pending(&gic));
        assert_eq!(line.fire(&gic), None, "the physical one is active still");
        assert_eq!(set_enabled(&gic, true), Kicks(0b01));
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.lr(DISK) & (HW | PENDING), HW | PENDING);
        assert_eq!(cpu.serve(), [DISK]);
        assert_eq!(line.settle(&mut cpu), 1);
    }
}

#[test]
fn one_that_fires_disabled_waits_until_it_is_enabled() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = set_enabled(&gic, false);
    sync(&gic, 0, &mut cpu);
    assert_eq!(gic.raise_hardware_spi(DISK, PHYSICAL), Kicks::NONE);
    assert!(!gic.has_pending(0) && is_pending(&gic));
    assert_eq!(set_enabled(&gic, true), Kicks(0b01));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [DISK]);
    assert_eq!(cpu.deactivated, [PHYSICAL]);
}

#[test]
fn clearing_what_its_input_holds_up_has_no_effect() {
    for listed_before in [false, true] {
        let (gic, mut cpu, mut line) = raised();
        if listed_before {
            sync(&gic, 0, &mut cpu);
        }
        let _ = gic.distributor_write(ICPENDR + 4, 4, bit(DISK));
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.serve(), [DISK]);
        assert_eq!(line.settle(&mut cpu), 1);
    }
}

#[test]
fn it_moves_to_another_vcpu_before_it_is_taken() {
    let (gic, mut cpu, mut line) = raised();
    sync(&gic, 0, &mut cpu);
    let moved = gic.distributor_write(IROUTER + 8 * u64::from(DISK), 8, 1);
    assert_eq!(moved, Kicks(0b01), "who has it gives it up");
    assert_eq!(gic.sync(0, &mut cpu), Kicks(0b10));
    assert_eq!(cpu.in_use(), []);
    let mut other = Cpu::default();
    sync(&gic, 1, &mut other);
    assert_eq!(other.serve(), [DISK]);
    assert_eq!(line.settle(&mut cpu), 0);
    assert_eq!(line.settle(&mut other), 1);
    assert_eq!(line.fire(&gic), Some(Kicks(0b10)));
}

#[test]
fn two_of_them_stand_for_their_own() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.raise_hardware_spi(35, 197);
    let _ = gic.raise_hardware_spi(36, 195);
    sync(&gic, 0, &mut cpu);
    for (intid, physical) in [(35, 197), (36, 195)] {
        assert_eq!(cpu.lr(intid) >> PINTID_SHIFT & 0x3ff, physical);
    }
    assert_eq!(cpu.acknowledge(), Some(35));
    cpu.end(35);
    assert_eq!(cpu.deactivated, [197]);
    assert_eq!(cpu.acknowledge(), Some(36));
    let _ = gic.distributor_write(ICACTIVER + 4, 4, bit(36));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.deactivated, [197, 195]);
}

#[test]
fn raised_by_software_it_stands_for_no_physical_one() {
    let (gic, mut cpu, mut line) = raised();
    sync(&gic, 0, &mut cpu);
    line.up = false;
    assert_eq!(cpu.serve(), [DISK]);
    assert_eq!(line.settle(&mut cpu), 1);
    sync(&gic, 0, &mut cpu);
    let _ = gic.distributor_write(ISPENDR + 4, 4, bit(DISK));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.lr(DISK) & (HW | PENDING), PENDING);
    assert_eq!(cpu.serve(), [DISK]);
    let _ = gic.distributor_write(ICACTIVER + 4, 4, bit(DISK));
    sync(&gic, 0, &mut cpu);
    assert_eq!(line.settle(&mut cpu), 0);
}

#[test]
fn made_active_by_software_it_comes_after_that() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.distributor_write(ISACTIVER + 4, 4, bit(DISK));
    sync(&gic, 0, &mut cpu);
    let _ = gic.raise_hardware_spi(DISK, PHYSICAL);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), None);
    let _ = gic.distributor_write(ICACTIVER + 4, 4, bit(DISK));
    sync(&gic, 0, &mut cpu);
    // Whether it is passed on or deactivated, it can come again: nothing is lost.
    let deactivated = cpu.deactivated.len();
    let served = cpu.serve();
    assert!(served == [DISK] || deactivated == 1, "{served:?}");
}

#[test]
fn a_vm_that_restarts_keeps_nothing_of_them() {
    for was_taken in [false, true] {
        let (gic, mut cpu, _line) = raised();
        sync(&gic, 0, &mut cpu);
        if was_taken {
            assert_eq!(cpu.acknowledge(), Some(DISK));
        }
        let _ = gic.save(0, &mut cpu);
        if was_taken {
            let _ = gic.distributor_write(ICACTIVER + 4, 4, bit(DISK));
        }
        gic.reset();
        assert!(!gic.needs_sync(0) && !gic.needs_sync(1));
        assert!(!gic.has_pending(0) && !is_pending(&gic) && !is_active(&gic));
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.in_use(), []);
        // Who takes the devices from a VM makes their interrupts inactive.
        assert_eq!(cpu.deactivated, []);
    }
}

#[test]
fn what_is_no_spi_is_ignored() {
    let gic = gic(1);
    for intid in [0, 27, 31, 96, 1020, u32::MAX] {
        assert_eq!(gic.raise_hardware_spi(intid, PHYSICAL), Kicks::NONE);
    }
    assert!(!gic.has_pending(0));
}

#[test]
fn more_of_them_than_list_registers_are_all_served() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    for n in 0..10 {
        let _ = gic.raise_hardware_spi(40 + n, 100 + n);
    }
    let mut served = Vec::new();
    while gic.has_pending(0) {
        sync(&gic, 0, &mut cpu);
        served.extend(cpu.serve());
        sync(&gic, 0, &mut cpu);
    }
    assert_eq!(served, (40..50).collect::<Vec<_>>());
    assert_eq!(cpu.deactivated, (100..110).collect::<Vec<_>>());
}
