use super::*;

#[test]
fn an_spi_goes_where_it_is_routed() {
    let gic = gic(2);
    let _ = gic.distributor_write(IROUTER + 8 * 40, 8, 1);
    assert_eq!(gic.pulse_spi(40), Kicks(0b10));
    assert!(gic.has_pending(1) && !gic.has_pending(0));
}

#[test]
fn an_spi_without_a_target_waits_for_one() {
    let gic = gic(2);
    for nowhere in [2, 1 << 8, 1 << 32] {
        let _ = gic.distributor_write(IROUTER + 8 * 40, 8, nowhere);
        assert_eq!(gic.pulse_spi(40), Kicks::NONE);
    }
    assert_eq!(gic.distributor_write(IROUTER + 8 * 40, 8, 1), Kicks(0b10));
}

#[test]
fn a_pending_spi_moves_with_its_route() {
    let gic = gic(2);
    let (mut first, mut second) = (Cpu::default(), Cpu::default());
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut first);
    assert_eq!(
        gic.distributor_write(IROUTER + 8 * 40, 8, 1),
        Kicks(0b01),
        "out of the old first"
    );
    assert_eq!(gic.sync(0, &mut first), Kicks(0b10));
    assert_eq!(first.in_use(), []);
    assert!(gic.needs_sync(1));
    sync(&gic, 1, &mut second);
    assert_eq!(second.serve(), [40]);
}

#[test]
fn an_active_spi_stays_where_it_was_taken() {
    let gic = gic(2);
    let (mut first, mut second) = (Cpu::default(), Cpu::default());
    let _ = gic.set_spi_level(UART, true);
    sync(&gic, 0, &mut first);
    let _ = first.acknowledge();
    let _ = gic.distributor_write(IROUTER + 8 * u64::from(UART), 8, 1);
    sync(&gic, 0, &mut first);
    sync(&gic, 1, &mut second);
    assert_eq!(second.in_use(), []);
    first.end(UART);
    assert_eq!(gic.sync(0, &mut first), Kicks(0b10));
    sync(&gic, 1, &mut second);
    assert_eq!(second.serve(), [UART]);
}

#[test]
fn an_active_spi_that_another_vcpu_deactivates_moves_on() {
    let gic = gic(2);
    let (mut first, mut second) = (Cpu::default(), Cpu::default());
    let _ = gic.set_spi_level(UART, true);
    sync(&gic, 0, &mut first);
    let _ = first.acknowledge();
    let _ = gic.save(0, &mut first);
    let _ = gic.distributor_write(IROUTER + 8 * u64::from(UART), 8, 1);
    assert_eq!(gic.distributor_write(ICACTIVER + 4, 4, 2), Kicks(0b10));
    sync(&gic, 1, &mut second);
    assert_eq!(second.serve(), [UART]);
}
