//! One VM: what it has.

use crate::arch::{pmu, timer, virtual_interface};
use crate::console::rate_limit::RateLimit;
use crate::console::terminal;
use crate::description::vm::VmDescription;
use crate::devices::bus::{Bus, RegionTaken};
use crate::devices::gicv3::VirtualGic;
use crate::devices::gicv3::frames::{Distributor, Redistributors};
use crate::devices::gicv3::kicks::Kicks;
use crate::mm::guest_memory::GuestRam;
use crate::vm::accounting::{Account, Bill};
use crate::vm::call_counts::CallCounts;
use crate::vm::clock::{self, VmClock};
use crate::vm::console::VmConsole;
use crate::vm::cpus;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::image::loader::{Image, Modules};
use crate::vm::partition::Partition;
use crate::vm::passthrough::Passthrough;
use crate::vm::power::Power;
use addresses::PAGE_SIZE;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use host_abi::console::{CpuList, Event, GuestStats, Summary};
use host_abi::memory_map::guest::{DISTRIBUTOR_SIZE, PCI_CONFIGURATION_SIZE, REDISTRIBUTOR_STRIDE};
use mediator::Tee;
use spin::Mutex;

/// Resets a second that a VM has lines on the console for.
const RESETS_TOLD_PER_SECOND: u32 = 50;

/// A VM. All of it may be used from any CPU.
pub struct Vm {
    /// VMID and client ID at the TEE; not 0.
    pub id: u16,
    /// What the machine's description says of it.
    pub description: VmDescription,
    /// Its memory.
    pub ram: &'static GuestRam,
    /// What it starts with, or why it can't.
    pub(super) image: Result<Image, String>,
    /// Its interrupt controller.
    pub gic: Arc<VirtualGic>,
    /// Its console.
    pub console: Arc<VmConsole>,
    /// Its real-time clock, which is on the bus if the machine has one.
    pub(super) clock: Arc<VmClock>,
    /// The devices of the machine that it has.
    pub devices: Option<Passthrough>,
    /// What it finds at its addresses: the interrupt controller, the console's UART and so on.
    pub bus: Bus,
    pub(super) lifecycle: Lifecycle,
    pub(super) tee: Partition,
    /// Its calls that nobody here answered.
    pub calls: CallCounts,
    /// What each vCPU cost.
    pub accounts: Vec<Account>,
}

/// Where a VM is in its life, and what is told of it.
pub(super) struct Lifecycle {
    pub(super) power: Mutex<Power>,
    /// Whether the VM was asked to stop; readable without the lock.
    pub(super) stopping: AtomicBool,
    /// How often it was started.
    pub(super) starts: AtomicU64,
    /// Which of its resets are told of, and whether that of the life to come was.
    pub(super) told_resets: Mutex<RateLimit>,
    pub(super) tells_of_this_life: AtomicBool,
}

impl Lifecycle {
    fn new(vcpus: usize) -> Self {
        Self {
            power: Mutex::new(Power::new(vcpus)),
            stopping: AtomicBool::new(false),
            starts: AtomicU64::new(0),
            told_resets: Mutex::new(RateLimit::new(RESETS_TOLD_PER_SECOND, timer::frequency())),
            tells_of_this_life: AtomicBool::new(true),
        }
    }
}

/// The bus of a VM with `vcpus` vCPUs. What guests access most comes first.
fn bus(
    gic: &Arc<VirtualGic>,
    console: &Arc<VmConsole>,
    clock: &Arc<VmClock>,
    devices: Option<&Passthrough>,
    vcpus: usize,
) -> Result<Bus, RegionTaken> {
    let mut bus = Bus::new();
    bus.add(GuestLayout::UART, PAGE_SIZE, Arc::clone(console) as _)?;
    bus.add(
        GuestLayout::REDISTRIBUTORS,
        vcpus as u64 * REDISTRIBUTOR_STRIDE,
        Arc::new(Redistributors(Arc::clone(gic))),
    )?;
    bus.add(
        GuestLayout::DISTRIBUTOR,
        DISTRIBUTOR_SIZE,
        Arc::new(Distributor(Arc::clone(gic))),
    )?;
    if clock::is_there() {
        bus.add(GuestLayout::CLOCK, PAGE_SIZE, Arc::clone(clock) as _)?;
    }
    if let Some(devices) = devices {
        bus.add(
            GuestLayout::PCI_CONFIGURATION,
            PCI_CONFIGURATION_SIZE,
            Arc::new(devices.host_bridge()),
        )?;
    }
    Ok(bus)
}

impl Vm {
    /// A VM that is off.
    pub fn new(
        id: u16,
        description: VmDescription,
        ram: &'static GuestRam,
        modules: Modules,
        devices: Option<Passthrough>,
    ) -> Self {
        let vcpus = description.vcpu_cpus.len();
        let gic = Arc::new(VirtualGic::new(vcpus, virtual_interface::count()));
        let number = usize::from(id) - 1;
        let console = VmConsole::new(number, description.name.clone(), Arc::clone(&gic));
        let console = Arc::new(console);
        let clock = Arc::default();
        Self {
            id,
            ram,
            image: Image::of(&description, modules, ram.bytes()),
            bus: bus(&gic, &console, &clock, devices.as_ref(), vcpus)
                .expect("the guest's layout keeps devices apart"),
            gic,
            console,
            clock,
            devices,
            lifecycle: Lifecycle::new(vcpus),
            tee: Partition::new(),
            calls: CallCounts::new(timer::frequency()),
            accounts: (0..vcpus).map(|_| Account::default()).collect(),
            description,
        }
    }

    /// The VM's name.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// The VM's side of its TEE, if it has one.
    pub fn tee(&self) -> Option<Arc<dyn Tee>> {
        self.tee.get()
    }

    /// Passes on what its TEE has to notify the VM of, if there is anything.
    pub fn notify(&self) {
        if self.tee().is_some_and(|tee| tee.poll_notifications()) {
            self.raise_tee_interrupt();
        }
    }

    /// Raises the virtual interrupt by which the TEE notifies the VM.
    pub fn raise_tee_interrupt(&self) {
        self.tell(self.gic.pulse_spi(GuestLayout::TEE_INTID));
    }

    /// Passes on the machine's interrupt `physical`, if it is one of the VM's devices.
    pub fn raise_device_interrupt(&self, physical: u32) -> bool {
        let devices = self.devices.as_ref();
        let Some(intid) = devices.and_then(|devices| devices.intid(physical)) else {
            return false;
        };
        self.tell(self.gic.raise_hardware_spi(intid, physical));
        true
    }

    /// Writes what the VM did so far, for people.
    pub fn stats(&self) -> GuestStats {
        GuestStats {
            starts: self.lifecycle.starts.load(Ordering::Relaxed),
            refused: self.calls.refused(),
            forwarded: self.calls.forwarded(),
            pages: self.ram.pinned(),
        }
    }

    /// What EL2 did for the VM so far, where that is counted.
    pub fn bill(&self) -> Option<Bill<'_>> {
        pmu::is_present().then(|| Bill::new(&self.accounts, pmu::has_instructions()))
    }

    /// Tells what became of the VM, in order with what it writes itself.
    pub(super) fn tell_event<T: fmt::Display>(&self, event: &Event<'_, T>) {
        terminal::tell_about(self.number(), event);
    }

    /// The VM's place among the machine's.
    fn number(&self) -> usize {
        usize::from(self.id) - 1
    }

    /// What the VM has.
    pub fn summary(&self) -> Summary {
        let mut cpus = CpuList::default();
        for &cpu in &self.description.vcpu_cpus {
            // The description has no more than there is room for.
            let _ = cpus.push(u32::try_from(cpu).unwrap_or(u32::MAX));
        }
        Summary {
            mib: self.ram.bytes() >> 20,
            cpus,
            tee: self.description.tee,
        }
    }

    pub(super) fn kick_vcpu(&self, index: usize) {
        if let Some(&cpu) = self.description.vcpu_cpus.get(index) {
            cpus::kick(cpu);
        }
    }

    /// Has the CPUs look at the vCPUs for which something is new.
    pub fn tell(&self, kicks: Kicks) {
        kicks.vcpus().for_each(|index| self.kick_vcpu(index));
    }

    /// Has the CPUs look at the vCPUs for which the interrupt controller has something new; `own`
    /// is the vCPU that the caller is about to enter, which needs no telling.
    pub fn deliver(&self, kicks: Kicks, own: usize) {
        for index in kicks.vcpus().filter(|&index| index != own) {
            self.kick_vcpu(index);
        }
    }
}
