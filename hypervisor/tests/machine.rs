//! A machine on the host, from the start of its VMs to its end: the run loop, what a person types,
//! and guests that are functions. There is one machine in a process, so it is one test.

use host_abi::console::Event;
use hypervisor::arch::context::Exit;
use hypervisor::arch::{fake, timer};
use hypervisor::console::terminal;
use hypervisor::drivers::pl011::PhysicalUart;
use hypervisor::run::cpu::Cpu;
use hypervisor::vm::machine::Machine;
use hypervisor::vm::testing::{description, this_cpu, vm};
use hypervisor::vm::vcpu::Vcpu;
use hypervisor::vm::virtual_machine::Vm;
use log::LevelFilter;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

const UART: u32 = 33;
const SMC: u64 = 0x17 << 26 | 1 << 25;
/// Time slices in a second.
const SLICES_PER_SECOND: u64 = 100;
const SYSTEM_OFF: u64 = 0x8400_0008;
/// Entries after which a guest turns its VM off.
const ENTRIES: usize = 40;

fn vms() -> Vec<&'static Vm> {
    (1..=2)
        .map(|id| {
            let mut description = description(1);
            description.name = format!("vm{id}");
            vm(id, description)
        })
        .collect()
}

#[test]
fn two_vms_take_turns_and_obey_the_person_until_both_are_off() {
    let vms = vms();
    terminal::init(PhysicalUart::default(), LevelFilter::Info);
    terminal::add_guests(vms.len());
    let machine = Machine::set(vms, Some(UART), None, None);
    let vcpus = machine.vms.iter().map(|vm| Vcpu::new(vm, 0, true, false));
    let vcpus = vcpus.collect();
    machine.vms.iter().for_each(|vm| vm.ask_for_start());

    // Which VM was entered, one after the other.
    let entered = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&entered);
    fake::set_guest(move |context| {
        let vm = fake::register("vttbr_el2") >> 48;
        let mut log = log.borrow_mut();
        log.push(vm);
        // A third of a slice passes.
        let slice = timer::frequency() / SLICES_PER_SECOND;
        fake::set_register("cntpct_el0", fake::register("cntpct_el0") + slice / 3);
        let times = log.iter().filter(|&&other| other == vm).count();
        if times == ENTRIES {
            context.x[0] = SYSTEM_OFF;
            fake::set_register("esr_el2", SMC);
            return Exit::Synchronous;
        }
        match log.len() {
            10 => {
                fake::type_in(b"list\r");
                fake::raise(UART);
            }
            30 => {
                fake::type_in(b"stats\r");
                fake::raise(UART);
            }
            _ => fake::raise(timer::HYPERVISOR_TIMER),
        }
        Exit::Interrupt
    });
    let calls = Rc::new(RefCell::new(Vec::new()));
    let firmware = Rc::clone(&calls);
    fake::set_firmware(move |registers| firmware.borrow_mut().push(registers[0]));

    let cpu = Cpu::new(this_cpu(), vcpus);
    let end = catch_unwind(AssertUnwindSafe(|| cpu.run()));
    let Err(end) = end;
    assert_eq!(
        end.downcast_ref::<&str>().map(|text| text.to_string()),
        Some(String::from("the CPU waits for an interrupt"))
    );

    assert_eq!(*calls.borrow(), [SYSTEM_OFF], "the machine goes off, once");
    let entered = entered.borrow();
    for vm in [1, 2] {
        assert_eq!(
            entered.iter().filter(|&&other| other == vm).count(),
            ENTRIES
        );
    }
    let changes = entered.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes >= 15, "they take turns: {entered:?}");

    let said = fake::take_sent();
    for line in said
        .lines()
        .filter_map(|line| line.strip_prefix("bulkhead| "))
    {
        // This machine's firmware does nothing.
        let promised = !matches!(Event::parse(line), Event::Note { .. })
            || line.starts_with("error: the firmware did not power the machine off");
        assert!(promised, "{line} is not on docs/console.md");
    }
    for line in [
        "bulkhead| vm1: started, 8 MiB, 1 vCPUs on CPUs 0, tee none",
        "bulkhead| vm1: running, 8 MiB, 1 vCPUs on CPUs 0, tee none",
        "bulkhead| vm2: running, 8 MiB, 1 vCPUs on CPUs 0, tee none",
        "bulkhead| vm1: 1 starts, 0 calls refused, 0 forwarded, 0 pages known to the secure world",
        "bulkhead| vm1: off",
        "bulkhead| vm2: off",
        "bulkhead| all guests are off",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}, in: {said}");
    }
}
