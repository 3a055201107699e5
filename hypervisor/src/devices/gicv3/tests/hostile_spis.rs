//! Whatever a guest does to an SPI of its device's, the device is not dead after it: what the guest
//! makes of the registers, in whatever order, on two vCPUs, the physical interrupt comes again as
//! soon as the guest behaves.

use proptest::prelude::*;

use super::*;

const DISK: u32 = 35;
const PHYSICAL: u32 = 36;
const BIT: u64 = 1 << (DISK - 32);

#[derive(Clone, Debug)]
enum Step {
    /// The device raises its input or lowers it.
    Input(bool),
    /// The physical interrupt comes, if it can.
    Fire,
    /// A register of the distributor with a bit for the SPI.
    Write(u64),
    Edge(bool),
    Route(u64),
    Groups(u64),
    Acknowledge(usize),
    End(usize),
    Deactivate(usize),
    TwoSteps(usize, bool),
    Sync(usize),
    Save(usize),
    /// CPU_OFF and CPU_ON.
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let registers = [
        IGROUPR, ISENABLER, ICENABLER, ISPENDR, ICPENDR, ISACTIVER, ICACTIVER,
    ];
    let vcpu = 0..2_usize;
    prop_oneof![
        any::<bool>().prop_map(Step::Input),
        Just(Step::Fire),
        prop::sample::select(registers.to_vec()).prop_map(Step::Write),
        any::<bool>().prop_map(Step::Edge),
        (0..4_u64).prop_map(Step::Route),
        (0..4_u64).prop_map(Step::Groups),
        vcpu.clone().prop_map(Step::Acknowledge),
        vcpu.clone().prop_map(Step::End),
        vcpu.clone().prop_map(Step::Deactivate),
        (vcpu.clone(), any::<bool>()).prop_map(|(vcpu, on)| Step::TwoSteps(vcpu, on)),
        vcpu.clone().prop_map(Step::Sync),
        vcpu.clone().prop_map(Step::Save),
        vcpu.prop_map(Step::Restart),
    ]
}

/// The guest, its device and the physical interrupt.
struct Bench {
    gic: VirtualGic,
    cpus: [Cpu; 2],
    up: bool,
    active: bool,
}

impl Bench {
    fn write(&self, register: u64) {
        let _ = self.gic.distributor_write(register + 4, 4, BIT);
    }

    /// Whether the physical interrupt came.
    fn fire(&mut self) -> bool {
        let fires = self.up && !self.active;
        if fires {
            self.active = true;
            let _ = self.gic.raise_hardware_spi(DISK, PHYSICAL);
        }
        fires
    }

    fn settle(&mut self) {
        for cpu in &mut self.cpus {
            let deactivated = std::mem::take(&mut cpu.deactivated);
            assert!(deactivated.iter().all(|&physical| physical == PHYSICAL));
            self.active &= deactivated.is_empty();
        }
    }

    fn take(&mut self, step: Step) {
        let Self { gic, cpus, .. } = self;
        match step {
            Step::Input(up) => self.up = up,
            Step::Fire => {
                self.fire();
            }
            Step::Write(register) => self.write(register),
            Step::Edge(edge) => {
                let value = u64::from(edge) << (2 * (DISK - 32) + 1);
                let _ = gic.distributor_write(ICFGR + 8, 4, value);
            }
            Step::Route(to) => {
                let _ = gic.distributor_write(IROUTER + 8 * u64::from(DISK), 8, to);
            }
            Step::Groups(groups) => {
                let _ = gic.distributor_write(CTLR, 4, groups);
            }
            Step::Acknowledge(vcpu) => {
                cpus[vcpu].acknowledge();
            }
            Step::End(vcpu) => cpus[vcpu].end(DISK),
            Step::Deactivate(vcpu) => {
                let _ = gic.deactivate(vcpu, DISK);
            }
            Step::TwoSteps(vcpu, on) => cpus[vcpu].two_steps = on,
            Step::Sync(vcpu) => {
                let _ = gic.sync(vcpu, &mut cpus[vcpu]);
            }
            Step::Save(vcpu) => {
                let _ = gic.save(vcpu, &mut cpus[vcpu]);
            }
            Step::Restart(vcpu) => {
                let _ = gic.save(vcpu, &mut cpus[vcpu]);
                gic.reset_vcpu(vcpu);
            }
        }
        self.settle();
    }

    /// The guest sets the SPI up anew, as a driver does.
    fn behave(&mut self) {
        for step in [
            Step::TwoSteps(0, false),
            Step::TwoSteps(1, false),
            Step::Groups(0b11),
            Step::Edge(false),
            Step::Route(0),
            Step::Write(ICACTIVER),
            Step::Write(IGROUPR),
            Step::Write(ISENABLER),
        ] {
            self.take(step);
        }
        for cpu in &mut self.cpus {
            cpu.dropped.clear();
        }
    }
}

proptest! {
    #[test]
    fn no_device_is_dead_after_what_its_guest_did(steps in prop::collection::vec(step(), 0..100)) {
        let mut bench = Bench {
            gic: gic(2),
            cpus: <[Cpu; 2]>::default(),
            up: false,
            active: false,
        };
        for step in steps {
            bench.take(step);
        }
        bench.behave();
        bench.up = true;
        let mut came = 0;
        for _ in 0..10 {
            for vcpu in [0, 1] {
                let Bench { gic, cpus, .. } = &mut bench;
                let _ = gic.sync(vcpu, &mut cpus[vcpu]);
                cpus[vcpu].serve();
                bench.settle();
            }
            came += usize::from(bench.fire());
        }
        prop_assert!(came >= 5, "it came {came} times");
        // And it is gone when the device is.
        bench.up = false;
        for _ in 0..3 {
            for vcpu in [0, 1] {
                let Bench { gic, cpus, .. } = &mut bench;
                let _ = gic.sync(vcpu, &mut cpus[vcpu]);
                cpus[vcpu].serve();
                bench.settle();
            }
        }
        prop_assert!(!bench.active && !bench.gic.has_pending(0) && !bench.gic.has_pending(1));
    }
}
