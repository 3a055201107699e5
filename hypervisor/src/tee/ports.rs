//! The ports through which mediators reach the machine.

#![expect(
    unsafe_code,
    reason = "vouches that a mediator names to the secure world only shadow pages and memory of its guest"
)]

use crate::arch::{registers, smc, timer};
use crate::mm::guest_memory::GuestRam;
use crate::mm::shadow_pages::ShadowPages;
use addresses::{Ipa, Pa, Run};
use mediator::ports::{Cpu, GuestMemory, NotGuestMemory, Platform, SecureWorld, ShadowMemory};

/// The way to the TEE, for mediators alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct SecureMonitor;

impl SecureWorld for SecureMonitor {
    #[inline]
    fn smc(&self, registers: [u64; 8]) -> [u64; 8] {
        // SAFETY: a mediator calls the TEE, to which it names shadow pages and memory of its guest:
        // no Rust reference covers them.
        unsafe { smc::call(registers) }
    }
}

impl GuestMemory for &'static GuestRam {
    #[inline]
    fn run(&self, ipa: Ipa) -> Result<Run, NotGuestMemory> {
        GuestRam::run(self, ipa).map_err(|_| NotGuestMemory)
    }

    #[inline]
    fn read(&self, ipa: Ipa, into: &mut [u8]) -> Result<(), NotGuestMemory> {
        GuestRam::read(self, ipa, into).map_err(|_| NotGuestMemory)
    }

    #[inline]
    fn write(&self, ipa: Ipa, from: &[u8]) -> Result<(), NotGuestMemory> {
        GuestRam::write(self, ipa, from).map_err(|_| NotGuestMemory)
    }

    fn pin(&self, pages: u64) {
        GuestRam::pin(self, pages);
    }

    fn unpin(&self, pages: u64) {
        GuestRam::unpin(self, pages);
    }
}

impl ShadowMemory for ShadowPages {
    #[inline]
    fn pages(&self) -> usize {
        ShadowPages::pages(self)
    }

    #[inline]
    fn pa(&self, page: usize) -> Pa {
        ShadowPages::pa(self, page)
    }

    #[inline]
    fn read(&self, page: usize, offset: usize, into: &mut [u8]) {
        ShadowPages::read(self, page, offset, into);
    }

    #[inline]
    fn write(&self, page: usize, offset: usize, from: &[u8]) {
        ShadowPages::write(self, page, offset, from);
    }
}

/// The CPU that asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallingCpu;

impl Cpu for CallingCpu {
    fn interrupt_pending(&self) -> bool {
        registers::interrupt_pending()
    }

    fn now(&self) -> u64 {
        timer::now()
    }

    fn ticks_per_second(&self) -> u64 {
        timer::frequency()
    }
}

/// The machine that mediators run on, with the memory of one guest.
#[derive(Clone, Copy, Debug)]
pub(super) enum ThisMachine {}

impl Platform for ThisMachine {
    type World = SecureMonitor;
    type Memory = &'static GuestRam;
    type Shadow = ShadowPages;
    type Cpu = CallingCpu;
}
