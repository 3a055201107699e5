//! The list registers of a CPU, as the virtual interrupt controller uses them.

#![expect(
    unsafe_code,
    reason = "vouches that what goes into list registers is for the vCPU that is loaded"
)]

use crate::arch::this_cpu::ThisCpu;
use crate::arch::{timer, virtual_interface};
use crate::devices::gicv3::list_register::{ListRegisters, Refill};
use crate::drivers::gicv3;

/// The list registers of the CPU this runs on.
#[derive(Debug)]
pub(super) struct CpuListRegisters<'a> {
    cpu: &'a ThisCpu,
}

impl<'a> CpuListRegisters<'a> {
    /// Those of this CPU.
    ///
    /// # Safety
    ///
    /// The vCPU that they are used for is the one that is loaded on this CPU.
    pub(super) unsafe fn of(cpu: &'a ThisCpu) -> Self {
        Self { cpu }
    }
}

impl ListRegisters for CpuListRegisters<'_> {
    #[inline]
    fn read(&self, n: usize) -> u64 {
        virtual_interface::list_register(n)
    }

    #[inline]
    fn write(&mut self, n: usize, value: u64) {
        // SAFETY: this structure stands for the registers of the vCPU that is loaded.
        unsafe { virtual_interface::set_list_register(n, value) }
    }

    fn set_refill(&mut self, when: Refill) {
        virtual_interface::set_maintenance(when == Refill::Underflow, when == Refill::NonePending);
    }

    #[inline]
    fn drops_priority_only(&self) -> bool {
        virtual_interface::drops_priority_only()
    }

    #[inline]
    fn take_eoi_count(&mut self) -> u32 {
        virtual_interface::take_eoi_count()
    }

    #[inline]
    fn physical_asserted(&self, intid: u32) -> bool {
        timer::is_asserted(intid)
    }

    fn deactivate_physical(&mut self, intid: u32) {
        match intid {
            0..32 => gicv3::deactivate_ppis(self.cpu, 1 << intid),
            _ => gicv3::deactivate_spi(intid),
        }
    }
}
