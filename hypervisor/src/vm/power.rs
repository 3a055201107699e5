//! The power states of a VM and its vCPUs, and who may change them into what.
//!
//! A VM stops in two steps: someone asks ([`Power::stop`]), then each CPU lets go of its vCPUs
//! ([`Power::let_go`]). After the last one the CPU of vCPU 0 has the VM to itself, tears it down
//! and says so ([`Power::torn_down`]). It starts in two steps as well: someone asks
//! ([`Power::ask_for_start`]), the CPU of vCPU 0 fills its memory and says where it starts
//! ([`Power::started`]).

use alloc::vec::Vec;

/// Where a VM is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Off.
    Off,
    /// Asked to start.
    Starting,
    /// On.
    Running,
    /// Asked to stop; vCPUs may still be in their CPUs.
    Stopping(After),
    /// No vCPU is in a CPU any more; what belongs to this life is being torn down.
    Ending(After),
}

/// What comes after a VM has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays off.
    Off,
    /// It starts again.
    Restart,
}

/// The power state of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuPower {
    /// Off.
    Off,
    /// Asked to start.
    Starting(Entry),
    /// On.
    On,
}

/// What is known of a vCPU from outside. Times are values of the physical counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Powered off.
    Off,
    /// Powered on.
    On {
        /// Whether an interrupt is there for it.
        interrupt: bool,
        /// When its timer fires, if that is armed.
        deadline: Option<u64>,
    },
}

/// How far a start or an end of a VM has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// There is more to do.
    GoesOn,
    /// There is no more to do.
    Done,
    /// There is no more to do, and the VM is off for good.
    Off,
}

/// Where a vCPU starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its program counter, an IPA.
    pub pc: u64,
    /// What x0 holds.
    pub argument: u64,
}

/// Why a vCPU was not turned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuOnError {
    /// There is no such vCPU.
    NoSuchVcpu,
    /// It is on.
    AlreadyOn,
    /// It was asked to start before.
    OnPending,
}

/// The power states of one VM.
#[derive(Clone, Debug)]
pub struct Power {
    life: Life,
    vcpus: Vec<VcpuPower>,
}

impl Power {
    /// A VM with this many vCPUs, off.
    #[must_use]
    pub fn new(vcpus: usize) -> Self {
        Self {
            life: Life::Off,
            vcpus: alloc::vec![VcpuPower::Off; vcpus],
        }
    }

    /// Where the VM is in its life.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life
    }

    /// The power state of a vCPU, if there is such a vCPU.
    #[must_use]
    pub fn vcpu(&self, index: usize) -> Option<VcpuPower> {
        self.vcpus.get(index).copied()
    }

    /// Asks for a VM that is off to start. Returns whether it was off.
    pub fn ask_for_start(&mut self) -> bool {
        let off = self.life == Life::Off;
        if off {
            self.life = Life::Starting;
        }
        off
    }

    /// The VM is ready to run: vCPU 0 starts at `entry`.
    pub fn started(&mut self, entry: Entry) {
        self.life = Life::Running;
        if let Some(first) = self.vcpus.first_mut() {
            *first = VcpuPower::Starting(entry);
        }
    }

    /// The VM could not be started.
    pub fn start_failed(&mut self) {
        self.life = Life::Off;
    }

    /// Asks for a vCPU to start.
    ///
    /// # Errors
    ///
    /// There is none of that number, or it is not off.
    pub fn cpu_on(&mut self, index: usize, entry: Entry) -> Result<(), CpuOnError> {
        let vcpu = self.vcpus.get_mut(index).ok_or(CpuOnError::NoSuchVcpu)?;
        match vcpu {
            VcpuPower::On => Err(CpuOnError::AlreadyOn),
            VcpuPower::Starting(_) => Err(CpuOnError::OnPending),
            VcpuPower::Off => {
                *vcpu = VcpuPower::Starting(entry);
                Ok(())
            }
        }
    }

    /// Where a vCPU was asked to start, if it was. It counts as on from now on.
    pub fn take_start(&mut self, index: usize) -> Option<Entry> {
        let VcpuPower::Starting(entry) = self.vcpu(index).filter(|_| self.life == Life::Running)?
        else {
            return None;
        };
        self.vcpus[index] = VcpuPower::On;
        Some(entry)
    }

    /// A vCPU turned itself off. Returns whether a vCPU is left that is not off.
    pub fn cpu_off(&mut self, index: usize) -> bool {
        if let Some(vcpu) = self.vcpus.get_mut(index) {
            *vcpu = VcpuPower::Off;
        }
        self.vcpus.iter().any(|&vcpu| vcpu != VcpuPower::Off)
    }

    /// Asks for the VM to stop. Returns whether it was running; of several requests the first one
    /// counts.
    pub fn stop(&mut self, after: After) -> bool {
        let running = self.life == Life::Running;
        if running {
            self.life = Life::Stopping(after);
        }
        running
    }

    /// A CPU has let go of a vCPU of a VM that is to stop. Returns whether it was the last one.
    pub fn let_go(&mut self, index: usize) -> bool {
        let Life::Stopping(after) = self.life else {
            return false;
        };
        let last = !self.cpu_off(index);
        if last {
            self.life = Life::Ending(after);
        }
        last
    }

    /// What comes after a VM that has no vCPU in a CPU any more, while it is being torn down.
    #[must_use]
    pub fn ending(&self) -> Option<After> {
        match self.life {
            Life::Ending(after) => Some(after),
            _ => None,
        }
    }

    /// The VM was torn down.
    pub fn torn_down(&mut self) {
        self.life = Life::Off;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry {
        pc: 0x4000_0000,
        argument: 7,
    };

    fn running(vcpus: usize) -> Power {
        let mut power = Power::new(vcpus);
        assert!(power.ask_for_start());
        power.started(ENTRY);
        assert_eq!(power.take_start(0), Some(ENTRY));
        power
    }

    #[test]
    fn a_vm_starts_with_its_first_vcpu_once() {
        let mut power = Power::new(2);
        assert!(power.ask_for_start());
        assert!(!power.ask_for_start(), "it is starting already");
        assert_eq!(power.take_start(0), None, "its memory is not filled yet");
        power.started(ENTRY);
        assert_eq!(power.take_start(1), None);
        assert_eq!(power.take_start(0), Some(ENTRY));
        assert_eq!(power.take_start(0), None, "it runs");
        assert!(!power.ask_for_start());
    }

    #[test]
    fn vcpus_are_turned_on_and_off() {
        let mut power = running(2);
        assert_eq!(power.cpu_on(2, ENTRY), Err(CpuOnError::NoSuchVcpu));
        assert_eq!(power.cpu_on(0, ENTRY), Err(CpuOnError::AlreadyOn));
        assert_eq!(power.cpu_on(1, ENTRY), Ok(()));
        assert_eq!(power.cpu_on(1, ENTRY), Err(CpuOnError::OnPending));
        assert_eq!(power.take_start(1), Some(ENTRY));
        assert!(power.cpu_off(1));
        assert_eq!(power.vcpu(1), Some(VcpuPower::Off));
        assert_eq!(power.cpu_on(1, ENTRY), Ok(()));
    }

    #[test]
    fn the_last_vcpu_to_be_off_says_so() {
        let mut power = running(2);
        assert!(!power.cpu_off(0));
    }

    #[test]
    fn a_vm_stops_when_the_last_cpu_lets_go() {
        let mut power = running(2);
        power.cpu_on(1, ENTRY).unwrap();
        power.take_start(1);
        assert!(power.stop(After::Restart));
        assert!(!power.stop(After::Off), "the first request counts");
        assert!(!power.let_go(1));
        assert!(!power.let_go(1), "the same CPU looks again");
        assert_eq!(power.ending(), None);
        assert!(power.let_go(0));
        assert_eq!(power.ending(), Some(After::Restart));
        assert!(!power.let_go(0), "it is the last one once");
        assert!(!power.ask_for_start(), "not before it was torn down");
        power.torn_down();
        assert_eq!(power.ending(), None);
        assert!(power.ask_for_start());
    }

    #[test]
    fn a_vcpu_that_never_started_does_not_hold_up_the_stop() {
        let mut power = running(2);
        power.cpu_on(1, ENTRY).unwrap();
        power.stop(After::Off);
        assert_eq!(power.take_start(1), None, "it must not start any more");
        assert!(!power.let_go(0));
        assert!(power.let_go(1));
        assert_eq!(power.ending(), Some(After::Off));
    }

    #[test]
    fn a_cpu_that_is_late_does_not_disturb_the_next_life() {
        let mut power = running(2);
        power.stop(After::Restart);
        power.let_go(0);
        power.torn_down();
        power.ask_for_start();
        power.started(ENTRY);
        assert!(!power.let_go(0));
        assert_eq!(power.take_start(0), Some(ENTRY));
    }
}
