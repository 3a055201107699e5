//! A UART of tests: what it sends and receives is [`fake`]'s.

use crate::arch::fake;

/// The UART.
#[derive(Debug, Default)]
pub struct PhysicalUart {
    /// Bytes that it takes before it is full; none is not full ever.
    pub room: Option<usize>,
    transmit_interrupt: bool,
}

impl PhysicalUart {
    /// Whether there is room for a byte.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.room.is_none_or(|room| room > 0)
    }

    /// Sends a byte if there is room for it. Returns whether there was.
    pub fn send_if_room(&mut self, byte: u8) -> bool {
        let room = self.has_room();
        if room {
            self.room = self.room.map(|room| room - 1);
            fake::note_sent(byte);
        }
        room
    }

    /// There is room.
    ///
    /// # Panics
    ///
    /// There is none, and would never be.
    pub fn wait_for_room(&self) {
        assert!(self.has_room(), "nobody empties the UART");
    }

    /// All was sent.
    pub fn wait_until_sent(&self) {}

    /// A byte that came in, if there is one.
    pub fn read(&mut self) -> Option<u8> {
        fake::take_typed()
    }

    /// Does nothing.
    pub fn enable_interrupts(&mut self) {}

    /// Sets whether an interrupt comes when there is room.
    pub fn set_transmit_interrupt(&mut self, enable: bool) {
        self.transmit_interrupt = enable;
    }

    /// Does nothing.
    pub fn clear_transmit_interrupt(&mut self) {}

    /// Whether the transmit interrupt is there and enabled.
    #[must_use]
    pub fn has_transmit_interrupt(&self) -> bool {
        self.transmit_interrupt && self.has_room()
    }
}
