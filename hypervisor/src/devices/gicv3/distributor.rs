//! The distributor (IHI0069H, "The GIC Distributor register descriptions").

use crate::devices::gicv3::delivery::State;
use crate::devices::gicv3::kicks::Kicks;
use crate::devices::gicv3::layout::{FIRST_SPI, SPIS};
use crate::devices::gicv3::registers::{ArrayAccess, IIDR, PIDR2, PIDR2_OFFSET};

const CTLR: u64 = 0x0000;
const TYPER: u64 = 0x0004;
const IIDR_OFFSET: u64 = 0x0008;
/// GICD_IROUTER32, the first that exists.
const IROUTER: u64 = 0x6000 + 8 * FIRST_SPI as u64;
const IROUTER_END: u64 = IROUTER + 8 * SPIS as u64;

/// GICD_CTLR with one security state: EnableGrp0.
const CTLR_ENABLE_GROUP_0: u64 = 1 << 0;
/// EnableGrp1.
const CTLR_ENABLE_GROUP_1: u64 = 1 << 1;
/// ARE: always one, there is no legacy operation.
const CTLR_ARE: u64 = 1 << 4;
/// DS: always one, there is one security state.
const CTLR_DS: u64 = 1 << 6;

/// GICD_TYPER.ITLinesNumber: INTIDs up to 32 × (n + 1) − 1.
const TYPER_LINES: u64 = (FIRST_SPI + SPIS) as u64 / 32 - 1;
/// GICD_TYPER.IDbits: INTIDs have 10 bits.
const TYPER_ID_BITS: u64 = (10 - 1) << 19;
/// GICD_TYPER.No1N: an SPI goes to one vCPU, not to any one of several.
const TYPER_NO_1_OF_N: u64 = 1 << 25;

/// GICD_IROUTER: Aff3 and Aff2 to Aff0. Interrupt_Routing_Mode is RES0 because of No1N.
const ROUTE_MASK: u64 = 0xff_00ff_ffff;

impl State {
    pub(super) fn distributor_read(&self, offset: u64, bytes: usize) -> u64 {
        if let Some(access) = ArrayAccess::new(offset, bytes, FIRST_SPI, SPIS) {
            return access.read(&self.spis);
        }
        if let Some((spi, shift)) = router(offset, bytes) {
            return self.route(spi) >> shift & mask(bytes);
        }
        match (offset, bytes) {
            (CTLR, 4) => {
                let mut value = CTLR_ARE | CTLR_DS;
                if self.groups.group_0 {
                    value |= CTLR_ENABLE_GROUP_0;
                }
                if self.groups.group_1 {
                    value |= CTLR_ENABLE_GROUP_1;
                }
                value
            }
            (TYPER, 4) => TYPER_NO_1_OF_N | TYPER_ID_BITS | TYPER_LINES,
            (IIDR_OFFSET, 4) => IIDR,
            (PIDR2_OFFSET, 4) => PIDR2,
            _ => 0,
        }
    }

    /// The vCPUs whose list registers may know better what such a read asks.
    pub(super) fn distributor_stale(&self, offset: u64, bytes: usize) -> Kicks {
        ArrayAccess::new(offset, bytes, FIRST_SPI, SPIS)
            .filter(|access| access.reads_listed_state())
            .map_or(Kicks::NONE, |access| self.listing(access.covered()))
    }

    pub(super) fn distributor_write(&mut self, offset: u64, bytes: usize, value: u64) -> Kicks {
        if let Some(access) = ArrayAccess::new(offset, bytes, FIRST_SPI, SPIS) {
            let changed = access.write(&mut self.spis, value, u64::MAX);
            self.release_idle(changed);
            return self.spis_changed(changed);
        }
        if let Some((spi, shift)) = router(offset, bytes) {
            let kept = self.route(spi) & !(mask(bytes) << shift);
            let written = (value & mask(bytes)) << shift;
            return self.set_route(spi, (kept | written) & ROUTE_MASK);
        }
        if (offset, bytes) == (CTLR, 4) {
            self.groups.group_0 = value & CTLR_ENABLE_GROUP_0 != 0;
            self.groups.group_1 = value & CTLR_ENABLE_GROUP_1 != 0;
            return self.all();
        }
        Kicks::NONE
    }
}

/// The SPI, as its place in the bank, whose GICD_IROUTER is accessed, and the first bit of the
/// access.
fn router(offset: u64, bytes: usize) -> Option<(usize, u32)> {
    if !(IROUTER..IROUTER_END).contains(&offset) || !matches!(bytes, 4 | 8) {
        return None;
    }
    let within = offset - IROUTER;
    within
        .is_multiple_of(bytes as u64)
        .then_some(((within / 8) as usize, (within % 8 * 8) as u32))
}

/// The bits of an access of `bytes` bytes.
fn mask(bytes: usize) -> u64 {
    if bytes == 8 { u64::MAX } else { 0xffff_ffff }
}
