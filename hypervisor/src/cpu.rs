//! The run loop of a physical CPU: pick a vCPU, run it, serve what it left for.

use crate::accounting::Cause;
use crate::arch::context::Exit;
use crate::arch::gic::{self, Interrupt};
use crate::arch::performance_monitor::{self, Counts};
use crate::arch::{registers, timer};
use crate::description::MAX_VCPUS_PER_CPU;
use crate::machine::Machine;
use crate::power::After;
use crate::scheduler::{Status, Turns};
use crate::services::{self, Conduit};
use crate::syndrome::{self, SystemRegisterAccess, Trap};
use crate::trapped_registers::{self, TrappedRegister};
use crate::vcpu::Vcpu;
use crate::{id_registers, mmio, operator};
use alloc::format;
use alloc::vec::Vec;
use heapless::Vec as FixedVec;

/// Time slices a second, for vCPUs that share a CPU.
const SLICES_PER_SECOND: u64 = 100;

/// What a vCPU does after an exit was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Resume,
    /// It waits for an interrupt.
    Wait,
    /// Look at all vCPUs of this CPU again.
    Reschedule,
}

/// A physical CPU and its vCPUs.
pub struct Cpu {
    number: usize,
    vcpus: Vec<Vcpu>,
    turns: Turns,
    /// Whose registers are in the CPU.
    loaded: Option<usize>,
    meter: Option<Meter>,
}

/// Measures what is done between two vCPU exits. There is one where the CPU has a performance monitor.
struct Meter {
    last: Counts,
}

impl Meter {
    fn new() -> Option<Self> {
        performance_monitor::is_present().then(|| Self {
            last: performance_monitor::counts(),
        })
    }

    /// What was done since the last time.
    fn lap(&mut self) -> Counts {
        let now = performance_monitor::counts();
        let before = core::mem::replace(&mut self.last, now);
        Counts {
            instructions: now.instructions.wrapping_sub(before.instructions),
            cycles: now.cycles.wrapping_sub(before.cycles),
        }
    }
}

impl Cpu {
    /// CPU `number` with the vCPUs that are pinned to it.
    pub fn new(number: usize, vcpus: Vec<Vcpu>) -> Self {
        Self {
            number,
            vcpus,
            turns: Turns::new(timer::frequency() / SLICES_PER_SECOND),
            loaded: None,
            meter: Meter::new(),
        }
    }

    /// Runs vCPUs, and idles where none can run.
    pub fn run(mut self) -> ! {
        loop {
            if let Some(current) = self.schedule() {
                // What it took to find it is nobody's.
                self.meter.as_mut().map(Meter::lap);
                let next = loop {
                    let next = self.run_once(current);
                    if next != Next::Resume {
                        break next;
                    }
                };
                if next == Next::Wait {
                    self.turns.wait(current);
                }
            } else {
                registers::wait_for_interrupt();
                self.take_interrupts(None);
            }
        }
    }

    /// Looks at all vCPUs, and loads the one whose turn it is.
    fn schedule(&mut self) -> Option<usize> {
        // A vCPU that gives way is saved before it is looked at, so that its interrupts and timer are seen.
        let mut statuses = FixedVec::<Status, MAX_VCPUS_PER_CPU>::new();
        let leaves = |n: &usize| self.turns.is_waiting(*n) || self.vcpus[*n].must_leave();
        if let Some(loaded) = self.loaded.filter(leaves) {
            self.vcpus[loaded].save(self.number);
            self.loaded = None;
        }
        for (n, vcpu) in self.vcpus.iter_mut().enumerate() {
            let fits = statuses.push(vcpu.look(self.loaded == Some(n)));
            debug_assert!(fits.is_ok(), "the description bounds the vCPUs of a CPU");
        }
        let decision = self.turns.decide(timer::now(), &statuses);
        timer::set_deadline(decision.until);
        if decision.run != self.loaded {
            if let Some(loaded) = self.loaded.take() {
                self.vcpus[loaded].save(self.number);
            }
            self.loaded = decision.run.filter(|&n| !self.vcpus[n].is_filling());
            if let Some(next) = self.loaded {
                self.vcpus[next].load(self.number);
            }
        }
        decision.run
    }

    /// Enters vCPU `current` and serves its exit, or goes on filling its VM's memory.
    fn run_once(&mut self, current: usize) -> Next {
        let vcpu = &mut self.vcpus[current];
        let (cause, next) = if vcpu.is_filling() {
            (Cause::Start, self.fill(current))
        } else {
            self.enter(current)
        };
        if let Some(meter) = &mut self.meter {
            let Counts {
                instructions,
                cycles,
            } = meter.lap();
            let vcpu = &self.vcpus[current];
            vcpu.vm.accounts[vcpu.index].charge(cause, instructions, cycles);
        }
        next
    }

    /// Fills a little of the memory of a VM that starts, and takes the interrupts that came meanwhile.
    fn fill(&mut self, current: usize) -> Next {
        let done = self.vcpus[current].fill();
        let next = self.take_interrupts(None);
        if done { Next::Reschedule } else { next }
    }

    /// Enters vCPU `current` and serves its exit.
    fn enter(&mut self, current: usize) -> (Cause, Next) {
        let vcpu = &mut self.vcpus[current];
        match vcpu.run(self.number) {
            Exit::Synchronous => {
                let trap = syndrome::decode(registers::esr());
                let cause = Cause::of(&trap, vcpu.context.x[0]);
                (cause, serve_trap(vcpu, self.number, trap))
            }
            Exit::Interrupt => (Cause::Interrupt, self.take_interrupts(Some(current))),
            Exit::SystemError => {
                vcpu.vm.stop(After::Off, Some("SError"));
                (Cause::Other, Next::Reschedule)
            }
        }
    }

    /// Takes all interrupts that wait.
    fn take_interrupts(&mut self, current: Option<usize>) -> Next {
        let mut next = Next::Resume;
        while let Some(interrupt) = gic::acknowledge() {
            match (interrupt, current) {
                (Interrupt::VirtualTimer, Some(n)) => {
                    let vcpu = &self.vcpus[n];
                    // It is this CPU's own vCPU: the flag it raises is looked at before it is entered.
                    let _ = vcpu
                        .vm
                        .gic
                        .raise_hardware_ppi(vcpu.index, timer::VIRTUAL_TIMER);
                }
                (Interrupt::VirtualTimer, None) => {
                    gic::deactivate_ppi(self.number, timer::VIRTUAL_TIMER);
                }
                (Interrupt::Maintenance, Some(n)) => {
                    self.vcpus[n].sync_interrupts(self.number);
                    gic::maintenance_done();
                }
                (Interrupt::Maintenance, None) => gic::maintenance_done(),
                (Interrupt::Kick | Interrupt::HypervisorTimer, _) => next = Next::Reschedule,
                (Interrupt::Shared(intid), _)
                    if Machine::get().console_interrupt == Some(intid) =>
                {
                    operator::take_input();
                }
                (Interrupt::Shared(intid), _) if Machine::get().tee_interrupt == Some(intid) => {
                    // It does not say for which VM.
                    Machine::get().vms.iter().for_each(|vm| vm.notify());
                }
                (Interrupt::Shared(intid), _) => log::warn!("interrupt {intid} is nobody's"),
            }
        }
        next
    }
}

/// Serves a synchronous exception of a vCPU that is loaded into CPU number `cpu`.
fn serve_trap(vcpu: &mut Vcpu, cpu: usize, trap: Trap) -> Next {
    match trap {
        Trap::Smc(immediate) => {
            vcpu.skip_instruction();
            services::call(vcpu, Conduit::Smc, immediate)
        }
        Trap::Hvc(immediate) => services::call(vcpu, Conduit::Hvc, immediate),
        Trap::WaitForInterrupt => {
            vcpu.skip_instruction();
            Next::Wait
        }
        Trap::DataAbort(abort) => mmio::serve(vcpu, cpu, abort),
        Trap::SystemRegister(access) => serve_system_register(vcpu, access),
        Trap::InstructionAbort => {
            let ipa = registers::faulting_ipa_page();
            stop(
                vcpu,
                &format!("it jumped to IPA {ipa:#x}, which is not its memory"),
            )
        }
        Trap::Other(class) => {
            let pc = vcpu.context.pc;
            stop(vcpu, &format!("exception class {class:#x} at PC {pc:#x}"))
        }
    }
}

/// Stops the VM because of what this vCPU did.
pub fn stop(vcpu: &Vcpu, reason: &str) -> Next {
    vcpu.vm
        .stop(After::Off, Some(&format!("vCPU {}: {reason}", vcpu.index)));
    Next::Reschedule
}

fn serve_system_register(vcpu: &mut Vcpu, access: SystemRegisterAccess) -> Next {
    match trapped_registers::classify(access.register) {
        TrappedRegister::Id { crm, op2 } if access.read => {
            let value = id_registers::for_guest(crm, op2, registers::id_register(crm, op2));
            vcpu.set_register(access.transfer, value);
        }
        TrappedRegister::SendSgi if !access.read => {
            let kicks = vcpu
                .vm
                .gic
                .send_sgi(vcpu.index, vcpu.register(access.transfer));
            vcpu.vm.deliver(kicks, vcpu.index);
        }
        TrappedRegister::SendOtherSgi if !access.read => {}
        TrappedRegister::ReadsAsZero => {
            if access.read {
                vcpu.set_register(access.transfer, 0);
            }
        }
        _ => {
            vcpu.context.inject_undefined();
            return Next::Resume;
        }
    }
    vcpu.skip_instruction();
    Next::Resume
}
