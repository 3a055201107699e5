use super::*;

#[test]
fn a_level_comes_again_until_the_line_falls() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    assert_eq!(gic.set_spi_level(UART, true), Kicks(1));
    for _ in 0..2 {
        sync(&gic, 0, &mut cpu);
        assert_ne!(cpu.lr(UART) & EOI, 0, "the end must be reported");
        assert_eq!(cpu.serve(), [UART]);
    }
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(UART));
    let _ = gic.set_spi_level(UART, false);
    cpu.end(UART);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
}

#[test]
fn a_level_is_not_pending_while_active() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.set_spi_level(UART, true);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.lr(UART) & (PENDING | ACTIVE), ACTIVE);
    assert!(!gic.has_pending(0));
}

#[test]
fn a_line_that_falls_takes_the_interrupt_back() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.set_spi_level(UART, true);
    sync(&gic, 0, &mut cpu);
    assert_eq!(gic.set_spi_level(UART, false), Kicks(1));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
}

#[test]
fn a_line_that_does_not_change_kicks_nobody() {
    let gic = gic(1);
    assert_eq!(gic.set_spi_level(UART, false), Kicks::NONE);
    let _ = gic.set_spi_level(UART, true);
    assert_eq!(gic.set_spi_level(UART, true), Kicks::NONE);
}

#[test]
fn an_edge_triggered_input_counts_rising_edges() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.distributor_write(ICFGR + 8, 4, 0b10 << 2);
    let _ = gic.set_spi_level(UART, true);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.lr(UART) & EOI, 0);
    assert_eq!(cpu.serve(), [UART]);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), []);
    let _ = gic.set_spi_level(UART, false);
    let _ = gic.set_spi_level(UART, true);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [UART]);
}

#[test]
fn intids_that_are_no_spis_are_ignored() {
    let gic = gic(1);
    for intid in [0, 31, 96, 1020, u32::MAX] {
        assert_eq!(gic.pulse_spi(intid), Kicks::NONE);
        assert_eq!(gic.set_spi_level(intid, true), Kicks::NONE);
    }
    gic.raise_hardware_ppi(0, 32, &mut Cpu::default());
    assert!(!gic.needs_sync(0));
    assert!(!gic.has_pending(0) && !in_flight(&gic, 0, 32));
}
