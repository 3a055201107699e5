//! Devices of the machine that guests get, before any of them runs.

use crate::description::pci::PciHost;
use crate::description::vm::VmDescription;
use crate::drivers::gicv3;
use crate::drivers::pcie::configuration::{BUS_SIZE, Configuration, Ecam};
use crate::drivers::pcie::function::Function;
use crate::drivers::pcie::{self, PcieError, Window};
use crate::drivers::smmuv3::Smmu;
use crate::drivers::smmuv3::registers::{self, MmioRegisters};
use crate::mm::dma::DmaTables;
use crate::mm::frames::Extent;
use crate::mm::guest_memory::GuestRam;
use crate::vm::dma_faults::DmaFaults;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::passthrough::{Line, PassedFunction, Passthrough};
use addresses::{Ipa, Pa};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use host_abi::memory_map::guest::{PCI_MEMORY_SIZE, PCI_SPIS};

/// What EL2 has to map to drive the host bridge and its SMMU, where guests have `functions`
/// functions: buses 0 to that many.
pub(super) fn registers(host: &PciHost, functions: usize) -> [(Pa, u64); 2] {
    [
        (host.configuration.start, buses(functions) * BUS_SIZE),
        (host.smmu, registers::SIZE),
    ]
}

/// Bus 0, and one behind each root port that is given away.
fn buses(functions: usize) -> u64 {
    functions as u64 + 1
}

/// The host bridge, with its SMMU on and all its devices without access to memory.
pub(super) struct Devices {
    host: PciHost,
    configuration: &'static dyn Configuration,
    smmu: &'static Smmu,
    window: Window,
    next_bus: u8,
}

impl Devices {
    /// Takes over the host bridge and its SMMU.
    ///
    /// # Errors
    ///
    /// A line that says why guests can't have devices.
    ///
    /// # Safety
    ///
    /// EL2 maps [`registers()`], and nobody else drives these.
    pub(super) unsafe fn new(host: PciHost, functions: usize) -> Result<Self, String> {
        let buses = buses(functions);
        if buses * BUS_SIZE > host.configuration.len || buses > 0xff {
            return Err(PcieError::NoBus.to_string());
        }
        // SAFETY: the caller vouches for both.
        let (ecam, registers) = unsafe {
            (
                Ecam::new(host.configuration.start, buses),
                MmioRegisters::new(host.smmu),
            )
        };
        let configuration: &'static dyn Configuration = Box::leak(Box::new(ecam));
        // The firmware may have left devices on.
        pcie::silence(configuration);
        let last = (buses as u32) << 8 | 0xff;
        let last = host
            .stream(last)
            .ok_or("the SMMU does not stand before all buses")?;
        let smmu = Smmu::new(Box::new(registers), last).map_err(|error| error.to_string())?;
        Ok(Self {
            window: host.window,
            host,
            configuration,
            smmu: Box::leak(Box::new(smmu)),
            next_bus: 1,
        })
    }

    /// What the SMMU will not let pass.
    pub(super) fn faults(&self) -> DmaFaults {
        DmaFaults::new(self.smmu, self.host.smmu_interrupt)
    }

    /// The devices of the guest with this VMID, whose registers become part of `ram`, and whose
    /// interrupts go to the CPU with affinity `mpidr`. None where it is to have none.
    ///
    /// # Errors
    ///
    /// A line that says why it can't have them.
    pub(super) fn of_guest(
        &mut self,
        vmid: u16,
        guest: &VmDescription,
        ram: &mut GuestRam,
        mpidr: u64,
    ) -> Result<Option<Passthrough>, String> {
        if guest.pci.is_empty() {
            return Ok(None);
        }
        let mut place = Window {
            pa: 0,
            bus_address: GuestLayout::PCI_MEMORY.0,
            len: PCI_MEMORY_SIZE,
        };
        let mut functions = Vec::new();
        for described in &guest.pci {
            let port = described.port;
            let function = self.function(port, ram, &mut place);
            functions.push(function.map_err(|reason| format!("root port {port}: {reason}"))?);
        }
        let lines = guest.pci_lines();
        if lines.len() > PCI_SPIS as usize {
            return Err(format!(
                "its devices have more than {PCI_SPIS} interrupt lines"
            ));
        }
        let lines = lines.into_iter().zip(GuestLayout::PCI_INTID..);
        let lines: Vec<_> = lines
            .map(|(physical, intid)| Line { physical, intid })
            .collect();
        for line in &lines {
            gicv3::assign_spi(line.physical, mpidr);
        }
        let stage = self.smmu.stage();
        let tables = DmaTables::new(stage, vmid, GuestLayout::RAM, ram);
        let tables = tables.ok_or("the heap has no room for its devices' tables")?;
        Ok(Some(Passthrough::new(functions, lines, self.smmu, tables)))
    }

    /// The function behind root port `port`, whose registers are mapped in `place`.
    fn function(
        &mut self,
        port: u8,
        ram: &mut GuestRam,
        place: &mut Window,
    ) -> Result<PassedFunction, String> {
        let found = Function::find(self.configuration, port, self.next_bus, &mut self.window);
        let function = found.map_err(|error| error.to_string())?;
        self.next_bus += 1;
        let stream = self.host.stream(function.requester());
        let stream = stream.ok_or("the SMMU does not stand before it")?;
        self.smmu.add(stream).map_err(|error| error.to_string())?;
        let mut bars = Vec::new();
        for bar in function.bars() {
            let at = place
                .take(bar.size, bar.size)
                .map_err(|error| error.to_string())?;
            let ipa = Ipa(at.bus_address);
            let registers = Extent {
                pa: bar.pa,
                len: bar.size,
            };
            let mapped = ram.map_registers(ipa, registers);
            mapped.map_err(|error| format!("its registers can't be mapped: {error:?}"))?;
            bars.push(ipa);
        }
        Ok(PassedFunction {
            function,
            stream,
            bars,
        })
    }
}
