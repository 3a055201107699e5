//! One VM: what it has, and its life from start to stop.
//!
//! Who may do what when is decided in [`crate::vm::power`]; here it is done.

use crate::arch::{pmu, timer, virtual_interface};
use crate::console::line_buffer::{LineBuffer, Piece};
use crate::console::rate_limit::{Pass, RateLimit};
use crate::console::terminal;
use crate::description::VmDescription;
use crate::devices::gicv3::{Kicks, VirtualGic};
use crate::devices::pl011::{self, VirtualPl011};
use crate::mm::guest_memory::{GuestRam, NotGuestMemory};
use crate::tee::mediators;
use crate::tee::request::Request;
use crate::vm::accounting::{Account, Bill};
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::image::loader::{Filling, Image, Modules};
use crate::vm::power::{After, CpuOnError, Entry, Life, Power, VcpuPower};
use crate::vm::{cpus, entropy};
use addresses::Ipa;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use arm_psci::ErrorCode;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use heapless::Deque;
use log::Level;
use mediator::{Tee, WindUp};
use spin::Mutex;

/// Lines a second that a VM's refused calls may have on the console.
const REFUSED_LOGGED_PER_SECOND: u32 = 4;

/// Resets a second that a VM has lines on the console for.
const RESETS_TOLD_PER_SECOND: u32 = 50;

/// Bytes that a person may be ahead of a VM.
const TYPED_MAX: usize = 1024;

/// How far a start or an end of a VM has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// There is more to do.
    GoesOn,
    /// There is no more to do.
    Done,
    /// There is no more to do, and the VM is off for good.
    Off,
}

/// What no guest knows; without any randomness, the time at which the guest starts.
fn secret() -> [u64; 2] {
    let mut words = [[0; 8]; 2];
    if !entropy::fill(words.as_flattened_mut()) {
        words[0] = timer::now().to_le_bytes();
    }
    words.map(u64::from_le_bytes)
}

/// A VM. All of it may be used from any CPU.
pub struct Vm {
    /// VMID and client ID at the TEE; not 0.
    pub id: u16,
    /// What the machine's description says of it.
    pub description: VmDescription,
    /// Its memory.
    pub ram: &'static GuestRam,
    /// What it starts with, or why it can't.
    image: Result<Image, String>,
    /// Its interrupt controller.
    pub gic: VirtualGic,
    serial: Mutex<Serial>,
    /// UARTFR, which guests read for each character.
    uart_flags: AtomicU32,
    /// Whether a person types to this VM and wants to see what it writes at once.
    attached: AtomicBool,
    power: Mutex<Power>,
    /// Whether the VM was asked to stop; readable without the lock.
    stopping: AtomicBool,
    tee: Mutex<Option<Arc<dyn Tee>>>,
    /// How often the TEE came to know it, and what it took from what the TEE has for all VMs, and did not give back.
    tee_lives: AtomicU32,
    tee_lost: AtomicU32,
    /// Calls that nobody answered, and how many of them may be logged.
    refused_calls: AtomicU64,
    refused_log: Mutex<RateLimit>,
    forwarded_calls: AtomicU64,
    /// Which of its resets are told of, and whether that of the life to come was.
    told_resets: Mutex<RateLimit>,
    tells_of_this_life: AtomicBool,
    /// What each vCPU cost.
    pub accounts: Vec<Account>,
    /// How often it was started.
    starts: AtomicU64,
}

impl Vm {
    /// A VM that is off.
    pub fn new(
        id: u16,
        description: VmDescription,
        ram: &'static GuestRam,
        modules: Modules,
    ) -> Self {
        let vcpus = description.vcpu_cpus.len();
        Self {
            id,
            ram,
            image: Image::of(&description, modules, ram.bytes()),
            gic: VirtualGic::new(vcpus, virtual_interface::count()),
            serial: Mutex::new(Serial::new()),
            uart_flags: AtomicU32::new(VirtualPl011::new().flags()),
            attached: AtomicBool::new(false),
            power: Mutex::new(Power::new(vcpus)),
            stopping: AtomicBool::new(false),
            tee: Mutex::new(None),
            tee_lives: AtomicU32::new(0),
            tee_lost: AtomicU32::new(0),
            refused_calls: AtomicU64::new(0),
            refused_log: Mutex::new(RateLimit::new(
                REFUSED_LOGGED_PER_SECOND,
                timer::frequency(),
            )),
            forwarded_calls: AtomicU64::new(0),
            told_resets: Mutex::new(RateLimit::new(RESETS_TOLD_PER_SECOND, timer::frequency())),
            tells_of_this_life: AtomicBool::new(true),
            accounts: (0..vcpus).map(|_| Account::default()).collect(),
            starts: AtomicU64::new(0),
            description,
        }
    }

    /// The VM's name.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// The VM's side of its TEE, if it has one.
    pub fn tee(&self) -> Option<Arc<dyn Tee>> {
        self.tee.lock().clone()
    }

    /// Passes on what its TEE has to notify the VM of, if there is anything.
    pub fn notify(&self) {
        if self.tee().is_some_and(|tee| tee.poll_notifications()) {
            self.raise_tee_interrupt();
        }
    }

    /// Raises the virtual interrupt by which the TEE notifies the VM.
    pub fn raise_tee_interrupt(&self) {
        let kicks = self.gic.pulse_spi(GuestLayout::TEE_INTID);
        kicks.vcpus().for_each(|index| self.kick_vcpu(index));
    }

    /// Asks for the VM to start at boot or after a stop that is followed by a restart; the CPU of its first vCPU does it.
    pub fn ask_for_start(&self) {
        self.power.lock().ask_for_start();
        self.kick_vcpu(0);
    }

    /// Starts a VM again that is off for good. Says whether it was.
    pub fn start_again(&self) -> bool {
        let off = self.power.lock().ask_for_start();
        if off {
            self.tells_of_this_life.store(true, Ordering::Relaxed);
            self.kick_vcpu(0);
        }
        off
    }

    /// Where the VM is in its life.
    pub fn life(&self) -> Life {
        self.power.lock().life()
    }

    /// Writes what the VM did so far, in words.
    pub fn write_stats(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        write!(
            to,
            "{} starts, {} calls refused, {} forwarded, {} pages known to the secure world",
            self.starts.load(Ordering::Relaxed),
            self.refused_calls.load(Ordering::Relaxed),
            self.forwarded_calls.load(Ordering::Relaxed),
            self.ram.pinned(),
        )
    }

    /// What EL2 did for the VM so far, where that is counted.
    pub fn bill(&self) -> Option<Bill<'_>> {
        pmu::is_present().then(|| Bill::new(&self.accounts, pmu::has_instructions()))
    }

    /// If the VM was asked to start, begins to fill its memory. For the CPU of its first vCPU.
    pub fn begin_start(&self) -> Option<Filling> {
        if self.power.lock().life() != Life::Starting {
            return None;
        }
        Some(Filling::new(self.ram))
    }

    /// Goes on with filling the VM's memory. In the end the first vCPU starts, or the VM is off.
    pub fn go_on_starting(&self, filling: &mut Filling) -> Step {
        let image = match &self.image {
            Ok(image) => image,
            Err(reason) => return self.fail_start(reason),
        };
        let entry = match filling.advance(image) {
            Ok(None) => return Step::GoesOn,
            Ok(Some(entry)) => self.make_devices().map(|()| entry),
            Err(NotGuestMemory) => Err(String::from("its image reaches beyond its memory")),
        };
        match entry {
            Ok(entry) => {
                if self.tells_of_this_life.load(Ordering::Relaxed) {
                    self.log(Level::Info, format_args!("started, {}", self.summary()));
                }
                self.starts.fetch_add(1, Ordering::Relaxed);
                let mut power = self.power.lock();
                self.stopping.store(false, Ordering::Release);
                power.started(entry);
                Step::Done
            }
            Err(reason) => self.fail_start(&reason),
        }
    }

    fn fail_start(&self, reason: &str) -> Step {
        self.log(Level::Error, format_args!("stopped: {reason}"));
        self.power.lock().start_failed();
        Step::Off
    }

    /// Makes what belongs to one life of the VM besides its memory.
    fn make_devices(&self) -> Result<(), String> {
        self.gic.reset();
        self.reset_serial();
        if self.tee().is_some() {
            // The life before left nothing in it.
            return Ok(());
        }
        let tee = mediators::create(Request {
            vmid: self.id,
            description: &self.description,
            ram: self.ram,
            lives: self.tee_lives.load(Ordering::Relaxed),
            lost: self.tee_lost.load(Ordering::Relaxed),
            secret: secret(),
        })?;
        self.tee_lives
            .fetch_add(u32::from(tee.is_some()), Ordering::Relaxed);
        *self.tee.lock() = tee;
        Ok(())
    }

    /// Tells that the VM was reset, and has the next life tell of its start, unless that is so often that it floods the console.
    fn tell_of_reset(&self) {
        let pass = self.told_resets.lock().event(timer::now());
        self.tells_of_this_life
            .store(pass != Pass::No, Ordering::Relaxed);
        if let Pass::Yes { held_back } = pass {
            if held_back != 0 {
                self.log(Level::Info, format_args!("reset {held_back} more times"));
            }
            self.log(Level::Info, format_args!("reset"));
        }
    }

    /// Logs what became of the VM, in order with what it writes itself.
    fn log(&self, level: Level, text: fmt::Arguments<'_>) {
        terminal::log_about(
            self.number(),
            level,
            format_args!("{}: {text}", self.name()),
        );
    }

    /// Another life begins with a UART after reset, which has no room where the last life has filled its part of the console.
    fn reset_serial(&self) {
        let mut serial = self.serial.lock();
        let room = terminal::has_room(self.number());
        *serial = Serial::new();
        if !room {
            serial.uart.hold_back();
        }
        self.uart_flags
            .store(serial.uart.flags(), Ordering::Relaxed);
    }

    /// The VM's place among the machine's.
    fn number(&self) -> usize {
        usize::from(self.id) - 1
    }

    /// A vCPU is about to execute the first instruction of its life.
    pub fn vcpu_starts(&self, index: usize) {
        if index == 0 && self.starts.load(Ordering::Relaxed) == 1 {
            log::info!(
                "{}: enters its kernel {} ns after the hypervisor was entered",
                self.name(),
                timer::since_entered().as_nanos()
            );
        }
    }

    /// What the VM has, in words.
    pub fn summary(&self) -> impl fmt::Display {
        let cpus = &self.description.vcpu_cpus;
        let (mib, count, tee) = (self.ram.bytes() >> 20, cpus.len(), self.description.tee);
        fmt::from_fn(move |f| {
            write!(f, "{mib} MiB, {count} vCPUs on CPUs ")?;
            for (n, cpu) in cpus.iter().enumerate() {
                let separator = if n == 0 { "" } else { "," };
                write!(f, "{separator}{cpu}")?;
            }
            write!(f, ", tee {tee}")
        })
    }

    /// Asks for vCPU `target` to start (PSCI CPU_ON, DEN0022F.b §5.1.4).
    ///
    /// # Errors
    ///
    /// As the specification has them: no such vCPU, on or starting already, an entry outside of memory.
    pub fn cpu_on(&self, target: usize, entry: Entry) -> Result<(), ErrorCode> {
        let starts_in_memory = self.can_start_at(entry.pc);
        let mut power = self.power.lock();
        if !starts_in_memory && power.vcpu(target) == Some(VcpuPower::Off) {
            return Err(ErrorCode::InvalidAddress);
        }
        power.cpu_on(target, entry).map_err(|error| match error {
            CpuOnError::NoSuchVcpu => ErrorCode::InvalidParameters,
            CpuOnError::AlreadyOn => ErrorCode::AlreadyOn,
            CpuOnError::OnPending => ErrorCode::OnPending,
        })?;
        drop(power);
        self.kick_vcpu(target);
        Ok(())
    }

    /// Whether a vCPU can start at the IPA `pc`.
    pub fn can_start_at(&self, pc: u64) -> bool {
        pc.is_multiple_of(4) && self.ram.run(Ipa(pc)).is_ok()
    }

    /// The power state of vCPU `target`, if there is one.
    pub fn vcpu_power(&self, target: usize) -> Option<VcpuPower> {
        self.power.lock().vcpu(target)
    }

    /// If vCPU `index` was asked to start, takes note that it does and says where.
    pub fn take_start(&self, index: usize) -> Option<Entry> {
        self.power.lock().take_start(index)
    }

    /// Takes note that vCPU `index` turned itself off. A VM whose vCPUs are all off is stopped.
    pub fn cpu_off(&self, index: usize) {
        let someone_left = self.power.lock().cpu_off(index);
        if !someone_left {
            self.stop(After::Off, Some(format_args!("all its vCPUs are off")));
        }
    }

    /// Asks for the VM to stop; `reason` is given where it did not ask for it itself. Says whether it was running.
    pub fn stop(&self, after: After, reason: Option<fmt::Arguments<'_>>) -> bool {
        let mut power = self.power.lock();
        if !power.stop(after) {
            return false;
        }
        self.stopping.store(true, Ordering::Release);
        drop(power);
        if let Some(reason) = reason {
            self.log(Level::Error, format_args!("stopped: {reason}"));
        }
        for index in 0..self.description.vcpu_cpus.len() {
            self.kick_vcpu(index);
        }
        true
    }

    /// Whether the VM is about to stop, so that its vCPUs must not run.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes note that vCPU `index`, which is in no CPU, will not run any more in this life of the VM. With the last one
    /// the VM has come to its end, which is for the CPU of vCPU 0.
    pub fn let_go(&self, index: usize) {
        if self.power.lock().let_go(index) {
            self.kick_vcpu(0);
        }
    }

    /// Whether the VM has come to its end and is to be taken apart.
    pub fn is_ending(&self) -> bool {
        self.is_stopping() && self.power.lock().ending().is_some()
    }

    /// If the VM has come to its end, goes on with taking it apart until that is done or an interrupt waits. For the CPU of
    /// the first vCPU.
    pub fn wind_up(&self) -> Step {
        let Some(after) = self.power.lock().ending() else {
            return Step::Done;
        };
        let again = after == After::Restart;
        let keeps_tee = match self.tee().map(|tee| tee.wind_up(again)) {
            Some(WindUp::Interrupted) => return Step::GoesOn,
            Some(WindUp::Renewed) => true,
            Some(WindUp::Done { left, lost }) => {
                self.note_left_behind(left, lost);
                false
            }
            None => false,
        };
        self.take_apart(keeps_tee);
        self.power.lock().taken_apart();
        match after {
            After::Off => {
                self.log(Level::Info, format_args!("off"));
                Step::Off
            }
            After::Restart => {
                self.tell_of_reset();
                self.ask_for_start();
                Step::Done
            }
        }
    }

    /// Takes note of what the VM leaves in the secure world.
    fn note_left_behind(&self, left: u64, lost: u32) {
        if left > 0 {
            log::warn!(
                "{}: the secure world did not end {left} of its calls and sessions in time",
                self.name()
            );
        }
        if lost > 0 {
            let all = self.tee_lost.fetch_add(lost, Ordering::Relaxed) + lost;
            log::warn!(
                "{}: OP-TEE keeps {lost} identifiers of trusted applications that it still runs for it, {all} in all, until the \
                 machine is restarted",
                self.name()
            );
        }
    }

    fn take_apart(&self, keeps_tee: bool) {
        let mut serial = self.serial.lock();
        let Serial { uart, line, .. } = &mut *serial;
        line.flush(|piece| self.write_piece(uart, piece));
        drop(serial);
        if !keeps_tee && let Some(tee) = self.tee.lock().take() {
            tee.destroy();
        }
        let pinned = self.ram.pinned();
        if pinned != 0 {
            log::error!(
                "{}: {pinned} pages are still known to the secure world",
                self.name()
            );
        }
    }

    fn kick_vcpu(&self, index: usize) {
        if let Some(&cpu) = self.description.vcpu_cpus.get(index) {
            cpus::kick(cpu);
        }
    }

    /// Counts a call that is refused, at time `now`, and says whether it is to be logged.
    pub fn note_refused_call(&self, now: u64) -> Pass {
        self.refused_calls.fetch_add(1, Ordering::Relaxed);
        self.refused_log.lock().event(now)
    }

    /// Counts a call that was forwarded to the firmware.
    pub fn note_forwarded_call(&self) {
        self.forwarded_calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Has the CPUs look at the vCPUs for which the interrupt controller has something new; `own` is the vCPU that the
    /// caller is about to enter, which needs no telling.
    pub fn deliver(&self, kicks: Kicks, own: usize) {
        for index in kicks.vcpus().filter(|&index| index != own) {
            self.kick_vcpu(index);
        }
    }

    /// A read of the register at `offset` of the VM's UART, if that changes nothing.
    #[inline]
    pub fn uart_read_plain(&self, offset: u64) -> Option<u32> {
        (offset == pl011::FR).then(|| self.uart_flags.load(Ordering::Relaxed))
    }

    /// Takes a byte that is written to the register at `offset` of the VM's UART, if that changes nothing but the line. Says
    /// whether it did.
    #[inline]
    pub fn uart_write_plain(&self, offset: u64, byte: u8) -> bool {
        if offset != pl011::DR || self.attached.load(Ordering::Relaxed) {
            return false;
        }
        let mut serial = self.serial.lock();
        serial.uart.sends_unnoticed() && serial.line.push_plain(byte)
    }

    /// vCPU `own` reads a register of the VM's UART.
    pub fn uart_read(&self, own: usize, offset: u64) -> u32 {
        let mut serial = self.serial.lock();
        let value = serial.uart.read(offset);
        serial.refill();
        let kicks = self.uart_changed(&mut serial);
        drop(serial);
        self.deliver(kicks, own);
        value
    }

    /// vCPU `own` writes a register of the VM's UART.
    pub fn uart_write(&self, own: usize, offset: u64, value: u32) {
        let mut serial = self.serial.lock();
        if let Some(byte) = serial.uart.write(offset, value) {
            self.print(&mut serial, byte);
        }
        let kicks = self.uart_changed(&mut serial);
        drop(serial);
        self.deliver(kicks, own);
    }

    /// Writes a byte of the guest's output to the console when its line ends, or at once where a person waits for it.
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
        if !terminal::write_piece(self.number(), self.name(), piece) {
            uart.hold_back();
        }
    }

    /// What the VM writes goes out again, after it was held back.
    pub fn output_has_room(&self) {
        let mut serial = self.serial.lock();
        let lost = serial.uart.go_on();
        let kicks = self.uart_changed(&mut serial);
        drop(serial);
        kicks.vcpus().for_each(|index| self.kick_vcpu(index));
        if lost != 0 {
            log::warn!(
                "{}: {lost} bytes are lost: it sent them to a full UART",
                self.name()
            );
        }
    }

    /// Sets whether a person types to this VM.
    pub fn set_attached(&self, attached: bool) {
        self.attached.store(attached, Ordering::Relaxed);
    }

    /// Takes a byte that a person typed. What is too much is lost, as on a line without flow control.
    pub fn type_in(&self, byte: u8) {
        let mut serial = self.serial.lock();
        let _ = serial.typed.push_back(byte);
        serial.refill();
        let kicks = self.uart_changed(&mut serial);
        drop(serial);
        kicks.vcpus().for_each(|index| self.kick_vcpu(index));
    }

    /// The UART may have changed: brings its flags, and its interrupt line to the interrupt controller, up to date, while the
    /// UART is locked, so that two vCPUs can't mix up the order.
    fn uart_changed(&self, serial: &mut Serial) -> Kicks {
        self.uart_flags
            .store(serial.uart.flags(), Ordering::Relaxed);
        let asserted = serial.uart.interrupt_asserted();
        if serial.asserted == asserted {
            return Kicks::NONE;
        }
        serial.asserted = asserted;
        self.gic.set_spi_level(GuestLayout::UART_INTID, asserted)
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
