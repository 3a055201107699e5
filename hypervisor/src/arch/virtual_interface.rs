//! The virtual CPU interface of this CPU (IHI0069H §12.4), with its list registers
//! (`ICH_LR<n>_EL2`, §12.4.6).

use crate::arch::access::{read, write};

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
                // SAFETY: list registers only matter to the guest; the caller vouches for the
                // value.
                $($n => unsafe { write!(concat!("ich_lr", $n, "_el2"), value) },)*
                _ => unreachable!("a CPU has 16 list registers at most"),
            }
        }
    };
}

by_number!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// `ICH_LR<n>_EL2`, of which there are [`count`].
#[must_use]
#[inline]
pub fn list_register(n: usize) -> u64 {
    read_number(n)
}

/// Sets `ICH_LR<n>_EL2`.
///
/// # Safety
///
/// The value is for the vCPU that is loaded on this CPU; a physical interrupt in it is that vCPU's.
#[inline]
pub unsafe fn set_list_register(n: usize, value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe { write_number(n, value) }
}

/// Sets what asks for maintenance: that at most one list register is in use, or that none is
/// pending.
pub fn set_maintenance(underflow: bool, none_pending: bool) {
    let mut control = read!("ich_hcr_el2") & !(UNDERFLOW_INTERRUPT | NONE_PENDING_INTERRUPT);
    if underflow {
        control |= UNDERFLOW_INTERRUPT;
    }
    if none_pending {
        control |= NONE_PENDING_INTERRUPT;
    }
    set_control(control);
}

/// How many interrupts the guest deactivated that were in no list register, since this was last
/// asked.
#[inline]
pub fn take_eoi_count() -> u32 {
    let control = read!("ich_hcr_el2");
    let count = control >> EOI_COUNT_SHIFT;
    if count != 0 {
        set_control(control & ((1 << EOI_COUNT_SHIFT) - 1));
    }
    count as u32
}

fn set_control(value: u64) {
    // SAFETY: the virtual interface only matters to the guest, and the run loop handles maintenance
    // interrupts.
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

/// Whether the guest that is loaded ends interrupts in two steps (EOImode 1): only then ICC_DIR_EL1
/// has a meaning.
#[must_use]
pub fn drops_priority_only() -> bool {
    read!("ich_vmcr_el2") & DROPS_PRIORITY_ONLY != 0
}

/// How many list registers this CPU has (ICH_VTR_EL2.ListRegs, IHI0069H §12.4.9).
#[must_use]
pub fn count() -> usize {
    (read!("ich_vtr_el2") & 0x1f) as usize + 1
}
