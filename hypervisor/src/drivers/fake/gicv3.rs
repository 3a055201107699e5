//! An interrupt controller of tests.

use crate::arch::fake::GuestSpi;
use crate::arch::this_cpu::ThisCpu;
use crate::arch::{fake, timer};
use crate::drivers::interrupt::Interrupt;

/// The SGI by which a CPU is told that something of its vCPUs changed.
const KICK: u32 = 0;
/// The maintenance interrupt of the virtual CPU interface (PPI 9).
const MAINTENANCE: u32 = 25;

/// Stands for interrupts that are held back.
#[derive(Debug)]
#[must_use]
pub struct InterruptsHeldBack(());

impl InterruptsHeldBack {
    /// Holds them back from now on.
    pub fn begin() -> Self {
        Self(())
    }
}

/// Takes the next interrupt that waits.
#[must_use]
pub fn acknowledge() -> Option<Interrupt> {
    Some(match fake::take_interrupt()? {
        timer::HYPERVISOR_TIMER => {
            timer::set_deadline(None);
            Interrupt::HypervisorTimer
        }
        intid @ (timer::VIRTUAL_TIMER | timer::PHYSICAL_TIMER) => {
            fake::set_active_ppis(fake::active_ppis() | 1 << intid);
            Interrupt::GuestTimer(intid)
        }
        MAINTENANCE => Interrupt::Maintenance,
        KICK..16 => Interrupt::Kick,
        intid => match fake::guest_spi(intid) {
            Some(spi) => {
                fake::set_guest_spi(
                    intid,
                    GuestSpi {
                        active: true,
                        ..spi
                    },
                );
                Interrupt::GuestDevice(intid)
            }
            None => Interrupt::Shared(intid),
        },
    })
}

/// Ends the maintenance interrupt.
pub fn maintenance_done() {}

/// Tells the CPU with affinity `mpidr` to look at its vCPUs.
pub fn kick(mpidr: u64) {
    fake::note_kick(mpidr);
}

/// Makes PPIs count as active on this CPU. Bit n is INTID n.
pub fn activate_ppis(_: &ThisCpu, ppis: u32) {
    fake::set_active_ppis(fake::active_ppis() | ppis);
}

/// Makes PPIs inactive on this CPU. Bit n is INTID n.
pub fn deactivate_ppis(_: &ThisCpu, ppis: u32) {
    fake::set_active_ppis(fake::active_ppis() & !ppis);
}

/// Has an SPI be a guest's.
pub fn assign_spi(intid: u32, _: u64) {
    fake::set_guest_spi(intid, GuestSpi::default());
}

/// Sets whether an SPI that is a guest's is on.
pub fn set_guest_spi(intid: u32, enable: bool) {
    let spi = GuestSpi {
        enabled: enable,
        active: false,
    };
    fake::set_guest_spi(intid, spi);
}

/// Makes an SPI that is a guest's inactive.
pub fn deactivate_spi(intid: u32) {
    if let Some(spi) = fake::guest_spi(intid) {
        fake::set_guest_spi(
            intid,
            GuestSpi {
                active: false,
                ..spi
            },
        );
    }
}
