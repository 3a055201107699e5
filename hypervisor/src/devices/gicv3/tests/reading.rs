use super::*;

/// SGI 3 of vCPU 1, which took it without anybody's knowing.
fn taken_unseen() -> (VirtualGic, Cpu) {
    let gic = gic(2);
    let mut cpu = Cpu::default();
    let _ = gic.send_sgi(0, sgi(3, 0b10));
    sync(&gic, 1, &mut cpu);
    assert_eq!(cpu.acknowledge(), Some(3));
    (gic, cpu)
}

const ACTIVE_OF_1: Register = Register::Redistributor(1, SGI_FRAME + ISACTIVER);

fn active_of_1(gic: &VirtualGic) -> u64 {
    gic.redistributor_read(1, SGI_FRAME + ISACTIVER, 4)
}

#[test]
fn a_read_waits_for_the_vcpu_that_knows_better() {
    let (gic, mut cpu) = taken_unseen();
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks(0b10)));
    assert!(gic.needs_sync(1));
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks::NONE), "again");
    sync(&gic, 1, &mut cpu);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), None);
    assert_eq!(active_of_1(&gic), 1 << 3);
    cpu.end(3);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks(0b10)), "anew");
    sync(&gic, 1, &mut cpu);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), None);
    assert_eq!(active_of_1(&gic), 0);
}

#[test]
fn a_vcpu_that_leaves_its_cpu_is_waited_for_no_more() {
    let (gic, mut cpu) = taken_unseen();
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks(0b10)));
    let _ = gic.save(1, &mut cpu);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), None);
    assert_eq!(active_of_1(&gic), 1 << 3);
}

#[test]
fn a_vcpu_that_is_turned_off_is_waited_for_no_more() {
    let (gic, mut cpu) = taken_unseen();
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks(0b10)));
    let _ = gic.save(1, &mut cpu);
    gic.reset_vcpu(1);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), None);
    assert_eq!(active_of_1(&gic), 0);
}

#[test]
fn a_read_in_an_interrupt_handler_between_is_asked_for_by_itself() {
    let (gic, mut cpu) = taken_unseen();
    let pending_of_1 = Register::Redistributor(1, SGI_FRAME + ISPENDR);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks(0b10)));
    assert_eq!(gic.outdated(0, pending_of_1, 4), Some(Kicks(0b10)));
    sync(&gic, 1, &mut cpu);
    assert_eq!(gic.outdated(0, pending_of_1, 4), None);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks(0b10)));
}

#[test]
fn two_vcpus_that_read_each_other_wait_for_each_other() {
    let (gic, mut second) = taken_unseen();
    let mut first = Cpu::default();
    let _ = gic.send_sgi(1, sgi(4, 0b01));
    sync(&gic, 0, &mut first);
    let active_of_0 = Register::Redistributor(0, SGI_FRAME + ISACTIVER);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks(0b10)));
    assert_eq!(gic.outdated(1, active_of_0, 4), Some(Kicks(0b01)));
    sync(&gic, 0, &mut first);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), Some(Kicks::NONE));
    sync(&gic, 1, &mut second);
    assert_eq!(gic.outdated(0, ACTIVE_OF_1, 4), None);
    assert_eq!(gic.outdated(1, active_of_0, 4), None);
}

#[test]
fn what_is_known_is_read_at_once() {
    let (gic, _) = taken_unseen();
    let own = Register::Redistributor(1, SGI_FRAME + ISACTIVER);
    assert_eq!(gic.outdated(1, own, 4), None, "synced before it reads");
    let enabled = Register::Redistributor(1, SGI_FRAME + ISENABLER);
    assert_eq!(gic.outdated(0, enabled, 4), None);
    let spis = Register::Distributor(ISACTIVER + 4);
    assert_eq!(gic.outdated(0, spis, 4), None, "none is in a list register");
}

#[test]
fn a_read_of_spis_waits_for_each_vcpu_that_has_some() {
    let gic = gic(3);
    let mut cpus = [Cpu::default(), Cpu::default(), Cpu::default()];
    for vcpu in 1..3 {
        let _ = gic.distributor_write(IROUTER + 8 * (40 + vcpu), 8, vcpu);
        let _ = gic.pulse_spi(40 + vcpu as u32);
        sync(&gic, vcpu as usize, &mut cpus[vcpu as usize]);
        let _ = cpus[vcpu as usize].acknowledge();
    }
    let spis = Register::Distributor(ISACTIVER + 4);
    assert_eq!(gic.outdated(0, spis, 4), Some(Kicks(0b110)));
    sync(&gic, 1, &mut cpus[1]);
    assert_eq!(gic.outdated(0, spis, 4), Some(Kicks::NONE));
    sync(&gic, 2, &mut cpus[2]);
    assert_eq!(gic.outdated(0, spis, 4), None);
    assert_eq!(gic.distributor_read(ISACTIVER + 4, 4), 0b11 << 9);
}
