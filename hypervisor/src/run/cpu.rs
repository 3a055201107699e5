//! The run loop of a physical CPU: pick a vCPU, run it, serve what it left for.

use crate::arch::context::Exit;
use crate::arch::pmu::{self, Counts};
use crate::arch::this_cpu::ThisCpu;
use crate::arch::{access, registers, timer};
use crate::console::terminal;
use crate::drivers::gicv3;
use crate::drivers::interrupt::Interrupt;
use crate::exits::trap;
use crate::operator::{commands, report};
use crate::run::scheduler::Turns;
use crate::vm::accounting::Account;
use crate::vm::dma_faults::DmaFaults;
use crate::vm::machine::Machine;
use crate::vm::power::{Status, Step};
use crate::vm::vcpu::{Next, Vcpu};
use alloc::vec::Vec;
use heapless::Vec as FixedVec;
use host_abi::binding::MAX_VCPUS_PER_CPU;
use host_abi::console::Cause;

/// Time slices a second, for vCPUs that share a CPU.
const SLICES_PER_SECOND: u64 = 100;

/// The CPU that shared interrupts go to.
const SHARED_INTERRUPTS_CPU: usize = terminal::CPU;

/// A physical CPU and its vCPUs.
pub struct Cpu {
    cpu: ThisCpu,
    vcpus: Vec<Vcpu>,
    turns: Turns,
    /// Whose registers are in the CPU.
    loaded: Option<usize>,
}

impl Cpu {
    /// This CPU with the vCPUs that are pinned to it.
    pub fn new(cpu: ThisCpu, vcpus: Vec<Vcpu>) -> Self {
        Self {
            cpu,
            vcpus,
            turns: Turns::new(timer::frequency() / SLICES_PER_SECOND),
            loaded: None,
        }
    }

    /// Runs vCPUs, and idles where none can run.
    pub fn run(mut self) -> ! {
        loop {
            let mut meter = Meter::new();
            if let Some(current) = self.schedule() {
                if let Some(meter) = &mut meter {
                    meter.charge(self.vcpus[current].account, Cause::Turn);
                }
                if self.run_in_turn(current, meter) == Next::Wait {
                    self.turns.wait(current);
                }
            } else {
                access::wait_for_interrupt();
                take_interrupts(None, &self.cpu);
            }
        }
    }

    /// Runs vCPU `current`, or does its other work, until something else than that is next.
    #[inline(never)]
    fn run_in_turn(&mut self, current: usize, mut meter: Option<Meter>) -> Next {
        let (cpu, vcpu) = (&self.cpu, &mut self.vcpus[current]);
        // It begins when the vCPU is looked at, and ends with a look at all of them.
        let has_other_work = vcpu.has_other_work();
        loop {
            let (cause, next) = if has_other_work {
                (Cause::Start, do_other_work(vcpu, cpu))
            } else {
                enter(vcpu, cpu)
            };
            if let Some(meter) = &mut meter {
                meter.charge(vcpu.account, cause);
            }
            if next != Next::Resume {
                return next;
            }
        }
    }

    /// Looks at all vCPUs, and loads the one whose turn it is.
    fn schedule(&mut self) -> Option<usize> {
        // A vCPU that gives way is saved before it is looked at, so that its interrupts and timer
        // are seen.
        let mut statuses = FixedVec::<Status, MAX_VCPUS_PER_CPU>::new();
        let leaves = |n: &usize| self.turns.is_waiting(*n) || self.vcpus[*n].must_leave();
        if let Some(loaded) = self.loaded.filter(leaves) {
            self.vcpus[loaded].save(&self.cpu);
            self.loaded = None;
        }
        for vcpu in &mut self.vcpus {
            let fits = statuses.push(vcpu.look());
            debug_assert!(fits.is_ok(), "the description bounds the vCPUs of a CPU");
        }
        let mut until = None;
        if self.cpu.number() == SHARED_INTERRUPTS_CPU {
            until = go_on_with_shared_work();
        }
        let decision = self.turns.decide(timer::now(), &statuses);
        timer::set_deadline(decision.until.into_iter().chain(until).min());
        if decision.run != self.loaded {
            if let Some(loaded) = self.loaded.take() {
                self.vcpus[loaded].save(&self.cpu);
            }
            self.loaded = decision.run.filter(|&n| !self.vcpus[n].has_other_work());
            if let Some(next) = self.loaded {
                self.vcpus[next].load(&self.cpu);
            }
        }
        decision.run
    }
}

/// Does a step of what is not one vCPU's: one of them at a time, which each takes a while. Says
/// when there is another one to do. For [`SHARED_INTERRUPTS_CPU`].
fn go_on_with_shared_work() -> Option<u64> {
    let machine = Machine::get();
    if machine.is_notifying() {
        machine.notify_next();
    } else if terminal::go_on() {
        tell_guests_of_room();
    } else {
        report::go_on();
    }
    if machine.is_notifying() {
        return Some(timer::now());
    }
    let faults = machine.dma_faults.as_ref();
    if let Some(faults) = faults {
        faults.go_on(&machine.vms);
    }
    terminal::resume_at()
        .into_iter()
        .chain(report::resume_at())
        .chain(faults.and_then(DmaFaults::resume_at))
        .min()
}

/// Tells guests whose output was held back that the console has room again.
fn tell_guests_of_room() {
    while let Some(guest) = terminal::take_guest_with_room() {
        if let Some(vm) = Machine::get().vms.get(guest) {
            vm.tell(vm.console.has_room_again());
        }
    }
}

/// Measures what is done from one entry of a vCPU to the next. There is one where the CPU has a
/// performance monitor.
struct Meter {
    last: Counts,
}

impl Meter {
    /// Measures from now on.
    fn new() -> Option<Self> {
        pmu::is_present().then(|| Self {
            last: pmu::counts(),
        })
    }

    /// Charges what was done since the last time to `account`.
    fn charge(&mut self, account: &Account, cause: Cause) {
        let now = pmu::counts();
        let before = core::mem::replace(&mut self.last, now);
        account.charge(
            cause,
            now.instructions.wrapping_sub(before.instructions),
            now.cycles.wrapping_sub(before.cycles),
        );
    }
}

/// Does a little for a VM that starts or ends, and takes the interrupts that came meanwhile.
fn do_other_work(vcpu: &mut Vcpu, cpu: &ThisCpu) -> Next {
    let step = vcpu.do_other_work();
    if step == Step::Off {
        Machine::get().vm_is_off();
    }
    let next = take_interrupts(None, cpu);
    if step == Step::GoesOn {
        next
    } else {
        Next::Reschedule
    }
}

/// Enters a vCPU that is loaded into this CPU, and serves its exit.
fn enter(vcpu: &mut Vcpu, cpu: &ThisCpu) -> (Cause, Next) {
    let exit = vcpu.run(cpu);
    if exit != Exit::Synchronous {
        return serve_asynchronous(vcpu, cpu, exit);
    }
    let (cause, next) = trap::serve(vcpu, cpu);
    if next == Next::Resume && registers::interrupt_pending() {
        // The guest would leave again at once.
        return (cause, take_interrupts(Some(vcpu), cpu));
    }
    (cause, next)
}

/// Serves another exit than a synchronous exception.
#[inline(never)]
fn serve_asynchronous(vcpu: &mut Vcpu, cpu: &ThisCpu, exit: Exit) -> (Cause, Next) {
    if exit == Exit::Interrupt {
        return (Cause::Interrupt, take_interrupts(Some(vcpu), cpu));
    }
    (
        Cause::Other,
        vcpu.stop_vm(format_args!("an SError came"), registers::esr()),
    )
}

/// Takes all interrupts that wait on this CPU, where `vcpu` is loaded if one is.
fn take_interrupts(vcpu: Option<&mut Vcpu>, cpu: &ThisCpu) -> Next {
    let mut vcpu = vcpu;
    let mut next = Next::Resume;
    while let Some(interrupt) = gicv3::acknowledge() {
        match (interrupt, &mut vcpu) {
            (Interrupt::GuestTimer(intid), Some(vcpu)) => vcpu.raise_timer(cpu, intid),
            (Interrupt::GuestTimer(intid), None) => gicv3::deactivate_ppis(cpu, 1 << intid),
            (Interrupt::Maintenance, Some(vcpu)) => {
                vcpu.sync_interrupts(cpu);
                gicv3::maintenance_done();
            }
            (Interrupt::Maintenance, None) => gicv3::maintenance_done(),
            (Interrupt::Kick | Interrupt::HypervisorTimer, _) => next = Next::Reschedule,
            (Interrupt::GuestDevice(intid), _) => {
                // The vCPU that gets it may be one of this CPU's.
                let vms = &Machine::get().vms;
                vms.iter().any(|vm| vm.raise_device_interrupt(intid));
                next = Next::Reschedule;
            }
            (Interrupt::Shared(intid), _) => {
                if serve_shared_interrupt(intid) == Next::Reschedule {
                    next = Next::Reschedule;
                }
            }
        }
    }
    next
}

#[inline(never)]
fn serve_shared_interrupt(intid: u32) -> Next {
    let machine = Machine::get();
    if machine.console_interrupt == Some(intid) {
        commands::take_input();
        terminal::serve_transmit_interrupt();
        tell_guests_of_room();
        // The console may go on at a time to come.
        return Next::Reschedule;
    }
    if let Some(faults) = machine
        .dma_faults
        .as_ref()
        .filter(|faults| faults.interrupt == Some(intid))
    {
        faults.come();
        return Next::Reschedule;
    }
    if machine.tee_interrupt == Some(intid) {
        machine.tee_has_notifications();
        return Next::Reschedule;
    }
    log::warn!("interrupt {intid} came, which nobody serves");
    Next::Resume
}
