//! Serves the person at the machine's console.

use crate::arch::heap;
use crate::console;
use crate::machine::Machine;
use crate::power::After;
use crate::prompt::{self, Command, HELP, Input, Prompt};
use crate::vm::Vm;
use spin::Mutex;

macro_rules! answer {
    ($($text:tt)*) => {
        console::answer(format_args!($($text)*))
    };
}

static PROMPT: Mutex<Prompt> = Mutex::new(Prompt::new());

/// Takes what came in at the console. Called by the CPU that takes the UART's interrupt.
pub fn take_input() {
    while let Some(byte) = console::read() {
        let input = PROMPT.lock().byte(byte);
        match input {
            Input::Nothing => {}
            Input::Guest(number, byte) => {
                if let Some(vm) = Machine::get().vms.get(number) {
                    vm.type_in(byte);
                }
            }
            Input::Detached(number) => {
                if let Some(vm) = Machine::get().vms.get(number) {
                    vm.set_attached(false);
                    answer!("{}: detached", vm.name());
                }
            }
            Input::Line(line) => match prompt::parse(&line) {
                Ok(None) => {}
                Ok(Some(command)) => obey(command),
                Err(error) => answer!("{error}"),
            },
        }
    }
}

fn obey(command: Command<'_>) {
    match command {
        Command::Help => answer!("{HELP}"),
        Command::List => Machine::get()
            .vms
            .iter()
            .for_each(|vm| answer!("{}: {}, {}", vm.name(), vm.life(), vm.summary())),
        Command::Stats => tell_stats(),
        Command::Attach(name) => with_vm(name, |number, vm| {
            vm.set_attached(true);
            PROMPT.lock().attach(number);
            answer!("{name}: attached; Control-] leads back");
        }),
        Command::Destroy(name) => with_vm(name, |_, vm| {
            if !vm.stop(After::Off, Some("destroyed at the console")) {
                answer!("{name}: it does not run");
            }
        }),
        Command::Restart(name) => with_vm(name, |_, vm| {
            if !vm.stop(After::Restart, None) && !vm.start_again() {
                answer!("{name}: it is about to start or to stop; try again");
            }
        }),
    }
}

fn tell_stats() {
    let heap::Holds {
        allocations,
        bytes,
        free,
    } = heap::holds();
    answer!("heap: {bytes} bytes in {allocations} allocations, {free} bytes left");
    for vm in &Machine::get().vms {
        answer!("{}: {}", vm.name(), vm.stats());
        if let Some(stats) = vm.tee_stats() {
            answer!("{}: TEE: {stats}", vm.name());
        }
        if let Some(bill) = vm.bill() {
            answer!("{}: EL2: {bill}", vm.name());
        }
    }
}

fn with_vm(name: &str, act: impl FnOnce(usize, &'static Vm)) {
    let mut vms = Machine::get().vms.iter().enumerate();
    match vms.find(|(_, vm)| vm.name() == name) {
        Some((number, vm)) => act(number, vm),
        None => answer!("{name}: no such guest; list tells which there are"),
    }
}
