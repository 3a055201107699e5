//! PCI Express of the machine: root ports on bus 0, and the function behind each
//! (PCI Express Base Specification 6.0, chapter 7; PCI-to-PCI Bridge Architecture 1.2, chapter 3).
//!
//! A function is given away with the port that it is behind, which nobody else uses: the port's
//! secondary bus reset returns any device to its state at power-on.

pub mod configuration;
pub mod function;
#[cfg(test)]
pub mod model;
mod port;

use configuration::{Access, Configuration};
use core::fmt;
use pci_types::{CommandRegister, PciAddress, PciHeader};

/// Why a function can't be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcieError {
    /// There is nothing at this place.
    NoPort,
    /// What is there is no port to another bus.
    NotAPort,
    /// There is nothing behind the port.
    Empty,
    /// What is behind the port is no endpoint, or is several functions.
    NotOneFunction,
    /// It does not interrupt by a line.
    NoLine,
    /// A BAR is smaller than a page, so that what is beside it would be within reach.
    SmallBar {
        /// Its number.
        bar: usize,
        /// Its size in bytes.
        size: u64,
    },
    /// The window for registers is full.
    NoRoom {
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// All bus numbers are taken.
    NoBus,
}

impl fmt::Display for PcieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => f.write_str("nothing is there"),
            Self::NotAPort => f.write_str("it is no root port"),
            Self::Empty => f.write_str("nothing is behind it"),
            Self::NotOneFunction => f.write_str("what is behind it is not one endpoint function"),
            Self::NoLine => f.write_str("what is behind it does not interrupt by a line (INTx)"),
            Self::SmallBar { bar, size } => write!(
                f,
                "BAR {bar} of what is behind it has {size} bytes, which is less than a page"
            ),
            Self::NoRoom { bytes } => write!(
                f,
                "{bytes:#x} bytes of registers do not fit into the window of the host bridge"
            ),
            Self::NoBus => f.write_str("there are no bus numbers left"),
        }
    }
}

impl core::error::Error for PcieError {}

/// Where registers of functions go: a part of the host bridge's window of 32-bit memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where it begins for CPUs.
    pub pa: u64,
    /// Where it begins for functions.
    pub bus_address: u64,
    /// Bytes in it.
    pub len: u64,
}

impl Window {
    /// Takes `bytes` from the start, aligned to `align` for functions.
    ///
    /// # Errors
    ///
    /// There are not so many left.
    pub fn take(&mut self, bytes: u64, align: u64) -> Result<Self, PcieError> {
        let full = PcieError::NoRoom { bytes };
        let start = self
            .bus_address
            .checked_next_multiple_of(align)
            .ok_or(full)?;
        let skip = start - self.bus_address;
        let used = skip.checked_add(bytes).filter(|&used| used <= self.len);
        let used = used.ok_or(full)?;
        let taken = Self {
            pa: self.pa + skip,
            bus_address: start,
            len: bytes,
        };
        self.pa += used;
        self.bus_address += used;
        self.len -= used;
        Ok(taken)
    }
}

/// Has no function on bus 0, and so none behind it, access memory.
pub fn silence(configuration: &dyn Configuration) {
    let devices = 0..32;
    let functions = devices.flat_map(|device| (0..8).map(move |function| (device, function)));
    for (device, function) in functions {
        let address = PciAddress::new(0, 0, device, function);
        if configuration.read(address, 0) != u32::MAX {
            PciHeader::new(address).update_command(Access(configuration), |command| {
                command & !CommandRegister::BUS_MASTER_ENABLE
            });
        }
    }
}

#[cfg(test)]
mod tests;
