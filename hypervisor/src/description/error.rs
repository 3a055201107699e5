//! Why a device tree can't be used.

use alloc::string::String;
use core::fmt;

use dtoolkit::error::FdtParseError;
use host_abi::binding::{TA_INSTANCES_MAX, property};

use crate::description::policy::PolicyError;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptionError {
    /// The path of the node; empty where there is no tree.
    pub node: String,
    /// The property, where it is one.
    pub property: Option<&'static str>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a node or a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The bytes are no flattened device tree.
    NoTree(FdtParseError),
    /// The node does not have what it needs.
    Without(&'static str),
    /// The property is missing.
    Missing,
    /// The value does not have the form that the binding asks for.
    Malformed,
    /// Another one has the same value.
    Duplicate,
    /// The GIC has its redistributors in several regions.
    SeveralRegions,
    /// The redistributors' region is too small.
    TooFewRedistributors {
        /// How many CPUs there are.
        cpus: usize,
    },
    /// The text is none of those that are known.
    Unknown(String),
    /// No name for a guest.
    Name,
    /// A number outside of what is allowed.
    OutOfRange {
        /// The number.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// Not a positive multiple of 2 MiB.
    MemorySize {
        /// The size in KiB.
        kib: u64,
    },
    /// More memory than the machine has.
    MoreThanThereIs {
        /// The size in KiB.
        kib: u64,
    },
    /// Not one CPU for each vCPU.
    CpusPerVcpu {
        /// How many CPUs are named.
        named: usize,
        /// How many vCPUs there are.
        vcpus: usize,
    },
    /// The machine does not have this CPU.
    NoSuchCpu(u32),
    /// Too many vCPUs for one CPU.
    CpuFull(u32),
    /// A guest has two modules of this kind.
    SecondModule(&'static str),
    /// The address is not a multiple of the page size.
    Misaligned,
    /// It does not lie in the machine's memory.
    OutsideMemory,
    /// It overlaps the hypervisor.
    OverlapsHypervisor,
    /// Kernel and RAM disk have more bytes than the guest's memory.
    LargerThanMemory,
    /// More than the limit for all buffers together.
    MoreThanTotal,
    /// There is a list of what is allowed already.
    BesideTaAllow,
    /// The guests' shares of OP-TEE's identifiers are more than there are, or leave none to others.
    Identifiers {
        /// The sum of the shares that are named.
        named: u32,
        /// How many guests name none.
        others: u32,
    },
    /// Devices behind the host bridge reach memory without an SMMU between.
    NoSmmu,
    /// The root port is given away already.
    PortTaken(u32),
    /// The root port's device has no interrupt line.
    NoLine(u32),
    /// A function of another guest interrupts by the same line.
    LineShared {
        /// The root port.
        port: u32,
        /// The INTID of the line.
        line: u32,
    },
    /// Calls can't be forwarded or denied as it says.
    Policy(PolicyError),
}

impl From<FdtParseError> for DescriptionError {
    fn from(error: FdtParseError) -> Self {
        Self {
            node: String::new(),
            property: None,
            problem: Problem::NoTree(error),
        }
    }
}

impl fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.node.is_empty() {
            write!(f, "{}: ", self.node)?;
        }
        if let Some(property) = self.property {
            write!(f, "{property}: ")?;
        }
        self.problem.fmt(f)
    }
}

impl core::error::Error for DescriptionError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTree(error) => write!(f, "no device tree: {error}"),
            Self::Without(what) => write!(f, "it does not have {what}"),
            Self::Missing => f.write_str("it is missing"),
            Self::Malformed => f.write_str("it is malformed"),
            Self::Duplicate => f.write_str("another one has the same"),
            Self::SeveralRegions => f.write_str("only one region of redistributors is supported"),
            Self::TooFewRedistributors { cpus } => {
                write!(f, "there are not enough redistributors for {cpus} CPUs")
            }
            Self::Unknown(text) => write!(f, "\"{text}\" is not known"),
            Self::Name => f.write_str("this is no name for a guest"),
            Self::OutOfRange { value, min, max } => write!(f, "{value} is not in {min} to {max}"),
            Self::MemorySize { kib } => write!(f, "{kib} KiB is not a positive multiple of 2 MiB"),
            Self::MoreThanThereIs { kib } => {
                write!(f, "{kib} KiB is more than the machine has")
            }
            Self::CpusPerVcpu { named, vcpus } => {
                write!(f, "it names {named} CPUs for {vcpus} vCPUs")
            }
            Self::NoSuchCpu(cpu) => write!(f, "there is no CPU {cpu}"),
            Self::CpuFull(cpu) => write!(f, "too many vCPUs run on CPU {cpu}"),
            Self::SecondModule(kind) => write!(f, "a second module is a {kind}"),
            Self::Misaligned => f.write_str("the address is not a multiple of 4 KiB"),
            Self::OutsideMemory => f.write_str("it does not lie in memory"),
            Self::OverlapsHypervisor => f.write_str("it overlaps the hypervisor"),
            Self::LargerThanMemory => {
                f.write_str("kernel and RAM disk are larger than the guest's memory")
            }
            Self::BesideTaAllow => write!(f, "{} is there, too", property::TA_ALLOW),
            Self::Identifiers { named, others } => write!(
                f,
                "{} is {named} for all guests together, of {TA_INSTANCES_MAX} that OP-TEE has, and {others} guests name none",
                property::TA_INSTANCES_MAX
            ),
            Self::NoSmmu => f.write_str(
                "no SMMUv3 stands between its devices and memory, so that guests can't have them",
            ),
            Self::PortTaken(port) => write!(f, "root port {port} is given away already"),
            Self::NoLine(port) => write!(f, "root port {port} has no interrupt line"),
            Self::LineShared { port, line } => write!(
                f,
                "what is behind root port {port} interrupts by line {line}, as another guest's device does"
            ),
            Self::Policy(error) => error.fmt(f),
            Self::MoreThanTotal => write!(f, "it is more than {} allows", property::SHM_TOTAL_MAX),
        }
    }
}
