//! From the form of a description to a [`Description`], or a refusal.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::devices::{self, Folders};
use super::file::{File, GuestTable, MachineTable};
use super::limits;
use super::memory_check::check_guest_memory;
use super::optee;
use super::payload;
use super::{
    ConfigError, Description, Guest, GuestForward, Machine, Mediator, Overrides, Refusals, Size,
    Work,
};
use super::{smc, tas};
use crate::base::counted::counted;
use crate::description::kernel_image::KernelImage;
use host_abi::binding::{NAME_MAX, RESERVED_NAMES, TeeChoice, is_guest_name};
use host_abi::memory_map::BLOCK_SIZE;

/// CPUs that OP-TEE has room for, as Debian builds it and as it is built from source
/// (`CFG_TEE_CORE_NB_CORE`).
const CPUS_MAX: u32 = 4;
/// What a Linux command line may have on arm64 (`COMMAND_LINE_SIZE`), without the NUL at its end.
const COMMAND_LINE_MAX: usize = 2047;
/// Debian's kernel and initramfs do not come up in less.
const DEBIAN_GUEST_MEMORY_MIN: Size = Size::mib(192);
/// The machine's device tree and the hypervisor need this much before any guest.
const MACHINE_MEMORY_MIN: Size = Size::mib(1024);

const DEFAULT_CPU: &str = "cortex-a57";
const DEFAULT_CPUS: u32 = 2;
const DEFAULT_MEMORY: Size = Size::mib(3072);
/// What a guest with OP-TEE does unless it is told otherwise: sessions, TAs, shared memory and
/// storage.
const DEFAULT_TEE_JOB: &str = "xtest 1004 1008 4001 6001";
/// What a guest without a TEE does unless it is told otherwise: prove that it has none.
const DEFAULT_NO_TEE_JOB: &str = "test ! -e /dev/tee0";

/// Checks everything that can be known before a download.
pub(super) fn check(
    file: &Path,
    form: File,
    overrides: &Overrides,
) -> Result<Description, ConfigError> {
    let refuse = Refusals { file };
    let folder = file.parent().unwrap_or(Path::new(""));
    let images = overrides.disks.clone();
    let images = images.unwrap_or_else(|| devices::images_of(file));
    let folders = Folders {
        named: folder,
        unnamed: &images,
    };
    let machine = machine(refuse, folder, form.machine, overrides)?;
    if form.guest.is_empty() {
        return Err(refuse.at(
            "[[guest]]",
            "there is no guest",
            "Add at least one [[guest]] with a name and memory.",
        ));
    }
    let mut names = HashSet::new();
    let mut next_cpu = 0;
    let mut guests = Vec::with_capacity(form.guest.len());
    for table in form.guest {
        name(refuse, &table.name)?;
        if !names.insert(table.name.clone()) {
            return Err(refuse.at(
                format!("guest {}: name", table.name),
                "another guest has the same name",
                "Give each guest a name of its own.",
            ));
        }
        guests.push(guest(refuse, folders, &machine, table, &mut next_cpu)?);
    }
    let mut machine = machine;
    machine.smmu = guests.iter().any(|guest| guest.devices.count() > 0);
    let mut description = Description {
        file: file.to_owned(),
        machine,
        guests,
    };
    apply(refuse, &mut description, overrides)?;
    optee::check_room(refuse, &description)?;
    optee::check_identifiers(refuse, &description)?;
    check_guest_memory(&description, 0)?;
    Ok(description)
}

fn machine(
    refuse: Refusals<'_>,
    folder: &Path,
    table: MachineTable,
    overrides: &Overrides,
) -> Result<Machine, ConfigError> {
    let cpus = table.cpus.unwrap_or(DEFAULT_CPUS);
    if !(1..=CPUS_MAX).contains(&cpus) {
        return Err(refuse.at(
            "machine: cpus",
            format!("a machine of {cpus} CPUs can't be built: OP-TEE has room for {CPUS_MAX}"),
            format!("Write a number from 1 to {CPUS_MAX}."),
        ));
    }
    if overrides.icount && cpus != 1 {
        return Err(refuse.at(
            "--icount",
            format!("instructions are counted on one CPU alone, and this machine has {cpus}"),
            "Use a machine with `cpus = 1`, such as qemu/configs/one-guest.toml.",
        ));
    }
    let memory = table.memory.unwrap_or(DEFAULT_MEMORY);
    if memory < MACHINE_MEMORY_MIN || !memory.is_multiple_of(BLOCK_SIZE) {
        return Err(refuse.at(
            "machine: memory",
            format!("{memory} is less than {MACHINE_MEMORY_MIN} or no multiple of 2 MiB"),
            "Write, say, `memory = \"3GiB\"`.",
        ));
    }
    let cpu = overrides
        .cpu
        .clone()
        .or(table.cpu)
        .unwrap_or_else(|| DEFAULT_CPU.to_owned());
    if cpu.is_empty() || cpu.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(refuse.at(
            "machine: cpu",
            format!("`{cpu}` is no CPU model"),
            "`qemu-system-aarch64 -machine virt -cpu help` lists them.",
        ));
    }
    let optee = optee::choose(
        refuse,
        folder,
        table.optee.as_deref(),
        table.optee_flags,
        table.firmware.is_some(),
    )?;
    let own = |place: &str, path: Option<PathBuf>| {
        path.map(|path| existing_file(refuse, place, folder.join(path)))
            .transpose()
    };
    Ok(Machine {
        cpu,
        cpus,
        memory,
        optee,
        firmware: own("machine: firmware", table.firmware)?,
        hypervisor: own("machine: hypervisor", table.hypervisor)?,
        mediators: table.mediators.unwrap_or_else(|| vec![Mediator::Optee]),
        log_level: table.log_level,
        smmu: false,
        icount: overrides.icount,
    })
}

fn name(refuse: Refusals<'_>, name: &str) -> Result<(), ConfigError> {
    if RESERVED_NAMES.contains(&name) {
        return Err(refuse.at(
            format!("guest {name}: name"),
            "stands for something else on the console or among the logs",
            "Give the guest another name.",
        ));
    }
    if !is_guest_name(name) {
        return Err(refuse.at(
            format!("guest {name:?}: name"),
            "is no name for a guest",
            format!(
                "Begin with a letter, use the letters a to z, digits and `-`, at most {NAME_MAX} in all."
            ),
        ));
    }
    Ok(())
}

fn guest(
    refuse: Refusals<'_>,
    folders: Folders<'_>,
    machine: &Machine,
    table: GuestTable,
    next_cpu: &mut u32,
) -> Result<Guest, ConfigError> {
    let place = |field: &str| format!("guest {}: {field}", table.name);
    let vcpu_cpus = vcpus(refuse, machine, &table, next_cpu)?;
    let own = |field: &str, path: &Option<PathBuf>| {
        path.as_ref()
            .map(|path| existing_file(refuse, place(field), folders.named.join(path)))
            .transpose()
    };
    let kernel = own("kernel", &table.kernel)?;
    let initramfs = own("initramfs", &table.initramfs)?;
    if table.memory == Size::bytes(0) || !table.memory.is_multiple_of(BLOCK_SIZE) {
        return Err(refuse.at(
            place("memory"),
            format!(
                "{} is no multiple of 2 MiB, or nothing at all",
                table.memory
            ),
            "Write, say, `memory = \"512MiB\"`.",
        ));
    }
    let debian = kernel.is_none() && initramfs.is_none() && table.payload.is_none();
    if debian && table.memory < DEBIAN_GUEST_MEMORY_MIN {
        return Err(refuse.at(
            place("memory"),
            format!(
                "Debian's kernel and initramfs do not fit: they need {DEBIAN_GUEST_MEMORY_MIN}, the guest has {}",
                table.memory
            ),
            "Give the guest more memory, or a kernel and an initramfs of your own.",
        ));
    }
    check_images(
        refuse,
        &table.name,
        table.memory,
        kernel.as_deref(),
        initramfs.as_deref(),
    )?;
    if table.tee == TeeChoice::Optee
        && machine.hypervisor.is_none()
        && !machine.mediators.contains(&Mediator::Optee)
    {
        return Err(refuse.at(
            place("tee"),
            "the hypervisor is built without a mediator for it",
            "Name it in `mediators` of the machine, or write tee = \"none\".",
        ));
    }
    smc::check(refuse, &table.name, &table.smc)?;
    tas::check(refuse, &table.name, table.tee, &table.tas)?;
    let command_line = command_line(refuse, &table)?;
    let work = match (initramfs.is_some(), table.job.clone()) {
        _ if table.payload.is_some() => payload::choose(refuse, &table)?,
        (true, None) => Work::OwnInitramfs,
        (true, Some(_)) => {
            return Err(refuse.at(
                place("job"),
                "a guest with an initramfs of its own does what that initramfs does",
                "Leave out `job`, or leave out `initramfs`.",
            ));
        }
        (false, job) => Work::Job(job.unwrap_or_else(|| {
            match table.tee {
                TeeChoice::Optee => DEFAULT_TEE_JOB,
                TeeChoice::None => DEFAULT_NO_TEE_JOB,
            }
            .to_owned()
        })),
    };
    if let Work::Job(command) = &work {
        check_command(refuse, place("job"), command)?;
    }
    let devices = devices::of_guest(
        refuse,
        folders,
        &table.name,
        table.disk,
        table.network,
        table.pci,
    )?;
    match &work {
        Work::Payload(_) => {
            devices::check_unattended(refuse, &table.name, &devices, "a payload")?;
        }
        Work::OwnInitramfs => {
            let runs = "an initramfs of its own";
            devices::check_unattended(refuse, &table.name, &devices, runs)?;
        }
        Work::Job(_) | Work::Shell => {}
    }
    Ok(Guest {
        devices,
        limits: limits::check(refuse, &table.name, table.tee, &table.limits)?,
        name: table.name,
        memory: table.memory,
        vcpu_cpus,
        kernel,
        initramfs,
        command_line,
        tee: table.tee,
        tee_conduit: table.tee_conduit,
        smc: table.smc,
        tas: table.tas,
        work,
        overlays: Vec::new(),
    })
}

/// For each vCPU its physical CPU. Several vCPUs may share one: the hypervisor gives them slices of
/// its time. But a guest with more vCPUs than the machine has CPUs is a mistake, as it can only
/// lose by it.
fn vcpus(
    refuse: Refusals<'_>,
    machine: &Machine,
    table: &GuestTable,
    next_cpu: &mut u32,
) -> Result<Vec<u32>, ConfigError> {
    let place = |field: &str| format!("guest {}: {field}", table.name);
    let listed = table.cpus.as_ref().map(Vec::len);
    let count = match (table.vcpus, listed) {
        (Some(vcpus), Some(listed)) if usize::try_from(vcpus) != Ok(listed) => {
            return Err(refuse.at(
                place("cpus"),
                format!(
                    "names {} for {}",
                    counted(listed, "CPU"),
                    counted(vcpus as usize, "vCPU")
                ),
                "Name one physical CPU for each vCPU, or leave out one of `cpus` and `vcpus`.",
            ));
        }
        (Some(vcpus), _) => vcpus,
        (None, Some(listed)) => u32::try_from(listed).unwrap_or(u32::MAX),
        (None, None) => 1,
    };
    if count == 0 {
        return Err(refuse.at(
            place("vcpus"),
            "a guest without a vCPU can't run",
            "Write `vcpus = 1` or more.",
        ));
    }
    if count > machine.cpus {
        return Err(refuse.at(
            place("vcpus"),
            format!(
                "{} are more than the {} that the machine has",
                counted(count as usize, "vCPU"),
                counted(machine.cpus as usize, "CPU")
            ),
            "Give the guest fewer vCPUs, or the machine more `cpus`.",
        ));
    }
    let Some(cpus) = &table.cpus else {
        let first = *next_cpu;
        *next_cpu = (first + count) % machine.cpus;
        return Ok((first..first + count)
            .map(|cpu| cpu % machine.cpus)
            .collect());
    };
    if let Some(cpu) = cpus.iter().find(|cpu| **cpu >= machine.cpus) {
        return Err(refuse.at(
            place("cpus"),
            format!(
                "there is no CPU {cpu}: the machine has {}, counted from 0",
                machine.cpus
            ),
            "Name CPUs that there are, or give the machine more `cpus`.",
        ));
    }
    Ok(cpus.clone())
}

fn command_line(refuse: Refusals<'_>, table: &GuestTable) -> Result<String, ConfigError> {
    let mut line = match &table.command_line {
        Some(line) => line.clone(),
        // A kernel that panics resets its machine at once, so that the panic is seen and not waited
        // for.
        None => format!("console=ttyAMA0 panic=-1 bulkhead.name={}", table.name),
    };
    if let Some(extra) = &table.command_line_extra {
        line.push(' ');
        line.push_str(extra);
    }
    if line.len() > COMMAND_LINE_MAX || line.contains(char::is_control) {
        return Err(refuse.at(
            format!("guest {}: command-line", table.name),
            format!("is longer than {COMMAND_LINE_MAX} bytes or has control characters"),
            "Write one shorter line of plain text.",
        ));
    }
    Ok(line)
}

/// Applies `--exec` and `--overlay`.
fn apply(
    refuse: Refusals<'_>,
    description: &mut Description,
    overrides: &Overrides,
) -> Result<(), ConfigError> {
    let names: Vec<&str> = description.guests.iter().map(|g| g.name.as_str()).collect();
    let known = format!("The guests of this machine are: {}.", names.join(", "));
    if overrides.shells {
        for guest in &mut description.guests {
            if let Work::Job(_) = guest.work {
                guest.work = Work::Shell;
            }
        }
    }
    for GuestForward { guest, forward } in &overrides.forwards {
        let found = description.guests.iter_mut().find(|it| it.name == *guest);
        let Some(found) = found else {
            let place = format!("--forward {guest}");
            return Err(refuse.at(place, "there is no such guest", known));
        };
        found.devices.forward(*forward);
        description.machine.smmu = true;
    }
    let guests = description.guests.iter();
    let devices = guests.map(|guest| (guest.name.as_str(), &guest.devices));
    devices::check_together(refuse, devices)?;
    let mut seen = HashSet::new();
    for exec in &overrides.exec {
        let place = format!("--exec {}", exec.guest);
        let Some(guest) = description
            .guests
            .iter_mut()
            .find(|guest| guest.name == exec.guest)
        else {
            return Err(refuse.at(place, "there is no such guest", known));
        };
        if !seen.insert(&exec.guest) {
            return Err(refuse.at(
                place,
                "a guest runs one command",
                "Join the commands, as in --exec 'vm1=first && second'.",
            ));
        }
        if guest.work.payload().is_some() {
            return Err(refuse.at(
                place,
                "the guest runs a payload, which has no shell",
                "Leave out `payload` in the description, or leave out --exec.",
            ));
        }
        if guest.work == Work::OwnInitramfs {
            return Err(refuse.at(
                place,
                "the guest has an initramfs of its own, which is used as it is and runs what it runs",
                "Leave out `initramfs` in the description, or leave out --exec.",
            ));
        }
        check_command(refuse, place, &exec.command)?;
        guest.work = Work::Job(exec.command.clone());
    }
    for overlay in &overrides.overlays {
        let place = format!("--overlay {}", overlay.folder.display());
        if !overlay.folder.is_dir() {
            return Err(refuse.at(
                place,
                "there is no such folder",
                "Give a folder whose content is to appear below / in the guest.",
            ));
        }
        let mut found = false;
        for guest in &mut description.guests {
            let asked = match &overlay.guest {
                _ if guest.work.payload().is_some() => false,
                Some(name) => *name == guest.name,
                // An initramfs of the user's own is touched only on request.
                None => guest.work != Work::OwnInitramfs,
            };
            if asked {
                guest.overlays.push(overlay.folder.clone());
                found = true;
            }
        }
        if !found {
            let (problem, remedy) = match &overlay.guest {
                Some(name) => (format!("there is no guest {name}"), known.clone()),
                None => (
                    "every guest has an initramfs of its own, which is used as it is".to_owned(),
                    "To append to one all the same, write --overlay GUEST=DIR.".to_owned(),
                ),
            };
            return Err(refuse.at(place, problem, remedy));
        }
    }
    Ok(())
}

fn check_command(refuse: Refusals<'_>, place: String, command: &str) -> Result<(), ConfigError> {
    if command.trim().is_empty() || command.contains('\0') {
        return Err(refuse.at(
            place,
            "there is no command, or a NUL in it",
            "Write what the guest's shell is to run, such as \"xtest 1001\".",
        ));
    }
    Ok(())
}

/// Refuses images that can't be started in so much memory. What is `None` is Debian's and checked
/// once it is there.
pub(crate) fn check_images(
    refuse: Refusals<'_>,
    guest: &str,
    memory: Size,
    kernel: Option<&Path>,
    initramfs: Option<&Path>,
) -> Result<(), ConfigError> {
    let kernel_place = format!("guest {guest}: kernel");
    let mut needed = 0u64;
    if let Some(path) = kernel {
        let image = KernelImage::read(path).map_err(|error| {
            refuse.at(
                kernel_place.as_str(),
                format!("{}: {error}", path.display()),
                error.remedy(),
            )
        })?;
        needed = image.footprint();
        if needed > memory.to_bytes() {
            return Err(refuse.at(
                kernel_place,
                does_not_fit(path, needed, memory),
                "Give the guest more memory, or a smaller kernel.",
            ));
        }
    }
    if let Some(path) = initramfs {
        let place = format!("guest {guest}: initramfs");
        let size = file_size(refuse, &place, path)?;
        // Beside the kernel there is the guest's device tree, in a block of its own.
        let needed = size
            .checked_next_multiple_of(BLOCK_SIZE)
            .and_then(|size| size.checked_add(needed)?.checked_add(BLOCK_SIZE))
            .unwrap_or(u64::MAX);
        if needed > memory.to_bytes() {
            return Err(refuse.at(
                place,
                does_not_fit(path, needed, memory),
                "Give the guest more memory, or a smaller initramfs.",
            ));
        }
    }
    Ok(())
}

fn does_not_fit(path: &Path, needed: u64, memory: Size) -> String {
    format!(
        "{} does not fit: with what must be beside it, it needs {} MiB, and the guest has {memory}",
        path.display(),
        needed.div_ceil(1 << 20)
    )
}

fn file_size(refuse: Refusals<'_>, place: &str, path: &Path) -> Result<u64, ConfigError> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(metadata.len()),
        Ok(metadata) if metadata.is_file() => Err(refuse.at(
            place,
            format!("{} is empty", path.display()),
            "Build the file again.",
        )),
        Ok(_) => Err(refuse.at(
            place,
            format!("{} is no file", path.display()),
            "Name a file.",
        )),
        Err(error) => Err(refuse.at(
            place,
            format!("{}: {error}", path.display()),
            "Paths are relative to the folder of the machine description.",
        )),
    }
}

fn existing_file(
    refuse: Refusals<'_>,
    place: impl Into<String>,
    path: PathBuf,
) -> Result<PathBuf, ConfigError> {
    file_size(refuse, &place.into(), &path)?;
    Ok(path)
}
