use super::*;

#[test]
fn the_guest_deactivates_the_physical_interrupt() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    assert!(gic.needs_sync(0));
    assert!(in_flight(&gic, 0, TIMER) && gic.has_pending(0));
    sync(&gic, 0, &mut cpu);
    assert_ne!(cpu.lr(TIMER) & HW, 0);
    assert_eq!(cpu.serve(), [TIMER]);
    assert_eq!(cpu.deactivated, [TIMER]);
    let _ = gic.save(0, &mut cpu);
    assert!(!in_flight(&gic, 0, TIMER));
}

#[test]
fn it_stays_in_flight_across_a_change_of_vcpus() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    let _ = gic.save(0, &mut cpu);
    assert!(in_flight(&gic, 0, TIMER), "pending");
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    let _ = gic.save(0, &mut cpu);
    assert!(in_flight(&gic, 0, TIMER), "active");
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.lr(TIMER) & (HW | ACTIVE | PENDING), HW | ACTIVE);
    cpu.end(TIMER);
    assert_eq!(cpu.deactivated, [TIMER]);
}

#[test]
fn it_can_fire_again_before_the_end_was_seen() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    for _ in 0..3 {
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.serve(), [TIMER]);
        gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    }
    assert_eq!(cpu.deactivated, [TIMER; 3]);
}

#[test]
fn firing_again_it_goes_to_its_list_register_at_once() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [TIMER]);
    for count in 2..4 {
        gic.raise_hardware_ppi(0, TIMER, &mut cpu);
        assert!(!gic.needs_sync(0) && gic.has_pending(0) && in_flight(&gic, 0, TIMER));
        assert_eq!(cpu.serve(), [TIMER]);
        assert_eq!(cpu.deactivated.len(), count);
    }
    let _ = gic.save(0, &mut cpu);
    assert!(!in_flight(&gic, 0, TIMER) && !gic.has_pending(0));
}

#[test]
fn firing_again_disabled_it_loses_its_list_register() {
    let gic = gic(2);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [TIMER]);
    let _ = gic.redistributor_write(0, SGI_FRAME + ICENABLER, 4, 1 << TIMER);
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert!(in_flight(&gic, 0, TIMER) && !gic.has_pending(0));
    let _ = gic.redistributor_write(0, SGI_FRAME + ISENABLER, 4, 1 << TIMER);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [TIMER]);
}

#[test]
fn clearing_its_pending_state_has_no_effect() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    let _ = gic.redistributor_write(0, SGI_FRAME + ICPENDR, 4, 1 << TIMER);
    sync(&gic, 0, &mut cpu);
    let _ = gic.redistributor_write(0, SGI_FRAME + ICPENDR, 4, 1 << TIMER);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [TIMER]);
}

#[test]
fn clearing_its_active_state_frees_the_physical_interrupt() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    let _ = gic.redistributor_write(0, SGI_FRAME + ICACTIVER, 4, 1 << TIMER);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert_eq!(cpu.deactivated, [TIMER]);
    assert!(!in_flight(&gic, 0, TIMER));
}

#[test]
fn clearing_its_active_state_from_afar_does_too() {
    let gic = gic(2);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    let _ = gic.save(0, &mut cpu);
    let _ = gic.redistributor_write(0, SGI_FRAME + ICACTIVER, 4, 1 << TIMER);
    assert!(!in_flight(&gic, 0, TIMER));
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert_eq!(cpu.deactivated, [TIMER]);
}

#[test]
fn disabled_it_stays_in_flight_and_out_of_the_list_registers() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    let _ = gic.redistributor_write(0, SGI_FRAME + ICENABLER, 4, 1 << TIMER);
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.in_use(), []);
    assert!(in_flight(&gic, 0, TIMER) && !gic.has_pending(0));
}

#[test]
fn firing_anew_it_is_not_taken_for_the_one_given_up() {
    let gic = gic(2);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    let _ = gic.save(0, &mut cpu);
    let _ = gic.redistributor_write(0, SGI_FRAME + ICACTIVER, 4, 1 << TIMER);
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.deactivated, [], "the guest has not seen it yet");
    assert_eq!(cpu.serve(), [TIMER]);
    assert_eq!(cpu.deactivated, [TIMER]);
}

#[test]
fn made_pending_by_software_it_stands_for_no_physical_interrupt() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.serve(), [TIMER]);
    sync(&gic, 0, &mut cpu);
    let _ = gic.redistributor_write(0, SGI_FRAME + ISPENDR, 4, 1 << TIMER);
    sync(&gic, 0, &mut cpu);
    assert_eq!(cpu.lr(TIMER) & (HW | PENDING), PENDING);
    assert!(!in_flight(&gic, 0, TIMER));
}

#[test]
fn turned_off_before_it_was_taken_it_is_pending_no_more() {
    for enabled in [false, true] {
        let gic = gic(1);
        let mut cpu = Cpu::default();
        if !enabled {
            let _ = gic.redistributor_write(0, SGI_FRAME + ICENABLER, 4, 1 << TIMER);
        }
        gic.raise_hardware_ppi(0, TIMER, &mut cpu);
        sync(&gic, 0, &mut cpu);
        assert_eq!(
            gic.redistributor_read(0, SGI_FRAME + ISPENDR, 4),
            1 << TIMER
        );
        cpu.low.push(TIMER);
        sync(&gic, 0, &mut cpu);
        assert_eq!(gic.redistributor_read(0, SGI_FRAME + ISPENDR, 4), 0);
        assert_eq!(cpu.deactivated, [TIMER], "so that it can fire again");
        assert!(!in_flight(&gic, 0, TIMER));
        let _ = gic.redistributor_write(0, SGI_FRAME + ISENABLER, 4, 1 << TIMER);
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.serve(), []);

        cpu.low.clear();
        gic.raise_hardware_ppi(0, TIMER, &mut cpu);
        sync(&gic, 0, &mut cpu);
        assert_eq!(cpu.serve(), [TIMER]);
    }
}

#[test]
fn turned_off_as_its_vcpu_leaves_it_wakes_nobody() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    cpu.low.push(TIMER);
    let _ = gic.save(0, &mut cpu);
    assert!(!gic.has_pending(0) && !in_flight(&gic, 0, TIMER));
}

#[test]
fn turned_off_while_it_is_active_it_stays_so() {
    let gic = gic(1);
    let mut cpu = Cpu::default();
    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
    sync(&gic, 0, &mut cpu);
    let _ = cpu.acknowledge();
    cpu.low.push(TIMER);
    sync(&gic, 0, &mut cpu);
    assert_ne!(cpu.lr(TIMER) & ACTIVE, 0);
    cpu.end(TIMER);
    assert_eq!(cpu.deactivated, [TIMER]);
}
