//! EOImode 1: the priority is dropped first, the interrupt deactivated later, on any vCPU.

use super::*;

fn two_steps() -> Cpu {
    Cpu {
        two_steps: true,
        ..Cpu::default()
    }
}

fn active(gic: &VirtualGic) -> u64 {
    gic.redistributor_read(0, SGI_FRAME + ISACTIVER, 4)
}

#[test]
fn an_spi_is_deactivated_by_another_vcpu() {
    let gic = gic(2);
    let mut cpu = two_steps();
    for _ in 0..2 {
        let _ = gic.pulse_spi(40);
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.acknowledge(), Some(40));
        cpu.end(40);
        assert_eq!(gic.deactivate(1, 40), Kicks(0b01));
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.in_use(), []);
        assert_eq!(gic.distributor_read(ISACTIVER + 4, 4), 0);
    }
}

#[test]
fn a_level_comes_again_after_its_deactivation() {
    let gic = gic(2);
    let mut cpu = two_steps();
    let _ = gic.set_spi_level(UART, true);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(UART));
    cpu.end(UART);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), None, "it is active");
    let _ = gic.deactivate(1, UART);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(UART));
}

#[test]
fn more_can_be_active_than_there_are_list_registers() {
    let gic = gic(1);
    let mut cpu = two_steps();
    for intid in 0..10 {
        let _ = gic.send_sgi(0, sgi(intid, 1));
    }
    for intid in 0..10 {
        if gic.needs_sync(0) || cpu.refill == Refill::NonePending && cpu.acknowledgeable() == 0 {
            sync(&gic, 0, &mut cpu);
        }
        assert_eq!(cpu.acknowledge(), Some(intid));
        cpu.end(intid);
    }
    sync(&gic, 0, &mut cpu);
    assert_eq!(active(&gic), 0x3ff);
    assert_eq!(cpu.refill, Refill::Never, "nothing waits");
    for intid in [5, 0, 9, 1, 8, 2, 7, 3, 6, 4] {
        let _ = gic.deactivate(0, intid);
    }
    sync(&gic, 0, &mut cpu);
    assert_eq!(active(&gic), 0);
    assert_eq!(cpu.in_use(), []);
    assert_eq!(cpu.refill, Refill::Never);
}

#[test]
fn a_physical_interrupt_is_deactivated_with_it() {
    let gic = gic(1);
    let mut cpu = two_steps();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(TIMER));
    cpu.end(TIMER);
    assert!(cpu.deactivated.is_empty());
    let _ = gic.deactivate(0, TIMER);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.deactivated, [TIMER]);
    assert!(!in_flight(&gic, 0, TIMER));
}

#[test]
fn a_private_interrupt_is_deactivated_by_its_own_vcpu_alone() {
    let gic = gic(2);
    let mut cpu = two_steps();
    let _ = gic.send_sgi(0, sgi(3, 0b01));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(3));
    cpu.end(3);
    let _ = gic.deactivate(1, 3);
    sync(&gic, 0, &mut cpu);
    assert_eq!(active(&gic), 1 << 3);
    assert_eq!(gic.deactivate(0, 3), Kicks(0b01));
    sync(&gic, 0, &mut cpu);
    assert_eq!(active(&gic), 0);
}

#[test]
fn deactivating_what_is_not_active_changes_nothing() {
    let gic = gic(1);
    let mut cpu = two_steps();
    for intid in [96, 1020, 0xff_ffff] {
        assert_eq!(gic.deactivate(0, intid), Kicks::NONE);
    }
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    let _ = gic.deactivate(0, 40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(40), "it was pending");
}
