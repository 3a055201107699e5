//! What devices of guests tried and the SMMU did not let pass: told for a person, at a limited
//! rate.
//!
//! A guest decides how much there is, so that nobody is interrupted for it more often than a
//! hundred times a second, and a few lines of each guest's a second are written.

use crate::arch::timer;
use crate::console::rate_limit::{Pass, RateLimit};
use crate::drivers::smmuv3::Smmu;
use crate::drivers::smmuv3::event::Event;
use crate::vm::passthrough::FAULTS_TOLD_PER_SECOND;
use crate::vm::virtual_machine::Vm;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;

/// Looks at the SMMU's events a second, at most.
const LOOKS_PER_SECOND: u64 = 100;
/// Events that are taken in one look.
const EVENTS_AT_ONCE: usize = 64;
/// The time of the next look where an interrupt tells of events.
const ON_INTERRUPT: u64 = u64::MAX;

/// The SMMU's events.
pub struct DmaFaults {
    smmu: &'static Smmu,
    /// The INTID by which the SMMU says that there are some.
    pub interrupt: Option<u32>,
    next_look: AtomicU64,
    /// What is told of streams that are nobody's.
    nobodys: Mutex<RateLimit>,
}

impl DmaFaults {
    /// Those of `smmu`.
    #[must_use]
    pub fn new(smmu: &'static Smmu, interrupt: Option<u32>) -> Self {
        Self {
            smmu,
            interrupt,
            next_look: AtomicU64::new(ON_INTERRUPT),
            nobodys: Mutex::new(RateLimit::new(FAULTS_TOLD_PER_SECOND, timer::frequency())),
        }
    }

    /// The SMMU says that there are events.
    pub fn come(&self) {
        self.smmu.set_event_interrupt(false);
        self.next_look.store(timer::now(), Ordering::Relaxed);
    }

    /// When there is something to do, if there is.
    pub fn resume_at(&self) -> Option<u64> {
        Some(self.next_look.load(Ordering::Relaxed)).filter(|&time| time != ON_INTERRUPT)
    }

    /// Looks at the events, if it is time to. For one CPU.
    pub fn go_on(&self, vms: &[&'static Vm]) {
        let now = timer::now();
        if self.resume_at().is_none_or(|time| now < time) {
            return;
        }
        let mut taken = 0;
        while taken < EVENTS_AT_ONCE
            && let Some((event, lost)) = self.smmu.take_event()
        {
            taken += 1;
            self.tell(vms, event, lost, now);
        }
        let mut next_look = now + timer::frequency() / LOOKS_PER_SECOND;
        if taken == 0 {
            self.smmu.set_event_interrupt(true);
            // One that came just before raises no interrupt any more.
            if self.smmu.has_events() {
                self.smmu.set_event_interrupt(false);
            } else {
                next_look = ON_INTERRUPT;
            }
        }
        self.next_look.store(next_look, Ordering::Relaxed);
    }

    fn tell(&self, vms: &[&'static Vm], event: Event, lost: bool, now: u64) {
        let more = if lost { "; others were lost" } else { "" };
        let owner = vms.iter().find_map(|vm| {
            let devices = vm.devices.as_ref()?;
            Some((vm, devices, devices.device(event.stream)?))
        });
        let Some((vm, devices, device)) = owner else {
            if matches!(self.nobodys.lock().event(now), Pass::Yes { .. }) {
                let stream = event.stream;
                log::warn!("a device that is nobody's (stream {stream:#x}): {event}{more}");
            }
            return;
        };
        let Pass::Yes { held_back } = devices.note_fault(now) else {
            return;
        };
        let name = vm.name();
        match held_back {
            0 => log::warn!("{name}: device {device} was held up: {event}{more}"),
            n => log::warn!(
                "{name}: device {device} was held up: {event}{more} ({n} lines of this kind left out)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
