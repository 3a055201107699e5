//! Serves the person at the machine's console.

use crate::console::terminal;
use crate::operator::prompt::{Input, Prompt};
use crate::operator::report::{self, Subject};
use crate::vm::machine::Machine;
use crate::vm::power::After;
use crate::vm::virtual_machine::Vm;
use host_abi::console::{Command, Event};
use spin::Mutex;

static PROMPT: Mutex<Prompt> = Mutex::new(Prompt::new());

/// Bytes of input that are taken at once: the UART's interrupt comes again for those that are left.
const INPUT_AT_ONCE: usize = 8;

/// Takes what came in at the console. Called by the CPU that takes the UART's interrupt.
pub fn take_input() {
    for _ in 0..INPUT_AT_ONCE {
        let Some(byte) = terminal::read() else {
            return;
        };
        let input = PROMPT.lock().byte(byte);
        match input {
            Input::Nothing => {}
            Input::Guest(number, byte) => {
                if let Some(vm) = Machine::get().vms.get(number) {
                    vm.tell(vm.console.type_in(byte));
                }
            }
            Input::Detached(number) => {
                if let Some(vm) = Machine::get().vms.get(number) {
                    vm.console.set_attached(false);
                    terminal::answer(&Event::Detached { name: vm.name() });
                }
            }
            Input::Line(line) => {
                match Command::parse(&line) {
                    Ok(None) => {}
                    Ok(Some(command)) => obey(command),
                    Err(error) => terminal::answer(&error.into()),
                }
                return;
            }
        }
    }
}

fn obey(command: Command<'_>) {
    match command {
        Command::Help => report::ask_for(Subject::Help),
        Command::List => report::ask_for(Subject::List),
        Command::Stats => report::ask_for(Subject::Stats),
        Command::Attach(name) => with_vm(name, |number, vm| {
            vm.console.set_attached(true);
            PROMPT.lock().attach(number);
            terminal::answer(&Event::Attached { name });
        }),
        Command::Destroy(name) => with_vm(name, |_, vm| {
            if !vm.stop(After::Off, Some(format_args!("destroyed at the console"))) {
                terminal::answer(&Event::NotRunning { name });
            }
        }),
        Command::Restart(name) => with_vm(name, |_, vm| {
            if !vm.stop(After::Restart, None) && !Machine::get().start_again(vm) {
                terminal::answer(&Event::Busy { name });
            }
        }),
    }
}

fn with_vm(name: &str, act: impl FnOnce(usize, &'static Vm)) {
    let mut vms = Machine::get().vms.iter().enumerate();
    match vms.find(|(_, vm)| vm.name() == name) {
        Some((number, vm)) => act(number, vm),
        None => terminal::answer(&Event::NoSuchGuest { word: name }),
    }
}
