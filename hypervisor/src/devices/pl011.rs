//! The PL011 of a VM, emulated: revision r1p5 with FIFOs of 32 bytes (DDI0183G, chapter 3).
//!
//! What the guest sends is gone at once, so the transmit FIFO is empty, and the end of each
//! transmission raises the transmit interrupt as the fall of the FIFO through its trigger level
//! does in the device. Where nobody takes what the guest sends, it is full, until somebody does.
//! Bytes go out whether or not the UART is enabled: early consoles do not care to enable it. There
//! is no DMA, no modem, no line and so no error on it.

use super::primecell::identification;
use heapless::Deque;

/// Bytes in the receive FIFO.
const FIFO_SIZE: usize = 32;

/// UARTDR: a byte that comes or goes.
pub const DR: u64 = 0x000;
/// UARTFR, the flags.
pub const FR: u64 = 0x018;
const ILPR: u64 = 0x020;
const IBRD: u64 = 0x024;
const FBRD: u64 = 0x028;
const LCR_H: u64 = 0x02c;
const CR: u64 = 0x030;
const IFLS: u64 = 0x034;
const IMSC: u64 = 0x038;
const RIS: u64 = 0x03c;
const MIS: u64 = 0x040;
const ICR: u64 = 0x044;
const DMACR: u64 = 0x048;

/// Part 0x011, designer 0x41 (Arm), revision 3 (r1p5), configuration 0; then the PrimeCell number.
const IDENTIFICATION_BYTES: [u8; 8] = [0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// UARTFR.RXFE: nothing was received.
const FR_RECEIVE_EMPTY: u32 = 1 << 4;
/// UARTFR.RXFF: there is no room for more.
const FR_RECEIVE_FULL: u32 = 1 << 6;
/// UARTFR.BUSY: something is being sent.
const FR_BUSY: u32 = 1 << 3;
/// UARTFR.TXFF: there is no room to send more.
const FR_TRANSMIT_FULL: u32 = 1 << 5;
/// UARTFR.TXFE: all was sent.
const FR_TRANSMIT_EMPTY: u32 = 1 << 7;

/// UARTLCR_H.FEN: FIFOs on; off, they hold one byte.
const LCR_H_FIFOS: u32 = 1 << 4;

/// UARTCR.UARTEN and RXE: both are needed to receive.
const CR_RECEIVES: u32 = 1 << 0 | 1 << 9;
/// UARTCR after reset: TXE and RXE.
const CR_RESET: u32 = 0x300;

/// UARTIFLS.RXIFLSEL.
const IFLS_RECEIVE_SHIFT: u32 = 3;
/// UARTIFLS after reset: both FIFOs at one half.
const IFLS_RESET: u32 = 0x12;

/// The receive interrupt.
const INTERRUPT_RECEIVE: u32 = 1 << 4;
/// The transmit interrupt.
const INTERRUPT_TRANSMIT: u32 = 1 << 5;
/// The receive timeout interrupt: bytes wait and no more come.
const INTERRUPT_RECEIVE_TIMEOUT: u32 = 1 << 6;
/// All that there are.
const INTERRUPTS: u32 = 0x7ff;

/// The UART. The caller passes [`interrupt_asserted`](Self::interrupt_asserted) on to the interrupt
/// controller after each access and each byte.
#[derive(Debug)]
pub struct VirtualPl011 {
    received: Deque<u8, FIFO_SIZE>,
    /// UARTRIS.TXRIS, which is clear while the guest is held back; the other interrupts follow from
    /// the receive FIFO.
    transmitted: bool,
    /// Nobody takes what the guest sends.
    held_back: bool,
    /// Bytes that the guest sent all the same, since they were last asked for.
    overrun: u64,
    low_power_divisor: u32,
    integer_divisor: u32,
    fractional_divisor: u32,
    line_control: u32,
    control: u32,
    fifo_levels: u32,
    interrupt_mask: u32,
    dma_control: u32,
}

impl VirtualPl011 {
    /// The state after reset.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            received: Deque::new(),
            transmitted: false,
            held_back: false,
            overrun: 0,
            low_power_divisor: 0,
            integer_divisor: 0,
            fractional_divisor: 0,
            line_control: 0,
            control: CR_RESET,
            fifo_levels: IFLS_RESET,
            interrupt_mask: 0,
            dma_control: 0,
        }
    }

    /// A read of the register at `offset`, which is zero where there is none. Reading the data
    /// register takes a byte out.
    pub fn read(&mut self, offset: u64) -> u32 {
        match offset {
            DR => self.received.pop_front().map_or(0, u32::from),
            FR => self.flags(),
            ILPR => self.low_power_divisor,
            IBRD => self.integer_divisor,
            FBRD => self.fractional_divisor,
            LCR_H => self.line_control,
            CR => self.control,
            IFLS => self.fifo_levels,
            IMSC => self.interrupt_mask,
            RIS => self.raw_interrupts(),
            MIS => self.raw_interrupts() & self.interrupt_mask,
            DMACR => self.dma_control,
            _ => identification(IDENTIFICATION_BYTES, offset).map_or(0, u32::from),
        }
    }

    /// A write of the register at `offset`, ignored where there is none. Gives the byte that the
    /// guest sends.
    pub fn write(&mut self, offset: u64, value: u32) -> Option<u8> {
        match offset {
            DR if self.held_back => self.overrun = self.overrun.saturating_add(1),
            DR => {
                self.transmitted = true;
                return Some(value as u8);
            }
            ILPR => self.low_power_divisor = value & 0xff,
            IBRD => self.integer_divisor = value & 0xffff,
            FBRD => self.fractional_divisor = value & 0x3f,
            LCR_H => {
                if (self.line_control ^ value) & LCR_H_FIFOS != 0 {
                    self.received.clear();
                }
                self.line_control = value & 0xff;
            }
            CR => self.control = value & 0xff87,
            IFLS => self.fifo_levels = value & 0x3f,
            IMSC => self.interrupt_mask = value & INTERRUPTS,
            // The receive interrupts stand as long as their bytes wait.
            ICR if value & INTERRUPT_TRANSMIT != 0 => self.transmitted = false,
            DMACR => self.dma_control = value & 0x7,
            _ => {}
        }
        None
    }

    /// Nobody takes what the guest sends from now on: its transmit FIFO is full. What it sends all
    /// the same is lost, as on the device.
    pub fn hold_back(&mut self) {
        self.held_back = true;
        self.transmitted = false;
    }

    /// What the guest sends is taken again: its transmit FIFO has fallen through its trigger level.
    /// Says how many bytes were lost meanwhile.
    pub fn go_on(&mut self) -> u64 {
        if core::mem::take(&mut self.held_back) {
            self.transmitted = true;
        }
        core::mem::take(&mut self.overrun)
    }

    /// A byte for the guest. `false` where the guest does not take it now: it is full, or not
    /// enabled.
    #[must_use]
    pub fn receive(&mut self, byte: u8) -> bool {
        self.control & CR_RECEIVES == CR_RECEIVES
            && self.received.len() < self.capacity()
            && self.received.push_back(byte).is_ok()
    }

    /// The level of UARTINTR.
    #[must_use]
    pub fn interrupt_asserted(&self) -> bool {
        self.raw_interrupts() & self.interrupt_mask != 0
    }

    fn capacity(&self) -> usize {
        if self.line_control & LCR_H_FIFOS != 0 {
            FIFO_SIZE
        } else {
            1
        }
    }

    /// Whether a byte that the guest sends is taken and changes no register: it is not the first
    /// after the transmit interrupt was cleared.
    #[must_use]
    #[inline]
    pub fn sends_unnoticed(&self) -> bool {
        self.transmitted
    }

    /// UARTFR.
    #[must_use]
    pub fn flags(&self) -> u32 {
        let mut flags = if self.held_back {
            FR_TRANSMIT_FULL | FR_BUSY
        } else {
            FR_TRANSMIT_EMPTY
        };
        if self.received.is_empty() {
            flags |= FR_RECEIVE_EMPTY;
        }
        if self.received.len() >= self.capacity() {
            flags |= FR_RECEIVE_FULL;
        }
        flags
    }

    fn raw_interrupts(&self) -> u32 {
        let mut interrupts = 0;
        if self.transmitted {
            interrupts |= INTERRUPT_TRANSMIT;
        }
        if self.received.len() >= self.receive_trigger() {
            interrupts |= INTERRUPT_RECEIVE;
        }
        // Nobody types fast enough for the timeout to matter, so it is over at once.
        if !self.received.is_empty() {
            interrupts |= INTERRUPT_RECEIVE_TIMEOUT;
        }
        interrupts
    }

    /// How many bytes raise the receive interrupt (DDI0183G, UARTIFLS).
    fn receive_trigger(&self) -> usize {
        if self.capacity() == 1 {
            return 1;
        }
        match self.fifo_levels >> IFLS_RECEIVE_SHIFT {
            0 => FIFO_SIZE / 8,
            1 => FIFO_SIZE / 4,
            2 => FIFO_SIZE / 2,
            3 => FIFO_SIZE / 4 * 3,
            _ => FIFO_SIZE / 8 * 7,
        }
    }
}

impl Default for VirtualPl011 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux's driver leaves it: enabled, FIFOs on, receive and receive timeout interrupts
    /// unmasked.
    fn uart() -> VirtualPl011 {
        let mut uart = VirtualPl011::new();
        assert_eq!(uart.write(LCR_H, 0x70), None);
        assert_eq!(uart.write(CR, 0x301), None);
        assert_eq!(
            uart.write(IMSC, INTERRUPT_RECEIVE | INTERRUPT_RECEIVE_TIMEOUT),
            None
        );
        uart
    }

    #[test]
    fn it_is_found_as_a_pl011_of_32_bytes() {
        let mut uart = VirtualPl011::new();
        let word = |uart: &mut VirtualPl011, first: u64| {
            (0..4).fold(0, |id, n| id | uart.read(first + 4 * n) << (8 * n))
        };
        assert_eq!(word(&mut uart, 0xfe0), 0x0034_1011);
        assert_eq!(word(&mut uart, 0xff0), 0xb105_f00d);
        assert_eq!(uart.read(0xfe1), 0);
        assert_eq!(uart.read(0x1000), 0);
    }

    #[test]
    fn it_starts_as_the_device_does() {
        let mut uart = VirtualPl011::new();
        assert_eq!(uart.read(FR), 0x90);
        assert_eq!(uart.read(CR), 0x300);
        assert_eq!(uart.read(IFLS), 0x12);
        assert_eq!((uart.read(IMSC), uart.read(RIS), uart.read(MIS)), (0, 0, 0));
        assert!(!uart.interrupt_asserted());
    }

    #[test]
    fn bytes_go_out_also_before_it_is_enabled() {
        let mut uart = VirtualPl011::new();
        assert_eq!(uart.write(DR, 0x141), Some(b'A'));
        assert_eq!(
            uart.read(FR) & (1 << 5 | 1 << 3 | 1 << 7),
            1 << 7,
            "empty, not full, not busy"
        );
    }

    #[test]
    fn each_byte_sent_raises_the_transmit_interrupt_until_it_is_cleared() {
        let mut uart = uart();
        assert_eq!(uart.write(IMSC, INTERRUPT_TRANSMIT), None);
        assert!(!uart.interrupt_asserted(), "nothing was sent yet");
        for _ in 0..2 {
            let _ = uart.write(DR, 1);
            assert!(uart.interrupt_asserted());
            assert_eq!(uart.read(MIS), INTERRUPT_TRANSMIT);
            let _ = uart.write(ICR, INTERRUPTS & !INTERRUPT_TRANSMIT);
            assert!(uart.interrupt_asserted());
            let _ = uart.write(ICR, INTERRUPT_TRANSMIT);
            assert!(!uart.interrupt_asserted());
        }
    }

    #[test]
    fn held_back_it_is_full_until_it_goes_on() {
        let mut uart = uart();
        let _ = uart.write(IMSC, INTERRUPT_TRANSMIT);
        assert_eq!(uart.write(DR, 1), Some(1));
        uart.hold_back();
        let transmit_flags = 1 << 3 | 1 << 5 | 1 << 7;
        assert_eq!(
            uart.read(FR) & transmit_flags,
            1 << 3 | 1 << 5,
            "full, busy"
        );
        assert!(!uart.interrupt_asserted());
        for _ in 0..3 {
            assert_eq!(uart.write(DR, 2), None);
        }
        assert_eq!(uart.go_on(), 3);
        assert_eq!(uart.read(FR) & transmit_flags, 1 << 7, "empty");
        assert!(uart.interrupt_asserted());
        assert_eq!(uart.write(DR, 3), Some(3));
        let _ = uart.write(ICR, INTERRUPT_TRANSMIT);
        assert_eq!(uart.go_on(), 0);
        assert!(!uart.interrupt_asserted(), "it was not held back");
    }

    #[test]
    fn a_masked_transmit_interrupt_is_silent() {
        let mut uart = uart();
        let _ = uart.write(DR, 1);
        assert_eq!(uart.read(RIS), INTERRUPT_TRANSMIT);
        assert_eq!(uart.read(MIS), 0);
        assert!(!uart.interrupt_asserted());
    }

    #[test]
    fn one_byte_received_raises_the_timeout_until_it_is_read() {
        let mut uart = uart();
        assert!(uart.receive(b'x'));
        assert_eq!(uart.read(MIS), INTERRUPT_RECEIVE_TIMEOUT);
        let _ = uart.write(ICR, INTERRUPTS);
        assert!(uart.interrupt_asserted(), "the byte still waits");
        assert_eq!(uart.read(FR) & FR_RECEIVE_EMPTY, 0);
        assert_eq!(uart.read(DR), u32::from(b'x'));
        assert!(!uart.interrupt_asserted());
        assert_eq!(uart.read(FR) & FR_RECEIVE_EMPTY, FR_RECEIVE_EMPTY);
        assert_eq!(uart.read(DR), 0);
    }

    #[test]
    fn the_receive_interrupt_follows_the_trigger_level() {
        for (level, trigger) in [(0, 4), (1, 8), (2, 16), (3, 24), (4, 28)] {
            let mut uart = uart();
            let _ = uart.write(IFLS, level << 3);
            for n in 1..=trigger {
                assert_eq!(uart.read(RIS) & INTERRUPT_RECEIVE, 0, "level {level}, {n}");
                assert!(uart.receive(n));
            }
            assert_eq!(
                uart.read(RIS) & INTERRUPT_RECEIVE,
                INTERRUPT_RECEIVE,
                "level {level}"
            );
            assert_eq!(uart.read(DR), 1);
            assert_eq!(uart.read(RIS) & INTERRUPT_RECEIVE, 0, "level {level}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_taken_and_the_order_is_kept() {
        let mut uart = uart();
        for byte in 0..32 {
            assert!(uart.receive(byte));
        }
        assert!(!uart.receive(99));
        assert_eq!(uart.read(FR) & FR_RECEIVE_FULL, FR_RECEIVE_FULL);
        assert_eq!(uart.read(DR), 0);
        assert!(uart.receive(32));
        for byte in 1..=32 {
            assert_eq!(uart.read(DR), byte);
        }
    }

    #[test]
    fn without_fifos_there_is_room_for_one_byte() {
        let mut uart = uart();
        assert!(uart.receive(1));
        let _ = uart.write(LCR_H, 0x60);
        assert_eq!(
            uart.read(FR) & FR_RECEIVE_EMPTY,
            FR_RECEIVE_EMPTY,
            "turning FIFOs off empties them"
        );
        assert!(uart.receive(2));
        assert!(!uart.receive(3));
        assert_eq!(uart.read(RIS) & INTERRUPT_RECEIVE, INTERRUPT_RECEIVE);
    }

    #[test]
    fn disabled_it_takes_nothing() {
        for control in [0x300, 0x101] {
            let mut uart = uart();
            let _ = uart.write(CR, control);
            assert!(!uart.receive(1), "{control:#x}");
        }
    }

    #[test]
    fn registers_keep_the_bits_that_they_have() {
        let mut uart = VirtualPl011::new();
        for (offset, kept) in [
            (ILPR, 0xff),
            (IBRD, 0xffff),
            (FBRD, 0x3f),
            (LCR_H, 0xff),
            (CR, 0xff87),
            (IFLS, 0x3f),
            (IMSC, 0x7ff),
            (DMACR, 0x7),
            (FR, 0x90),
            (RIS, 0),
            (0x04, 0),
            (0x80, 0),
        ] {
            assert_eq!(uart.write(offset, u32::MAX), None);
            assert_eq!(uart.read(offset), kept, "{offset:#x}");
        }
    }
}
