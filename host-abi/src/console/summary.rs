//! What a guest has, and where it is in its life.

use core::fmt;

use super::scanner::Scanner;
use crate::binding::{MAX_VCPUS, TeeChoice};

/// Where a guest is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestState {
    /// It is off.
    Off,
    /// It was asked to start.
    Starting,
    /// It is on.
    Running,
    /// It was asked to stop, or what it had is being taken back.
    Stopping,
}

impl GuestState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Off, Self::Starting, Self::Running, Self::Stopping];

    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
        }
    }

    pub(super) fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        line.one_of(Self::ALL, |state| state.name())
    }
}

impl fmt::Display for GuestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a guest has: `512 MiB, 2 vCPUs on CPUs 0,1, tee optee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its memory in MiB.
    pub mib: u64,
    /// For each vCPU the physical CPU that it runs on.
    pub cpus: CpuList,
    /// Its TEE.
    pub tee: TeeChoice,
}

impl Summary {
    pub(super) fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        let mib = line.number()?;
        line.literal(" MiB, ")?;
        let vcpus: usize = line.number()?;
        line.literal(" vCPUs on CPUs ")?;
        let cpus = CpuList::scan(line)?;
        (cpus.as_slice().len() == vcpus).then_some(())?;
        line.literal(", tee ")?;
        let tee = line.one_of(TeeChoice::ALL, |tee| tee.name())?;
        Some(Self { mib, cpus, tee })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mib, cpus, tee } = self;
        let vcpus = cpus.as_slice().len();
        write!(f, "{mib} MiB, {vcpus} vCPUs on CPUs {cpus}, tee {tee}")
    }
}

/// The numbers of the physical CPUs of a guest's vCPUs, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuList {
    cpus: [u32; MAX_VCPUS],
    len: usize,
}

/// There are more than [`MAX_VCPUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyCpus;

impl CpuList {
    /// Adds the CPU of the next vCPU.
    ///
    /// # Errors
    ///
    /// A guest does not have so many vCPUs.
    pub fn push(&mut self, cpu: u32) -> Result<(), TooManyCpus> {
        *self.cpus.get_mut(self.len).ok_or(TooManyCpus)? = cpu;
        self.len += 1;
        Ok(())
    }

    fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        let mut cpus = Self::default();
        cpus.push(line.number()?).ok()?;
        // Another comma and a space stand behind the list.
        let mut ahead = *line;
        while let Some(cpu) = ahead.literal(",").and_then(|()| ahead.number()) {
            cpus.push(cpu).ok()?;
            *line = ahead;
        }
        Some(cpus)
    }

    /// The numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        self.cpus.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, cpu) in self.as_slice().iter().enumerate() {
            let separator = if n == 0 { "" } else { "," };
            write!(f, "{separator}{cpu}")?;
        }
        Ok(())
    }
}
