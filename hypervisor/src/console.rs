//! The one physical console: tagged lines of the guests, and the hypervisor's own (docs/device-tree.md has the format).

use crate::arch::uart::PhysicalUart;
use crate::line_buffer::Piece;
use core::fmt::{self, Write};
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::{Mutex, Once};

/// The tag of the hypervisor's own lines.
const OWN_TAG: &str = "bulkhead";

static UART: Once<Mutex<PhysicalUart>> = Once::new();

/// Takes the UART and sends log records of `level` and above to it.
pub fn init(uart: PhysicalUart, level: LevelFilter) {
    UART.call_once(|| Mutex::new(uart));
    if log::set_logger(&ConsoleLog).is_ok() {
        log::set_max_level(level);
    }
}

/// A byte that a person typed, if there is one.
pub fn read() -> Option<u8> {
    UART.get()?.lock().read()
}

/// Asks for an interrupt when a person types.
pub fn enable_input() {
    if let Some(uart) = UART.get() {
        uart.lock().enable_receive_interrupt();
    }
}

/// Writes a piece of a guest's line.
pub fn write_piece(tag: &str, piece: &Piece) {
    if let Some(uart) = UART.get() {
        let mut uart = uart.lock();
        uart.write(tag.as_bytes());
        uart.write(if piece.complete { b"| " } else { b"+ " });
        uart.write(&piece.text);
        uart.write(b"\n");
    }
}

/// Writes to the UART, each line with the hypervisor's tag.
struct Tagged<'a>(&'a mut PhysicalUart);

impl Write for Tagged<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                let _ = write!(Raw(self.0), "\n{OWN_TAG}| ");
            }
            self.0.write(line.as_bytes());
        }
        Ok(())
    }
}

struct Raw<'a>(&'a mut PhysicalUart);

impl Write for Raw<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn write_own(uart: &mut PhysicalUart, text: fmt::Arguments<'_>) {
    let _ = write!(Raw(uart), "{OWN_TAG}| ");
    let _ = writeln_in_one(uart, text);
}

fn writeln_in_one(uart: &mut PhysicalUart, text: fmt::Arguments<'_>) -> fmt::Result {
    Tagged(uart).write_fmt(text)?;
    Raw(uart).write_str("\n")
}

struct ConsoleLog;

impl Log for ConsoleLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let Some(uart) = UART.get() else { return };
        let mut uart = uart.lock();
        match record.level() {
            Level::Error => write_own(&mut uart, format_args!("error: {}", record.args())),
            Level::Warn => write_own(&mut uart, format_args!("warning: {}", record.args())),
            _ => write_own(&mut uart, *record.args()),
        }
    }

    fn flush(&self) {}
}

/// Says where and why the hypervisor can't go on, and powers the machine off.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if let Some(uart) = UART.get() {
        // This CPU may hold the lock. Another that does may mix in a line; better than none.
        let mut attempts = 0;
        let mut uart = loop {
            if let Some(uart) = uart.try_lock() {
                break uart;
            }
            attempts += 1;
            if attempts == 1_000_000 {
                crate::arch::uart::break_lock(uart);
            }
        };
        match info.location() {
            Some(at) => {
                write_own(
                    &mut uart,
                    format_args!("panic: {} at {}:{}", info.message(), at.file(), at.line()),
                );
            }
            None => write_own(&mut uart, format_args!("panic: {}", info.message())),
        }
    }
    crate::arch::secure_monitor::SecureMonitor.system_off()
}
