//! The one physical console: tagged lines of the guests, and the hypervisor's own
//! (docs/console.md has the format).
//!
//! Lines wait in a ring for each source ([`crate::console::output`]) and go out as the UART takes
//! them: nobody waits for it while guests run. Who adds a line to empty rings sends what the UART
//! takes at once. The rest is for one CPU, that of the UART's interrupt, which sends more when the
//! transmit interrupt says that there is room; or, where the UART always has room, as an emulated
//! one may, at a pace that leaves that CPU to its guests.

use crate::arch::timer;
use crate::console::line_buffer::{CAPACITY, Piece};
use crate::console::output::{Lost, Output};
use crate::console::pace::Pace;
use crate::drivers::pl011::PhysicalUart;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use host_abi::console::{Event, HYPERVISOR_TAG, PIECE_OVERHEAD_MAX, Severity};
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::{Mutex, Once};

/// The number of the CPU that the UART's interrupt goes to.
pub const CPU: usize = 0;

/// What the hypervisor says by itself, and what it answers to the person at the console.
const OWN: usize = 0;
const ANSWERS: usize = 1;
/// Those of the guests follow, by the number of the VM.
const FIRST_GUEST: usize = 2;

/// Bytes of the rings.
const OWN_RING: usize = 16 << 10;
const GUEST_RING: usize = 5 << 10;
/// The part of a guest's ring that is for what the hypervisor says of the guest, which keeps its
/// order with the guest's lines.
const ABOUT_GUEST: usize = 1 << 10;
/// The longest line of a guest with its tag.
const GUEST_LINE_MAX: usize = CAPACITY + PIECE_OVERHEAD_MAX;
/// Free bytes of its ring from which on a guest that was held back goes on.
const ROOM_AGAIN: usize = GUEST_RING / 2;
/// The hypervisor's own lines are cut here, in bytes: all that is said at once.
const OWN_TEXT_MAX: usize = 1024;

/// The most bytes that go to the UART at once, which bounds how long a CPU is busy with them. A
/// FIFO of a PL011 has less.
const BYTES_AT_ONCE: usize = 64;
/// Bytes a second to a UART that always has room, for all sources together.
const BYTES_PER_SECOND: u64 = 512 << 10;
/// What may be made up for, in parts of a second, and what lies between two times at least.
const ALLOWANCES_PER_SECOND: u64 = 50;
const TIMES_PER_SECOND_MAX: u64 = 20_000;

static CONSOLE: Once<Mutex<Console>> = Once::new();
/// When [`go_on`] has something to do: a value of the counter, or `u64::MAX`.
static RESUME_AT: AtomicU64 = AtomicU64::new(u64::MAX);

struct Console {
    uart: PhysicalUart,
    output: Output,
    pace: Pace,
    /// Ticks between two times at least.
    gap: u64,
    /// Whether the UART has an interrupt that is taken. Before that, and where it has none, lines
    /// are waited for.
    has_interrupt: bool,
    /// Whether the transmit interrupt is enabled.
    awaits_interrupt: bool,
    /// For each guest: it was told that its ring is full.
    held_back: Vec<bool>,
    /// Guests that have room again and are to be told so. Has room for each guest.
    has_room_again: Vec<usize>,
}

impl Console {
    /// Sends what the UART takes, for the CPU of its interrupt or, where nothing was under way, for
    /// any.
    fn advance(&mut self) {
        self.uart.clear_transmit_interrupt();
        let mut left = BYTES_AT_ONCE;
        while left > 0 && self.uart.has_room() {
            let uart = &mut self.uart;
            let Some((source, sent)) = self.output.send(left, |byte| uart.send_if_room(byte))
            else {
                break;
            };
            left -= sent;
            self.note_room(source);
        }
        self.pace.spend(timer::now(), (BYTES_AT_ONCE - left) as u64);
    }

    fn note_room(&mut self, source: usize) {
        let Some(guest) = source.checked_sub(FIRST_GUEST) else {
            return;
        };
        if let Some(held_back) = self
            .held_back
            .get_mut(guest)
            .filter(|held_back| **held_back)
            && self.output.free(source) >= ROOM_AGAIN
        {
            *held_back = false;
            self.has_room_again.push(guest);
        }
    }

    /// Whether guest number `guest` has room for another piece. If not, it will be told.
    fn has_room(&mut self, guest: usize) -> bool {
        let room = self.output.free(FIRST_GUEST + guest) >= GUEST_LINE_MAX + ABOUT_GUEST;
        if let Some(held_back) = self.held_back.get_mut(guest).filter(|_| !room) {
            *held_back = true;
        }
        room
    }

    /// What was just added goes out, at once as far as possible.
    fn start(&mut self) {
        if !self.has_interrupt {
            self.send_all();
        } else if !self.is_under_way() {
            self.advance();
            // Without room, the interrupt comes as soon as there is; with room, at once, on the CPU
            // that goes on with it.
            self.await_interrupt(!self.output.is_empty());
        }
    }

    /// Whether another step is to come by itself.
    fn is_under_way(&self) -> bool {
        self.awaits_interrupt || RESUME_AT.load(Ordering::Relaxed) != u64::MAX
    }

    fn await_interrupt(&mut self, enable: bool) {
        if self.awaits_interrupt != enable {
            self.awaits_interrupt = enable;
            self.uart.set_transmit_interrupt(enable);
        }
    }

    /// The next step, for the CPU of the interrupt: now, if it is due.
    fn step(&mut self) {
        let now = timer::now();
        let due = if self.uart.has_room() {
            self.pace.due()
        } else {
            now
        };
        if due > now {
            return self.resume_at(due);
        }
        self.advance();
        if self.output.is_empty() {
            self.await_interrupt(false);
            RESUME_AT.store(u64::MAX, Ordering::Relaxed);
        } else if self.uart.has_room() {
            self.resume_at(self.pace.due().max(now + self.gap));
        } else {
            RESUME_AT.store(u64::MAX, Ordering::Relaxed);
            self.await_interrupt(true);
        }
    }

    fn resume_at(&mut self, time: u64) {
        self.await_interrupt(false);
        RESUME_AT.store(time, Ordering::Relaxed);
    }

    /// Waits until all is sent.
    fn send_all(&mut self) {
        let uart = &mut self.uart;
        let mut send = |byte| {
            uart.wait_for_room();
            uart.send_if_room(byte)
        };
        while self.output.send(usize::MAX, &mut send).is_some() {}
    }

    /// Adds what the hypervisor says, line by line.
    fn say(&mut self, source: usize, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n') {
            if let Some(Lost { lines, bytes }) = self.output.take_lost(source) {
                let mut marker = OwnText::new();
                let lost: Event<'_> = Event::LinesLost { lines, bytes };
                let _ = write!(marker, "{lost}");
                self.say_line(source, &marker.0);
            }
            self.say_line(source, line);
        }
        self.start();
    }

    fn say_line(&mut self, source: usize, line: &[u8]) {
        self.output
            .push(source, &[HYPERVISOR_TAG.as_bytes(), b"| ", line, b"\n"]);
    }
}

/// What the hypervisor says at once, cut where it is too long.
struct OwnText(heapless::Vec<u8, OWN_TEXT_MAX>);

impl OwnText {
    const fn new() -> Self {
        Self(heapless::Vec::new())
    }
}

impl Write for OwnText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.0.capacity() - self.0.len();
        let text = text.as_bytes();
        let _ = self.0.extend_from_slice(&text[..text.len().min(room)]);
        Ok(())
    }
}

fn say<T: fmt::Display>(source: usize, event: &Event<'_, T>) {
    let Some(console) = CONSOLE.get() else { return };
    let mut text = OwnText::new();
    let _ = write!(text, "{event}");
    console.lock().say(source, &text.0);
}

/// Whether the log level lets this through.
fn is_told(severity: Severity) -> bool {
    let level = match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warn,
        Severity::Info => Level::Info,
    };
    level <= log::max_level()
}

/// Takes the UART and sends log records of `level` and above to it.
pub fn init(uart: PhysicalUart, level: LevelFilter) {
    let frequency = timer::frequency();
    CONSOLE.call_once(|| {
        let mut output = Output::new();
        for source in [OWN, ANSWERS] {
            let number = output.add_source(OWN_RING);
            debug_assert_eq!(number, source);
        }
        Mutex::new(Console {
            uart,
            output,
            pace: Pace::new(
                BYTES_PER_SECOND,
                frequency,
                frequency / ALLOWANCES_PER_SECOND,
            ),
            gap: frequency / TIMES_PER_SECOND_MAX,
            has_interrupt: false,
            awaits_interrupt: false,
            held_back: Vec::new(),
            has_room_again: Vec::new(),
        })
    });
    if log::set_logger(&ConsoleLog).is_ok() {
        log::set_max_level(level);
    }
}

/// Makes rings for the lines of `count` guests.
pub fn add_guests(count: usize) {
    if let Some(console) = CONSOLE.get() {
        let mut console = console.lock();
        for _ in 0..count {
            console.output.add_source(GUEST_RING);
        }
        console.held_back.resize(count, false);
        console.has_room_again.reserve_exact(count);
    }
}

/// The UART's interrupt is taken from now on, by [`CPU`].
pub fn enable_interrupts() {
    if let Some(console) = CONSOLE.get() {
        let mut console = console.lock();
        console.uart.enable_interrupts();
        console.has_interrupt = true;
    }
}

/// A byte that a person typed, if there is one.
pub fn read() -> Option<u8> {
    CONSOLE.get()?.lock().uart.read()
}

/// Serves the transmit interrupt, if that is there. Guests may have [room
/// again](take_guest_with_room).
pub fn serve_transmit_interrupt() {
    let Some(console) = CONSOLE.get() else { return };
    let mut console = console.lock();
    if console.uart.has_transmit_interrupt() {
        console.step();
    }
}

/// When [`go_on`] is to be called next, by the counter.
#[must_use]
pub fn resume_at() -> Option<u64> {
    let time = RESUME_AT.load(Ordering::Relaxed);
    (time != u64::MAX).then_some(time)
}

/// Goes on where the time has come; returns whether it has. Guests may have [room
/// again](take_guest_with_room) then. For [`CPU`].
pub fn go_on() -> bool {
    if resume_at().is_none_or(|time| time > timer::now()) {
        return false;
    }
    let Some(console) = CONSOLE.get() else {
        return false;
    };
    console.lock().step();
    true
}

/// The number of a guest that was held back and has room again, which is to be told so.
#[must_use]
pub fn take_guest_with_room() -> Option<usize> {
    CONSOLE.get()?.lock().has_room_again.pop()
}

/// Adds a piece of a line of guest number `guest`. Returns whether there is room for another one;
/// if not, [`take_guest_with_room`] tells when there is.
pub fn write_piece(guest: usize, tag: &str, piece: Piece<'_>) -> bool {
    let Some(console) = CONSOLE.get() else {
        return true;
    };
    let mark: &[u8] = if piece.complete { b"| " } else { b"+ " };
    let source = FIRST_GUEST + guest;
    let mut console = console.lock();
    console
        .output
        .push(source, &[tag.as_bytes(), mark, piece.text, b"\n"]);
    console.start();
    console.has_room(guest)
}

/// Whether there is room for a piece of guest number `guest`, as [`write_piece`] says it.
pub fn has_room(guest: usize) -> bool {
    CONSOLE
        .get()
        .is_none_or(|console| console.lock().has_room(guest))
}

/// Tells what became of the machine.
pub fn tell<T: fmt::Display>(event: &Event<'_, T>) {
    if is_told(event.severity()) {
        say(OWN, event);
    }
}

/// Tells what became of guest number `guest`: after what the guest wrote before, and before what it
/// writes next.
pub fn tell_about<T: fmt::Display>(guest: usize, event: &Event<'_, T>) {
    if is_told(event.severity()) {
        say(FIRST_GUEST + guest, event);
    }
}

/// Whether a line of `len` bytes that answers the person at the console has room.
#[must_use]
pub fn has_room_for_answer(len: usize) -> bool {
    CONSOLE
        .get()
        .is_none_or(|console| console.lock().output.free(ANSWERS) >= HYPERVISOR_TAG.len() + 3 + len)
}

/// Answers the person at the console with a line, which goes out from [`CPU`]'s next turn on. For
/// [`CPU`].
pub fn answer_line(line: &[u8]) {
    let Some(console) = CONSOLE.get() else { return };
    let mut console = console.lock();
    console.say_line(ANSWERS, line);
    if !console.is_under_way() {
        RESUME_AT.store(timer::now(), Ordering::Relaxed);
    }
}

/// Answers the person at the console.
pub fn answer(event: &Event<'_>) {
    say(ANSWERS, event);
}

/// Waits until all is out. For when no guest runs any more.
pub fn flush() {
    if let Some(console) = CONSOLE.get() {
        let mut console = console.lock();
        console.send_all();
        console.uart.wait_until_sent();
    }
}

struct ConsoleLog;

impl Log for ConsoleLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let severity = match record.level() {
            Level::Error => Severity::Error,
            Level::Warn => Severity::Warning,
            _ => Severity::Info,
        };
        let text = *record.args();
        say(OWN, &Event::Note { severity, text });
    }

    fn flush(&self) {}
}

/// Says a last line after all that waits to go out, and waits until it is out, whoever has the
/// console.
///
/// # Safety
///
/// Another CPU may be at the console: nothing goes on after this.
#[expect(
    unsafe_code,
    reason = "vouches that a console with two writers is better than none, at the end"
)]
pub unsafe fn say_last<T: fmt::Display>(event: &Event<'_, T>) {
    let Some(console) = CONSOLE.get() else { return };
    // This CPU may hold the lock. Another that does may mix in a line; better than none.
    let mut attempts = 0;
    let mut console = loop {
        if let Some(console) = console.try_lock() {
            break console;
        }
        attempts += 1;
        if attempts == 1_000_000 {
            // SAFETY: at worst two writers mix their bytes; the caller vouches that nothing comes
            // of it.
            unsafe { console.force_unlock() };
        }
    };
    let mut text = OwnText::new();
    let _ = write!(text, "{event}");
    console.has_interrupt = false;
    console.send_all();
    console.say(OWN, &text.0);
    console.uart.wait_until_sent();
}
