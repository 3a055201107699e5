//! What happens when a payload cannot go on.

use core::panic::PanicInfo;

use crate::runtime::psci;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::runtime::console::last_line(format_args!("@@panic {info}"));
    psci::system_off()
}
