//! The run loop of a physical CPU: pick a vCPU, run it, serve what it left for.

use crate::arch::context::Exit;
use crate::arch::exception_entry::{self, pstate};
use crate::arch::pmu::{self, Counts};
use crate::arch::syndrome::{self, SystemRegisterAccess, Trap};
use crate::arch::{aarch32, registers, timer};
use crate::console::terminal;
use crate::description::MAX_VCPUS_PER_CPU;
use crate::drivers::gicv3::{self, Interrupt};
use crate::exits::system_registers::{self, TrappedRegister};
use crate::exits::{id_registers, mmio, smc};
use crate::operator::{commands, report};
use crate::run::scheduler::{Status, Turns};
use crate::vm::accounting::{Account, Cause};
use crate::vm::machine::Machine;
use crate::vm::power::After;
use crate::vm::vcpu::Vcpu;
use alloc::vec::Vec;
use core::fmt;
use heapless::Vec as FixedVec;
use smccc::{Conduit, FunctionId};

/// Time slices a second, for vCPUs that share a CPU.
const SLICES_PER_SECOND: u64 = 100;

/// The CPU that shared interrupts go to.
const SHARED_INTERRUPTS_CPU: usize = terminal::CPU;

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
}

impl Cpu {
    /// CPU `number` with the vCPUs that are pinned to it.
    pub fn new(number: usize, vcpus: Vec<Vcpu>) -> Self {
        Self {
            number,
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
                registers::wait_for_interrupt();
                take_interrupts(None, self.number);
            }
        }
    }

    /// Runs vCPU `current`, or does its other work, until something else than that is next.
    #[inline(never)]
    fn run_in_turn(&mut self, current: usize, mut meter: Option<Meter>) -> Next {
        let (number, vcpu) = (self.number, &mut self.vcpus[current]);
        // It begins when the vCPU is looked at, and ends with a look at all of them.
        let has_other_work = vcpu.has_other_work();
        loop {
            let (cause, next) = if has_other_work {
                (Cause::Start, do_other_work(vcpu, number))
            } else {
                enter(vcpu, number)
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
        let mut until = None;
        if self.number == SHARED_INTERRUPTS_CPU {
            until = go_on_with_shared_work();
        }
        let decision = self.turns.decide(timer::now(), &statuses);
        timer::set_deadline(decision.until.into_iter().chain(until).min());
        if decision.run != self.loaded {
            if let Some(loaded) = self.loaded.take() {
                self.vcpus[loaded].save(self.number);
            }
            self.loaded = decision.run.filter(|&n| !self.vcpus[n].has_other_work());
            if let Some(next) = self.loaded {
                self.vcpus[next].load(self.number);
            }
        }
        decision.run
    }
}

/// Does a step of what is not one vCPU's: one of them at a time, which each takes a while. Says when there is another one to do.
/// For [`SHARED_INTERRUPTS_CPU`].
fn go_on_with_shared_work() -> Option<u64> {
    let machine = Machine::get();
    if machine.is_notifying() {
        machine.notify_next();
    } else if !terminal::go_on() {
        report::go_on();
    }
    if machine.is_notifying() {
        return Some(timer::now());
    }
    terminal::resume_at()
        .into_iter()
        .chain(report::resume_at())
        .min()
}

/// Measures what is done from one entry of a vCPU to the next. There is one where the CPU has a performance monitor.
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
fn do_other_work(vcpu: &mut Vcpu, cpu: usize) -> Next {
    let done = vcpu.do_other_work();
    let next = take_interrupts(None, cpu);
    if done { Next::Reschedule } else { next }
}

/// Enters a vCPU that is loaded into this CPU, number `cpu`, and serves its exit.
fn enter(vcpu: &mut Vcpu, cpu: usize) -> (Cause, Next) {
    let exit = vcpu.run(cpu);
    if exit != Exit::Synchronous {
        return serve_asynchronous(vcpu, cpu, exit);
    }
    let (cause, next) = serve_trap(vcpu, cpu);
    if next == Next::Resume && registers::interrupt_pending() {
        // The guest would leave again at once.
        return (cause, take_interrupts(Some(vcpu), cpu));
    }
    (cause, next)
}

/// Serves another exit than a synchronous exception.
#[inline(never)]
fn serve_asynchronous(vcpu: &mut Vcpu, cpu: usize, exit: Exit) -> (Cause, Next) {
    if exit == Exit::Interrupt {
        return (Cause::Interrupt, take_interrupts(Some(vcpu), cpu));
    }
    (
        Cause::Other,
        stop(vcpu, format_args!("an SError came"), registers::esr()),
    )
}

/// Takes all interrupts that wait on this CPU, number `cpu`, where `vcpu` is loaded if one is.
fn take_interrupts(vcpu: Option<&mut Vcpu>, cpu: usize) -> Next {
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
        // The console may go on at a time to come.
        return Next::Reschedule;
    }
    if machine.tee_interrupt == Some(intid) {
        machine.tee_has_notifications();
        return Next::Reschedule;
    }
    log::warn!("interrupt {intid} is nobody's");
    Next::Resume
}

/// Serves a synchronous exception of a vCPU that is loaded into CPU number `cpu`.
fn serve_trap(vcpu: &mut Vcpu, cpu: usize) -> (Cause, Next) {
    let syndrome = registers::esr();
    if let Some((conduit, immediate)) = syndrome::call(syndrome) {
        if conduit == Conduit::Smc {
            vcpu.context.skip_a64();
        }
        let cause = Cause::of_call(FunctionId(vcpu.context.x[0] as u32));
        return (cause, smc::call(vcpu, conduit, immediate));
    }
    if mmio::serve_plain_console_access(vcpu, syndrome) {
        return (Cause::Device, Next::Resume);
    }
    serve_other_trap(vcpu, cpu, syndrome)
}

/// Serves a synchronous exception that is no call.
#[inline(never)]
fn serve_other_trap(vcpu: &mut Vcpu, cpu: usize, syndrome: u64) -> (Cause, Next) {
    if is_skipped(vcpu.context.pstate, syndrome) {
        vcpu.context.skip_instruction(syndrome);
        return (Cause::Other, Next::Resume);
    }
    match syndrome::decode(syndrome) {
        Trap::WaitForInterrupt => {
            vcpu.context.skip_instruction(syndrome);
            (Cause::Wait, Next::Wait)
        }
        Trap::DataAbort(abort) => (Cause::Device, mmio::serve(vcpu, cpu, syndrome, abort)),
        Trap::SystemRegister(access) => (Cause::Register, serve_system_register(vcpu, access)),
        Trap::InstructionAbort => (Cause::Other, serve_instruction_abort(vcpu, syndrome)),
        Trap::Undefined => {
            vcpu.context.inject_undefined();
            (Cause::Other, Next::Resume)
        }
        Trap::Unexpected => {
            let reason = format_args!("an exception came that no guest can cause");
            (Cause::Other, stop(vcpu, reason, syndrome))
        }
    }
}

/// A jump to where the guest has no memory is answered as a bus would, unless it is the guest's own vector that lies there: it
/// would jump there without end.
fn serve_instruction_abort(vcpu: &mut Vcpu, syndrome: u64) -> Next {
    let from_el1 = !exception_entry::is_el0(vcpu.context.pstate);
    if from_el1 && vcpu.context.is_at_vector() {
        let ipa = registers::faulting_ipa_page();
        let reason =
            format_args!("its exception vectors lie at IPA {ipa:#x}, which is not its memory");
        return stop(vcpu, reason, syndrome);
    }
    vcpu.context
        .inject_external_abort(syndrome, registers::far());
    Next::Resume
}

/// Whether the instruction that trapped is one of AArch32 whose condition fails.
fn is_skipped(pstate: u64, syndrome: u64) -> bool {
    pstate & pstate::AARCH32 != 0
        && syndrome::may_be_conditional(syndrome)
        && !aarch32::condition_holds(pstate, syndrome::condition(syndrome))
}

/// What becomes of a load or store that stage 2 stopped and that no device serves: of a program's, the kernel hears as of one
/// to an address where nothing is; a kernel's own stops the VM.
pub fn refuse_access(vcpu: &mut Vcpu, reason: fmt::Arguments<'_>, syndrome: u64) -> Next {
    if exception_entry::is_el0(vcpu.context.pstate) {
        vcpu.context
            .inject_external_abort(syndrome, registers::far());
        return Next::Resume;
    }
    stop(vcpu, reason, syndrome)
}

/// Stops the VM because of what this vCPU did, of which ESR_EL2 says `syndrome`.
fn stop(vcpu: &Vcpu, reason: fmt::Arguments<'_>, syndrome: u64) -> Next {
    let cause = syndrome::Cause {
        syndrome,
        pc: vcpu.context.pc,
        pstate: vcpu.context.pstate,
        address: registers::far(),
    };
    let reason = format_args!("vCPU {}: {reason}: {cause}", vcpu.index);
    vcpu.vm.stop(After::Off, Some(reason));
    Next::Reschedule
}

fn serve_system_register(vcpu: &mut Vcpu, access: SystemRegisterAccess) -> Next {
    match system_registers::classify(access.register) {
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
        TrappedRegister::Deactivate if !access.read => vcpu.deactivate(access.transfer),
        TrappedRegister::Debug(register) => {
            let done = if access.read {
                let value = vcpu.debug_register(register);
                value.map(|value| vcpu.set_register(access.transfer, value))
            } else {
                vcpu.set_debug_register(register, vcpu.register(access.transfer))
            };
            if done.is_none() {
                vcpu.context.inject_undefined();
                return Next::Resume;
            }
        }
        TrappedRegister::InterruptControllerEnable => {
            /// ICC_SRE_EL1: SRE, DFB and DIB.
            const ON: u64 = 0b111;
            if access.read {
                vcpu.set_register(access.transfer, ON);
            }
        }
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
    vcpu.context.skip_a64();
    Next::Resume
}
