use super::*;

#[test]
fn a_vm_that_restarts_finds_nothing() {
    let gic = gic(2);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    let _ = gic.save(0, &mut cpu);
    gic.reset();
    assert!(!gic.needs_sync(0) && !gic.has_pending(0) && !in_flight(&gic, 0, TIMER));
    assert_eq!(gic.distributor_read(CTLR, 4), 0x50);
    assert_eq!(gic.distributor_read(ISENABLER + 4, 4), 0);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
}

#[test]
fn a_vcpu_that_starts_anew_leaves_the_others_alone() {
    let gic = gic(2);
    let mut cpu = Cpu::default();
    let _ = gic.send_sgi(0, sgi(1, 0b11));
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(1));
    cpu.end(1);
    assert_eq!(cpu.acknowledge(), Some(40));
    let _ = gic.save(0, &mut cpu);
    gic.reset_vcpu(0);
    assert!(!gic.has_pending(0) && gic.has_pending(1));
    assert_eq!(gic.redistributor_read(0, SGI_FRAME + ISENABLER, 4), 0);
    assert_eq!(
        gic.distributor_read(ISACTIVER + 4, 4),
        0,
        "nobody could end it"
    );
    let _ = gic.distributor_write(IROUTER + 8 * 40, 8, 1);
    assert_eq!(gic.pulse_spi(40), Kicks(0b10));
}
