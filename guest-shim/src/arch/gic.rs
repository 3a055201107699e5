//! The GICv3 (IHI0069H), enough to take the timer's interrupt and SGIs.

use host_abi::memory_map::guest::{DISTRIBUTOR, REDISTRIBUTOR_STRIDE, REDISTRIBUTORS};

use super::mmio;
use super::registers::{read, write};
use super::timer::{PHYSICAL_TIMER, Timer, VIRTUAL_TIMER};

/// What ICC_IAR1_EL1 says when nothing is pending.
const NONE: u32 = 1020;

/// The second frame of a redistributor.
const SGI_FRAME: u64 = 0x1_0000;

const GICD_CTLR: u64 = 0x0000;
const GICD_TYPER: u64 = 0x0004;
const GICD_IGROUPR: u64 = 0x0080;
const GICD_ISENABLER: u64 = 0x0100;
const GICD_ISPENDR: u64 = 0x0200;
const GICD_ISACTIVER: u64 = 0x0300;
const GICD_ICFGR: u64 = 0x0c00;
const GICR_TYPER_AFFINITY: u64 = 0x000c;
const GICR_WAKER: u64 = 0x0014;
const GICR_IGROUPR0: u64 = SGI_FRAME + 0x0080;
const GICR_ISENABLER0: u64 = SGI_FRAME + 0x0100;
const GICR_ICENABLER0: u64 = SGI_FRAME + 0x0180;
const GICR_ISPENDR0: u64 = SGI_FRAME + 0x0200;
const GICR_ISACTIVER0: u64 = SGI_FRAME + 0x0300;

/// ICC_CTLR_EL1.EOImode.
const TWO_STEPS: u64 = 1 << 1;

const CTLR_GROUP1_AFFINITY: u32 = 1 << 4 | 1 << 1;
const WAKER_SLEEP: u32 = 1 << 1;
const WAKER_ASLEEP: u32 = 1 << 2;

fn read_register(address: u64) -> u32 {
    // SAFETY: registers of the interrupt controller that every guest has, at addresses of this
    // module.
    unsafe { mmio::read(address) }
}

fn write_register(address: u64, value: u32) {
    // SAFETY: as for `read_register`; the runtime alone programs it.
    unsafe { mmio::write(address, value) }
}

fn redistributor(index: usize) -> u64 {
    REDISTRIBUTORS + index as u64 * REDISTRIBUTOR_STRIDE
}

/// Sets up the distributor, once.
pub fn init() {
    write_register(DISTRIBUTOR + GICD_CTLR, CTLR_GROUP1_AFFINITY);
}

/// Sets up what belongs to this vCPU, number `index`: SGIs and the timers' interrupts are enabled,
/// none is masked by priority.
pub fn init_vcpu(index: usize) {
    let own = redistributor(index);
    let waker = read_register(own + GICR_WAKER);
    write_register(own + GICR_WAKER, waker & !WAKER_SLEEP);
    while read_register(own + GICR_WAKER) & WAKER_ASLEEP != 0 {}
    write_register(own + GICR_IGROUPR0, u32::MAX);
    write_register(
        own + GICR_ISENABLER0,
        1 << VIRTUAL_TIMER | 1 << PHYSICAL_TIMER | 0xffff,
    );
    // SAFETY: the CPU interface is the guest's; interrupts stay masked in PSTATE.
    unsafe {
        write!("icc_sre_el1", 1);
        write!("icc_pmr_el1", 0xff);
        write!("icc_igrpen1_el1", 1);
    }
}

/// Lets shared interrupt `intid`, an edge, come to the vCPU with affinity 0, where routing starts.
pub fn enable_shared_edge(intid: u32) {
    let (word, bit) = (u64::from(intid / 32) * 4, 1 << (intid % 32));
    let group = DISTRIBUTOR + GICD_IGROUPR + word;
    write_register(group, read_register(group) | bit);
    let configuration = DISTRIBUTOR + GICD_ICFGR + u64::from(intid / 16) * 4;
    let edge = 0b10 << (intid % 16 * 2);
    write_register(configuration, read_register(configuration) | edge);
    write_register(DISTRIBUTOR + GICD_ISENABLER + word, bit);
}

/// Enables or disables SGI or PPI `intid` of vCPU number `index`.
pub fn enable_private(index: usize, intid: u32, enable: bool) {
    let register = if enable {
        GICR_ISENABLER0
    } else {
        GICR_ICENABLER0
    };
    write_register(redistributor(index) + register, 1 << (intid & 31));
}

/// The SGIs and PPIs of vCPU number `index` that are pending, a bit each.
#[must_use]
pub fn private_pending(index: usize) -> u32 {
    read_register(redistributor(index) + GICR_ISPENDR0)
}

/// The SGIs and PPIs of vCPU number `index` that are active, a bit each.
#[must_use]
pub fn private_active(index: usize) -> u32 {
    read_register(redistributor(index) + GICR_ISACTIVER0)
}

/// Makes shared interrupt `intid` pending.
pub fn set_shared_pending(intid: u32) {
    let word = u64::from(intid / 32) * 4;
    write_register(DISTRIBUTOR + GICD_ISPENDR + word, 1 << (intid % 32));
}

/// Whether shared interrupt `intid` is active.
#[must_use]
pub fn shared_active(intid: u32) -> bool {
    let word = u64::from(intid / 32) * 4;
    read_register(DISTRIBUTOR + GICD_ISACTIVER + word) >> (intid % 32) & 1 == 1
}

/// Takes the pending interrupt of the highest priority, which is active from now on.
#[must_use]
pub fn take() -> Option<u32> {
    let intid = read!("icc_iar1_el1") as u32;
    (intid < NONE).then_some(intid)
}

/// Ends interrupt `intid`, which this vCPU took; with [`end_in_two_steps`] it stays active.
pub fn end(intid: u32) {
    // SAFETY: the CPU interface is the guest's.
    unsafe { write!("icc_eoir1_el1", u64::from(intid)) }
}

/// Sets whether the end of an interrupt drops its priority alone on this vCPU, so that
/// [`deactivate`] has to follow.
pub fn end_in_two_steps(two_steps: bool) {
    let kept = read!("icc_ctlr_el1") & !TWO_STEPS;
    let control = kept | if two_steps { TWO_STEPS } else { 0 };
    // SAFETY: the CPU interface is the guest's.
    unsafe { write!("icc_ctlr_el1", control) }
}

/// Deactivates interrupt `intid`: a shared one on whichever vCPU it is active.
pub fn deactivate(intid: u32) {
    // SAFETY: the CPU interface is the guest's.
    unsafe { write!("icc_dir_el1", u64::from(intid)) }
}

/// Takes the pending interrupt of the highest priority and ends it.
#[must_use]
pub fn acknowledge() -> Option<u32> {
    let intid = take()?;
    if let Some(timer) = Timer::ALL
        .into_iter()
        .find(|timer| timer.interrupt() == intid)
    {
        timer.stop();
    }
    end(intid);
    Some(intid)
}

/// Sends SGI `number` to the vCPU with affinity 0.0.0.`target`.
pub fn send_sgi(number: u64, target: u64) {
    // SAFETY: interrupts the guest's own vCPU alone.
    unsafe { write!("icc_sgi1r_el1", (number & 0xf) << 24 | 1 << (target & 0xf)) }
}

/// The affinity that redistributor `index` says it belongs to.
#[must_use]
pub fn redistributor_affinity(index: usize) -> u32 {
    read_register(redistributor(index) + GICR_TYPER_AFFINITY)
}

/// SPIs that the distributor offers.
#[must_use]
pub fn interrupt_lines() -> u32 {
    32 * ((read_register(DISTRIBUTOR + GICD_TYPER) & 0x1f) + 1)
}
