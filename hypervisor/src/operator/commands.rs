//! Serves the person at the machine's console.

use crate::console::terminal;
use crate::operator::prompt::{self, Command, Input, Prompt};
use crate::operator::report::{self, Subject};
use crate::vm::machine::Machine;
use crate::vm::power::After;
use crate::vm::virtual_machine::Vm;
use spin::Mutex;

macro_rules! answer {
    ($($text:tt)*) => {
        terminal::answer(format_args!($($text)*))
    };
}

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
                    answer!("{}: detached", vm.name());
                }
            }
            Input::Line(line) => {
                match prompt::parse(&line) {
                    Ok(None) => {}
                    Ok(Some(command)) => obey(command),
                    Err(error) => answer!("{error}"),
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
            answer!("{name}: attached; Control-] leads back");
        }),
        Command::Destroy(name) => with_vm(name, |_, vm| {
            if !vm.stop(After::Off, Some(format_args!("destroyed at the console"))) {
                answer!("{name}: it does not run");
            }
        }),
        Command::Restart(name) => with_vm(name, |_, vm| {
            if !vm.stop(After::Restart, None) && !Machine::get().start_again(vm) {
                answer!("{name}: it is about to start or to stop; try again");
            }
        }),
    }
}

fn with_vm(name: &str, act: impl FnOnce(usize, &'static Vm)) {
    let mut vms = Machine::get().vms.iter().enumerate();
    match vms.find(|(_, vm)| vm.name() == name) {
        Some((number, vm)) => act(number, vm),
        None => answer!("{name}: no such guest; list tells which there are"),
    }
}
