//! What the machine's device tree says: the machine itself and the guests to run on it.
//!
//! `docs/device-tree.md` is the binding. The host tool has checked all of it before; here it is
//! checked again, because everything else builds on it.

pub mod error;
mod guest;
mod interrupt;
mod node;
pub mod pci;
pub mod policy;
pub mod range;
pub mod vm;

use alloc::vec::Vec;
use dtoolkit::fdt::Fdt;

use addresses::Pa;
use host_abi::binding::{LogLevel, SEED_SIZE, property};
use log::LevelFilter;

use error::{DescriptionError, Problem};
use node::DescribedNode;
use pci::PciHost;
use range::Range;
use vm::VmDescription;

/// Bytes of a physical redistributor: two frames of 64 KiB (IHI0069H, "GIC Redistributor register
/// map").
const REDISTRIBUTOR_SIZE: u64 = 0x2_0000;
/// Aff3 and Aff2 to Aff0 in MPIDR_EL1, and in the `reg` of a CPU's node.
const AFFINITY_MASK: u64 = 0xff_00ff_ffff;

/// The machine and its guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Memory, with what is in use already.
    pub memory: Vec<Range>,
    /// What of the memory the firmware keeps for itself.
    pub reserved: Vec<Range>,
    /// The affinity of each CPU (Aff3 and Aff2 to Aff0 as in MPIDR_EL1), in the order of /cpus.
    pub cpus: Vec<u64>,
    /// The GICv3's distributor.
    pub gicd: Pa,
    /// The GICv3's redistributors, at least one for each CPU.
    pub gicr: Range,
    /// The PL011 that is the console.
    pub uart: Pa,
    /// Its interrupt, if it has one of its own.
    pub uart_interrupt: Option<u32>,
    /// The PL031 that is the real-time clock, if there is one.
    pub clock: Option<Pa>,
    /// The interrupt by which the TEE says that it has notifications for guests, if it has one.
    pub tee_interrupt: Option<u32>,
    /// The PCIe host bridge, where guests have functions.
    pub pci: Option<PciHost>,
    /// What is logged.
    pub log_level: LevelFilter,
    /// Whether memory that is not in use is all zeros, so that it need not be cleared for a guest's
    /// first start.
    pub memory_is_zero: bool,
    /// Randomness that the boot loader left for us, if it did.
    pub seed: Option<[u8; SEED_SIZE]>,
    /// The guests, in the order of the tree; at least one.
    pub guests: Vec<VmDescription>,
}

/// Reads the tree at the start of `dtb`; `hypervisor` is where the hypervisor itself lies.
///
/// # Errors
///
/// Which node, and mostly which property of it, is missing, malformed or does not fit.
pub fn parse(dtb: &[u8], hypervisor: Range) -> Result<Machine, DescriptionError> {
    let fdt = tree(dtb)?;
    let root = DescribedNode::root(fdt);
    let cpus = cpus(&root)?;
    let memory = memory(&root)?;
    let (gicd, gicr) = interrupt_controller(&root, cpus.len())?;
    let chosen = root.required_child("chosen")?;
    let surroundings = guest::Surroundings {
        memory: &memory,
        hypervisor,
        cpus: cpus.len(),
    };
    let mut guests = guest::guests(&chosen, &surroundings)?;
    let pci = if guests.iter().all(|guest| guest.pci.is_empty()) {
        None
    } else {
        let host = pci::host(&root)?;
        guest::find_lines(&chosen, &mut guests, &host)?;
        Some(host)
    };
    let uart = uart(&root).ok_or_else(|| root.without("an enabled arm,pl011"))?;
    Ok(Machine {
        reserved: reserved(fdt, &root)?,
        uart: uart.first_address().map(Pa)?,
        uart_interrupt: shared_interrupt(&uart)?,
        clock: clock(&root)?,
        tee_interrupt: tee_interrupt(&root)?,
        pci,
        log_level: log_level(&chosen)?,
        memory_is_zero: chosen.has(property::MEMORY_IS_ZERO),
        seed: seed(&chosen),
        memory,
        cpus,
        gicd,
        gicr,
        guests,
    })
}

/// The first bytes of /chosen's `rng-seed`; one that is shorter does not count.
fn seed(chosen: &DescribedNode<'_>) -> Option<[u8; SEED_SIZE]> {
    chosen.bytes(property::RNG_SEED)?.first_chunk().copied()
}

/// The PL011 that is the console, also where the rest of the tree at the start of `dtb` can't be
/// used.
#[must_use]
pub fn console(dtb: &[u8]) -> Option<Pa> {
    let uart = uart(&DescribedNode::root(tree(dtb).ok()?))?;
    uart.first_address().ok().map(Pa)
}

/// The tree at the start of `dtb`, which may be longer.
fn tree(dtb: &[u8]) -> Result<Fdt<'_>, DescriptionError> {
    // Header of a flattened tree: magic, then the size of all, both big-endian (Devicetree
    // Specification 0.4, §5.2).
    let size = dtb
        .get(4..8)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes);
    let dtb = dtb.get(..size as usize).unwrap_or(dtb);
    Fdt::new(dtb).map_err(DescriptionError::from)
}

fn cpus(root: &DescribedNode<'_>) -> Result<Vec<u64>, DescriptionError> {
    let cpus = root.required_child("cpus")?;
    let mut affinities = Vec::new();
    for cpu in cpus.children().filter(|node| node.is_called("cpu")) {
        if cpu.is_enabled() {
            let affinity = cpu.first_address()? & AFFINITY_MASK;
            if affinities.contains(&affinity) {
                return Err(cpu.error("reg", Problem::Duplicate));
            }
            affinities.push(affinity);
        }
    }
    if affinities.is_empty() {
        return Err(cpus.without("a CPU"));
    }
    Ok(affinities)
}

fn memory(root: &DescribedNode<'_>) -> Result<Vec<Range>, DescriptionError> {
    let mut memory = Vec::new();
    for node in root.children() {
        if node.text("device_type")? == Some("memory") && node.is_enabled() {
            memory.extend(node.ranges()?);
        }
    }
    if memory.is_empty() {
        return Err(root.without("memory"));
    }
    Ok(memory)
}

fn reserved(fdt: Fdt<'_>, root: &DescribedNode<'_>) -> Result<Vec<Range>, DescriptionError> {
    let mut reserved: Vec<_> = fdt
        .memory_reservations()
        .map(|reservation| Range {
            start: Pa(reservation.address()),
            len: reservation.size(),
        })
        .collect();
    if let Some(node) = root.child("reserved-memory") {
        for child in node.children() {
            // Without `reg` it asks for memory anywhere, which nobody here gives it.
            if child.has("reg") {
                reserved.extend(child.ranges()?);
            }
        }
    }
    Ok(reserved)
}

/// The distributor and the redistributors.
fn interrupt_controller(
    root: &DescribedNode<'_>,
    cpus: usize,
) -> Result<(Pa, Range), DescriptionError> {
    let node = root
        .children()
        .find(|node| node.is_compatible("arm,gic-v3"))
        .ok_or_else(|| root.without("an arm,gic-v3"))?;
    let frames = node.ranges()?;
    let [distributor, redistributors, ..] = frames.as_slice() else {
        return Err(node.error("reg", Problem::Malformed));
    };
    if node.number("#redistributor-regions")?.unwrap_or(1) != 1 {
        return Err(node.error("#redistributor-regions", Problem::SeveralRegions));
    }
    if redistributors.len / REDISTRIBUTOR_SIZE < cpus as u64 {
        return Err(node.error("reg", Problem::TooFewRedistributors { cpus }));
    }
    Ok((distributor.start, *redistributors))
}

/// The PL011 that `stdout-path` names, else the first one that is not the secure world's.
fn uart<'a>(root: &DescribedNode<'a>) -> Option<DescribedNode<'a>> {
    let usable = |node: &DescribedNode<'_>| node.is_compatible("arm,pl011") && node.is_enabled();
    let named = root
        .child("chosen")
        .and_then(|chosen| chosen.text("stdout-path").ok().flatten())
        .and_then(|path| root.find(path.split(':').next()?))
        .filter(usable);
    named.or_else(|| root.children().find(usable))
}

/// The first PL031 that is not the secure world's.
fn clock(root: &DescribedNode<'_>) -> Result<Option<Pa>, DescriptionError> {
    let usable = |node: &DescribedNode<'_>| node.is_compatible("arm,pl031") && node.is_enabled();
    let clock = root.children().find(usable);
    clock.map(|clock| clock.first_address().map(Pa)).transpose()
}

/// The INTID of a node's only interrupt, if that is an SPI.
fn shared_interrupt(node: &DescribedNode<'_>) -> Result<Option<u32>, DescriptionError> {
    let interrupts = node.numbers("interrupts")?.unwrap_or_default();
    Ok(interrupts.as_array().and_then(interrupt::spi))
}

/// The interrupt in the node that OP-TEE adds at boot (`add_optee_dt_node`,
/// `core/arch/arm/kernel/boot.c`, OP-TEE 4.5.0; Linux 6.12,
/// Documentation/devicetree/bindings/arm/firmware/linaro,optee-tz.yaml).
fn tee_interrupt(root: &DescribedNode<'_>) -> Result<Option<u32>, DescriptionError> {
    let firmware = root.child("firmware");
    match firmware.and_then(|firmware| firmware.child("optee")) {
        Some(optee) if optee.is_compatible("linaro,optee-tz") => shared_interrupt(&optee),
        _ => Ok(None),
    }
}

fn log_level(chosen: &DescribedNode<'_>) -> Result<LevelFilter, DescriptionError> {
    let levels = LogLevel::ALL.map(|level| (level.name(), level));
    let level = chosen.one_of(property::LOG_LEVEL, &levels)?;
    Ok(match level.unwrap_or_default() {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    })
}

#[cfg(test)]
mod tests;
