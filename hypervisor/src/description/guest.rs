//! A guest's node below /chosen.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use core::num::NonZeroU32;

use host_abi::binding::{
    self, MAX_GUESTS, MAX_VCPUS, MAX_VCPUS_PER_CPU, PCI_DEVICES, PCI_FUNCTIONS_MAX,
    SHM_BUFFERS_MAX, SHM_BYTES_MAX, SHM_BYTES_MIN, TA_INSTANCES_MAX, TAS_MAX, TeeChoice, UUID_SIZE,
    property,
};
use host_abi::memory_map::BLOCK_SIZE;
use mediator::optee::IDENTIFIERS;
use mediator::ta_access::{TaAccess, TaList, Uuid};

use crate::description::error::{DescriptionError, Problem};
use crate::description::node::DescribedNode;
use crate::description::pci::PciHost;
use crate::description::policy::CallPolicy;
use crate::description::range::Range;
use crate::description::vm::{Module, PciFunction, ShmLimits, VmDescription};
use smccc::{Conduit, IdRange};

const _: () = assert!(
    TA_INSTANCES_MAX == IDENTIFIERS,
    "the binding promises as many as there are"
);

/// What a guest has to fit into.
pub(super) struct Surroundings<'a> {
    pub(super) memory: &'a [Range],
    pub(super) hypervisor: Range,
    pub(super) cpus: usize,
}

/// All guests.
pub(super) fn guests(
    chosen: &DescribedNode<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<VmDescription>, DescriptionError> {
    let mut guests: Vec<VmDescription> = Vec::new();
    let mut vcpus_on = vec![0; surroundings.cpus];
    for node in chosen.children() {
        if !node.is_compatible(binding::GUEST) {
            continue;
        }
        let guest = guest(&node, surroundings)?;
        if guests.iter().any(|other| other.name == guest.name) {
            return Err(node.broken(Problem::Duplicate));
        }
        for &cpu in &guest.vcpu_cpus {
            vcpus_on[cpu] += 1;
            if vcpus_on[cpu] > MAX_VCPUS_PER_CPU {
                return Err(node.error(property::VCPU_CPUS, Problem::CpuFull(cpu as u32)));
            }
        }
        guests.push(guest);
    }
    share_identifiers(chosen, &mut guests)?;
    if guests.is_empty() {
        return Err(chosen.without("a guest"));
    }
    if guests.len() > MAX_GUESTS {
        let (value, max) = (guests.len() as u64, MAX_GUESTS as u64);
        return Err(chosen.broken(Problem::OutOfRange { value, min: 1, max }));
    }
    Ok(guests)
}

fn guest(
    node: &DescribedNode<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<VmDescription, DescriptionError> {
    let name = name(node)?;
    let memory = memory(node, surroundings)?;
    let vcpu_cpus = vcpu_cpus(node, surroundings.cpus)?;
    if !node.has(property::VPL011) {
        return Err(node.error(property::VPL011, Problem::Missing));
    }
    let tees = TeeChoice::ALL.map(|tee| (tee.name(), tee));
    let tee = node.required(property::TEE, node.one_of(property::TEE, &tees)?)?;
    let conduits = Conduit::ALL.map(|conduit| (conduit.name(), conduit));
    let conduit = node.one_of(property::TEE_CONDUIT, &conduits)?;
    let modules = Modules::of(node, surroundings)?;

    let ramdisk_len = modules.ramdisk.map_or(0, |module| module.len);
    let fits = modules.kernel.len.checked_add(ramdisk_len);
    if fits.is_none_or(|len| len > memory) {
        return Err(node.error(property::MEMORY, Problem::LargerThanMemory));
    }
    Ok(VmDescription {
        name,
        memory,
        vcpu_cpus,
        kernel: modules.kernel,
        ramdisk: modules.ramdisk,
        bootargs: modules.bootargs,
        tee,
        conduit: conduit.unwrap_or(Conduit::Smc),
        ta_access: ta_access(node)?,
        ta_instances_max: ta_instances_max(node)?,
        tee_calls_per_second: tee_calls_per_second(node)?,
        shm_limits: shm_limits(node)?,
        policy: policy(node)?,
        pci: pci(node)?,
    })
}

/// The functions, whose lines are [found](find_lines) later.
fn pci(node: &DescribedNode<'_>) -> Result<Vec<PciFunction>, DescriptionError> {
    let ports = node.numbers(property::PCI_ROOT_PORTS)?.unwrap_or_default();
    let (count, max) = (ports.len() as u64, PCI_FUNCTIONS_MAX as u64);
    within(node, property::PCI_ROOT_PORTS, count, 0, max)?;
    let mut functions = Vec::new();
    for port in ports {
        let last = u64::from(PCI_DEVICES - 1);
        within(node, property::PCI_ROOT_PORTS, u64::from(port), 0, last)?;
        functions.push(PciFunction {
            port: port as u8,
            line: 0,
        });
    }
    Ok(functions)
}

/// Finds the lines of all guests' functions. A port is one guest's, and so is a line.
pub(super) fn find_lines(
    chosen: &DescribedNode<'_>,
    guests: &mut [VmDescription],
    host: &PciHost,
) -> Result<(), DescriptionError> {
    let mut found: Vec<(usize, PciFunction)> = Vec::new();
    for (number, guest) in guests.iter_mut().enumerate() {
        let refuse = |problem| {
            let node = chosen.child(&guest.name);
            let error = node.map(|node| node.error(property::PCI_ROOT_PORTS, problem));
            Err(error.unwrap_or_else(|| chosen.without("a guest")))
        };
        for function in &mut guest.pci {
            let port = u32::from(function.port);
            if found.iter().any(|(_, other)| other.port == function.port) {
                return refuse(Problem::PortTaken(port));
            }
            // The first pin of what is behind a port is the port's first pin (PCI-to-PCI Bridge
            // Architecture 1.2, 9.1).
            let Some(line) = host.line(function.port, 1) else {
                return refuse(Problem::NoLine(port));
            };
            let shares =
                |(other, known): &(usize, PciFunction)| *other != number && known.line == line;
            if found.iter().any(shares) {
                return refuse(Problem::LineShared { port, line });
            }
            function.line = line;
            found.push((number, *function));
        }
    }
    Ok(())
}

fn name(node: &DescribedNode<'_>) -> Result<String, DescriptionError> {
    let name = node.name();
    if binding::is_guest_name(name) {
        Ok(name.to_owned())
    } else {
        Err(node.broken(Problem::Name))
    }
}

fn memory(
    node: &DescribedNode<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<u64, DescriptionError> {
    let kib = node.required(property::MEMORY, node.long_number(property::MEMORY)?)?;
    let bytes = kib
        .checked_mul(1024)
        .filter(|&bytes| bytes > 0 && bytes.is_multiple_of(BLOCK_SIZE))
        .ok_or_else(|| node.error(property::MEMORY, Problem::MemorySize { kib }))?;
    let lens = surroundings.memory.iter().map(|range| range.len);
    if bytes > lens.fold(0, u64::saturating_add) {
        return Err(node.error(property::MEMORY, Problem::MoreThanThereIs { kib }));
    }
    Ok(bytes)
}

fn vcpu_cpus(
    node: &DescribedNode<'_>,
    physical_cpus: usize,
) -> Result<Vec<usize>, DescriptionError> {
    let vcpus = node.required(property::CPUS, node.number(property::CPUS)?)?;
    within(node, property::CPUS, u64::from(vcpus), 1, MAX_VCPUS as u64)?;
    let vcpus = vcpus as usize;
    let cpus = node.required(property::VCPU_CPUS, node.numbers(property::VCPU_CPUS)?)?;
    if cpus.len() != vcpus {
        let named = cpus.len();
        return Err(node.error(property::VCPU_CPUS, Problem::CpusPerVcpu { named, vcpus }));
    }
    if let Some(&cpu) = cpus.iter().find(|&&cpu| cpu as usize >= physical_cpus) {
        return Err(node.error(property::VCPU_CPUS, Problem::NoSuchCpu(cpu)));
    }
    Ok(cpus.into_iter().map(|cpu| cpu as usize).collect())
}

fn shm_limits(node: &DescribedNode<'_>) -> Result<ShmLimits, DescriptionError> {
    let default = ShmLimits::default();
    let bytes = |property, default| -> Result<u64, DescriptionError> {
        let value = node.long_number(property)?.unwrap_or(default);
        within(node, property, value, SHM_BYTES_MIN, SHM_BYTES_MAX)?;
        Ok(value)
    };
    let limits = ShmLimits {
        buffer_bytes_max: bytes(property::SHM_BUFFER_MAX, default.buffer_bytes_max)?,
        buffers_max: node
            .number(property::SHM_BUFFERS_MAX)?
            .unwrap_or(default.buffers_max),
        total_bytes_max: bytes(property::SHM_TOTAL_MAX, default.total_bytes_max)?,
    };
    let buffers = u64::from(limits.buffers_max);
    within(
        node,
        property::SHM_BUFFERS_MAX,
        buffers,
        1,
        u64::from(SHM_BUFFERS_MAX),
    )?;
    if limits.buffer_bytes_max > limits.total_bytes_max {
        return Err(node.error(property::SHM_BUFFER_MAX, Problem::MoreThanTotal));
    }
    Ok(limits)
}

fn ta_access(node: &DescribedNode<'_>) -> Result<TaAccess, DescriptionError> {
    match (
        ta_list(node, property::TA_ALLOW)?,
        ta_list(node, property::TA_DENY)?,
    ) {
        (None, None) => Ok(TaAccess::usual()),
        (Some(allowed), None) => Ok(TaAccess::Only(TaList::new(allowed))),
        (None, Some(denied)) => Ok(TaAccess::all_but(denied)),
        (Some(_), Some(_)) => Err(node.error(property::TA_DENY, Problem::BesideTaAllow)),
    }
}

/// UUIDs of 16 bytes each.
fn ta_list(
    node: &DescribedNode<'_>,
    property: &'static str,
) -> Result<Option<Vec<Uuid>>, DescriptionError> {
    let Some(bytes) = node.bytes(property) else {
        return Ok(None);
    };
    let (names, rest) = bytes.as_chunks::<UUID_SIZE>();
    if !rest.is_empty() {
        return Err(node.error(property, Problem::Malformed));
    }
    within(node, property, names.len() as u64, 0, TAS_MAX as u64)?;
    Ok(Some(names.iter().map(|&name| Uuid(name)).collect()))
}

fn tee_calls_per_second(node: &DescribedNode<'_>) -> Result<Option<NonZeroU32>, DescriptionError> {
    let Some(calls) = node.number(property::TEE_CALLS_PER_SECOND)? else {
        return Ok(None);
    };
    let (value, max) = (u64::from(calls), u64::from(u32::MAX));
    within(node, property::TEE_CALLS_PER_SECOND, value, 1, max)?;
    Ok(NonZeroU32::new(calls))
}

fn ta_instances_max(node: &DescribedNode<'_>) -> Result<Option<NonZeroU32>, DescriptionError> {
    let Some(count) = node.number(property::TA_INSTANCES_MAX)? else {
        return Ok(None);
    };
    let (value, max) = (u64::from(count), u64::from(TA_INSTANCES_MAX));
    within(node, property::TA_INSTANCES_MAX, value, 1, max)?;
    Ok(NonZeroU32::new(count))
}

/// Gives each guest that has OP-TEE and names no share of its identifiers an even share of what the
/// others leave.
fn share_identifiers(
    chosen: &DescribedNode<'_>,
    guests: &mut [VmDescription],
) -> Result<(), DescriptionError> {
    let of_tee = |guest: &&mut VmDescription| guest.tee == TeeChoice::Optee;
    let (mut named, mut others) = (0_u32, 0_u32);
    for guest in guests.iter_mut().filter(of_tee) {
        match guest.ta_instances_max {
            Some(count) => named = named.saturating_add(count.get()),
            None => others += 1,
        }
    }
    let left = IDENTIFIERS.checked_sub(named);
    let share = left.map(|left| NonZeroU32::new(left.checked_div(others).unwrap_or(0)));
    match share {
        Some(share @ Some(_)) => {
            for guest in guests.iter_mut().filter(of_tee) {
                guest.ta_instances_max = guest.ta_instances_max.or(share);
            }
            Ok(())
        }
        Some(None) if others == 0 => Ok(()),
        _ => Err(chosen.broken(Problem::Identifiers { named, others })),
    }
}

fn policy(node: &DescribedNode<'_>) -> Result<CallPolicy, DescriptionError> {
    let forward = id_ranges(node, property::SMC_FORWARD)?;
    let deny = id_ranges(node, property::SMC_DENY)?;
    CallPolicy::new(&forward, &deny).map_err(|error| node.broken(Problem::Policy(error)))
}

fn id_ranges(
    node: &DescribedNode<'_>,
    property: &'static str,
) -> Result<Vec<IdRange>, DescriptionError> {
    let numbers = node.numbers(property)?.unwrap_or_default();
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(node.error(property, Problem::Malformed));
    }
    Ok(pairs
        .iter()
        .map(|&[first, last]| IdRange { first, last })
        .collect())
}

fn within(
    node: &DescribedNode<'_>,
    property: &'static str,
    value: u64,
    min: u64,
    max: u64,
) -> Result<(), DescriptionError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(node.error(property, Problem::OutOfRange { value, min, max }))
    }
}

/// The files of a guest.
struct Modules {
    kernel: Module,
    ramdisk: Option<Module>,
    bootargs: String,
}

impl Modules {
    fn of(
        node: &DescribedNode<'_>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, DescriptionError> {
        let mut kernel = None;
        let mut ramdisk = None;
        for child in node.children() {
            if !child.is_compatible(binding::MODULE) {
                continue;
            }
            let module = module(&child, surroundings)?;
            let second = |kind| child.broken(Problem::SecondModule(kind));
            if child.is_compatible(binding::KERNEL) {
                let bootargs = child
                    .text(property::BOOTARGS)?
                    .unwrap_or_default()
                    .to_owned();
                if kernel.replace((module, bootargs)).is_some() {
                    return Err(second("kernel"));
                }
            } else if child.is_compatible(binding::RAMDISK) {
                if ramdisk.replace(module).is_some() {
                    return Err(second("ramdisk"));
                }
            } else {
                return Err(child.error("compatible", Problem::Malformed));
            }
        }
        let (kernel, bootargs) = kernel.ok_or_else(|| node.without("a kernel"))?;
        Ok(Self {
            kernel,
            ramdisk,
            bootargs,
        })
    }
}

fn module(
    node: &DescribedNode<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Module, DescriptionError> {
    let ranges = node.ranges()?;
    let &[range] = ranges.as_slice() else {
        return Err(node.error("reg", Problem::Malformed));
    };
    let refuse = |problem| Err(node.error("reg", problem));
    if !range.start.is_aligned(addresses::PAGE_SIZE) {
        return refuse(Problem::Misaligned);
    }
    if !surroundings
        .memory
        .iter()
        .any(|memory| memory.contains(range))
    {
        return refuse(Problem::OutsideMemory);
    }
    if range.overlaps(surroundings.hypervisor) {
        return refuse(Problem::OverlapsHypervisor);
    }
    Ok(Module {
        pa: range.start,
        len: range.len,
    })
}
