//! A vCPU, as the CPU it is pinned to knows it.

#![expect(
    unsafe_code,
    reason = "vouches that a CPU holds the registers of the vCPU that it enters"
)]

use crate::arch::context::{Context, Exit};
use crate::arch::debug_registers::{DebugRegister, DebugRegisters};
use crate::arch::guest_registers::{Confinement, SystemRegisters};
use crate::arch::this_cpu::ThisCpu;
use crate::arch::{cache, debug, registers, syndrome, timer, virtual_interface};
use crate::drivers::gicv3;
use crate::vm::accounting::Account;
use crate::vm::image::loader::Filling;
use crate::vm::power::{After, Entry, Status, Step};
use crate::vm::virtual_cpu_interface::CpuListRegisters;
use crate::vm::virtual_machine::Vm;
use alloc::sync::Arc;
use core::fmt;
use mediator::Tee;

/// The PPIs of the timers that a guest has. Bit n is INTID n.
const GUEST_TIMERS: u32 = 1 << timer::VIRTUAL_TIMER | 1 << timer::PHYSICAL_TIMER;

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

/// A vCPU. Only the CPU it is pinned to touches it.
///
/// What every exit needs comes first, within reach of loads and stores of pairs.
#[repr(C)]
pub struct Vcpu {
    /// The registers that every exit saves.
    pub context: Context,
    /// The VM it belongs to.
    pub vm: &'static Vm,
    /// What it costs.
    pub account: &'static Account,
    /// Its number in the VM.
    pub index: usize,
    /// The VM's TEE, if it has one; held from the vCPU's start to its stop.
    pub tee: Option<Arc<dyn Tee>>,
    system: SystemRegisters,
    debug: DebugRegisters,
    /// Whether its registers are in its CPU.
    is_loaded: bool,
    /// On, and not taken for stopped.
    on: bool,
    /// The first vCPU of a VM fills its memory before it starts.
    filling: Option<Filling>,
    /// Whether its VM has come to its end and is being torn down.
    tearing_down: bool,
    /// Whether other vCPUs are pinned to the same CPU, and whether one of them belongs to the same
    /// VM.
    shares_cpu: bool,
    shares_vmid: bool,
    /// Whether the CPU may hold translations of an earlier life.
    stale_translations: bool,
}

impl Vcpu {
    /// vCPU number `index` of `vm`, off.
    pub fn new(vm: &'static Vm, index: usize, shares_cpu: bool, shares_vmid: bool) -> Self {
        Self {
            vm,
            index,
            context: Context::start(0, 0),
            account: &vm.accounts[index],
            tee: None,
            system: SystemRegisters::start(index),
            debug: DebugRegisters::start(),
            is_loaded: false,
            on: false,
            filling: None,
            tearing_down: false,
            shares_cpu,
            shares_vmid,
            stale_translations: false,
        }
    }

    /// Whether the vCPU must leave the CPU it is loaded into: it is off, or its VM is about to
    /// stop.
    pub fn must_leave(&self) -> bool {
        !self.on || self.vm.is_stopping()
    }

    /// Follows what was asked of the vCPU since it was last looked at, and tells how it stands.
    ///
    /// A loaded vCPU whose VM was asked to stop a moment ago still counts as on: whoever asked has
    /// kicked this CPU, which saves the vCPU and looks again.
    pub fn look(&mut self) -> Status {
        if self.is_loaded {
            return Status::On {
                interrupt: false,
                deadline: None,
            };
        }
        if self.vm.is_stopping() {
            self.stop();
            self.vm.let_go(self.index);
            self.tearing_down = self.index == 0 && self.vm.is_ending();
        }
        if !self.on {
            if self.index == 0 && self.filling.is_none() {
                self.filling = self.vm.begin_start();
            }
            if self.has_other_work() {
                return Status::On {
                    interrupt: true,
                    deadline: None,
                };
            }
            let Some(entry) = self.vm.take_start(self.index) else {
                return Status::Off;
            };
            self.start(entry);
        }
        Status::On {
            interrupt: self.vm.gic.has_pending(self.index),
            deadline: self.system.timer_deadline(),
        }
    }

    /// Whether its turns are for its VM as a whole, which starts or ends, so that there is nothing
    /// to load or to enter.
    pub fn has_other_work(&self) -> bool {
        self.filling.is_some() || self.tearing_down
    }

    /// Goes on with that: with filling the VM's memory, or with tearing the VM down.
    pub fn do_other_work(&mut self) -> Step {
        if self.tearing_down {
            let step = self.vm.tear_down();
            self.tearing_down = step == Step::GoesOn;
            return step;
        }
        let step = match &mut self.filling {
            Some(filling) => self.vm.go_on_starting(filling),
            None => Step::Done,
        };
        if step != Step::GoesOn {
            self.filling = None;
        }
        step
    }

    fn start(&mut self, entry: Entry) {
        self.vm.gic.reset_vcpu(self.index);
        self.context = Context::start(entry.pc, entry.argument);
        self.context.workarounds_pass = self.vm.description.policy.passes_workarounds().into();
        self.system = SystemRegisters::start(self.index);
        self.debug = DebugRegisters::start();
        self.tee = self.vm.tee();
        self.on = true;
        self.stale_translations = true;
    }

    /// The vCPU turns itself off (PSCI CPU_OFF).
    pub fn turn_off(&mut self) {
        self.stop();
        self.vm.cpu_off(self.index);
    }

    fn stop(&mut self) {
        self.on = false;
        self.tee = None;
    }

    /// Puts the vCPU's registers into this CPU.
    pub fn load(&mut self, cpu: &ThisCpu) {
        cpu.occupy();
        self.is_loaded = true;
        let in_flight = self.vm.gic.hardware_ppis_in_flight(self.index);
        if in_flight != 0 {
            gicv3::activate_ppis(cpu, in_flight);
        }
        // SAFETY: as long as they are there no other vCPU is entered: a CPU has the registers of
        // one. The VM's tables live as long as the machine, and VMIDs are numbers of VMs.
        unsafe {
            self.system.load(&Confinement {
                stage2_root: self.vm.ram.root(),
                vmid: self.vm.id,
                shares_cpu: self.shares_cpu,
            });
        }
        debug::load_control(&self.debug);
        if self.debug.uses_pairs() {
            debug::load_pairs(&self.debug);
        }
        let starts = core::mem::take(&mut self.stale_translations);
        if starts || self.shares_vmid {
            cache::invalidate_own_guest_translations();
        }
        if starts {
            self.vm.vcpu_starts(self.index);
        }
    }

    /// Takes the vCPU's registers out of this CPU.
    pub fn save(&mut self, cpu: &ThisCpu) {
        let kicks = self.vm.gic.save(self.index, &mut self.list_registers(cpu));
        self.is_loaded = false;
        self.vm.deliver(kicks, self.index);
        self.system.save();
        cpu.vacate();
        timer::disable_guest_timers();
        gicv3::deactivate_ppis(cpu, GUEST_TIMERS);
        if self.debug.uses_pairs() {
            debug::clear_pairs();
        }
    }

    /// Runs the vCPU, which is loaded into this CPU, until it leaves.
    pub fn run(&mut self, cpu: &ThisCpu) -> Exit {
        if self.vm.gic.needs_sync(self.index) {
            self.sync_interrupts(cpu);
        }
        assert!(self.is_loaded, "what is entered was loaded");
        // SAFETY: `load` put this vCPU's registers into this CPU, which has those of one vCPU at a
        // time.
        unsafe { self.context.run() }
    }

    /// Brings list registers and interrupt controller in line.
    pub fn sync_interrupts(&mut self, cpu: &ThisCpu) {
        let kicks = self.vm.gic.sync(self.index, &mut self.list_registers(cpu));
        self.vm.deliver(kicks, self.index);
    }

    /// The timer behind PPI `intid` of this CPU fired for the vCPU, which is loaded.
    pub fn raise_timer(&self, cpu: &ThisCpu, intid: u32) {
        let mut lrs = self.list_registers(cpu);
        self.vm.gic.raise_hardware_ppi(self.index, intid, &mut lrs);
    }

    /// The vCPU, which is loaded, writes general-purpose register `n` to ICC_DIR_EL1. With EOImode
    /// 0 nothing is defined to happen (IHI0069H §12.2.10), and nothing does.
    pub fn deactivate(&self, n: usize) {
        /// ICC_DIR_EL1.INTID.
        const INTID_MASK: u64 = 0xff_ffff;
        if virtual_interface::drops_priority_only() {
            let intid = (self.register(n) & INTID_MASK) as u32;
            self.vm
                .deliver(self.vm.gic.deactivate(self.index, intid), self.index);
        }
    }

    /// What the guest reads from a debug register; `None` where there is nothing to read.
    pub fn debug_register(&self, register: DebugRegister) -> Option<u64> {
        self.debug.read(register, debug::pair_counts())
    }

    /// The guest writes a debug register of the vCPU, which is loaded; `None` where there is
    /// nothing to write.
    pub fn set_debug_register(&mut self, register: DebugRegister, value: u64) -> Option<()> {
        let used_pairs = self.debug.uses_pairs();
        self.debug.write(register, value, debug::pair_counts())?;
        debug::load_control(&self.debug);
        if self.debug.uses_pairs() {
            debug::load_pairs(&self.debug);
        } else if used_pairs {
            debug::clear_pairs();
        }
        Some(())
    }

    /// Stops the VM because of what this vCPU did, of which ESR_EL2 says `syndrome`.
    pub fn stop_vm(&self, reason: fmt::Arguments<'_>, syndrome: u64) -> Next {
        let cause = syndrome::Cause {
            syndrome,
            pc: self.context.pc,
            pstate: self.context.pstate(),
            address: registers::far(),
        };
        let reason = format_args!("vCPU {}: {reason}: {cause}", self.index);
        self.vm.stop(After::Off, Some(reason));
        Next::Reschedule
    }

    /// The value of general-purpose register `n`; 31 is XZR.
    pub fn register(&self, n: usize) -> u64 {
        self.context.x.get(n).copied().unwrap_or(0)
    }

    /// Sets general-purpose register `n`; 31 is XZR.
    pub fn set_register(&mut self, n: usize, value: u64) {
        if let Some(register) = self.context.x.get_mut(n) {
            *register = value;
        }
    }

    /// The list registers of this CPU, into which the vCPU is loaded.
    fn list_registers<'a>(&self, cpu: &'a ThisCpu) -> CpuListRegisters<'a> {
        assert!(
            self.is_loaded,
            "list registers are those of the vCPU that is loaded"
        );
        // SAFETY: this vCPU is the one that is loaded.
        unsafe { CpuListRegisters::of(cpu) }
    }
}
