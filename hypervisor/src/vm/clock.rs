//! The time of day: the machine's, and the clock that each VM has of it.

use crate::arch::timer;
use crate::devices::bus::{Access, Load, MmioDevice};
use crate::devices::gicv3::kicks::Kicks;
use crate::devices::pl031::VirtualPl031;
use spin::{Mutex, Once};

/// What the machine's clock told, less the time since the first CPU arrived.
static AT_ENTRY: Once<u32> = Once::new();

/// Takes the time that the machine's clock tells, in seconds since 1 January 1970. Without it no VM
/// has a clock.
pub fn init(now: u32) {
    AT_ENTRY.call_once(|| now.wrapping_sub(since_entry()));
}

/// Whether the machine has a clock.
#[must_use]
pub fn is_there() -> bool {
    AT_ENTRY.get().is_some()
}

/// The machine's time, of which the counter says how it goes on: nobody reads its clock again.
fn now() -> u32 {
    let at_entry = AT_ENTRY.get().copied().unwrap_or(0);
    at_entry.wrapping_add(since_entry())
}

fn since_entry() -> u32 {
    timer::since_entered().as_secs() as u32
}

/// The clock of a VM.
#[derive(Debug, Default)]
pub struct VmClock(Mutex<VirtualPl031>);

impl VmClock {
    /// Another life begins with the machine's time.
    pub fn reset(&self) {
        *self.0.lock() = VirtualPl031::default();
    }
}

impl MmioDevice for VmClock {
    fn load(&self, access: Access) -> Load {
        Load::of(u64::from(self.0.lock().read(access.offset, now())))
    }

    fn store(&self, access: Access, value: u64) -> Kicks {
        self.0.lock().write(access.offset, value as u32, now());
        Kicks::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_sets_its_own_clock_until_its_life_ends() {
        let [clock, other] = [(); 2].map(|()| VmClock::default());
        let at = |offset| Access {
            vcpu: 0,
            offset,
            bytes: 4,
        };
        let time = |clock: &VmClock| clock.load(at(0)).value;
        let before = time(&other);
        assert_eq!(clock.store(at(8), 1 << 31), Kicks::NONE);
        assert_eq!(time(&clock).map(|seconds| seconds >> 4), Some(1 << 27));
        assert_eq!(
            time(&other).map(|seconds| seconds >> 31),
            before.map(|seconds| seconds >> 31)
        );
        clock.reset();
        assert_eq!(
            time(&clock).map(|seconds| seconds >> 31),
            before.map(|seconds| seconds >> 31)
        );
    }
}
