//! From the firmware's device tree to running guests.

#![expect(
    unsafe_code,
    reason = "hands each part of the machine, once, to the module that drives it from then on"
)]

use crate::arch::this_cpu::ThisCpu;
use crate::arch::{guest_registers, heap, layout, mmu, pmu, registers, stacks, timer};
use crate::boot::devices::{self, Devices};
use crate::boot::secondary::SecondaryStart;
use crate::console::terminal;
use crate::description;
use crate::description::range::Range;
use crate::description::vm::{Module, VmDescription};
use crate::drivers::gicv3;
use crate::drivers::pl011::PhysicalUart;
use crate::drivers::pl031;
use crate::mm::boot_modules::{self, BootModule};
use crate::mm::frames::{Extent, Frames};
use crate::mm::guest_memory::GuestRam;
use crate::mm::ownership;
use crate::mm::stage2;
use crate::run::cpu::Cpu;
use crate::tee::mediators;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::image::loader::Modules;
use crate::vm::machine::Machine;
use crate::vm::vcpu::Vcpu;
use crate::vm::virtual_machine::Vm;
use crate::vm::{clock, cpus, entropy};
use addresses::{PAGE_SIZE, Pa};
use alloc::boxed::Box;
use alloc::vec::Vec;
use arm_gic::Trigger;
use host_abi::binding::TeeChoice;
use host_abi::console::Event;
use host_abi::memory_map::machine::DEVICE_TREE_SIZE_MAX;

/// The first CPU, on the constant map that `boot::entry` starts with. The counter stood at
/// `entered` when it arrived.
pub fn primary(device_tree: u64, entered: u64) -> ! {
    timer::set_entered(entered);
    // SAFETY: the first thing that is done, once.
    unsafe { heap::init() };
    let device_tree = Pa(device_tree);
    // SAFETY: the firmware left its tree there and runs no more; nothing of ours lies there.
    let tree = unsafe { boot_modules::device_tree(device_tree, DEVICE_TREE_SIZE_MAX) };
    let (region_start, region_len) = layout::image().region();
    let machine = match description::parse(
        tree,
        Range {
            start: region_start,
            len: region_len,
        },
    ) {
        Ok(machine) => machine,
        Err(error) => {
            early_console(tree);
            panic!("the machine's device tree can't be used: {error}");
        }
    };

    let memory_ranges: Vec<_> = machine
        .memory
        .iter()
        .map(|range| (range.start, range.len))
        .collect();
    let mut devices = alloc::vec![
        (machine.gicd, 0x1_0000),
        (machine.gicr.start, machine.gicr.len),
        (machine.uart, PAGE_SIZE),
    ];
    devices.extend(machine.clock.map(|clock| (clock, PAGE_SIZE)));
    let functions = machine.guests.iter().map(|guest| guest.pci.len()).sum();
    if let Some(host) = &machine.pci {
        devices.extend(devices::registers(host, functions));
    }
    stacks::init(machine.cpus.len()).expect("the heap has room for the CPUs' stacks");
    // SAFETY: the device tree names memory and devices; the image lies in memory.
    let root = unsafe { mmu::enter(&memory_ranges, &devices) };
    let root = root.expect("the device tree's ranges can be mapped");

    // SAFETY: the device tree says that these devices are there, and `enter` mapped them; nobody
    // drives them yet.
    unsafe {
        if let Some(uart) = PhysicalUart::new(machine.uart) {
            terminal::init(uart, machine.log_level);
        }
        gicv3::init(machine.gicd, machine.gicr.start, machine.cpus.len());
    }
    terminal::tell::<&str>(&Event::Up {
        version: env!("CARGO_PKG_VERSION"),
        cpus: machine.cpus.len(),
    });
    match machine.seed {
        Some(seed) => entropy::init(seed),
        None => log::warn!("/chosen has no rng-seed: guests get no random numbers"),
    }
    match machine.clock {
        // SAFETY: the device tree says that a PL031 is there, and `enter` mapped it.
        Some(address) => clock::init(unsafe { pl031::time(address) }),
        None => log::warn!("the machine has no real-time clock: guests begin in 1970"),
    }
    let with_tee = machine
        .guests
        .iter()
        .filter(|guest| guest.tee != TeeChoice::None);
    mediators::probe(machine.tee_interrupt, with_tee.count());

    let mut free = Frames::new();
    for range in &machine.memory {
        free.add(range.start, range.len);
    }
    for range in &machine.reserved {
        free.reserve(range.start, range.len);
    }
    let mut in_use = alloc::vec![
        ("the hypervisor", region_start, region_len),
        ("the device tree", device_tree, DEVICE_TREE_SIZE_MAX),
    ];
    for guest in &machine.guests {
        for module in core::iter::once(&guest.kernel).chain(&guest.ramdisk) {
            in_use.push(("an image", module.pa, module.len));
        }
    }
    let in_use: Vec<_> = in_use
        .into_iter()
        .map(|(name, pa, len)| (name, Extent { pa, len }))
        .collect();
    for (_, Extent { pa, len }) in &in_use {
        free.reserve(*pa, *len);
    }
    let mut devices = machine.pci.map(|host| {
        // SAFETY: the device tree says that they are there, and `enter` mapped them; nobody drives
        // them yet.
        let devices = unsafe { Devices::new(host, functions) };
        devices.unwrap_or_else(|reason| panic!("guests can't have devices: {reason}"))
    });
    let dma_faults = devices.as_ref().map(Devices::faults);
    let memory_is_zero = machine.memory_is_zero;
    let cpus = &machine.cpus;
    let vms = machine
        .guests
        .into_iter()
        .zip(1..)
        .map(|(guest, id)| {
            // SAFETY: `free` knows all memory, less what is in use; it is mapped.
            let ram = unsafe {
                GuestRam::allocate(&mut free, GuestLayout::RAM, guest.memory, memory_is_zero)
            };
            let mut ram = ram.unwrap_or_else(|| {
                let (name, mib, free) = (&guest.name, guest.memory >> 20, free.free_bytes() >> 20);
                panic!("{name}: {mib} MiB of memory can't be had, {free} MiB are free")
            });
            let passed = devices.as_mut().and_then(|devices| {
                let first_cpu = guest.vcpu_cpus.first().and_then(|&cpu| cpus.get(cpu));
                let mpidr = first_cpu.copied().unwrap_or_default();
                let passed = devices.of_guest(id, &guest, &mut ram, mpidr);
                passed.unwrap_or_else(|reason| panic!("{}: {reason}", guest.name))
            });
            // SAFETY: the description was checked: modules lie in memory, which is mapped, and
            // `free` does not hand it out.
            let modules = unsafe { modules(&guest) };
            &*Box::leak(Box::new(Vm::new(
                id,
                guest,
                Box::leak(Box::new(ram)),
                modules,
                passed,
            )))
        })
        .collect();
    let vms: Vec<_> = vms;
    let rams: Vec<_> = vms.iter().map(|vm| (vm.name(), vm.ram)).collect();
    if let Err(conflict) = ownership::check(&rams, &in_use) {
        panic!("{conflict}");
    }
    terminal::add_guests(vms.len());
    cpus::set(machine.cpus);
    let machine = Machine::set(
        vms,
        machine.uart_interrupt,
        machine.tee_interrupt,
        dma_faults,
    );

    // SAFETY: this is the first CPU: `start_other_cpus` makes sure of it.
    let cpu = unsafe { ThisCpu::new(0) };
    init_cpu(&cpu);
    if let Some(interrupt) = machine.console_interrupt {
        gicv3::enable_spi(interrupt, Trigger::Level, registers::affinity());
        terminal::enable_interrupts();
    } else {
        log::warn!("the console has no interrupt: nothing can be typed, and lines are waited for");
    }
    let faults = machine.dma_faults.as_ref();
    if let Some(interrupt) = faults.and_then(|faults| faults.interrupt) {
        gicv3::enable_spi(interrupt, Trigger::Edge, registers::affinity());
    }
    if let Some(interrupt) = machine.tee_interrupt {
        gicv3::enable_spi(interrupt, Trigger::Edge, registers::affinity());
    }
    start_other_cpus(root);
    for vm in &machine.vms {
        vm.ask_for_start();
    }
    run(machine, cpu)
}

/// Another CPU, on the hypervisor's own tables.
///
/// # Safety
///
/// It is the CPU with this number.
pub unsafe fn secondary(number: usize) -> ! {
    // SAFETY: the caller vouches for the number.
    let cpu = unsafe { ThisCpu::new(number) };
    init_cpu(&cpu);
    run(Machine::get(), cpu)
}

fn init_cpu(cpu: &ThisCpu) {
    let vtcr = stage2::vtcr(registers::physical_address_range());
    // SAFETY: guests are confined by tables of this kind.
    unsafe { guest_registers::init_cpu(vtcr) };
    pmu::init_cpu();
    gicv3::init_cpu(cpu);
}

/// The files that a guest starts with.
///
/// # Safety
///
/// They lie in memory that EL2 maps and that nobody writes.
unsafe fn modules(guest: &VmDescription) -> Modules {
    // SAFETY: the caller vouches for the ranges.
    let module = |module: &Module| unsafe { BootModule::new(module.pa, module.len as usize) };
    Modules {
        kernel: module(&guest.kernel),
        ramdisk: guest.ramdisk.as_ref().map(module),
    }
}

fn start_other_cpus(root: u64) {
    for (number, &affinity) in cpus::affinities().iter().enumerate() {
        if affinity == registers::affinity() {
            assert!(
                number == 0,
                "the firmware starts the first CPU of the device tree"
            );
            continue;
        }
        let stack = stacks::top(number).expect("each CPU has a stack");
        let start = Box::leak(Box::new(SecondaryStart::new(stack, root, number)));
        // SAFETY: each CPU has its own stack, and `root` is that of EL2's tables.
        if let Err(code) = unsafe { start.start(affinity) } {
            panic!("CPU {number} does not start: PSCI says {code}");
        }
    }
}

/// Runs the vCPUs that are pinned to this CPU.
fn run(machine: &Machine, this_cpu: ThisCpu) -> ! {
    let number = this_cpu.number();
    let pinned = |vm: &Vm| {
        vm.description
            .vcpu_cpus
            .iter()
            .filter(|&&cpu| cpu == number)
            .count()
    };
    let shares_cpu = machine.vms.iter().map(|vm| pinned(vm)).sum::<usize>() > 1;
    let mut vcpus = Vec::new();
    for &vm in &machine.vms {
        let shares_vmid = pinned(vm) > 1;
        for (index, &cpu) in vm.description.vcpu_cpus.iter().enumerate() {
            if cpu == number {
                vcpus.push(Vcpu::new(vm, index, shares_cpu, shares_vmid));
            }
        }
    }
    Cpu::new(this_cpu, vcpus).run()
}

/// Finds the console of a tree that can't be used otherwise, so that the reason gets out.
fn early_console(tree: &[u8]) {
    if let Some(uart) = description::console(tree) {
        // SAFETY: the constant map covers devices in the first GiB, where the tree says that a
        // PL011 is.
        if let Some(uart) = unsafe { PhysicalUart::new(uart) } {
            terminal::init(uart, log::LevelFilter::Info);
        }
    }
}
