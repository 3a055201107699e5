//! The PL011 (DDI0183G), as a console.

use host_abi::memory_map::guest::UART;

use super::mmio;

const DR: u64 = 0x00;
const FR: u64 = 0x18;
const CR: u64 = 0x30;
/// UARTEN, TXE and RXE.
const CR_ON: u32 = 1 << 9 | 1 << 8 | 1;
const FR_RECEIVE_EMPTY: u32 = 1 << 4;
const FR_TRANSMIT_FULL: u32 = 1 << 5;

/// Sends a byte.
pub fn send(byte: u8) {
    // SAFETY: the PL011's registers, at the address that the hypervisor gives each guest.
    unsafe {
        while mmio::read(UART + FR) & FR_TRANSMIT_FULL != 0 {}
        mmio::write(UART + DR, u32::from(byte));
    }
}

/// From now on bytes are received.
pub fn enable() {
    // SAFETY: as for `send`.
    unsafe { mmio::write(UART + CR, CR_ON) }
}

/// Waits for a byte. The UART is enabled.
#[must_use]
pub fn receive() -> u8 {
    // SAFETY: as for `send`.
    unsafe {
        while mmio::read(UART + FR) & FR_RECEIVE_EMPTY != 0 {}
        mmio::read(UART + DR) as u8
    }
}
