//! The machine's PL011 (DDI0183G).

use addresses::Pa;
use arm_pl011_uart::{FifoLevel, Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use core::ptr::NonNull;

/// Both receive interrupts: enough bytes came in, or no more come.
const RECEIVE: Interrupts = Interrupts::RXI.union(Interrupts::RTI);

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

    /// Whether there is room for a byte.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.0.is_tx_fifo_full()
    }

    /// Sends a byte if there is room for it. Returns whether there was.
    #[inline]
    pub fn send_if_room(&mut self, byte: u8) -> bool {
        let room = self.has_room();
        if room {
            self.0.write_word(byte);
        }
        room
    }

    /// Waits until there is room for a byte. For before guests run and after they do.
    pub fn wait_for_room(&self) {
        while !self.has_room() {
            core::hint::spin_loop();
        }
    }

    /// Waits until the last byte has left the UART. For before guests run and after they do.
    pub fn wait_until_sent(&self) {
        while self.0.is_busy() {
            core::hint::spin_loop();
        }
    }

    /// A byte that came in, if there is one. Errors of the line count as no byte.
    pub fn read(&mut self) -> Option<u8> {
        self.0.read_word().ok().flatten()
    }

    /// Asks for an interrupt when bytes come in, and sets how much is left to be sent when the
    /// transmit interrupt comes.
    pub fn enable_interrupts(&mut self) {
        self.0
            .set_interrupt_fifo_levels(FifoLevel::Bytes16, FifoLevel::Bytes4);
        self.set_transmit_interrupt(false);
    }

    /// Sets whether an interrupt comes when the transmit FIFO falls through its trigger level
    /// (DDI0183G §2.8.2).
    pub fn set_transmit_interrupt(&mut self, enable: bool) {
        self.0.set_interrupt_masks(if enable {
            RECEIVE | Interrupts::TXI
        } else {
            RECEIVE
        });
    }

    /// Forgets that the transmit FIFO fell through its trigger level. To be done before it is
    /// filled anew.
    pub fn clear_transmit_interrupt(&mut self) {
        self.0.clear_interrupts(Interrupts::TXI);
    }

    /// Whether the transmit interrupt is there and enabled.
    #[must_use]
    pub fn has_transmit_interrupt(&self) -> bool {
        self.0.masked_interrupt_status().contains(Interrupts::TXI)
    }
}
