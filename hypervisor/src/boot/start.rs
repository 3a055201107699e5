//! From the firmware's device tree to running guests.

#![expect(
    unsafe_code,
    reason = "hands each part of the machine, once, to the module that drives it from then on"
)]

use crate::arch::smc::SecureMonitor;
use crate::arch::{guest_registers, heap, memory, mmu, pmu, registers, stacks, timer};
use crate::boot::entry::{self, SecondaryStart};
use crate::console::terminal;
use crate::description::{self, Range, TeeChoice};
use crate::drivers::gicv3;
use crate::drivers::pl011::PhysicalUart;
use crate::mm::frames::Frames;
use crate::mm::guest_memory::GuestRam;
use crate::run::cpu::Cpu;
use crate::tee;
use crate::vm::entropy;
use crate::vm::machine::Machine;
use crate::vm::vcpu::Vcpu;
use crate::vm::virtual_machine::Vm;
use addresses::{PAGE_SIZE, Pa};
use alloc::boxed::Box;
use alloc::vec::Vec;
use arm_gic::Trigger;

/// The most that the firmware's device tree may have, in bytes.
const DEVICE_TREE_MAX: u64 = 1 << 20;

/// The first CPU, on the constant map that `boot::entry` starts with. The counter stood at `entered` when it arrived.
pub fn primary(device_tree: u64, entered: u64) -> ! {
    timer::set_entered(entered);
    // SAFETY: the first thing that is done, once.
    unsafe { heap::init() };
    let device_tree = Pa(device_tree);
    // SAFETY: the firmware left its tree there and runs no more; nothing of ours lies there.
    let tree = unsafe { memory::device_tree(device_tree, DEVICE_TREE_MAX) };
    let (region_start, region_len) = mmu::image().region();
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
    let devices = [
        (machine.gicd, 0x1_0000),
        (machine.gicr.start, machine.gicr.len),
        (machine.uart, PAGE_SIZE),
    ];
    stacks::init(machine.cpus.len()).expect("the heap has room for the CPUs' stacks");
    let root =
        mmu::enter(&memory_ranges, &devices).expect("the device tree's ranges can be mapped");

    // SAFETY: the device tree says that these devices are there, and `enter` mapped them; nobody drives them yet.
    unsafe {
        if let Some(uart) = PhysicalUart::new(machine.uart) {
            terminal::init(uart, machine.log_level);
        }
        gicv3::init(machine.gicd, machine.gicr.start, machine.cpus.len());
    }
    log::info!(
        "Bulkhead {} on {} CPUs",
        env!("CARGO_PKG_VERSION"),
        machine.cpus.len()
    );
    match machine.seed {
        Some(seed) => entropy::init(seed),
        None => log::warn!("/chosen has no rng-seed: guests get no random numbers"),
    }
    let with_tee = machine
        .guests
        .iter()
        .filter(|guest| guest.tee != TeeChoice::None);
    tee::probe(machine.tee_interrupt, with_tee.count());

    let mut free = Frames::new();
    for range in &machine.memory {
        free.add(range.start, range.len);
    }
    for range in &machine.reserved {
        free.reserve(range.start, range.len);
    }
    free.reserve(device_tree, DEVICE_TREE_MAX);
    free.reserve(region_start, region_len);
    for guest in &machine.guests {
        for module in core::iter::once(&guest.kernel).chain(&guest.ramdisk) {
            free.reserve(module.pa, module.len);
        }
    }
    let memory_is_zero = machine.memory_is_zero;
    let vms = machine
        .guests
        .into_iter()
        .zip(1..)
        .map(|(guest, id)| {
            // SAFETY: `free` knows all memory, less what is in use; it is mapped.
            let ram = unsafe { GuestRam::allocate(&mut free, guest.memory, memory_is_zero) };
            let ram = ram.unwrap_or_else(|| {
                let (name, mib, free) = (&guest.name, guest.memory >> 20, free.free_bytes() >> 20);
                panic!("{name}: {mib} MiB of memory can't be had, {free} MiB are free")
            });
            &*Box::leak(Box::new(Vm::new(id, guest, Box::leak(Box::new(ram)))))
        })
        .collect();
    let vms: Vec<_> = vms;
    terminal::add_guests(vms.len());
    let machine = Machine::set(
        machine.cpus,
        vms,
        machine.uart_interrupt,
        machine.tee_interrupt,
    );

    init_cpu(0);
    if let Some(interrupt) = machine.console_interrupt {
        gicv3::enable_spi(interrupt, Trigger::Level, registers::affinity());
        terminal::enable_interrupts();
    } else {
        log::warn!("the console has no interrupt: nothing can be typed, and lines are waited for");
    }
    if let Some(interrupt) = machine.tee_interrupt {
        gicv3::enable_spi(interrupt, Trigger::Edge, registers::affinity());
    }
    start_other_cpus(machine, root);
    for vm in &machine.vms {
        vm.ask_for_start();
    }
    run(machine, 0)
}

/// Another CPU, on the hypervisor's own tables.
pub fn secondary(number: usize) -> ! {
    init_cpu(number);
    run(Machine::get(), number)
}

fn init_cpu(number: usize) {
    guest_registers::init_cpu();
    pmu::init_cpu();
    gicv3::init_cpu(number);
}

fn start_other_cpus(machine: &Machine, root: u64) {
    for (number, &affinity) in machine.cpus.iter().enumerate() {
        if affinity == registers::affinity() {
            assert!(
                number == 0,
                "the firmware starts the first CPU of the device tree"
            );
            continue;
        }
        let stack = stacks::top(number).expect("each CPU has a stack");
        let start = Box::leak(Box::new(SecondaryStart::new(stack, root, number)));
        if let Err(code) = SecureMonitor.cpu_on(affinity, entry::secondary_entry(), start.publish())
        {
            panic!("CPU {number} does not start: PSCI says {code}");
        }
    }
}

/// Runs the vCPUs that are pinned to CPU `number`.
fn run(machine: &Machine, number: usize) -> ! {
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
    Cpu::new(number, vcpus).run()
}

/// Finds the console of a tree that can't be used otherwise, so that the reason gets out.
fn early_console(tree: &[u8]) {
    if let Some(uart) = description::console(tree) {
        // SAFETY: the constant map covers devices in the first GiB, where the tree says that a PL011 is.
        if let Some(uart) = unsafe { PhysicalUart::new(uart) } {
            terminal::init(uart, log::LevelFilter::Info);
        }
    }
}
