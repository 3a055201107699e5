//! The virtual GICv3 of one VM (IHI0069H): distributor, a redistributor for each vCPU, and what
//! goes into list registers.
//!
//! The guest sees affinity routing alone, one security state (GICD_CTLR.DS = 1), no LPIs, 16 SGIs
//! and 16 PPIs for each vCPU and 64 SPIs. The MPIDR of vCPU n is Aff0 = n. The CPU interface is the
//! hardware's virtual one.
//!
//! While a vCPU runs, the guest acknowledges and ends interrupts in the list registers without an
//! exit, so what is known here about an interrupt in a list register can be old.
//! [`VirtualGic::sync`] brings both sides together. The hypervisor calls it
//!
//! - before it enters a vCPU for which [`VirtualGic::needs_sync`] says so,
//! - on every maintenance interrupt,
//! - before it serves an access to the distributor or a redistributor, and before it asks
//!   [`VirtualGic::has_pending`].
//!
//! [`VirtualGic::save`] takes its place when the vCPU leaves the CPU.

mod bank;
mod delivery;
mod distributor;
pub mod frames;
pub mod kicks;
pub mod layout;
pub mod list_register;
mod redistributor;
mod registers;

use core::sync::atomic::{AtomicU32, Ordering};

use spin::Mutex;

use delivery::State;
use kicks::Kicks;
use layout::Register;
use list_register::ListRegisters;

/// The virtual GIC of one VM.
///
/// Its lock is taken for a short time in every method but [`needs_sync`](Self::needs_sync); no
/// other lock is taken inside. An index of a vCPU that is not below the number given to
/// [`new`](Self::new) is a defect of the caller and panics.
#[derive(Debug)]
pub struct VirtualGic {
    state: Mutex<State>,
    /// Bit n: vCPU n must come by `sync`. Changes with the lock held only.
    attention: AtomicU32,
}

impl VirtualGic {
    /// The state after reset, for `vcpus` vCPUs, at most
    /// [`MAX_VCPUS`](host_abi::binding::MAX_VCPUS), on CPUs with `list_registers` list registers
    /// (ICH_VTR_EL2.ListRegs + 1).
    #[must_use]
    pub fn new(vcpus: usize, list_registers: usize) -> Self {
        Self {
            state: Mutex::new(State::new(vcpus, list_registers)),
            attention: AtomicU32::new(0),
        }
    }

    /// Whether a read of `bytes` bytes by vCPU `reader` has to wait, since it depends on list
    /// registers of other vCPUs. These are to be kicked; the reader asks again, as often as it
    /// takes, and meanwhile takes its own interrupts.
    ///
    /// They have come by ([`sync`](Self::sync), [`save`](Self::save)) since the read was first
    /// asked about where there is nothing to wait for.
    pub fn outdated(&self, reader: usize, register: Register, bytes: usize) -> Option<Kicks> {
        let mut state = self.state.lock();
        let kicks = state.outdated(reader, register, bytes)?;
        self.attention.fetch_or(kicks.0, Ordering::Release);
        Some(kicks)
    }

    /// A read of `bytes` bytes at `offset` in the distributor. What other vCPUs' list registers
    /// know better is [asked](Self::outdated) for before.
    pub fn distributor_read(&self, offset: u64, bytes: usize) -> u64 {
        self.state.lock().distributor_read(offset, bytes)
    }

    /// A write of `bytes` bytes at `offset` in the distributor.
    pub fn distributor_write(&self, offset: u64, bytes: usize, value: u64) -> Kicks {
        self.change(|state| state.distributor_write(offset, bytes, value))
    }

    /// A read of `bytes` bytes at `offset` in the redistributor of `vcpu`. Its list registers are
    /// dealt with as those of any other in [`distributor_read`](Self::distributor_read).
    pub fn redistributor_read(&self, vcpu: usize, offset: u64, bytes: usize) -> u64 {
        self.state.lock().redistributor_read(vcpu, offset, bytes)
    }

    /// A write of `bytes` bytes at `offset` in the redistributor of `vcpu`.
    pub fn redistributor_write(&self, vcpu: usize, offset: u64, bytes: usize, value: u64) -> Kicks {
        self.change(|state| state.redistributor_write(vcpu, offset, bytes, value))
    }

    /// A write to ICC_SGI1R_EL1 by vCPU `sender`.
    pub fn send_sgi(&self, sender: usize, icc_sgi1r: u64) -> Kicks {
        self.change(|state| state.send_sgi(sender, icc_sgi1r))
    }

    /// A write to ICC_DIR_EL1 by vCPU `vcpu`, which ends interrupts in two steps. INTIDs that are
    /// none are ignored.
    pub fn deactivate(&self, vcpu: usize, intid: u32) -> Kicks {
        self.change(|state| state.deactivate(vcpu, intid))
    }

    /// Sets the level of the input of an SPI. INTIDs that are none are ignored.
    pub fn set_spi_level(&self, intid: u32, asserted: bool) -> Kicks {
        self.change(|state| state.set_spi_level(intid, asserted))
    }

    /// An edge at the input of an SPI. INTIDs that are none are ignored.
    pub fn pulse_spi(&self, intid: u32) -> Kicks {
        self.change(|state| state.pulse_spi(intid))
    }

    /// The physical PPI `intid` fired for `vcpu`, which is on this CPU, was acknowledged and is
    /// active. The guest gets it as a hardware interrupt: its deactivation deactivates the physical
    /// one. It is pending as long as the device holds its input up, which [`sync`](Self::sync) and
    /// [`save`](Self::save) look at.
    ///
    /// Where it still has the list register of the time before it goes there at once, without
    /// [`sync`](Self::sync).
    pub fn raise_hardware_ppi<L: ListRegisters>(&self, vcpu: usize, intid: u32, lrs: &mut L) {
        let _ = self.change(|state| state.raise_hardware_ppi(vcpu, intid, lrs));
    }

    /// The physical SPI `physical`, which is level-sensitive, fired, was acknowledged and is
    /// active. The guest gets it as SPI `intid`, as a hardware interrupt: its deactivation
    /// deactivates the physical one, which fires again if its device still holds its input up. It
    /// stays pending until a vCPU takes it.
    pub fn raise_hardware_spi(&self, intid: u32, physical: u32) -> Kicks {
        self.change(|state| state.raise_hardware_spi(intid, physical))
    }

    /// The hardware PPIs of `vcpu` that are pending or active; bit n is INTID n. The physical ones
    /// of these have to be active when the vCPU comes to a CPU, the others inactive. Exact after
    /// [`save`](Self::save).
    pub fn hardware_ppis_in_flight(&self, vcpu: usize) -> u32 {
        self.state.lock().hardware_ppis_in_flight(vcpu)
    }

    /// Whether `vcpu` must come by [`sync`](Self::sync) before it is entered. Takes no lock.
    #[inline]
    pub fn needs_sync(&self, vcpu: usize) -> bool {
        // What the flag stands for is behind the lock. vCPUs are fewer than bits: nothing is
        // shifted out, and nothing needs to be checked on each entry.
        self.attention
            .load(Ordering::Relaxed)
            .wrapping_shr(vcpu as u32)
            & 1
            == 1
    }

    /// Reads back what the guest did with the list registers of `vcpu`, which is on this CPU, and
    /// fills them anew, the most urgent first. Asks for the underflow maintenance interrupt when
    /// more wait than fit.
    ///
    /// The kicks are for other vCPUs, to which an SPI moved.
    pub fn sync<L: ListRegisters>(&self, vcpu: usize, lrs: &mut L) -> Kicks {
        let mut state = self.state.lock();
        self.attention
            .fetch_and(!Kicks::one(vcpu).0, Ordering::Relaxed);
        let kicks = state.collect(vcpu, lrs);
        self.attention.fetch_or(kicks.0, Ordering::Release);
        state.fill(vcpu, lrs);
        kicks
    }

    /// Reads back all and empties the list registers: `vcpu` leaves this CPU. It needs
    /// [`sync`](Self::sync) when it comes back.
    ///
    /// The kicks are for other vCPUs, to which an SPI moved.
    pub fn save<L: ListRegisters>(&self, vcpu: usize, lrs: &mut L) -> Kicks {
        let mut state = self.state.lock();
        let kicks = state.collect(vcpu, lrs);
        state.clear(vcpu, lrs);
        let flags = kicks | Kicks::one(vcpu);
        self.attention.fetch_or(flags.0, Ordering::Release);
        kicks
    }

    /// Whether an interrupt is pending for `vcpu` that is enabled, as its group is, and not active.
    /// Exact after [`sync`](Self::sync) or [`save`](Self::save); knows nothing of the guest's
    /// priority mask.
    pub fn has_pending(&self, vcpu: usize) -> bool {
        self.state.lock().has_pending(vcpu)
    }

    /// The VM restarts: everything is as after [`new`](Self::new). No vCPU may be on a CPU.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        state.reset();
        self.attention.store(0, Ordering::Release);
    }

    /// `vcpu` is powered up anew: its SGIs, PPIs and redistributor are as after reset. It may not
    /// be on a CPU.
    pub fn reset_vcpu(&self, vcpu: usize) {
        self.state.lock().reset_vcpu(vcpu);
    }

    /// Applies a change and leaves a flag for each vCPU that it concerns.
    fn change(&self, change: impl FnOnce(&mut State) -> Kicks) -> Kicks {
        let mut state = self.state.lock();
        let mut kicks = change(&mut state);
        if state.has_orphaned_spis() {
            // Whoever comes by first makes the physical ones inactive.
            kicks = kicks | state.all();
        }
        self.attention.fetch_or(kicks.0, Ordering::Release);
        kicks
    }
}

#[cfg(test)]
mod tests;
