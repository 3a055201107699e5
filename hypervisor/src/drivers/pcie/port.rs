//! A root port.

use super::configuration::{Access, Configuration};
use super::{PcieError, Window};
use pci_types::{
    BusNumber, CommandRegister, HeaderType, PciAddress, PciHeader, PciPciBridgeHeader,
};

/// What memory windows of ports are multiples of.
pub(super) const WINDOW_ALIGN: u64 = 1 << 20;

/// I/O base and limit, with the status above them; memory base and limit; prefetchable base and
/// limit, and the upper halves of these; the upper halves of I/O base and limit; interrupt line and
/// pin, with bridge control above them.
const IO_WINDOW: u16 = 0x1c;
const MEMORY_WINDOW: u16 = 0x20;
const PREFETCHABLE_WINDOW: u16 = 0x24;
const UPPER_HALVES: [u16; 3] = [0x28, 0x2c, 0x30];
const BRIDGE_CONTROL: u16 = 0x3c;
/// Bridge control: secondary bus reset.
const SECONDARY_BUS_RESET: u32 = 1 << (16 + 6);
/// Extended capabilities begin here: identifier, version, and where the next one is.
const EXTENDED_CAPABILITIES: u16 = 0x100;
const CONFIGURATION_END: u16 = 0x1000;
/// Access Control Services, and its word with what the port can and, above that, what it does
/// (PCI Express Base Specification 6.0, 7.7.11).
const ACCESS_CONTROL: u16 = 0x000d;
const ACCESS_CONTROL_WORD: u16 = 4;
/// Source Validation, Translation Blocking, P2P Request Redirect, P2P Completion Redirect and
/// Upstream Forwarding.
const CONFINED: u32 = 0b1_1111;
/// A base above its limit: nothing is forwarded.
const NO_WINDOW: u32 = 0x0000_fff0;
const NO_IO_WINDOW: u32 = 0x0000_00f0;

/// A root port on bus 0.
pub(super) struct Port(PciAddress);

impl Port {
    /// The port with this device number, after which bus `bus` comes.
    pub(super) fn open(
        configuration: &dyn Configuration,
        device: u8,
        bus: u8,
    ) -> Result<Self, PcieError> {
        let address = PciAddress::new(0, 0, device, 0);
        let access = Access(configuration);
        if configuration.read(address, 0) == u32::MAX {
            return Err(PcieError::NoPort);
        }
        let header = PciHeader::new(address);
        if header.header_type(&access) != HeaderType::PciPciBridge {
            return Err(PcieError::NotAPort);
        }
        let bridge = PciPciBridgeHeader::from_header(header, &access).ok_or(PcieError::NotAPort)?;
        bridge.update_bus_number(&access, |_| BusNumber {
            primary: 0,
            secondary: bus,
            subordinate: bus,
        });
        configuration.write(address, IO_WINDOW, NO_IO_WINDOW);
        configuration.write(address, MEMORY_WINDOW, NO_WINDOW);
        configuration.write(address, PREFETCHABLE_WINDOW, NO_WINDOW);
        for upper in UPPER_HALVES {
            configuration.write(address, upper, 0);
        }
        confine(configuration, address);
        Ok(Self(address))
    }

    /// Forwards `window`, whose ends are multiples of [`WINDOW_ALIGN`], and what the function does.
    pub(super) fn forward(&self, configuration: &dyn Configuration, window: Window) {
        let upper = |address: u64| (address >> 16) as u32 & 0xfff0;
        let limit = upper(window.bus_address + window.len - 1);
        let base = upper(window.bus_address);
        configuration.write(self.0, MEMORY_WINDOW, limit << 16 | base);
        PciHeader::new(self.0).update_command(Access(configuration), |command| {
            command | CommandRegister::MEMORY_ENABLE | CommandRegister::BUS_MASTER_ENABLE
        });
    }

    /// Holds what is behind it in reset, or lets it go.
    pub(super) fn set_reset(&self, configuration: &dyn Configuration, reset: bool) {
        let control = configuration.read(self.0, BRIDGE_CONTROL);
        let control = if reset {
            control | SECONDARY_BUS_RESET
        } else {
            control & !SECONDARY_BUS_RESET
        };
        configuration.write(self.0, BRIDGE_CONTROL, control);
    }
}

/// Has all that comes from behind the port go to the SMMU, under the bus number that is the port's,
/// as far as the port can: not straight to what is behind another port, not as translated already,
/// and not as another bus's.
fn confine(configuration: &dyn Configuration, port: PciAddress) {
    let mut at = EXTENDED_CAPABILITIES;
    // A list that goes around ends, too.
    for _ in EXTENDED_CAPABILITIES / 4..CONFIGURATION_END / 4 {
        if at < EXTENDED_CAPABILITIES {
            return;
        }
        let head = configuration.read(port, at);
        let word = at + ACCESS_CONTROL_WORD;
        if head as u16 == ACCESS_CONTROL && word < CONFIGURATION_END {
            let can = configuration.read(port, word) & CONFINED;
            configuration.write(port, word, can << 16);
            return;
        }
        at = (head >> 20) as u16 & 0xffc;
    }
}
