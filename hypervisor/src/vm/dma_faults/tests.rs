use super::*;
use crate::arch::fake;
use crate::drivers::pcie::model::FunctionKind;
use crate::drivers::smmuv3::model::{Kind, ModelSmmu};
use crate::vm::passthrough::tests::devices;
use crate::vm::testing;

/// A disk of vm1's, and a stream that is nobody's.
const DISK: u32 = 0x100;
const NOBODYS: u32 = 0xfe;

struct Bench {
    smmu: ModelSmmu,
    faults: DmaFaults,
    vm: &'static Vm,
}

impl Bench {
    fn new() -> Self {
        let mut parts = None;
        let vm = testing::vm_with_devices(1, testing::description(1), |ram| {
            let (made, devices) = devices(Kind::STAGE_2, &FunctionKind::disk(), ram);
            while !devices.is_reset() {
                let now = fake::register("cntpct_el0");
                fake::set_register("cntpct_el0", now + timer::frequency() / 10);
            }
            devices.hand_over().expect("the SMMU answers");
            parts = Some(made);
            Some(devices)
        });
        let parts = parts.expect("it was made");
        Self {
            smmu: parts.smmu,
            faults: DmaFaults::new(parts.driver, Some(106)),
            vm,
        }
    }

    fn fault(&self, count: u64) {
        for n in 0..count {
            let stream = if n % 2 == 0 { DISK } else { NOBODYS };
            assert!(self.smmu.dma(stream, n * 0x1000, true).is_err());
        }
    }

    /// Looks when it is time to.
    fn look(&self) {
        let at = self.faults.resume_at().expect("there is something to do");
        fake::set_register("cntpct_el0", at.max(timer::now()));
        self.faults.go_on(&[self.vm]);
    }

    fn left(&self) -> bool {
        self.faults.smmu.has_events()
    }
}

#[test]
fn nobody_looks_before_the_smmu_says_something() {
    let bench = Bench::new();
    assert!(bench.smmu.interrupts());
    assert_eq!(bench.faults.resume_at(), None);
    bench.fault(2);
    bench.faults.go_on(&[bench.vm]);
    assert!(bench.left(), "nobody looked");
}

#[test]
fn the_smmu_interrupts_once_until_all_is_seen() {
    let bench = Bench::new();
    bench.fault(3);
    bench.faults.come();
    assert!(!bench.smmu.interrupts());
    bench.look();
    assert!(!bench.left());
    assert!(!bench.smmu.interrupts(), "there may be more of them");
    bench.look();
    assert!(bench.smmu.interrupts());
    assert_eq!(bench.faults.resume_at(), None);
}

#[test]
fn a_guest_that_makes_many_events_costs_a_bounded_time() {
    let bench = Bench::new();
    bench.fault(200);
    bench.faults.come();
    let start = timer::now();
    let mut looks = 0;
    while bench.faults.resume_at().is_some() {
        bench.look();
        looks += 1;
    }
    assert_eq!(looks, 5, "64 events each, and one look that finds nothing");
    let took = timer::now() - start;
    assert!(took >= 4 * timer::frequency() / LOOKS_PER_SECOND, "{took}");
    assert!(!bench.left());
}

#[test]
fn before_its_time_comes_nothing_is_looked_at() {
    let bench = Bench::new();
    bench.fault(100);
    bench.faults.come();
    bench.look();
    assert!(bench.left());
    let now = timer::now();
    bench.faults.go_on(&[bench.vm]);
    assert_eq!(timer::now(), now, "not a register was read");
    assert!(bench.left());
}
