//! What the devices of a VM reach: its memory, at the addresses that it has for the VM, and nothing
//! else, not even registers of its own devices.

use crate::drivers::smmuv3::{Stage, Translation};
use crate::mm::guest_memory::GuestRam;
use crate::mm::stage2;
use crate::mm::table_pages::HeapTables;
use crate::mm::tables::{Attributes, IPA_BITS, Tables};
use addresses::Ipa;

/// Leaves of stage 1: AttrIndx 0, of which the context descriptor says what it is; AP 0b01, read
/// and written by anything; nG, as what is global is every VM's and stays when one ASID is
/// invalidated; PXN and UXN, not executed (DDI0487J.a, chapter D8, "Stage 1 memory region
/// attributes", "Global and process-specific translation table entries").
const STAGE_1_MEMORY: Attributes = Attributes::new(0b01 << 6 | 1 << 11 | 0b11 << 53);

/// Translation tables for the devices of a VM.
#[derive(Debug)]
pub struct DmaTables {
    tables: Tables<HeapTables>,
    tag: u16,
}

impl DmaTables {
    /// Tables of the `stage` that the SMMU has, for devices of the VM with this VMID and memory,
    /// from `base` on. `None` where the heap is full.
    #[must_use]
    pub fn new(stage: Stage, vmid: u16, base: Ipa, ram: &GuestRam) -> Option<Self> {
        let memory = match stage {
            Stage::One => STAGE_1_MEMORY,
            Stage::Two => stage2::MEMORY,
        };
        let mut tables = Tables::new(HeapTables).ok()?;
        let mut ipa = base;
        for extent in ram.extents() {
            tables.map(ipa, extent.pa, extent.len, memory).ok()?;
            ipa = ipa.checked_add(extent.len)?;
        }
        Some(Self { tables, tag: vmid })
    }

    /// What the SMMU has to know of them.
    #[must_use]
    pub fn translation(&self) -> Translation {
        Translation {
            root: self.tables.root(),
            ipa_bits: IPA_BITS,
            tag: self.tag,
        }
    }
}

#[cfg(test)]
mod tests;
