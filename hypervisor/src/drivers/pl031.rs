//! The machine's real-time clock, a PL031 (DDI0224C).

use addresses::Pa;

/// The time that the clock at `address` tells, in seconds since 1 January 1970: its first register
/// (RTCDR).
///
/// # Safety
///
/// A PL031 that EL2 maps as a device lies there.
#[must_use]
pub unsafe fn time(address: Pa) -> u32 {
    // SAFETY: the caller vouches for the device; reading its data register changes nothing.
    unsafe { (address.0 as *const u32).read_volatile() }
}
