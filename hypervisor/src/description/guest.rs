//! A guest's node below /chosen.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use core::num::NonZeroU32;

use addresses::PAGE_SIZE;
use mediator::optee::IDENTIFIERS;
use mediator::ta_access::{TaAccess, TaList, Uuid};

use crate::description::error::{DescriptionError, Problem};
use crate::description::node::DescribedNode;
use crate::description::policy::{CallPolicy, IdRange};
use crate::description::range::Range;
use crate::description::vm::{
    MAX_GUESTS, MAX_VCPUS, MAX_VCPUS_PER_CPU, Module, ShmLimits, TeeChoice, VmDescription,
};
use crate::mm::frames::BLOCK_SIZE;
use smccc::Conduit;

/// The tag of the hypervisor's own lines on the console.
const OWN_TAG: &str = "bulkhead";

/// The most buffers that a guest may ask for; all of them are set apart when it starts.
const SHM_BUFFERS_MAX: u32 = 1 << 16;
/// The most trusted applications that a list may name.
const TAS_MAX: usize = 256;
/// The largest limit in bytes.
const SHM_BYTES_MAX: u64 = 1 << 40;

const CPUS: &str = "cpus";
const MEMORY: &str = "memory";
const VCPU_CPUS: &str = "bulkhead,vcpu-cpus";
const TEE: &str = "bulkhead,tee";
const TEE_CONDUIT: &str = "bulkhead,tee-conduit";
const SHM_BUFFER_MAX: &str = "bulkhead,shm-buffer-max";
const SHM_BUFFERS_MAX_NAME: &str = "bulkhead,shm-buffers-max";
const SHM_TOTAL_MAX: &str = "bulkhead,shm-total-max";
const TA_ALLOW: &str = "bulkhead,ta-allow";
const TA_DENY: &str = "bulkhead,ta-deny";
const TA_INSTANCES_MAX: &str = "bulkhead,ta-instances-max";
const TEE_CALLS_PER_SECOND: &str = "bulkhead,tee-calls-per-second";
const SMC_FORWARD: &str = "bulkhead,smc-forward";
const SMC_DENY: &str = "bulkhead,smc-deny";

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
        if !node.is_compatible("xen,domain") {
            continue;
        }
        let guest = guest(&node, surroundings)?;
        if guests.iter().any(|other| other.name == guest.name) {
            return Err(node.broken(Problem::Duplicate));
        }
        for &cpu in &guest.vcpu_cpus {
            vcpus_on[cpu] += 1;
            if vcpus_on[cpu] > MAX_VCPUS_PER_CPU {
                return Err(node.error(VCPU_CPUS, Problem::CpuFull(cpu as u32)));
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
    if !node.has("vpl011") {
        return Err(node.error("vpl011", Problem::Missing));
    }
    let tees = [("none", TeeChoice::None), ("optee", TeeChoice::Optee)];
    let tee = node.required(TEE, node.one_of(TEE, &tees)?)?;
    let conduits = [Conduit::Smc, Conduit::Hvc].map(|conduit| (conduit.name(), conduit));
    let conduit = node.one_of(TEE_CONDUIT, &conduits)?;
    let modules = Modules::of(node, surroundings)?;

    let ramdisk_len = modules.ramdisk.map_or(0, |module| module.len);
    let fits = modules.kernel.len.checked_add(ramdisk_len);
    if fits.is_none_or(|len| len > memory) {
        return Err(node.error(MEMORY, Problem::LargerThanMemory));
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
    })
}

fn name(node: &DescribedNode<'_>) -> Result<String, DescriptionError> {
    let name = node.name();
    // That it has 31 characters at most is a rule for all nodes (Devicetree Specification 0.4,
    // §2.2.1), and checked.
    let fits = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && name != OWN_TAG;
    if fits {
        Ok(name.to_owned())
    } else {
        Err(node.broken(Problem::Name))
    }
}

fn memory(
    node: &DescribedNode<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<u64, DescriptionError> {
    let kib = node.required(MEMORY, node.long_number(MEMORY)?)?;
    let bytes = kib
        .checked_mul(1024)
        .filter(|&bytes| bytes > 0 && bytes.is_multiple_of(BLOCK_SIZE))
        .ok_or_else(|| node.error(MEMORY, Problem::MemorySize { kib }))?;
    let lens = surroundings.memory.iter().map(|range| range.len);
    if bytes > lens.fold(0, u64::saturating_add) {
        return Err(node.error(MEMORY, Problem::MoreThanThereIs { kib }));
    }
    Ok(bytes)
}

fn vcpu_cpus(
    node: &DescribedNode<'_>,
    physical_cpus: usize,
) -> Result<Vec<usize>, DescriptionError> {
    let vcpus = node.required(CPUS, node.number(CPUS)?)?;
    within(node, CPUS, u64::from(vcpus), 1, u64::from(MAX_VCPUS))?;
    let vcpus = vcpus as usize;
    let cpus = node.required(VCPU_CPUS, node.numbers(VCPU_CPUS)?)?;
    if cpus.len() != vcpus {
        let named = cpus.len();
        return Err(node.error(VCPU_CPUS, Problem::CpusPerVcpu { named, vcpus }));
    }
    if let Some(&cpu) = cpus.iter().find(|&&cpu| cpu as usize >= physical_cpus) {
        return Err(node.error(VCPU_CPUS, Problem::NoSuchCpu(cpu)));
    }
    Ok(cpus.into_iter().map(|cpu| cpu as usize).collect())
}

fn shm_limits(node: &DescribedNode<'_>) -> Result<ShmLimits, DescriptionError> {
    let default = ShmLimits::default();
    let bytes = |property, default| -> Result<u64, DescriptionError> {
        let value = node.long_number(property)?.unwrap_or(default);
        within(node, property, value, PAGE_SIZE, SHM_BYTES_MAX)?;
        Ok(value)
    };
    let limits = ShmLimits {
        buffer_bytes_max: bytes(SHM_BUFFER_MAX, default.buffer_bytes_max)?,
        buffers_max: node
            .number(SHM_BUFFERS_MAX_NAME)?
            .unwrap_or(default.buffers_max),
        total_bytes_max: bytes(SHM_TOTAL_MAX, default.total_bytes_max)?,
    };
    let buffers = u64::from(limits.buffers_max);
    within(
        node,
        SHM_BUFFERS_MAX_NAME,
        buffers,
        1,
        u64::from(SHM_BUFFERS_MAX),
    )?;
    if limits.buffer_bytes_max > limits.total_bytes_max {
        return Err(node.error(SHM_BUFFER_MAX, Problem::MoreThanTotal));
    }
    Ok(limits)
}

fn ta_access(node: &DescribedNode<'_>) -> Result<TaAccess, DescriptionError> {
    match (ta_list(node, TA_ALLOW)?, ta_list(node, TA_DENY)?) {
        (None, None) => Ok(TaAccess::All),
        (Some(allowed), None) => Ok(TaAccess::Only(allowed)),
        (None, Some(denied)) => Ok(TaAccess::AllBut(denied)),
        (Some(_), Some(_)) => Err(node.error(TA_DENY, Problem::BesideTaAllow)),
    }
}

/// UUIDs of 16 bytes each.
fn ta_list(
    node: &DescribedNode<'_>,
    property: &'static str,
) -> Result<Option<TaList>, DescriptionError> {
    let Some(bytes) = node.bytes(property) else {
        return Ok(None);
    };
    let (names, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(node.error(property, Problem::Malformed));
    }
    within(node, property, names.len() as u64, 0, TAS_MAX as u64)?;
    let names = names.iter().map(|&name| Uuid(name)).collect();
    Ok(Some(TaList::new(names)))
}

fn tee_calls_per_second(node: &DescribedNode<'_>) -> Result<Option<NonZeroU32>, DescriptionError> {
    let Some(calls) = node.number(TEE_CALLS_PER_SECOND)? else {
        return Ok(None);
    };
    let (value, max) = (u64::from(calls), u64::from(u32::MAX));
    within(node, TEE_CALLS_PER_SECOND, value, 1, max)?;
    Ok(NonZeroU32::new(calls))
}

fn ta_instances_max(node: &DescribedNode<'_>) -> Result<Option<NonZeroU32>, DescriptionError> {
    let Some(count) = node.number(TA_INSTANCES_MAX)? else {
        return Ok(None);
    };
    let (value, max) = (u64::from(count), u64::from(IDENTIFIERS));
    within(node, TA_INSTANCES_MAX, value, 1, max)?;
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
    let forward = id_ranges(node, SMC_FORWARD)?;
    let deny = id_ranges(node, SMC_DENY)?;
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
            if !child.is_compatible("multiboot,module") {
                continue;
            }
            let module = module(&child, surroundings)?;
            let second = |kind| child.broken(Problem::SecondModule(kind));
            if child.is_compatible("multiboot,kernel") {
                let bootargs = child.text("bootargs")?.unwrap_or_default().to_owned();
                if kernel.replace((module, bootargs)).is_some() {
                    return Err(second("kernel"));
                }
            } else if child.is_compatible("multiboot,ramdisk") {
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
    if !range.start.is_aligned(PAGE_SIZE) {
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
