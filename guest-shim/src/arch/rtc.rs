//! The guest's real-time clock, a PL031 (DDI0224C, 3.2).

use super::mmio;
use host_abi::memory_map::guest::CLOCK;

/// RTCDR: the time, in seconds since 1970.
pub const DATA: u64 = 0x0;
/// RTCLR, which sets it.
pub const LOAD: u64 = 0x8;
/// RTCPeriphID0, the first of eight registers that say what the device is.
pub const IDENTIFICATION: u64 = 0xfe0;

/// Reads the register at `offset`, which the device has.
#[must_use]
pub fn read(offset: u64) -> u32 {
    assert!(offset < 0x1000, "it has a page");
    // SAFETY: the guest has a PL031 there, of which every register may be read.
    unsafe { mmio::read(CLOCK + offset) }
}

/// Writes the register at `offset`.
pub fn write(offset: u64, value: u32) {
    assert!(offset < 0x1000, "it has a page");
    // SAFETY: as for `read`; it changes what the clock says alone.
    unsafe { mmio::write(CLOCK + offset, value) }
}
