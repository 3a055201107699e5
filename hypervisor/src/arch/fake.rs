//! What stands in for the machine on the host: each thread is a CPU of its own, with registers, a
//! firmware, and guests that are functions. Tests set what it does and see what was done.

use crate::arch::context::{Context, Exit};
use smccc::CallRegisters;
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::string::{String, ToString as _};
use std::vec::Vec;

/// What a guest does until it leaves.
pub type Guest = Box<dyn FnMut(&mut Context) -> Exit>;

/// What the firmware does with a call.
pub type Firmware = Box<dyn FnMut(&mut CallRegisters)>;

/// An SPI that is a guest's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestSpi {
    /// Whether it is on.
    pub enabled: bool,
    /// Whether it was acknowledged and not deactivated since.
    pub active: bool,
}

/// A CPU, and what is behind it.
struct Cpu {
    registers: BTreeMap<String, u64>,
    guest: Option<Guest>,
    firmware: Option<Firmware>,
    interrupts: VecDeque<u32>,
    kicks: Vec<u64>,
    active_ppis: u32,
    guest_spis: BTreeMap<u32, GuestSpi>,
    sent: Vec<u8>,
    typed: VecDeque<u8>,
}

thread_local! {
    static CPU: RefCell<Cpu> = const {
        RefCell::new(Cpu {
            registers: BTreeMap::new(),
            guest: None,
            firmware: None,
            interrupts: VecDeque::new(),
            kicks: Vec::new(),
            active_ppis: 0,
            guest_spis: BTreeMap::new(),
            sent: Vec::new(),
            typed: VecDeque::new(),
        })
    };
}

fn with<T>(act: impl FnOnce(&mut Cpu) -> T) -> T {
    CPU.with_borrow_mut(act)
}

/// What a system register holds: 0, unless something was written.
#[must_use]
pub fn register(name: &str) -> u64 {
    with(|cpu| cpu.registers.get(name).copied().unwrap_or(0))
}

/// Sets a system register.
pub fn set_register(name: &str, value: u64) {
    with(|cpu| cpu.registers.insert(name.to_string(), value));
}

/// Sets what guests do when they are entered.
pub fn set_guest(guest: impl FnMut(&mut Context) -> Exit + 'static) {
    with(|cpu| cpu.guest = Some(Box::new(guest)));
}

/// Enters a guest.
pub(super) fn run_guest(context: &mut Context) -> Exit {
    let mut guest = with(|cpu| cpu.guest.take()).expect("the test has a guest");
    let exit = guest(context);
    with(|cpu| {
        cpu.guest.get_or_insert(guest);
    });
    exit
}

/// Sets what the firmware does with calls. Without one, it knows none.
pub fn set_firmware(firmware: impl FnMut(&mut CallRegisters) + 'static) {
    with(|cpu| cpu.firmware = Some(Box::new(firmware)));
}

/// Calls the firmware.
pub(super) fn call_firmware(registers: &mut CallRegisters) {
    match with(|cpu| cpu.firmware.take()) {
        Some(mut firmware) => {
            firmware(registers);
            with(|cpu| {
                cpu.firmware.get_or_insert(firmware);
            });
        }
        None => registers[0] = smccc::NOT_SUPPORTED,
    }
}

/// Has an interrupt wait for this CPU.
pub fn raise(intid: u32) {
    with(|cpu| cpu.interrupts.push_back(intid));
    set_register("isr_el1", 1 << 7);
}

/// The next interrupt that waits.
pub(crate) fn take_interrupt() -> Option<u32> {
    let intid = with(|cpu| cpu.interrupts.pop_front());
    if with(|cpu| cpu.interrupts.is_empty()) {
        set_register("isr_el1", 0);
    }
    intid
}

/// Notes that this CPU kicked the one with this affinity.
pub(crate) fn note_kick(mpidr: u64) {
    with(|cpu| cpu.kicks.push(mpidr));
}

/// The affinities of the CPUs that this one kicked since it was last asked.
#[must_use]
pub fn take_kicks() -> Vec<u64> {
    with(|cpu| core::mem::take(&mut cpu.kicks))
}

/// The PPIs that count as active on this CPU. Bit n is INTID n.
#[must_use]
pub fn active_ppis() -> u32 {
    with(|cpu| cpu.active_ppis)
}

/// Sets which PPIs count as active.
pub(crate) fn set_active_ppis(ppis: u32) {
    with(|cpu| cpu.active_ppis = ppis);
}

/// An SPI that is a guest's, if it is one.
#[must_use]
pub fn guest_spi(intid: u32) -> Option<GuestSpi> {
    with(|cpu| cpu.guest_spis.get(&intid).copied())
}

/// Sets the state of an SPI that is a guest's.
pub(crate) fn set_guest_spi(intid: u32, spi: GuestSpi) {
    with(|cpu| cpu.guest_spis.insert(intid, spi));
}

/// Notes that the UART sent a byte.
pub(crate) fn note_sent(byte: u8) {
    with(|cpu| cpu.sent.push(byte));
}

/// What the UART sent since this was last asked.
#[must_use]
pub fn take_sent() -> String {
    let sent = with(|cpu| core::mem::take(&mut cpu.sent));
    String::from_utf8_lossy(&sent).into_owned()
}

/// Has bytes come in at the UART.
pub fn type_in(bytes: &[u8]) {
    with(|cpu| cpu.typed.extend(bytes));
}

/// The next byte that came in at the UART.
pub(crate) fn take_typed() -> Option<u8> {
    with(|cpu| cpu.typed.pop_front())
}
