use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Pulse(u32),
    Sgi(u64),
    Timer,
    Line(bool),
    Disable(u32),
    Enable(u32),
    Priority(u32, u64),
    Acknowledge,
    End,
    Save,
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    let spi = 32u32..96;
    prop_oneof![
        spi.clone().prop_map(Step::Pulse),
        (0u64..16).prop_map(Step::Sgi),
        Just(Step::Timer),
        any::<bool>().prop_map(Step::Line),
        spi.clone().prop_map(Step::Disable),
        spi.clone().prop_map(Step::Enable),
        (spi, 0u64..0xf0).prop_map(|(intid, priority)| Step::Priority(intid, priority)),
        Just(Step::Acknowledge),
        Just(Step::End),
        Just(Step::Save),
        Just(Step::Sync),
    ]
}

proptest! {
    /// Whatever happens in between: each interrupt that was raised since it was last taken is taken
    /// in the end, and no other one but for a level.
    #[test]
    fn nothing_is_lost_and_nothing_made_up(steps in prop::collection::vec(step(), 0..200)) {
        let gic = gic(1);
        let mut cpu = Cpu::default();
        let mut raised = [false; 96];
        let mut running = Vec::new();
        let mut timer_active = false;
        for step in steps {
            match step {
                Step::Pulse(UART) => {}
                Step::Pulse(intid) => {
                    let _ = gic.pulse_spi(intid);
                    raised[intid as usize] = true;
                }
                Step::Sgi(intid) => {
                    let _ = gic.send_sgi(0, sgi(intid, 1));
                    raised[intid as usize] = true;
                }
                Step::Timer if !timer_active => {
                    gic.raise_hardware_ppi(0, TIMER, &mut cpu);
                    timer_active = true;
                    raised[TIMER as usize] = true;
                }
                Step::Timer => {}
                Step::Line(level) => { let _ = gic.set_spi_level(UART, level); }
                Step::Disable(intid) => {
                    let _ = gic.distributor_write(ICENABLER + u64::from(intid / 32 * 4), 4, 1 << (intid % 32));
                }
                Step::Enable(intid) => {
                    let _ = gic.distributor_write(ISENABLER + u64::from(intid / 32 * 4), 4, 1 << (intid % 32));
                }
                // A change of the priority of what is active has no defined order of ends.
                Step::Priority(intid, _) if running.contains(&intid) => {}
                Step::Priority(intid, priority) => {
                    let _ = gic.distributor_write(IPRIORITYR + u64::from(intid), 1, priority);
                }
                Step::Acknowledge => {
                    if gic.needs_sync(0) {
                        sync(&gic, 0, &mut cpu);
                    }
                    if let Some(intid) = cpu.acknowledge() {
                        prop_assert!(raised[intid as usize] || intid == UART, "{intid} was made up");
                        raised[intid as usize] = false;
                        running.push(intid);
                    }
                }
                Step::End => if let Some(intid) = running.pop() {
                    sync(&gic, 0, &mut cpu);
                    cpu.end(intid);
                    timer_active &= intid != TIMER;
                }
                Step::Save => { let _ = gic.save(0, &mut cpu); }
                Step::Sync => sync(&gic, 0, &mut cpu),
            }
        }
        while let Some(intid) = running.pop() {
            sync(&gic, 0, &mut cpu);
            cpu.end(intid);
        }
        let _ = gic.set_spi_level(UART, false);
        for word in [4, 8] {
            let _ = gic.distributor_write(ISENABLER + word, 4, 0xffff_ffff);
        }
        loop {
            sync(&gic, 0, &mut cpu);
            let served = cpu.serve();
            if served.is_empty() {
                break;
            }
            for intid in served {
                prop_assert!(raised[intid as usize], "{intid} came twice");
                raised[intid as usize] = false;
            }
        }
        prop_assert_eq!(raised, [false; 96]);
    }

    #[test]
    fn no_access_panics(accesses in prop::collection::vec((0u64..0x2_0000, 0usize..9, any::<u64>(), any::<bool>()), 0..100)) {
        let gic = gic(2);
        let mut cpu = Cpu::default();
        for (offset, bytes, value, aligned) in accesses {
            let offset = if aligned { offset & !3 } else { offset };
            let _ = gic.distributor_write(offset, bytes, value);
            let _ = gic.redistributor_write(0, offset, bytes, value);
            let _ = gic.distributor_read(offset, bytes);
            let _ = gic.redistributor_read(1, offset, bytes);
            let _ = gic.send_sgi(0, value);
            let _ = gic.sync(0, &mut cpu);
            let _ = cpu.acknowledge();
        }
    }
}
