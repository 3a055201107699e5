//! The end of a hypervisor that can't go on.

use crate::arch::smc;
use crate::console::terminal;
use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use host_abi::console::Event;

/// Says where and why, after all that waits to go out, and powers the machine off.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICS: AtomicBool = AtomicBool::new(false);
    if !PANICS.swap(true, Ordering::Relaxed) {
        let place = fmt::from_fn(|f| match info.location() {
            Some(at) => write!(f, " at {}:{}", at.file(), at.line()),
            None => Ok(()),
        });
        // SAFETY: the machine is about to be powered off.
        unsafe {
            terminal::say_last(&Event::Panic {
                message: format_args!("{}{place}", info.message()),
            });
        }
    }
    smc::system_off()
}
