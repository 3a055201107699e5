//! The list registers of this CPU's virtual interface (ICH_LR<n>_EL2, IHI0069 §12.4.6).

use crate::arch::registers::{read, write};
use crate::devices::gicv3::{ListRegisters, Refill};

/// ICH_HCR_EL2 (IHI0069H §12.4.5): En, the interface is on.
const ENABLED: u64 = 1;
/// UIE and NPIE: what asks for maintenance.
const UNDERFLOW_INTERRUPT: u64 = 1 << 1;
const NONE_PENDING_INTERRUPT: u64 = 1 << 3;
/// TDIR: ICC_DIR_EL1 traps.
const TRAP_DEACTIVATION: u64 = 1 << 14;
/// EOIcount is at the top.
const EOI_COUNT_SHIFT: u32 = 27;
/// ICH_VTR_EL2.TDS (IHI0069H §12.4.9): TDIR works.
const TRAPS_DEACTIVATION: u64 = 1 << 19;
/// ICH_VMCR_EL2.VEOIM (IHI0069H §12.4.8).
const DROPS_PRIORITY_ONLY: u64 = 1 << 9;

/// This CPU's list registers.
#[derive(Debug)]
pub struct CpuListRegisters {
    cpu: usize,
}

impl CpuListRegisters {
    /// Those of the CPU this runs on, which is number `cpu`.
    ///
    /// # Safety
    ///
    /// The vCPU they are used for is the one loaded on this CPU.
    #[must_use]
    pub unsafe fn of_this_cpu(cpu: usize) -> Self {
        Self { cpu }
    }
}

macro_rules! by_number {
    ($($n:literal)*) => {
        fn read_number(n: usize) -> u64 {
            match n {
                $($n => read!(concat!("ich_lr", $n, "_el2")),)*
                _ => unreachable!("a CPU has 16 list registers at most"),
            }
        }

        /// # Safety
        ///
        /// The value is the vGIC's for the vCPU that is loaded.
        unsafe fn write_number(n: usize, value: u64) {
            match n {
                // SAFETY: list registers only matter to the guest; the caller vouches for the value.
                $($n => unsafe { write!(concat!("ich_lr", $n, "_el2"), value) },)*
                _ => unreachable!("a CPU has 16 list registers at most"),
            }
        }
    };
}

by_number!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

impl ListRegisters for CpuListRegisters {
    fn read(&self, n: usize) -> u64 {
        read_number(n)
    }

    fn write(&mut self, n: usize, value: u64) {
        // SAFETY: this structure stands for the registers of the vCPU that is loaded.
        unsafe { write_number(n, value) }
    }

    fn set_refill(&mut self, when: Refill) {
        let interrupt = match when {
            Refill::Never => 0,
            Refill::Underflow => UNDERFLOW_INTERRUPT,
            Refill::NonePending => NONE_PENDING_INTERRUPT,
        };
        let control = read!("ich_hcr_el2");
        set_control(control & !(UNDERFLOW_INTERRUPT | NONE_PENDING_INTERRUPT) | interrupt);
    }

    fn drops_priority_only(&self) -> bool {
        drops_priority_only()
    }

    fn take_eoi_count(&mut self) -> u32 {
        let control = read!("ich_hcr_el2");
        let count = control >> EOI_COUNT_SHIFT;
        if count != 0 {
            set_control(control & ((1 << EOI_COUNT_SHIFT) - 1));
        }
        count as u32
    }

    fn physical_asserted(&self, intid: u32) -> bool {
        crate::arch::timer::is_asserted(intid)
    }

    fn deactivate_physical(&mut self, intid: u32) {
        crate::drivers::gicv3::deactivate_ppis(self.cpu, 1 << (intid & 31));
    }
}

fn set_control(value: u64) {
    // SAFETY: the virtual interface only matters to the guest, and the run loop handles maintenance interrupts.
    unsafe { write!("ich_hcr_el2", value) }
}

/// Turns the virtual interface of this CPU on, with all list registers empty.
pub fn init_cpu() {
    for n in 0..count() {
        // SAFETY: an empty list register stands for no interrupt.
        unsafe { write_number(n, 0) }
    }
    // Where the trap does not exist, an interrupt is deactivated on the vCPU that took it.
    let traps = read!("ich_vtr_el2") & TRAPS_DEACTIVATION != 0;
    set_control(if traps {
        ENABLED | TRAP_DEACTIVATION
    } else {
        ENABLED
    });
}

/// Whether the guest that is loaded ends interrupts in two steps (EOImode 1): only then ICC_DIR_EL1 has a meaning.
#[must_use]
pub fn drops_priority_only() -> bool {
    read!("ich_vmcr_el2") & DROPS_PRIORITY_ONLY != 0
}

/// How many list registers this CPU has (ICH_VTR_EL2.ListRegs, IHI0069H §12.4.9).
#[must_use]
pub fn count() -> usize {
    (read!("ich_vtr_el2") & 0x1f) as usize + 1
}
