//! What the mediator needs of the world around it, as small traits held by value.
//!
//! The hypervisor implements them with registers and page tables, tests with fakes.

use addresses::{Ipa, Pa, Run};
use core::fmt;

/// Issues one SMC to the secure world and waits for its return.
pub trait SecureWorld {
    /// Issues the call in `registers` (x0 to x7) and gives x0 to x7 as they came back.
    fn smc(&self, registers: [u64; 8]) -> [u64; 8];
}

/// The range is not, or not as a whole, normal memory of this guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotGuestMemory;

/// The memory of one guest, as its stage 2 grants it.
pub trait GuestMemory {
    /// The longest run known at once that holds `ipa` and that the guest may read and write.
    ///
    /// # Errors
    ///
    /// `ipa` is not normal memory of this guest.
    fn run(&self, ipa: Ipa) -> Result<Run, NotGuestMemory>;

    /// Copies guest memory from `ipa` on into `into`.
    ///
    /// # Errors
    ///
    /// Not all of the range is memory of this guest; `into` may be filled in part.
    fn read(&self, ipa: Ipa, into: &mut [u8]) -> Result<(), NotGuestMemory>;

    /// Copies `from` to guest memory from `ipa` on.
    ///
    /// # Errors
    ///
    /// Not all of the range is memory of this guest; a part of it may be written.
    fn write(&self, ipa: Ipa, from: &[u8]) -> Result<(), NotGuestMemory>;

    /// Takes note that the secure world is about to learn of `pages` pages of this guest. As long
    /// as the count is not zero, no page of this guest changes its owner.
    fn pin(&self, pages: u64);

    /// Takes back [`pin`](Self::pin), once the secure world has forgotten the pages.
    fn unpin(&self, pages: u64);
}

/// Pages of hypervisor memory that belong to one VM and that the secure world can read and write,
/// the guest never.
///
/// The secure world may write them at any time during a call: a caller copies once and checks the
/// copy. Offsets are in bytes; an access past the end of a page is a defect of the caller and
/// panics.
pub trait ShadowMemory {
    /// How many pages there are.
    fn pages(&self) -> usize;

    /// The physical address of page `page`, which is below [`pages`](Self::pages).
    fn pa(&self, page: usize) -> Pa;

    /// Copies out of page `page` from `offset` on.
    fn read(&self, page: usize, offset: usize, into: &mut [u8]);

    /// Copies into page `page` from `offset` on.
    fn write(&self, page: usize, offset: usize, from: &[u8]);
}

/// The CPU that serves a call.
pub trait Cpu {
    /// Whether an interrupt waits on it, so that work should stop for the sake of the guest.
    fn interrupt_pending(&self) -> bool;

    /// A counter that never goes back, the same on all CPUs.
    fn now(&self) -> u64;

    /// How often [`now`](Self::now) counts in a second; not 0.
    fn ticks_per_second(&self) -> u64;
}

/// What implements the ports.
pub trait Platform {
    /// The way to the TEE.
    type World: SecureWorld + fmt::Debug + Send + Sync;
    /// The memory of one guest.
    type Memory: GuestMemory + fmt::Debug + Send + Sync;
    /// The shadow pages of one VM.
    type Shadow: ShadowMemory + fmt::Debug + Send + Sync;
    /// The CPU that serves a call.
    type Cpu: Cpu + fmt::Debug + Send + Sync;
}

/// The ports of one VM, held by value.
#[derive(Debug)]
pub struct Ports<P: Platform> {
    /// The way to the TEE.
    pub world: P::World,
    /// The guest's memory.
    pub memory: P::Memory,
    /// The VM's own shadow pages.
    pub shadow: P::Shadow,
    /// The CPU.
    pub cpu: P::Cpu,
}
