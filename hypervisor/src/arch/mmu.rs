//! EL2's own address space: an identity map in which no page is both writable and executable.

use crate::arch::{layout, stacks};
use aarch64_paging::descriptor::El23Attributes as Attributes;
use aarch64_paging::idmap::IdMap;
use aarch64_paging::paging::{El2, MemoryRegion};
use addresses::Pa;

/// SCTLR_EL2 (DDI0487 D24.2.124): RES1 bits, I, SA, C and M.
pub const SCTLR_MMU_ON: u64 = 0x30c5_0830 | 1 << 12 | 1 << 3 | 1 << 2 | 1;
/// SCTLR_EL2.WXN: what is writable is never executable.
pub const SCTLR_WXN: u64 = 1 << 19;

/// MAIR_EL2: attribute 0 is Device-nGnRnE, attribute 1 Normal write-back.
pub const MAIR: u64 = 0xff00;

/// TCR_EL2 without PS (DDI0487 D24.2.137): RES1, T0SZ = 25 (39-bit addresses, walks start at level
/// 1), write-back, inner shareable.
pub const TCR: u64 = 1 << 31 | 1 << 23 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8 | 25;

/// The level at which walks with [`TCR`] start.
const ROOT_LEVEL: usize = 1;

const COMMON: Attributes = Attributes::VALID
    .union(Attributes::ACCESSED)
    .union(Attributes::USER_RES1);
const NORMAL: Attributes = COMMON
    .union(Attributes::ATTRIBUTE_INDEX_1)
    .union(Attributes::INNER_SHAREABLE);
const CODE: Attributes = NORMAL.union(Attributes::READ_ONLY);
const CONSTANTS: Attributes = CODE.union(Attributes::XN);
const DATA: Attributes = NORMAL.union(Attributes::XN);
const DEVICE: Attributes = COMMON
    .union(Attributes::ATTRIBUTE_INDEX_0)
    .union(Attributes::XN);

/// Makes the tables that map the image less the stacks' guard pages, `memory` as data and `devices`
/// as devices, enters them on this CPU and gives the root table for the other CPUs. Ranges are
/// (start, bytes).
///
/// # Errors
///
/// The ranges can't be mapped: they lie beyond 39 bits, or overlap what is mapped already.
///
/// # Safety
///
/// `memory` is memory and holds all that is in use; `devices` are devices.
pub unsafe fn enter(
    memory: &[(Pa, u64)],
    devices: &[(Pa, u64)],
) -> Result<u64, aarch64_paging::MapError> {
    let image = layout::image();
    let mut map = IdMap::new(ROOT_LEVEL, El2);
    let mut add = |start: u64, end: u64, attributes: Attributes| {
        map.map_range(&MemoryRegion::new(start as usize, end as usize), attributes)
    };
    for &(Pa(start), len) in devices {
        add(start, start + len, DEVICE)?;
    }
    let (Pa(region_start), region_len) = image.region();
    for &(Pa(start), len) in memory {
        // Everything but the image's own region, which is mapped part by part.
        let (end, region_end) = (start + len, region_start + region_len);
        if start < region_start.min(end) {
            add(start, region_start.min(end), DATA)?;
        }
        if region_end.max(start) < end {
            add(region_end.max(start), end, DATA)?;
        }
    }
    add(image.text.0, image.text.1, CODE)?;
    add(image.rodata.0, image.rodata.1, CONSTANTS)?;
    let mut start = image.data.0;
    for (guard, behind) in stacks::guards() {
        if start < guard {
            add(start, guard, DATA)?;
        }
        start = behind;
    }
    add(start, image.heap.1, DATA)?;

    let root = map.root_address().0 as u64;
    // The tables stay for as long as the machine runs.
    core::mem::forget(map);
    // SAFETY: what runs lies in the image and its region, mapped above where it was; the stack is
    // data of the image; the caller vouches for all other memory.
    unsafe { switch_tables(root) };
    Ok(root)
}

/// Leaves the constant map for the tables at `root_table`, and turns on WXN.
///
/// # Safety
///
/// The tables map the image, its stack and all memory in use at the addresses they have now, code
/// executable and nothing that is writable executable.
unsafe fn switch_tables(root_table: u64) {
    // SAFETY: the caller vouches that what runs and what is reachable stays mapped as it was.
    unsafe {
        core::arch::asm!(
            "dsb ish",
            "msr ttbr0_el2, {table}",
            "isb",
            "tlbi alle2",
            "dsb ish",
            "isb",
            "msr sctlr_el2, {sctlr}",
            "isb",
            table = in(reg) root_table,
            sctlr = in(reg) SCTLR_MMU_ON | SCTLR_WXN,
            options(nostack, preserves_flags),
        );
    }
}
