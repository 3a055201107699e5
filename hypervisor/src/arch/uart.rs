//! The machine's PL011.

use arm_pl011_uart::{Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use core::ptr::NonNull;
use mediator::address::Pa;

/// The UART, after [`PhysicalUart::new`] left as the firmware set it up.
pub struct PhysicalUart(Uart<'static>);

impl PhysicalUart {
    /// The UART at `address`.
    ///
    /// # Safety
    ///
    /// A PL011 that EL2 maps as a device lies there, and nobody else drives it.
    #[must_use]
    pub unsafe fn new(address: Pa) -> Option<Self> {
        let registers = NonNull::new(address.0 as *mut PL011Registers)?;
        // SAFETY: the caller vouches for the device and that it is ours alone.
        Some(Self(Uart::new(unsafe {
            UniqueMmioPointer::new(registers)
        })))
    }

    /// Writes all of `bytes`, waiting for room where there is none.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            while self.0.is_tx_fifo_full() {
                core::hint::spin_loop();
            }
            self.0.write_word(byte);
        }
    }

    /// A byte that came in, if there is one. Errors of the line count as no byte.
    pub fn read(&mut self) -> Option<u8> {
        self.0.read_word().ok().flatten()
    }

    /// Asks for an interrupt when bytes come in.
    pub fn enable_receive_interrupt(&mut self) {
        self.0
            .set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
    }
}

/// Takes the UART's lock away from whoever holds it. For the panic handler alone, after which nothing runs on.
pub fn break_lock(uart: &spin::Mutex<PhysicalUart>) {
    // SAFETY: the machine is about to be powered off; at worst two writers mix their bytes.
    unsafe { uart.force_unlock() }
}
