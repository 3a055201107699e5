//! The PCIe host bridge of a VM, as Linux's `pci-host-ecam-generic` knows it: the configuration
//! space of bus 0, with the functions that the VM has and nothing else.
//!
//! What a guest reads of a function is what was found in it at boot, less what would let it move or
//! reset the function, or have it interrupt otherwise than by its line. Where the guest says how a
//! function works (the command register), the function is told; all else that a guest writes stays
//! here.

pub mod function;

use crate::devices::bus::{Access, Load, MmioDevice};
use crate::devices::gicv3::kicks::Kicks;
use alloc::sync::Arc;
use alloc::vec::Vec;
use function::VirtualFunction;

/// Bytes of configuration space of a function.
const FUNCTION_SIZE: u64 = 0x1000;
/// Functions of a device.
const FUNCTIONS: u64 = 8;

/// A host bridge: function 0 of device n is the n-th function; there are at most 32.
pub struct VirtualHostBridge {
    functions: Vec<Arc<VirtualFunction>>,
}

impl VirtualHostBridge {
    /// A bridge with these functions, in the order of their device numbers.
    #[must_use]
    pub fn new(functions: Vec<Arc<VirtualFunction>>) -> Self {
        Self { functions }
    }

    /// The function at `offset` in configuration space, and where in it that is.
    fn find(&self, offset: u64) -> Option<(&VirtualFunction, u64)> {
        let number = offset / FUNCTION_SIZE;
        let function = self.functions.get((number / FUNCTIONS) as usize)?;
        (number.is_multiple_of(FUNCTIONS)).then_some((function, offset % FUNCTION_SIZE))
    }
}

/// The mask of an access of `bytes` bytes.
fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes.clamp(1, 8))
}

impl MmioDevice for VirtualHostBridge {
    fn load(&self, access: Access) -> Load {
        let Some((function, offset)) = self.find(access.offset) else {
            // Nobody answers.
            return Load::of(mask(access.bytes));
        };
        let word = |at: u64| u64::from(function.read(at & !3));
        let value = match access.bytes {
            8 => word(offset) | word(offset + 4) << 32,
            _ => word(offset) >> (8 * (offset % 4)),
        };
        Load::of(value & mask(access.bytes))
    }

    fn store(&self, access: Access, value: u64) -> Kicks {
        if let Some((function, offset)) = self.find(access.offset) {
            let value = value & mask(access.bytes);
            match access.bytes {
                8 => {
                    function.write(offset, 4, value as u32);
                    function.write(offset + 4, 4, (value >> 32) as u32);
                }
                bytes => function.write(offset, bytes, value as u32),
            }
        }
        Kicks::NONE
    }
}

#[cfg(test)]
mod tests;
