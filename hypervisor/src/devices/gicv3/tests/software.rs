use super::*;

#[test]
fn an_sgi_reaches_its_targets_and_the_sender_too() {
    let gic = gic(3);
    let mut cpu = Cpu::default();
    assert_eq!(gic.send_sgi(1, sgi(5, 0b110)), Kicks(0b110));
    assert!(gic.needs_sync(1) && gic.needs_sync(2) && !gic.needs_sync(0));
    sync(&gic, 1, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(5));
    assert!(gic.has_pending(2) && !gic.has_pending(0));
}

#[test]
fn an_sgi_to_all_others_spares_the_sender() {
    let gic = gic(3);
    assert_eq!(gic.send_sgi(1, sgi(5, 0) | 1 << 40), Kicks(0b101));
}

#[test]
fn an_sgi_to_nobody_is_dropped() {
    let gic = gic(2);
    for elsewhere in [
        sgi(1, 0b1100),
        sgi(1, 1) | 1 << 16,
        sgi(1, 1) | 1 << 32,
        sgi(1, 1) | 1 << 44,
        sgi(1, 1) | 1 << 48,
    ] {
        assert_eq!(gic.send_sgi(0, elsewhere), Kicks::NONE);
    }
    assert!(!gic.has_pending(0) && !gic.has_pending(1));
}

#[test]
fn sgis_from_several_senders_are_one_until_taken() {
    let gic = gic(3);
    let mut cpu = Cpu::default();
    let _ = gic.send_sgi(0, sgi(2, 0b100));
    let _ = gic.send_sgi(1, sgi(2, 0b100));
    sync(&gic, 2, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(2));
    let _ = gic.send_sgi(0, sgi(2, 0b100));
    sync(&gic, 2, &mut cpu);
    assert_eq!(
        cpu.lr(2) & (PENDING | ACTIVE),
        PENDING | ACTIVE,
        "sent again while active"
    );
    cpu.end(2);
    assert_eq!(cpu.serve(), [2]);
    sync(&gic, 2, &mut cpu);
    assert_eq!(cpu.serve(), []);
}

#[test]
fn pending_set_by_the_guest_is_delivered() {
    let gic = gic(2);
    let mut cpu = Cpu::default();
    let _ = gic.distributor_write(IROUTER + 8 * 40, 8, 1);
    assert_eq!(gic.distributor_write(ISPENDR + 4, 4, 1 << 8), Kicks(0b10));
    sync(&gic, 1, &mut cpu);
    assert_eq!(cpu.serve(), [40]);
    sync(&gic, 1, &mut cpu);
    assert_eq!(cpu.serve(), [], "once, although 40 is level-sensitive");
}

#[test]
fn pending_cleared_by_the_guest_leaves_the_list_register() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(gic.distributor_write(ICPENDR + 4, 4, 1 << 8), Kicks(1));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert!(!gic.has_pending(0));
}

#[test]
fn an_edge_after_the_clearing_counts() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    let _ = gic.distributor_write(ICPENDR + 4, 4, 1 << 8);
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [40]);
}

#[test]
fn active_set_and_cleared_by_the_guest_wins_over_the_list_register() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(40));
    let _ = gic.distributor_write(ICACTIVER + 4, 4, 1 << 8);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    let _ = gic.distributor_write(ISACTIVER + 4, 4, 1 << 9);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.lr(41) & (PENDING | ACTIVE), ACTIVE);
    cpu.end(41);
    sync(&gic, 0, &mut cpu);
    assert_eq!(gic.distributor_read(ISACTIVER + 4, 4), 0);
}

#[test]
fn active_set_while_pending_in_the_list_register_holds() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.pulse_spi(40);
    sync(&gic, 0, &mut cpu);
    let _ = gic.distributor_write(ICACTIVER + 4, 4, 1 << 8);
    let _ = gic.distributor_write(ISACTIVER + 4, 4, 1 << 8);
    sync(&gic, 0, &mut cpu);
    assert_ne!(cpu.lr(40) & ACTIVE, 0);
    assert_eq!(
        gic.distributor_read(ISPENDR + 4, 4),
        1 << 8,
        "and it is still pending"
    );
}
