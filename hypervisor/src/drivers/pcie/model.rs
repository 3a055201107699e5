//! A PCIe host bridge for tests, with root ports and functions behind them: what answers to
//! configuration accesses, where registers are, and what functions reach (PCI Express Base
//! Specification 6.0, chapter 7; PCI-to-PCI Bridge Architecture 1.2).

use super::configuration::Configuration;
use pci_types::PciAddress;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

const ALL_ONES: u32 = u32::MAX;

/// Bits of the command register.
const MEMORY: u32 = 1 << 1;
const BUS_MASTER: u32 = 1 << 2;
const INTERRUPT_DISABLE: u32 = 1 << 10;
/// Bits of the command register that can be written, and errors in the status register that are
/// cleared by ones.
const COMMAND_WRITABLE: u32 = 0x0547;
const STATUS_ERRORS: u32 = 0xf900_0000;
const INTERRUPT_STATUS: u32 = 1 << (16 + 3);
/// Bridge control: secondary bus reset.
const SECONDARY_BUS_RESET: u32 = 1 << (16 + 6);

/// A BAR's register: 32 bits of it.
#[derive(Clone, Copy, Debug)]
pub enum BarKind {
    /// Memory with an address of 32 bits, of so many bytes, with these lower bits.
    Memory32(u32, u32),
    /// Memory with an address of 64 bits, and the register after it.
    Memory64(u64, u32),
    /// I/O ports.
    Io(u32),
}

/// A function as it comes from the factory.
#[derive(Clone, Debug)]
pub struct FunctionKind {
    /// Vendor and device.
    pub id: u32,
    /// The header type, with the bit for several functions.
    pub header: u8,
    /// The interrupt pin, 1 for INTA; 0 for none.
    pub pin: u8,
    /// Its BARs by number.
    pub bars: Vec<(usize, BarKind)>,
    /// Configuration accesses after a reset for which it does not answer.
    pub slow: u32,
}

impl FunctionKind {
    /// A virtio disk: a BAR of 32 bits for MSI-X and one of 64 bits.
    pub fn disk() -> Self {
        Self {
            id: 0x1042_1af4,
            header: 0,
            pin: 1,
            bars: std::vec![
                (1, BarKind::Memory32(0x1000, 0)),
                (4, BarKind::Memory64(0x4000, 0x8)),
            ],
            slow: 0,
        }
    }
}

/// A function: registers with the bits of each that can be written.
#[derive(Debug)]
struct Function {
    kind: FunctionKind,
    words: [u32; 64],
    writable: [u32; 64],
    interrupt: bool,
    silent_for: u32,
}

impl Function {
    fn new(kind: FunctionKind, command: u32) -> Self {
        let mut function = Self {
            kind,
            words: [0; 64],
            writable: [0; 64],
            interrupt: false,
            silent_for: 0,
        };
        function.power_on();
        function.silent_for = 0;
        // What the firmware left.
        function.words[1] |= command & COMMAND_WRITABLE | STATUS_ERRORS;
        function
    }

    fn power_on(&mut self) {
        self.words = [0; 64];
        self.writable = [0; 64];
        self.silent_for = self.kind.slow;
        self.interrupt = false;
        self.words[0] = self.kind.id;
        self.words[1] = 1 << 20;
        self.words[2] = 0x0100_0001;
        self.words[3] = u32::from(self.kind.header) << 16;
        self.words[13] = 0x40;
        self.words[15] = u32::from(self.kind.pin) << 8;
        self.words[16] = 0x0010_0009;
        self.writable[3] = 0xff;
        self.writable[15] = 0xff;
        for &(number, bar) in &self.kind.bars {
            let at = 4 + number;
            match bar {
                BarKind::Memory32(size, kind) => {
                    self.words[at] = kind;
                    self.writable[at] = size.wrapping_neg() & !0xf;
                }
                BarKind::Memory64(size, kind) => {
                    self.words[at] = kind | 0b100;
                    self.writable[at] = size.wrapping_neg() as u32 & !0xf;
                    self.writable[at + 1] = (size.wrapping_neg() >> 32) as u32;
                }
                BarKind::Io(size) => {
                    self.words[at] = 1;
                    self.writable[at] = size.wrapping_neg() & !0b11;
                }
            }
        }
    }

    fn write(&mut self, number: usize, value: u32) {
        if number == 1 {
            self.words[1] = written_command(self.words[1], value);
        } else {
            let writable = self.writable[number];
            self.words[number] = self.words[number] & !writable | value & writable;
        }
    }

    fn read(&self, number: usize) -> u32 {
        let interrupt = number == 1 && self.interrupt;
        self.words[number] | if interrupt { INTERRUPT_STATUS } else { 0 }
    }

    /// Which BAR answers at `address`, and where in it that is.
    fn bar_at(&self, address: u64) -> Option<(usize, u64)> {
        if self.words[1] & MEMORY == 0 {
            return None;
        }
        self.kind.bars.iter().find_map(|&(number, bar)| {
            let lower = u64::from(self.words[4 + number] & !0xf);
            let (start, size) = match bar {
                BarKind::Memory32(size, _) => (lower, u64::from(size)),
                BarKind::Memory64(size, _) => {
                    (u64::from(self.words[5 + number]) << 32 | lower, size)
                }
                BarKind::Io(_) => return None,
            };
            let offset = address.checked_sub(start)?;
            (offset < size).then_some((number, offset))
        })
    }
}

/// The first word's command and status after a write.
fn written_command(before: u32, value: u32) -> u32 {
    let status = before & 0xffff_0000 & !(value & STATUS_ERRORS);
    status | value & COMMAND_WRITABLE
}

/// A root port, with functions by number behind it.
#[derive(Debug)]
struct Port {
    words: [u32; 64],
    /// Words of extended capabilities that are not 0, by number.
    extended: BTreeMap<usize, u32>,
    behind: Vec<Function>,
}

impl Port {
    /// As the firmware left it: on bus numbers of its own, with all its windows open, and errors
    /// in the status.
    fn new(behind: Vec<FunctionKind>) -> Self {
        let mut words = [0; 64];
        words[0] = 0x000c_1b36;
        words[1] = 0x0007 | STATUS_ERRORS;
        words[2] = 0x0604_0000;
        words[3] = 0x0001_0000;
        words[6] = 0x0009_0900;
        words[7] = STATUS_ERRORS | 0xf010;
        words[8] = 0x1ff0_1000;
        words[9] = 0xfff1_0001;
        words[10] = 0x80;
        words[11] = 0x81;
        words[15] = 0x0000_0100;
        let command = MEMORY | BUS_MASTER;
        let behind = behind.into_iter().map(|kind| Function::new(kind, command));
        // Error reporting, then access control, which can do all there is, and does nothing.
        let extended = [(0x40, 0x1482_0001), (0x52, 0x0001_000d), (0x53, 0x007f)];
        Self {
            words,
            extended: extended.into(),
            behind: behind.collect(),
        }
    }

    fn in_reset(&self) -> bool {
        self.words[15] & SECONDARY_BUS_RESET != 0
    }

    fn secondary(&self) -> u8 {
        (self.words[6] >> 8) as u8
    }

    fn read(&self, number: usize) -> u32 {
        let extended = self.extended.get(&number).copied();
        let word = self.words.get(number).copied();
        word.or(extended).unwrap_or(0)
    }

    fn write(&mut self, number: usize, value: u32) {
        match number {
            64.. => {
                let head = number.checked_sub(1).map_or(0, |head| self.read(head));
                assert_eq!(head as u16, 0x000d, "access control is all that is written");
                let can = self.read(number) & 0xffff;
                self.extended.insert(number, can | value & can << 16);
            }
            1 => self.words[1] = written_command(self.words[1], value),
            6 => self.words[6] = value & 0x00ff_ffff,
            7 => {
                let status = self.words[7] & 0xffff_0000 & !(value & STATUS_ERRORS);
                self.words[7] = status | value & 0xf0f0 | self.words[7] & 0x0f0f;
            }
            8 => self.words[8] = value & 0xfff0_fff0,
            9 => self.words[9] = value & 0xfff0_fff0 | 0x0001_0001,
            10..=12 => self.words[number] = value,
            15 => {
                let was_in_reset = self.in_reset();
                self.words[15] = self.words[15] & 0xff00 | value & 0x0fff_00ff;
                if was_in_reset && !self.in_reset() {
                    self.behind.iter_mut().for_each(Function::power_on);
                }
            }
            _ => {}
        }
    }

    /// Whether it passes an access to memory at `address` on to what is behind it.
    fn forwards(&self, address: u64) -> bool {
        let ends = |word: u32, upper: [u32; 2]| {
            let [base, limit] = [word & 0xfff0, word >> 16 & 0xfff0];
            let [base, limit] = [base, limit].map(|end| u64::from(end) << 16);
            let [lower, upper] = upper.map(|word| u64::from(word) << 32);
            lower | base..(upper | limit) + (1 << 20)
        };
        let memory = ends(self.words[8], [0; 2]);
        let prefetchable = ends(self.words[9], [self.words[10], self.words[11]]);
        self.words[1] & MEMORY != 0
            && !self.in_reset()
            && (memory.contains(&address) || prefetchable.contains(&address))
    }
}

/// What is called before a write to configuration space.
type Hook = Box<dyn FnMut(PciAddress, u16, u32) + Send>;

struct State {
    ports: BTreeMap<u8, Port>,
    /// Functions of bus 0 that are no ports.
    others: BTreeMap<u8, Function>,
    hook: Option<Hook>,
}

/// The host bridge.
pub struct ModelBridge(Mutex<State>);

impl ModelBridge {
    /// One with ports at these device numbers of bus 0 and the functions behind each, and a
    /// function on bus 0 itself, as device 31. It stays for good.
    pub fn leaked(ports: Vec<(u8, Vec<FunctionKind>)>) -> &'static Self {
        let ports = ports.into_iter();
        let others = [(31, Function::new(FunctionKind::disk(), BUS_MASTER))];
        Box::leak(Box::new(Self(Mutex::new(State {
            ports: ports.map(|(n, behind)| (n, Port::new(behind))).collect(),
            others: others.into_iter().collect(),
            hook: None,
        }))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `hook` before each write.
    pub fn before_writes(&self, hook: impl FnMut(PciAddress, u16, u32) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// What answers to an access to memory at a bus address: the port, the BAR of the function
    /// behind it, and the offset in that. Nothing else answers.
    pub fn memory_at(&self, address: u64) -> Option<(u8, usize, u64)> {
        let state = self.state();
        let forwarding = state.ports.iter();
        let forwarding: Vec<_> = forwarding.filter(|(_, it)| it.forwards(address)).collect();
        assert!(
            forwarding.len() <= 1,
            "{address:#x} is behind several ports"
        );
        let &(&device, port) = forwarding.first()?;
        let (bar, offset) = port.behind.first()?.bar_at(address)?;
        Some((device, bar, offset))
    }

    /// Whether the port passes anything at `address` on.
    pub fn forwards(&self, port: u8, address: u64) -> bool {
        self.state().ports[&port].forwards(address)
    }

    /// The requester ID with which the function behind `port` accesses memory, if it does.
    pub fn requester(&self, port: u8) -> Option<u32> {
        let state = self.state();
        let port = &state.ports[&port];
        let function = port.behind.first()?;
        let masters = port.words[1] & function.words[1] & BUS_MASTER != 0;
        (masters && !port.in_reset()).then(|| u32::from(port.secondary()) << 8)
    }

    /// Whether the function of bus 0 that is no port accesses memory.
    pub fn others_access_memory(&self) -> bool {
        let state = self.state();
        let mut others = state.others.values();
        others.any(|other| other.words[1] & BUS_MASTER != 0)
    }

    /// The function behind `port` has an interrupt, or has it no more.
    pub fn set_interrupt(&self, port: u8, interrupt: bool) {
        let mut state = self.state();
        let port = state.ports.get_mut(&port).expect("a port");
        port.behind[0].interrupt = interrupt;
    }

    /// Whether the line of the function behind `port` is up.
    pub fn line(&self, port: u8) -> bool {
        let state = self.state();
        let port = &state.ports[&port];
        let mut behind = port.behind.iter();
        !port.in_reset() && behind.any(|it| it.interrupt && it.words[1] & INTERRUPT_DISABLE == 0)
    }

    /// Whether what is behind `port` is in reset.
    pub fn in_reset(&self, port: u8) -> bool {
        self.state().ports[&port].in_reset()
    }

    /// The command register of the function behind `port`.
    pub fn command(&self, port: u8) -> u32 {
        self.state().ports[&port].behind[0].words[1] & 0xffff
    }

    /// Whether port and function have errors in their status that nobody cleared.
    pub fn has_errors(&self, port: u8) -> bool {
        let state = self.state();
        let port = &state.ports[&port];
        let kept = |word: u32| word & STATUS_ERRORS == STATUS_ERRORS;
        kept(port.words[1]) && kept(port.words[7]) && kept(port.behind[0].words[1])
    }

    /// The port has these words of extended capabilities, by number, and no others.
    pub fn set_extended(&self, port: u8, words: &[(usize, u32)]) {
        let mut state = self.state();
        let port = state.ports.get_mut(&port).expect("a port");
        port.extended = words.iter().copied().collect();
    }

    /// A word of the port's extended capabilities.
    pub fn extended(&self, port: u8, number: usize) -> u32 {
        self.state().ports[&port].read(number)
    }

    /// Another device is behind `port` from now on.
    pub fn replace(&self, port: u8, kind: FunctionKind) {
        let mut state = self.state();
        let port = state.ports.get_mut(&port).expect("a port");
        port.behind = std::vec![Function::new(kind, 0)];
    }
}

impl State {
    /// Which function answers, if one does.
    fn behind(&mut self, address: PciAddress) -> Option<&mut Function> {
        let mut ports = self.ports.values_mut();
        let port = ports.find(|it| it.secondary() == address.bus() && !it.in_reset())?;
        // A link has one device.
        let of_device = (address.device() == 0).then_some(address.function())?;
        let function = port.behind.get_mut(usize::from(of_device))?;
        if function.silent_for > 0 {
            function.silent_for -= 1;
            return None;
        }
        Some(function)
    }
}

impl Configuration for ModelBridge {
    fn read(&self, address: PciAddress, at: u16) -> u32 {
        assert!(at.is_multiple_of(4));
        let number = usize::from(at / 4);
        let mut state = self.state();
        if address.bus() != 0 {
            return state.behind(address).map_or(ALL_ONES, |it| it.read(number));
        }
        if address.function() != 0 {
            return ALL_ONES;
        }
        let device = address.device();
        let port = state.ports.get(&device).map(|port| port.read(number));
        let other = state.others.get(&device).map(|other| other.read(number));
        port.or(other).unwrap_or(ALL_ONES)
    }

    fn write(&self, address: PciAddress, at: u16, value: u32) {
        assert!(at.is_multiple_of(4));
        let hook = self.state().hook.take();
        if let Some(mut hook) = hook {
            hook(address, at, value);
            self.state().hook = Some(hook);
        }
        let number = usize::from(at / 4);
        let mut state = self.state();
        if address.bus() != 0 {
            if let Some(function) = state.behind(address) {
                function.write(number, value);
            }
            return;
        }
        assert_eq!(address.function(), 0, "nothing is there");
        if let Some(port) = state.ports.get_mut(&address.device()) {
            port.write(number, value);
        } else if let Some(other) = state.others.get_mut(&address.device()) {
            other.write(number, value);
        }
    }
}
