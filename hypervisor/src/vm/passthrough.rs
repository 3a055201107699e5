//! The devices of the machine that are a VM's: PCIe functions behind the SMMU.
//!
//! A life of the VM finds them as after power-on, and they reach the VM's memory and nothing else.
//! When it ends they access nothing any more before anybody else touches the memory: they are told
//! to be quiet, held in reset, and then the SMMU forgets what they could reach.

use crate::arch::timer;
use crate::console::rate_limit::{Pass, RateLimit};
use crate::devices::pci::VirtualHostBridge;
use crate::devices::pci::function::{FunctionControl, VirtualBar, VirtualFunction};
use crate::drivers::gicv3;
use crate::drivers::pcie::function::{Function, MemoryBar};
use crate::drivers::smmuv3::{Smmu, SmmuError};
use crate::mm::dma::DmaTables;
use addresses::Ipa;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use spin::Mutex;

/// How long a function is held in reset (PCI Express Base Specification 6.0, 6.6.1: 1 ms), and how
/// long it is let alone then (100 ms).
const RESETS_PER_SECOND: u64 = 1000;
const SETTLINGS_PER_SECOND: u64 = 10;
/// How long it may take until it answers: a second.
const PATIENCE_SECONDS: u64 = 1;
/// Lines a second about what the SMMU did not let pass, for each VM.
pub(super) const FAULTS_TOLD_PER_SECOND: u32 = 4;

/// A function of the machine, and which stream the SMMU knows it by.
pub struct PassedFunction {
    /// The function.
    pub function: Function,
    /// Its stream.
    pub stream: u32,
    /// Where the VM finds its BARs, in the order of [`Function::bars`].
    pub bars: Vec<Ipa>,
}

impl PassedFunction {
    /// Its BARs, with the place that each has for the VM.
    pub fn bars(&self) -> impl Iterator<Item = (&MemoryBar, Ipa)> {
        self.function.bars().iter().zip(self.bars.iter().copied())
    }
}

impl FunctionControl for PassedFunction {
    fn set_command(&self, bus_master: bool, line: bool) {
        self.function.set_command(bus_master, line);
    }

    fn has_interrupt(&self) -> bool {
        self.function.has_interrupt()
    }
}

/// Why a VM does not get its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHandedOver {
    /// This one did not come back from its reset.
    Gone(usize),
    /// The SMMU does not let it reach the VM's memory.
    Smmu(SmmuError),
}

impl fmt::Display for NotHandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(device) => write!(f, "its device {device} does not answer after its reset"),
            Self::Smmu(error) => error.fmt(f),
        }
    }
}

/// A line of the machine's that functions of the VM interrupt by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The INTID of the machine.
    pub physical: u32,
    /// The INTID that the VM sees.
    pub intid: u32,
}

/// Where the functions are in their reset. Times are values of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reset {
    /// The VM has them.
    No,
    /// They are held in reset since then.
    Held(u64),
    /// They were let go then.
    LetGo(u64),
}

/// The devices of a VM.
pub struct Passthrough {
    functions: Vec<(Arc<PassedFunction>, Arc<VirtualFunction>)>,
    lines: Vec<Line>,
    smmu: &'static Smmu,
    tables: DmaTables,
    reset: Mutex<Reset>,
    /// What is told of what the SMMU did not let pass.
    told_faults: Mutex<RateLimit>,
}

impl Passthrough {
    /// The devices of a VM whose memory they reach by `tables`. They are held in reset.
    pub fn new(
        functions: Vec<PassedFunction>,
        lines: Vec<Line>,
        smmu: &'static Smmu,
        tables: DmaTables,
    ) -> Self {
        let functions = functions.into_iter().map(|passed| {
            let bars: Vec<_> = passed
                .bars()
                .map(|(bar, ipa)| VirtualBar {
                    number: bar.number,
                    ipa,
                    size: bar.size,
                    kind: bar.kind,
                })
                .collect();
            let words = *passed.function.words();
            let passed = Arc::new(passed);
            let control = Arc::clone(&passed) as Arc<dyn FunctionControl>;
            let seen = Arc::new(VirtualFunction::new(control, &words, &bars));
            (passed, seen)
        });
        let devices = Self {
            functions: functions.collect(),
            lines,
            smmu,
            tables,
            reset: Mutex::new(Reset::LetGo(0)),
            told_faults: Mutex::new(RateLimit::new(FAULTS_TOLD_PER_SECOND, timer::frequency())),
        };
        devices.begin_reset();
        devices
    }

    /// The host bridge by which the VM finds them.
    pub fn host_bridge(&self) -> VirtualHostBridge {
        let seen = self.functions.iter().map(|(_, seen)| Arc::clone(seen));
        VirtualHostBridge::new(seen.collect())
    }

    /// The lines that they interrupt by.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The VM's INTID for a line of the machine, if it is one of the VM's.
    pub fn intid(&self, physical: u32) -> Option<u32> {
        let mut lines = self.lines.iter();
        let line = lines.find(|line| line.physical == physical)?;
        Some(line.intid)
    }

    /// Which of them the SMMU knows as `stream`: its device number for the VM.
    pub fn device(&self, stream: u32) -> Option<usize> {
        let mut functions = self.functions.iter();
        functions.position(|(passed, _)| passed.stream == stream)
    }

    /// The SMMU did not let something of theirs pass; whether that is told.
    pub fn note_fault(&self, now: u64) -> Pass {
        self.told_faults.lock().event(now)
    }

    /// Takes them from the VM, unless that is done: when it returns they reach no memory.
    ///
    /// # Errors
    ///
    /// The SMMU does not answer: what they reach is still the VM's memory, and they are in reset.
    pub fn take_away(&self) -> Result<(), SmmuError> {
        if *self.reset.lock() != Reset::No {
            return Ok(());
        }
        for line in &self.lines {
            gicv3::set_guest_spi(line.physical, false);
        }
        self.begin_reset();
        let tag = self.tables.translation().tag;
        // Each of them, also where the SMMU did not answer for one before.
        let detach = |(passed, _): &(Arc<PassedFunction>, _)| self.smmu.detach(passed.stream, tag);
        self.functions.iter().map(detach).fold(Ok(()), Result::and)
    }

    fn begin_reset(&self) {
        for (passed, _) in &self.functions {
            passed.function.begin_reset();
        }
        *self.reset.lock() = Reset::Held(timer::now());
    }

    /// Goes on with their reset; says whether they are ready to be [handed over](Self::hand_over),
    /// or have taken too long for that.
    pub fn is_reset(&self) -> bool {
        let mut reset = self.reset.lock();
        let (now, second) = (timer::now(), timer::frequency());
        match *reset {
            Reset::No => true,
            Reset::Held(since) => {
                if now.wrapping_sub(since) > second / RESETS_PER_SECOND {
                    for (passed, _) in &self.functions {
                        passed.function.end_reset();
                    }
                    *reset = Reset::LetGo(now);
                }
                false
            }
            Reset::LetGo(since) => {
                let waited = now.wrapping_sub(since);
                let are_there = || self.functions.iter().all(|(it, _)| it.function.is_there());
                waited > second * PATIENCE_SECONDS
                    || waited > second / SETTLINGS_PER_SECOND && are_there()
            }
        }
    }

    /// Gives them to the VM for a life, after they [were reset](Self::is_reset).
    ///
    /// # Errors
    ///
    /// One of them is gone, or the SMMU does not answer. Some of them may be the VM's by then: they
    /// are to be [taken away](Self::take_away).
    pub fn hand_over(&self) -> Result<(), NotHandedOver> {
        *self.reset.lock() = Reset::No;
        for (n, (passed, seen)) in self.functions.iter().enumerate() {
            if !passed.function.is_there() {
                return Err(NotHandedOver::Gone(n));
            }
            passed.function.set_up();
            seen.reset();
            let attached = self.smmu.attach(passed.stream, &self.tables.translation());
            attached.map_err(NotHandedOver::Smmu)?;
            passed.function.set_command(false, true);
        }
        for line in &self.lines {
            gicv3::set_guest_spi(line.physical, true);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(in crate::vm) mod tests;
