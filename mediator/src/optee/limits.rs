//! What one guest may use up.

use core::num::{NonZeroU16, NonZeroU32};

use optee_abi::pagelist::{PAGE_SIZE, list_pages};

/// How many address space identifiers OP-TEE has for instances of trusted applications
/// (`MMU_NUM_ASID_PAIRS`, `core/arch/arm/mm/core_mmu.c`, OP-TEE 4.5 to 4.10).
pub const IDENTIFIERS: u32 = 64;

/// How many lives all guests together can have on OP-TEE 4.6 to 4.10. For each guest that is
/// created it makes six to eight translation tables out of some 2.5 MiB that it has for all, which
/// it does not take back when the guest ends (`core_mmu_xlat_table_alloc` with `CFG_DYN_CONFIG`,
/// `core_free_mmu_prtn`, `core/arch/arm/mm/core_mmu_lpae.c`). It halts for all guests when there is
/// none for another one: after 106 lives, in a build for two guests.
pub const LIVES: u32 = 64;

/// How much of what is shared a guest may have. All of it is set apart when the partition is
/// created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest shared buffer, in bytes.
    pub buffer_bytes_max: u64,
    /// How many buffers can be registered at once.
    pub buffers_max: u32,
    /// The sum of all shared buffers in bytes, each counted in whole pages; temporary ones and
    /// those that OP-TEE asked for count as well. For a piece of a file there is always room:
    /// OP-TEE gives up what it has stored without.
    pub total_bytes_max: u64,
    /// How many yielding calls it may begin in a second; others wait their turn. `None` is any
    /// number.
    pub calls_per_second: Option<NonZeroU32>,
    /// How many instances of trusted applications OP-TEE may run for it, each of which takes one of
    /// the [`IDENTIFIERS`] that all guests share.
    pub instances_max: u32,
    /// How many lives it may have on an OP-TEE of which each takes something for good ([`LIVES`]).
    pub lives_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer_bytes_max: 64 << 20,
            buffers_max: 1024,
            total_bytes_max: 256 << 20,
            calls_per_second: None,
            instances_max: IDENTIFIERS / 2,
            lives_max: LIVES / 2,
        }
    }
}

impl Limits {
    /// Pages of the longest list, for a largest buffer that starts in the middle of a page.
    pub(super) fn list_pages_max(&self) -> u64 {
        list_pages((self.buffer_bytes_max / PAGE_SIZE).saturating_add(2))
    }
}

/// Who calls, as OP-TEE sees it in a7: the VMID of the guest. 0 is the hypervisor and no guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(NonZeroU16);

impl ClientId {
    /// The client ID of a guest; `None` for 0.
    #[must_use]
    pub fn new(vmid: u16) -> Option<Self> {
        NonZeroU16::new(vmid).map(Self)
    }

    /// The number in a7.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}
