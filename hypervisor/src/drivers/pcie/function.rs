//! The function behind a root port.

use super::configuration::{Access, Configuration};
use super::port::{Port, WINDOW_ALIGN};
use super::{PcieError, Window};
use addresses::{PAGE_SIZE, Pa};
use alloc::vec::Vec;
use pci_types::{CommandRegister, EndpointHeader, MAX_BARS, PciAddress, PciHeader};

/// Words of the configuration space that every function has.
pub const WORDS: usize = 64;

/// Offsets of words.
const BAR_0: u16 = 0x10;
const INTERRUPT: u16 = 0x3c;
/// The status register's Interrupt Status, in the word that begins with the command register.
const INTERRUPT_STATUS: u32 = 1 << (16 + 3);

/// The lower bits of a BAR that say what it is.
const BAR_KIND: u32 = 0xf;
const BAR_IO: u32 = 1;
const BAR_TYPE: u32 = 0b11 << 1;
const BAR_WIDE: u32 = 0b10 << 1;

/// A BAR of memory, which was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBar {
    /// Its number; a BAR of 64 bits has the number after it, too.
    pub number: usize,
    /// Where CPUs find it.
    pub pa: Pa,
    /// Where the function answers.
    bus_address: u64,
    /// Its size in bytes: a power of two, a page at least.
    pub size: u64,
    /// Its lower bits, which say what it is.
    pub kind: u32,
}

impl MemoryBar {
    /// Whether it has 64 bits.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.kind & BAR_TYPE == BAR_WIDE
    }
}

/// A function, with the port that it is behind.
pub struct Function {
    configuration: &'static dyn Configuration,
    port: Port,
    address: PciAddress,
    bars: Vec<MemoryBar>,
    words: [u32; WORDS],
}

impl Function {
    /// Finds the function behind the root port with device number `port`, gives its bus the number
    /// `bus`, and its BARs a place in `window`. It does nothing before it is
    /// [set up](Self::set_up).
    ///
    /// # Errors
    ///
    /// See [`PcieError`].
    pub fn find(
        configuration: &'static dyn Configuration,
        port: u8,
        bus: u8,
        window: &mut Window,
    ) -> Result<Self, PcieError> {
        let port = Port::open(configuration, port, bus)?;
        let address = PciAddress::new(0, bus, 0, 0);
        let access = Access(configuration);
        if configuration.read(address, 0) == u32::MAX {
            return Err(PcieError::Empty);
        }
        let header = PciHeader::new(address);
        if header.has_multiple_functions(&access) {
            return Err(PcieError::NotOneFunction);
        }
        let endpoint = EndpointHeader::from_header(header, &access);
        let mut endpoint = endpoint.ok_or(PcieError::NotOneFunction)?;
        endpoint.update_command(&access, |_| CommandRegister::empty());
        if configuration.read(address, INTERRUPT) >> 8 & 0xff != 1 {
            return Err(PcieError::NoLine);
        }
        let mut bars = memory_bars(configuration, address)?;
        // The largest first, so that none needs padding.
        bars.sort_by_key(|bar| core::cmp::Reverse(bar.size));
        if let [largest, ..] = bars.as_slice() {
            let sizes = bars.iter().map(|bar| bar.size);
            let bytes = sizes.fold(0, u64::saturating_add);
            let bytes = bytes
                .checked_next_multiple_of(WINDOW_ALIGN)
                .ok_or(PcieError::NoRoom { bytes })?;
            let own = window.take(bytes, WINDOW_ALIGN.max(largest.size))?;
            let mut rest = own;
            for bar in &mut bars {
                let place = rest.take(bar.size, bar.size)?;
                bar.pa = Pa(place.pa);
                bar.bus_address = place.bus_address;
            }
            port.forward(configuration, own);
        }
        let words = core::array::from_fn(|n| configuration.read(address, 4 * n as u16));
        Ok(Self {
            configuration,
            port,
            address,
            bars,
            words,
        })
    }

    /// Its bus, device and function numbers, as it says them when it accesses memory.
    #[must_use]
    pub fn requester(&self) -> u32 {
        u32::from(self.address.bus()) << 8
    }

    /// Its BARs of memory.
    #[must_use]
    pub fn bars(&self) -> &[MemoryBar] {
        &self.bars
    }

    /// Its configuration space as it was found.
    #[must_use]
    pub fn words(&self) -> &[u32; WORDS] {
        &self.words
    }

    /// Has it answer where its BARs were placed. It accesses no memory, and its line is off.
    pub fn set_up(&self) {
        for bar in &self.bars {
            let offset = BAR_0 + 4 * bar.number as u16;
            let write = |offset, value| self.configuration.write(self.address, offset, value);
            write(offset, bar.bus_address as u32);
            if bar.is_wide() {
                write(offset + 4, (bar.bus_address >> 32) as u32);
            }
        }
        self.set_command(false, false);
    }

    /// Sets whether it accesses memory and whether it raises its line.
    pub fn set_command(&self, bus_master: bool, line: bool) {
        PciHeader::new(self.address).update_command(Access(self.configuration), |_| {
            let mut command = CommandRegister::MEMORY_ENABLE;
            command.set(CommandRegister::BUS_MASTER_ENABLE, bus_master);
            command.set(CommandRegister::INTERRUPT_DISABLE, !line);
            command
        });
    }

    /// Whether it has an interrupt, whatever becomes of it.
    #[must_use]
    pub fn has_interrupt(&self) -> bool {
        self.configuration.read(self.address, 4) & INTERRUPT_STATUS != 0
    }

    /// Has it access no memory any more, and holds it in reset.
    pub fn begin_reset(&self) {
        self.set_command(false, false);
        self.port.set_reset(self.configuration, true);
    }

    /// Lets it go from reset.
    pub fn end_reset(&self) {
        self.port.set_reset(self.configuration, false);
    }

    /// Whether it is there again after a reset.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let [first, ..] = self.words;
        self.configuration.read(self.address, 0) == first
    }
}

/// The BARs of memory, with no place yet. The function answers nowhere.
fn memory_bars(
    configuration: &dyn Configuration,
    address: PciAddress,
) -> Result<Vec<MemoryBar>, PcieError> {
    let mut bars = Vec::new();
    let mut number = 0;
    while number < MAX_BARS {
        let offset = BAR_0 + 4 * number as u16;
        let kind = configuration.read(address, offset) & BAR_KIND;
        // What it keeps of all ones are the bits of the address.
        let address_bits = |offset| {
            let before = configuration.read(address, offset);
            configuration.write(address, offset, u32::MAX);
            let bits = configuration.read(address, offset);
            configuration.write(address, offset, before);
            u64::from(bits)
        };
        let is_memory = kind & BAR_IO == 0;
        let is_wide = is_memory && kind & BAR_TYPE == BAR_WIDE;
        let mask = match (is_memory, is_wide) {
            (false, _) => 0,
            (true, false) => address_bits(offset) & !u64::from(BAR_KIND),
            // There is no register for the upper half.
            (true, true) if number + 1 == MAX_BARS => 0,
            (true, true) => {
                let lower = address_bits(offset) & !u64::from(BAR_KIND);
                address_bits(offset + 4) << 32 | lower
            }
        };
        let size = mask & mask.wrapping_neg();
        if size > 0 {
            if size < PAGE_SIZE {
                return Err(PcieError::SmallBar { bar: number, size });
            }
            bars.push(MemoryBar {
                number,
                pa: Pa(0),
                bus_address: 0,
                size,
                kind,
            });
        }
        number += if is_wide { 2 } else { 1 };
    }
    Ok(bars)
}
