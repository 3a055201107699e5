//! What the boot loader left in memory.

use addresses::Pa;

/// The device tree at `address`: as many bytes as its header says, or none where it is no tree or
/// has more than `limit`.
///
/// # Safety
///
/// `limit` bytes from `address` on are memory that EL2 maps and nobody writes any more.
#[must_use]
pub unsafe fn device_tree(address: Pa, limit: u64) -> &'static [u8] {
    /// Magic and total size, both big-endian (Devicetree Specification 0.4, §5.2).
    const MAGIC: u32 = 0xd00d_feed;
    if address.0 == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for the range.
    let all = unsafe { core::slice::from_raw_parts(address.0 as *const u8, limit as usize) };
    let word = |n: usize| {
        all.get(4 * n..4 * n + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_be_bytes)
    };
    if word(0) == MAGIC {
        all.get(..word(1) as usize).unwrap_or_default()
    } else {
        &[]
    }
}

/// A file that the boot loader put into memory.
#[derive(Clone, Copy, Debug)]
pub struct BootModule {
    bytes: &'static [u8],
}

impl BootModule {
    /// The `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// They are memory that EL2 maps and nobody writes as long as the machine runs.
    #[must_use]
    pub unsafe fn new(start: Pa, len: usize) -> Self {
        // SAFETY: the caller vouches for the range.
        let bytes = unsafe { core::slice::from_raw_parts(start.0 as *const u8, len) };
        Self { bytes }
    }

    /// What is in it.
    #[must_use]
    pub const fn bytes(self) -> &'static [u8] {
        self.bytes
    }
}
