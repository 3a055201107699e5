//! The redistributors (IHI0069H, "The GIC Redistributor register descriptions"), without LPIs.

use crate::devices::gicv3::delivery::State;
use crate::devices::gicv3::kicks::Kicks;
use crate::devices::gicv3::registers::{ArrayAccess, IIDR, PIDR2, PIDR2_OFFSET};

/// Where the SGI frame follows the RD frame.
const SGI_FRAME: u64 = 0x1_0000;

const IIDR_OFFSET: u64 = 0x0004;
const TYPER: u64 = 0x0008;
const TYPER_HIGH: u64 = 0x000c;
const WAKER: u64 = 0x0014;

/// GICR_TYPER.Last: no redistributor follows.
const TYPER_LAST: u64 = 1 << 4;
/// Where GICR_TYPER.Processor_Number stands.
const TYPER_NUMBER_SHIFT: u32 = 8;
/// Where GICR_TYPER.Affinity_Value stands.
const TYPER_AFFINITY_SHIFT: u32 = 32;

/// GICR_WAKER.ProcessorSleep.
const WAKER_PROCESSOR_SLEEP: u64 = 1 << 1;
/// GICR_WAKER.ChildrenAsleep, which follows ProcessorSleep at once.
const WAKER_CHILDREN_ASLEEP: u64 = 1 << 2;

/// SGIs and PPIs.
const INTERRUPTS: u32 = 32;
/// Only PPIs can be configured as edge-triggered or level-sensitive.
const CONFIGURABLE: u64 = 0xffff_0000;

impl State {
    pub(super) fn redistributor_read(&self, vcpu: usize, offset: u64, bytes: usize) -> u64 {
        if let Some(offset) = offset.checked_sub(SGI_FRAME) {
            return match ArrayAccess::new(offset, bytes, 0, INTERRUPTS) {
                Some(access) => access.read(&self.vcpus[vcpu].private),
                None => 0,
            };
        }
        match (offset, bytes) {
            (IIDR_OFFSET, 4) => IIDR,
            (TYPER, 8) => self.redistributor_type(vcpu),
            (TYPER, 4) => self.redistributor_type(vcpu) & 0xffff_ffff,
            (TYPER_HIGH, 4) => self.redistributor_type(vcpu) >> 32,
            (WAKER, 4) if self.vcpus[vcpu].asleep => WAKER_PROCESSOR_SLEEP | WAKER_CHILDREN_ASLEEP,
            (PIDR2_OFFSET, 4) => PIDR2,
            _ => 0,
        }
    }

    /// `vcpu`, if its list registers may know better what such a read asks.
    pub(super) fn redistributor_stale(&self, vcpu: usize, offset: u64, bytes: usize) -> Kicks {
        let listed = self.vcpus[vcpu].private.listed();
        offset
            .checked_sub(SGI_FRAME)
            .and_then(|offset| ArrayAccess::new(offset, bytes, 0, INTERRUPTS))
            .filter(|access| access.reads_listed_state() && access.covered() & listed != 0)
            .map_or(Kicks::NONE, |_| Kicks::one(vcpu))
    }

    pub(super) fn redistributor_write(
        &mut self,
        vcpu: usize,
        offset: u64,
        bytes: usize,
        value: u64,
    ) -> Kicks {
        if let Some(offset) = offset.checked_sub(SGI_FRAME) {
            let Some(access) = ArrayAccess::new(offset, bytes, 0, INTERRUPTS) else {
                return Kicks::NONE;
            };
            access.write(&mut self.vcpus[vcpu].private, value, CONFIGURABLE);
            return Kicks::one(vcpu);
        }
        if (offset, bytes) == (WAKER, 4) {
            self.vcpus[vcpu].asleep = value & WAKER_PROCESSOR_SLEEP != 0;
        }
        Kicks::NONE
    }

    fn redistributor_type(&self, vcpu: usize) -> u64 {
        let last = if vcpu + 1 == self.vcpus.len() {
            TYPER_LAST
        } else {
            0
        };
        (vcpu as u64) << TYPER_AFFINITY_SHIFT | (vcpu as u64) << TYPER_NUMBER_SHIFT | last
    }
}
