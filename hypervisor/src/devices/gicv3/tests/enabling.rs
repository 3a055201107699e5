use super::*;

#[test]
fn what_is_disabled_waits() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.distributor_write(ICENABLER + 4, 4, 1 << 8);
    assert_eq!(gic.pulse_spi(40), Kicks::NONE);
    assert!(!gic.has_pending(0));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert_eq!(gic.distributor_write(ISENABLER + 4, 4, 1 << 8), Kicks(1));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [40]);
}

#[test]
fn what_is_disabled_in_a_list_register_goes_back_and_is_not_lost() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(gic.distributor_write(ICENABLER + 4, 4, 1 << 8), Kicks(1));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    let _ = gic.distributor_write(ISENABLER + 4, 4, 1 << 8);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [40]);
}

#[test]
fn what_is_disabled_while_active_can_end() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    let _ = gic.distributor_write(ICENABLER + 4, 4, 1 << 8);
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.lr(40) & (PENDING | ACTIVE), ACTIVE);
    cpu.end(40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(gic.distributor_read(ISPENDR + 4, 4), 1 << 8);
    assert_eq!(gic.distributor_read(ISACTIVER + 4, 4), 0);
}

#[test]
fn a_group_that_is_disabled_holds_its_interrupts_back() {
    let gic = gic(1);
    let _ = gic.distributor_write(IGROUPR + 4, 4, !(1 << 8));
    let _ = gic.pulse_spi(40);
    let _ = gic.pulse_spi(41);
    for (ctlr, expected) in [(0, [].as_slice()), (1, &[40]), (2, &[41]), (3, &[40, 41])] {
        let mut cpu = Cpu::default();
        assert_eq!(gic.distributor_write(CTLR, 4, ctlr), Kicks(1));
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.in_use(), expected);
        assert_eq!(gic.has_pending(0), !expected.is_empty());
        let _ = gic.save(0, &mut cpu);
    }
}
