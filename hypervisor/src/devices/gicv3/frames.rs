//! The interrupt controller's frames, as devices on the bus.

use crate::devices::bus::{Access, Load, MmioDevice};
use crate::devices::gicv3::VirtualGic;
use crate::devices::gicv3::kicks::Kicks;
use crate::devices::gicv3::layout::Register;
use alloc::sync::Arc;
use host_abi::memory_map::guest::REDISTRIBUTOR_STRIDE;

/// The distributor.
#[derive(Debug)]
pub struct Distributor(pub Arc<VirtualGic>);

/// The redistributors of all vCPUs, one after the other.
#[derive(Debug)]
pub struct Redistributors(pub Arc<VirtualGic>);

/// A load, unless what it asks is known better by the list registers of other vCPUs.
fn load(gic: &VirtualGic, access: Access, register: Register, read: impl FnOnce() -> u64) -> Load {
    match gic.outdated(access.vcpu, register, access.bytes) {
        Some(kicks) => Load::again(kicks),
        None => Load::of(read()),
    }
}

impl MmioDevice for Distributor {
    fn follows_list_registers(&self) -> bool {
        true
    }

    fn load(&self, access: Access) -> Load {
        let Access { offset, bytes, .. } = access;
        load(&self.0, access, Register::Distributor(offset), || {
            self.0.distributor_read(offset, bytes)
        })
    }

    fn store(&self, access: Access, value: u64) -> Kicks {
        self.0.distributor_write(access.offset, access.bytes, value)
    }
}

impl MmioDevice for Redistributors {
    fn follows_list_registers(&self) -> bool {
        true
    }

    fn load(&self, access: Access) -> Load {
        let (owner, offset) = place(access.offset);
        load(
            &self.0,
            access,
            Register::Redistributor(owner, offset),
            || self.0.redistributor_read(owner, offset, access.bytes),
        )
    }

    fn store(&self, access: Access, value: u64) -> Kicks {
        let (owner, offset) = place(access.offset);
        self.0
            .redistributor_write(owner, offset, access.bytes, value)
    }
}

/// The vCPU whose redistributor `offset` lies in, and where in it.
const fn place(offset: u64) -> (usize, u64) {
    (
        (offset / REDISTRIBUTOR_STRIDE) as usize,
        offset % REDISTRIBUTOR_STRIDE,
    )
}
