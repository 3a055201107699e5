use super::*;

#[test]
fn the_most_urgent_come_first_and_the_rest_after_the_underflow() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    for n in 0..6 {
        let _ = gic.pulse_spi(40 + n);
    }
    let _ = gic.distributor_write(IPRIORITYR + 45, 1, 0x80);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), [45, 40, 41, 42]);
    assert_eq!(cpu.refill, Refill::Underflow);
    assert_eq!(cpu.serve(), [45, 40, 41, 42]);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.refill, Refill::Never);
    assert_eq!(cpu.serve(), [43, 44]);
}

#[test]
fn a_timer_that_fires_again_leaves_its_list_register_to_a_more_urgent_interrupt() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.redistributor_write(0, SGI_FRAME + IPRIORITYR + 24, 4, 0xf000_0000);
    for n in 0..3 {
        let _ = gic.pulse_spi(40 + n);
    }
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [40, 41, 42, TIMER]);
    for n in 0..4 {
        let _ = gic.pulse_spi(50 + n);
    }
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), [50, 51, 52, 53]);
}

#[test]
fn an_active_interrupt_keeps_its_list_register_among_equals() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(60);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    for n in 0..6 {
        let _ = gic.pulse_spi(40 + n);
    }
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), [60, 40, 41, 42]);
}

#[test]
fn an_end_without_a_list_register_is_counted() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    // Six interrupts, each more urgent than the one before, all active at once.
    for n in 0..6 {
        let _ = gic.distributor_write(IPRIORITYR + 40 + n, 1, 0xa0 - 0x10 * n);
        let _ = gic.pulse_spi(40 + n as u32);
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.acknowledge(), Some(40 + n as u32));
    }
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), [45, 44, 43, 42]);
    for n in (0..6).rev() {
        cpu.end(40 + n);
    }
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert_eq!(gic.distributor_read(ISACTIVER + 4, 4), 0);
}

#[test]
fn saving_empties_the_list_registers_and_loses_nothing() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    let _ = gic.pulse_spi(41);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(40));
    assert_eq!(gic.save(0, &mut cpu), Kicks::NONE);
    assert_eq!(cpu.lrs, [0; 4]);
    assert!(gic.needs_sync(0) && gic.has_pending(0));
    let mut other = Cpu::default();
    sync(&gic, 0, &mut other);
    assert_eq!(other.lr(40) & (PENDING | ACTIVE), ACTIVE);
    other.end(40);
    assert_eq!(other.serve(), [41]);
}
