//! The console.

use core::fmt;

use spin::Mutex;

use crate::arch::uart;

struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                uart::send(b'\r');
            }
            uart::send(byte);
        }
        Ok(())
    }
}

static CONSOLE: Mutex<Console> = Mutex::new(Console);

/// Prints a line.
pub fn line(arguments: fmt::Arguments<'_>) {
    // The console takes whatever it is given.
    let _ = fmt::Write::write_fmt(&mut *CONSOLE.lock(), format_args!("{arguments}\n"));
}

/// Prints a line for a payload that is about to end, even if its console is in use.
pub fn last_line(arguments: fmt::Arguments<'_>) {
    let _ = fmt::Write::write_fmt(&mut Console, format_args!("\n{arguments}\n"));
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    ($($arguments:tt)*) => {
        $crate::runtime::console::line(core::format_args!($($arguments)*))
    };
}
