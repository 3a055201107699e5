//! A VM's console: its UART, and what is on its way to or from a person.

use crate::console::line_buffer::{LineBuffer, Piece};
use crate::console::terminal;
use crate::devices::bus::{Access, Load, MmioDevice};
use crate::devices::gicv3::VirtualGic;
use crate::devices::gicv3::kicks::Kicks;
use crate::devices::pl011::{self, VirtualPl011};
use crate::vm::image::device_tree::GuestLayout;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use heapless::Deque;
use host_abi::console::Event;
use spin::Mutex;

/// Bytes that a person may be ahead of a VM.
const TYPED_MAX: usize = 1024;

/// The console of a VM.
pub struct VmConsole {
    /// The VM's place among the machine's.
    number: usize,
    /// The VM's name, which is the tag of its lines.
    name: String,
    gic: Arc<VirtualGic>,
    serial: Mutex<Serial>,
    /// UARTFR, which guests read for each character.
    flags: AtomicU32,
    /// Whether a person types to this VM and wants to see what it writes at once.
    attached: AtomicBool,
}

impl VmConsole {
    /// The console of VM number `number`, whose interrupt goes to `gic`.
    #[must_use]
    pub fn new(number: usize, name: String, gic: Arc<VirtualGic>) -> Self {
        Self {
            number,
            name,
            gic,
            serial: Mutex::new(Serial::new()),
            flags: AtomicU32::new(VirtualPl011::new().flags()),
            attached: AtomicBool::new(false),
        }
    }

    /// Another life begins with a UART after reset, which has no room where the last life has
    /// filled its part of the console.
    pub fn reset(&self) {
        let mut serial = self.serial.lock();
        let room = terminal::has_room(self.number);
        *serial = Serial::new();
        if !room {
            serial.uart.hold_back();
        }
        self.flags.store(serial.uart.flags(), Ordering::Relaxed);
    }

    /// Writes out the line that has no end yet.
    pub fn flush(&self) {
        let mut serial = self.serial.lock();
        let Serial { uart, line, .. } = &mut *serial;
        line.flush(|piece| self.write_piece(uart, piece));
    }

    /// A load of the register at `offset`, if that changes nothing.
    #[must_use]
    #[inline]
    pub fn load_plain(&self, offset: u64) -> Option<u32> {
        (offset == pl011::FR).then(|| self.flags.load(Ordering::Relaxed))
    }

    /// Takes a byte that is stored to the register at `offset`, if that changes nothing but the
    /// line. Tells whether it did.
    #[inline]
    pub fn store_plain(&self, offset: u64, byte: u8) -> bool {
        if offset != pl011::DR || self.attached.load(Ordering::Relaxed) {
            return false;
        }
        let mut serial = self.serial.lock();
        serial.uart.sends_unnoticed() && serial.line.push_plain(byte)
    }

    /// Writes a byte of the guest's output to the console when its line ends, or at once where a
    /// person waits for it.
    fn print(&self, serial: &mut Serial, byte: u8) {
        let Serial { uart, line, .. } = serial;
        if self.attached.load(Ordering::Relaxed) {
            line.push_raw(byte, |piece| self.write_piece(uart, piece));
            line.flush(|piece| self.write_piece(uart, piece));
        } else {
            line.push(byte, |piece| self.write_piece(uart, piece));
        }
    }

    #[inline(never)]
    fn write_piece(&self, uart: &mut VirtualPl011, piece: Piece<'_>) {
        if !terminal::write_piece(self.number, &self.name, piece) {
            uart.hold_back();
        }
    }

    /// What the VM writes goes out again, after it was held back.
    pub fn has_room_again(&self) -> Kicks {
        let mut serial = self.serial.lock();
        let lost = serial.uart.go_on();
        let kicks = self.changed(&mut serial);
        drop(serial);
        if lost != 0 {
            terminal::tell::<&str>(&Event::OutputLost {
                name: &self.name,
                bytes: lost,
            });
        }
        kicks
    }

    /// Sets whether a person types to this VM.
    pub fn set_attached(&self, attached: bool) {
        self.attached.store(attached, Ordering::Relaxed);
    }

    /// Takes a byte that a person typed. What is too much is lost, as on a line without flow
    /// control.
    pub fn type_in(&self, byte: u8) -> Kicks {
        let mut serial = self.serial.lock();
        let _ = serial.typed.push_back(byte);
        serial.refill();
        self.changed(&mut serial)
    }

    /// The UART may have changed: brings its flags, and its interrupt line to the interrupt
    /// controller, up to date, while the UART is locked, so that two vCPUs can't mix up the order.
    fn changed(&self, serial: &mut Serial) -> Kicks {
        self.flags.store(serial.uart.flags(), Ordering::Relaxed);
        let asserted = serial.uart.interrupt_asserted();
        if serial.asserted == asserted {
            return Kicks::NONE;
        }
        serial.asserted = asserted;
        self.gic.set_spi_level(GuestLayout::UART_INTID, asserted)
    }
}

impl MmioDevice for VmConsole {
    fn load(&self, access: Access) -> Load {
        let mut serial = self.serial.lock();
        let value = serial.uart.read(access.offset);
        serial.refill();
        Load {
            value: Some(u64::from(value)),
            kicks: self.changed(&mut serial),
        }
    }

    fn store(&self, access: Access, value: u64) -> Kicks {
        let mut serial = self.serial.lock();
        if let Some(byte) = serial.uart.write(access.offset, value as u32) {
            self.print(&mut serial, byte);
        }
        self.changed(&mut serial)
    }
}

/// The serial line of a VM: its UART, and what is on its way to or from a person.
struct Serial {
    uart: VirtualPl011,
    /// The level of the UART's interrupt, as the interrupt controller knows it.
    asserted: bool,
    /// What the VM writes.
    line: LineBuffer,
    /// What was typed and did not fit into the UART yet.
    typed: Deque<u8, TYPED_MAX>,
}

impl Serial {
    const fn new() -> Self {
        Self {
            uart: VirtualPl011::new(),
            asserted: false,
            line: LineBuffer::new(),
            typed: Deque::new(),
        }
    }

    /// Moves what was typed into the UART, as far as there is room.
    #[inline]
    fn refill(&mut self) {
        while let Some(&byte) = self.typed.front() {
            if !self.uart.receive(byte) {
                break;
            }
            self.typed.pop_front();
        }
    }
}
