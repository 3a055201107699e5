//! All VMs of the machine.

use crate::arch::smc;
use crate::console::terminal;
use crate::vm::dma_faults::DmaFaults;
use crate::vm::virtual_machine::Vm;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use host_abi::console::Event;
use spin::Once;

/// The VMs, fixed once the first CPU has read the device tree.
pub struct Machine {
    /// All VMs.
    pub vms: Vec<&'static Vm>,
    /// The interrupt of the console's UART, where there is one.
    pub console_interrupt: Option<u32>,
    /// The interrupt by which the TEE says that it has notifications, where there is one.
    pub tee_interrupt: Option<u32>,
    /// What the SMMU did not let pass, where there is one.
    pub dma_faults: Option<DmaFaults>,
    /// How many VMs are not off.
    running: AtomicUsize,
    /// The number of the first VM that is still to see whether its TEE has notifications; none is
    /// left from the number of VMs on.
    notified_next: AtomicUsize,
}

static MACHINE: Once<Machine> = Once::new();

impl Machine {
    /// Sets the machine's parts. All VMs count as running until [`Machine::vm_is_off`].
    pub fn set(
        vms: Vec<&'static Vm>,
        console_interrupt: Option<u32>,
        tee_interrupt: Option<u32>,
        dma_faults: Option<DmaFaults>,
    ) -> &'static Self {
        let running = AtomicUsize::new(vms.len());
        MACHINE.call_once(|| Self {
            vms,
            console_interrupt,
            tee_interrupt,
            dma_faults,
            running,
            notified_next: AtomicUsize::new(usize::MAX),
        })
    }

    /// The machine.
    pub fn get() -> &'static Self {
        MACHINE
            .get()
            .expect("Machine::set comes before any VM or second CPU runs")
    }

    /// The TEE said that it has notifications, not for which VM: [`notify_next`](Self::notify_next)
    /// asks for one after the other. For the CPU of the TEE's interrupt, as all of this.
    pub fn tee_has_notifications(&self) {
        self.notified_next.store(0, Ordering::Relaxed);
    }

    /// Whether a VM is still to see whether its TEE has notifications.
    pub fn is_notifying(&self) -> bool {
        self.notified_next.load(Ordering::Relaxed) < self.vms.len()
    }

    /// Passes on the notifications of the next VM that is still to be asked about.
    pub fn notify_next(&self) {
        let number = self.notified_next.load(Ordering::Relaxed);
        if let Some(vm) = self.vms.get(number) {
            self.notified_next.store(number + 1, Ordering::Relaxed);
            vm.notify();
        }
    }

    /// Starts a VM again that is off for good. Returns whether it was.
    pub fn start_again(&self, vm: &Vm) -> bool {
        self.running.fetch_add(1, Ordering::AcqRel);
        let starts = vm.start_again();
        if !starts {
            self.vm_is_off();
        }
        starts
    }

    /// Takes note that one more VM is off for good. With the last one the machine goes off.
    pub fn vm_is_off(&self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            terminal::tell::<&str>(&Event::AllOff);
            terminal::flush();
            smc::system_off();
        }
    }
}
