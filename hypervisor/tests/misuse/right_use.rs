//! What the other cases do, as it is allowed: in an unsafe block of a place that vouches for it, or
//! with what such a place gave. It compiles, so that the others can only fail for what they do.

#![no_std]

use addresses::Pa;
use hypervisor::arch::smc;
use hypervisor::arch::this_cpu::ThisCpu;
use hypervisor::drivers::gicv3;
use hypervisor::mm::boot_modules::BootModule;
use hypervisor::mm::tables::TableMemory;
use hypervisor::mm::table_pages::HeapTables;

/// Writes to a table that was allocated, and gives it back.
pub fn write_table() {
    let mut tables = HeapTables;
    if let Some(mut table) = tables.allocate_table() {
        tables.write(&mut table, 0, 0);
    }
}

/// Deactivates an interrupt of the CPU that this runs on.
pub fn deactivate(cpu: &ThisCpu) {
    gicv3::deactivate_ppis(cpu, 1 << 27);
}

/// Reads a boot module.
///
/// # Safety
///
/// A module lies there.
pub unsafe fn read_module(start: Pa, len: usize) -> &'static [u8] {
    // SAFETY: the caller vouches for it.
    unsafe { BootModule::new(start, len) }.bytes()
}

/// Starts a CPU.
///
/// # Safety
///
/// At `entry` is code for it.
pub unsafe fn start_cpu(mpidr: u64, entry: u64) -> Result<(), i32> {
    // SAFETY: the caller vouches for it.
    unsafe { smc::cpu_on(mpidr, entry, 0) }
}
