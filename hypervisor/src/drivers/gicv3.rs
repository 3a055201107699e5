//! The machine's GICv3: the interrupts that EL2 takes, and the state behind virtual interrupts.

use crate::arch::access::{self, write};
use crate::arch::this_cpu::ThisCpu;
use crate::arch::{timer, virtual_interface};
use crate::drivers::interrupt::Interrupt;
use addresses::Pa;
use arm_gic::gicv3::registers::{Gicd, GicrSgi};
use arm_gic::gicv3::{GicCpuInterface, GicV3, SgiTarget, SgiTargetGroup};
use arm_gic::{IntId, InterruptGroup, Trigger, UniqueMmioPointer};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use spin::{Mutex, Once};

/// The SGI by which a CPU is told that something of its vCPUs changed.
const KICK: u32 = 0;
/// The maintenance interrupt of the virtual CPU interface (PPI 9).
const MAINTENANCE: u32 = 25;
/// "No interrupt" and the other special INTIDs start here (IHI0069 §2.2.1).
const FIRST_SPECIAL: u32 = 1020;

/// Offset of the SGI frame in a redistributor, and of GICR_ISACTIVER0 and GICR_ICACTIVER0 in it
/// (IHI0069 §12.11).
const SGI_FRAME: u64 = 0x1_0000;
const ISACTIVER0: u64 = 0x300;
const ICACTIVER0: u64 = 0x380;
/// Offset of GICD_ICACTIVER0 (IHI0069 §12.9).
const GICD_ICACTIVER: u64 = 0x380;
/// The priority mask that holds nothing back.
const LOWEST_PRIORITY: u8 = 0xff;
/// Two frames of 64 KiB a CPU.
const REDISTRIBUTOR_STRIDE: u64 = 0x2_0000;

struct Gic {
    driver: Mutex<GicV3<'static>>,
    distributor: Pa,
    redistributors: Pa,
}

// SAFETY: the driver's pointers name device registers, which any CPU may access; the lock keeps
// accesses apart.
unsafe impl Send for Gic {}
// SAFETY: as above.
unsafe impl Sync for Gic {}

static GIC: Once<Gic> = Once::new();

/// The SPIs that are guests', a bit each.
static GUEST_SPIS: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];

fn is_guests(intid: u32) -> bool {
    let word = GUEST_SPIS.get(intid as usize / 32);
    word.is_some_and(|word| word.load(Ordering::Relaxed) >> (intid % 32) & 1 != 0)
}

fn gic() -> &'static Gic {
    GIC.get()
        .expect("the first CPU calls gic::init before anything else")
}

/// Takes over the distributor.
///
/// # Safety
///
/// A GICv3's distributor and redistributors lie at these addresses, mapped as devices, for `cpus`
/// CPUs.
pub unsafe fn init(distributor: Pa, redistributors: Pa, cpus: usize) {
    GIC.call_once(|| {
        let gicd = NonNull::new(distributor.0 as *mut Gicd)
            .expect("the device tree names the distributor");
        let gicr = NonNull::new(redistributors.0 as *mut GicrSgi)
            .expect("the device tree names redistributors");
        // SAFETY: the caller vouches for the addresses; `call_once` for the absence of aliases.
        let driver = unsafe { GicV3::new(UniqueMmioPointer::new(gicd), gicr, cpus) };
        let mut driver = driver.expect("a redistributor of a known layout");
        driver.distributor().configure_default_settings();
        Gic {
            driver: Mutex::new(driver),
            distributor,
            redistributors,
        }
    });
}

/// Sets up the redistributor and the CPU interfaces, physical and virtual, of this CPU.
pub fn init_cpu(cpu: &ThisCpu) {
    /// ICC_CTLR_EL1.EOImode: EOIR drops the priority, DIR deactivates (IHI0069 §12.2.9).
    const EOI_MODE: u64 = 1 << 1;

    GicCpuInterface::enable_system_register_el2(true);
    let mut driver = gic().driver.lock();
    driver.init_cpu(cpu.number());
    if let Ok(mut redistributor) = driver.redistributor(cpu.number()) {
        redistributor.configure_default_settings();
    }
    for intid in [
        KICK,
        MAINTENANCE,
        timer::HYPERVISOR_TIMER,
        timer::VIRTUAL_TIMER,
        timer::PHYSICAL_TIMER,
    ] {
        let id = if intid < 16 {
            IntId::sgi(intid)
        } else {
            IntId::ppi(intid - 16)
        };
        driver
            .enable_interrupt(id, Some(cpu.number()), true)
            .expect("SGIs and PPIs exist in every redistributor");
    }
    drop(driver);
    GicCpuInterface::set_priority_mask(LOWEST_PRIORITY);
    GicCpuInterface::enable_group1(true);
    // SAFETY: interrupts are masked in EL2; the run loop acknowledges, drops and deactivates apart.
    unsafe {
        write!("icc_ctlr_el1", EOI_MODE);
        access::synchronize();
    }
    virtual_interface::init_cpu();
}

/// Keeps interrupts of the normal world from being signalled to this CPU, in EL2 as in the secure
/// world, as long as it lives. A yielding call of the TEE then runs to its end.
#[derive(Debug)]
#[must_use]
pub struct InterruptsHeldBack(());

impl InterruptsHeldBack {
    /// Holds them back from now on.
    pub fn begin() -> Self {
        // The normal world's view of the mask reaches the lower half of the priorities only
        // (IHI0069H §4.8.6), so that the secure world still gets its own interrupts.
        GicCpuInterface::set_priority_mask(0);
        Self(())
    }
}

impl Drop for InterruptsHeldBack {
    fn drop(&mut self) {
        GicCpuInterface::set_priority_mask(LOWEST_PRIORITY);
    }
}

/// Turns a shared interrupt on, to go to the CPU with affinity `mpidr`.
pub fn enable_spi(intid: u32, trigger: Trigger, mpidr: u64) {
    let mut driver = gic().driver.lock();
    let id = IntId::spi(intid - 32);
    let done = driver
        .set_trigger(id, None, trigger)
        .and_then(|()| driver.distributor().set_routing(id, Some(mpidr)))
        .and_then(|()| driver.enable_interrupt(id, None, true));
    if let Err(error) = done {
        log::error!("interrupt {intid} can't be used: {error}");
    }
}

/// Has the level-sensitive SPI `intid`, which is to go to the CPU with affinity `mpidr`, come as a
/// guest's: [`set_guest_spi`] turns it on and off, and the guest's deactivation deactivates it.
pub fn assign_spi(intid: u32, mpidr: u64) {
    let mut driver = gic().driver.lock();
    let id = IntId::spi(intid - 32);
    let done = driver
        .set_trigger(id, None, Trigger::Level)
        .and_then(|()| driver.distributor().set_routing(id, Some(mpidr)));
    match (done, GUEST_SPIS.get(intid as usize / 32)) {
        (Ok(()), Some(word)) => {
            word.fetch_or(1 << (intid % 32), Ordering::Relaxed);
        }
        _ => log::error!("interrupt {intid} can't be a guest's"),
    }
}

/// Turns an SPI that was [assigned](assign_spi) on or off; it is not active then.
pub fn set_guest_spi(intid: u32, enable: bool) {
    deactivate_spi(intid);
    let id = IntId::spi(intid - 32);
    if let Err(error) = gic().driver.lock().enable_interrupt(id, None, enable) {
        log::error!("interrupt {intid} can't be used: {error}");
    }
    if !enable {
        // One that came before it was off.
        deactivate_spi(intid);
    }
}

/// Makes an SPI that was [assigned](assign_spi) inactive.
pub fn deactivate_spi(intid: u32) {
    let Some(offset) = is_guests(intid).then(|| GICD_ICACTIVER + u64::from(intid / 32) * 4) else {
        return;
    };
    let address = gic().distributor.0 + offset;
    // SAFETY: a register of the distributor, which `init` was given; writing it concerns this
    // interrupt alone, which is a guest's.
    unsafe { (address as *mut u32).write_volatile(1 << (intid % 32)) }
}

/// Acknowledges the most urgent interrupt that waits and drops its priority. All but guests' are
/// deactivated too, and the maintenance interrupt, which [`maintenance_done`] ends.
#[must_use]
pub fn acknowledge() -> Option<Interrupt> {
    let id = GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1)?;
    let intid = u32::from(id);
    if intid >= FIRST_SPECIAL {
        return None;
    }
    let interrupt = match intid {
        timer::HYPERVISOR_TIMER => {
            timer::set_deadline(None);
            Interrupt::HypervisorTimer
        }
        timer::VIRTUAL_TIMER | timer::PHYSICAL_TIMER => Interrupt::GuestTimer(intid),
        MAINTENANCE => Interrupt::Maintenance,
        0..16 => Interrupt::Kick,
        _ if is_guests(intid) => Interrupt::GuestDevice(intid),
        _ => Interrupt::Shared(intid),
    };
    GicCpuInterface::end_interrupt(id, InterruptGroup::Group1);
    match interrupt {
        Interrupt::GuestTimer(_) | Interrupt::GuestDevice(_) | Interrupt::Maintenance => {}
        Interrupt::Kick | Interrupt::HypervisorTimer | Interrupt::Shared(_) => deactivate(intid),
    }
    Some(interrupt)
}

/// Ends the maintenance interrupt, once its cause is gone.
pub fn maintenance_done() {
    deactivate(MAINTENANCE);
}

fn deactivate(intid: u32) {
    // SAFETY: ends an interrupt that `acknowledge` took.
    unsafe { write!("icc_dir_el1", u64::from(intid)) }
}

/// Tells the CPU with affinity `mpidr` to look at its vCPUs.
pub fn kick(mpidr: u64) {
    let byte = |shift: u32| (mpidr >> shift) as u8;
    let target = SgiTarget::List {
        affinity3: byte(32),
        affinity2: byte(16),
        affinity1: byte(8),
        target_list: 1 << (mpidr & 0xf),
    };
    // SAFETY: a barrier, so that what was written before is seen by the CPU that is told.
    unsafe { core::arch::asm!("dsb ishst", options(nostack, preserves_flags)) }
    GicCpuInterface::send_sgi(IntId::sgi(KICK), target, SgiTargetGroup::CurrentGroup1)
        .expect("the kick is an SGI");
}

/// Makes PPIs count as active on this CPU, so that they do not fire until the vCPU that is loaded
/// deactivates them. Bit n is INTID n.
pub fn activate_ppis(cpu: &ThisCpu, ppis: u32) {
    write_private(cpu, ISACTIVER0, ppis);
}

/// Makes PPIs inactive on this CPU. Bit n is INTID n.
pub fn deactivate_ppis(cpu: &ThisCpu, ppis: u32) {
    write_private(cpu, ICACTIVER0, ppis);
}

fn write_private(cpu: &ThisCpu, register: u64, bits: u32) {
    let address =
        gic().redistributors.0 + cpu.number() as u64 * REDISTRIBUTOR_STRIDE + SGI_FRAME + register;
    // SAFETY: a register of this CPU's redistributor, in the range that `init` was given.
    unsafe { (address as *mut u32).write_volatile(bits) }
}
