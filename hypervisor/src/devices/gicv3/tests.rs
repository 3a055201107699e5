mod enabling;
mod hardware;
mod hostile_spis;
mod lines;
mod physical_spis;
mod properties;
mod reading;
mod registers;
mod reset;
mod routing;
mod scarcity;
mod software;
mod two_steps;

use std::vec::Vec;

use super::list_register::{ACTIVE, EOI, HW, PENDING, PINTID_SHIFT, PRIORITY_SHIFT, Refill};
use super::*;

const CTLR: u64 = 0;
const IGROUPR: u64 = 0x80;
const ISENABLER: u64 = 0x100;
const ICENABLER: u64 = 0x180;
const ISPENDR: u64 = 0x200;
const ICPENDR: u64 = 0x280;
const ISACTIVER: u64 = 0x300;
const ICACTIVER: u64 = 0x380;
const IPRIORITYR: u64 = 0x400;
const ICFGR: u64 = 0xc00;
const IROUTER: u64 = 0x6000;
const SGI_FRAME: u64 = 0x1_0000;
const TIMER: u32 = 27;
const UART: u32 = 33;

/// The virtual CPU interface of a CPU with four list registers.
#[derive(Default)]
struct Cpu {
    lrs: [u64; 4],
    refill: Refill,
    /// EOImode 1: the guest drops the priority of an interrupt and deactivates it in two steps.
    two_steps: bool,
    /// With `two_steps`: what is active and has its priority dropped.
    dropped: Vec<u32>,
    /// Physical PPIs whose devices hold their inputs down; all others hold them up.
    low: Vec<u32>,
    eoi_count: u32,
    /// Physical interrupts that became inactive, by the guest or by the hypervisor.
    deactivated: Vec<u32>,
}

impl ListRegisters for Cpu {
    fn read(&self, n: usize) -> u64 {
        self.lrs[n]
    }

    fn write(&mut self, n: usize, value: u64) {
        let both = value & PENDING != 0 && value & ACTIVE != 0;
        assert!(value & HW == 0 || !both, "reserved for hardware interrupts");
        self.lrs[n] = value;
    }

    fn set_refill(&mut self, when: Refill) {
        self.refill = when;
    }

    fn drops_priority_only(&self) -> bool {
        self.two_steps
    }

    fn physical_asserted(&self, intid: u32) -> bool {
        !self.low.contains(&intid)
    }

    fn take_eoi_count(&mut self) -> u32 {
        std::mem::take(&mut self.eoi_count)
    }

    fn deactivate_physical(&mut self, intid: u32) {
        self.deactivated.push(intid);
    }
}

impl Cpu {
    /// The guest reads ICC_IAR: the most urgent pending interrupt that is more urgent than what is
    /// active.
    fn acknowledge(&mut self) -> Option<u32> {
        let dropped = &self.dropped;
        let running = self.lrs.iter();
        let running = running.filter(|&lr| lr & ACTIVE != 0 && !dropped.contains(&intid(*lr)));
        let running = running.map(|lr| priority(*lr)).min().unwrap_or(0x100);
        let pending = self.lrs.iter_mut().filter(|lr| **lr & PENDING != 0);
        let lr = pending.min_by_key(|lr| priority(**lr))?;
        if priority(*lr) >= running {
            return None;
        }
        *lr = *lr & !PENDING | ACTIVE;
        Some(intid(*lr))
    }

    /// The guest writes ICC_EOIR.
    fn end(&mut self, ended: u32) {
        if self.two_steps {
            self.dropped.push(ended);
            return;
        }
        let mut active = self.lrs.iter_mut().filter(|lr| **lr & ACTIVE != 0);
        match active.find(|lr| intid(**lr) == ended) {
            Some(lr) => {
                *lr &= !ACTIVE;
                if *lr & HW != 0 {
                    self.deactivated.push((*lr >> PINTID_SHIFT) as u32 & 0x3ff);
                }
            }
            None => self.eoi_count += 1,
        }
    }

    /// Takes and ends interrupts until none is left in the list registers.
    fn serve(&mut self) -> Vec<u32> {
        let served = std::iter::from_fn(|| {
            let intid = self.acknowledge()?;
            self.end(intid);
            Some(intid)
        });
        served.collect()
    }

    /// How many list registers are pending.
    fn acknowledgeable(&self) -> usize {
        self.lrs.iter().filter(|&lr| lr & PENDING != 0).count()
    }

    fn in_use(&self) -> Vec<u32> {
        let valid = self.lrs.iter().filter(|&lr| lr & (PENDING | ACTIVE) != 0);
        valid.map(|lr| intid(*lr)).collect()
    }

    fn lr(&self, wanted: u32) -> u64 {
        let valid = |lr: &&u64| **lr != 0 && intid(**lr) == wanted;
        self.lrs.iter().find(valid).copied().unwrap_or(0)
    }
}

fn intid(lr: u64) -> u32 {
    lr as u32
}

fn priority(lr: u64) -> u64 {
    lr >> PRIORITY_SHIFT & 0xff
}

/// As Linux sets it up: all in Group 1 with the same priority, and enabled.
fn gic(vcpus: usize) -> VirtualGic {
    let gic = VirtualGic::new(vcpus, 4);
    let _ = gic.distributor_write(CTLR, 4, 0x13);
    for word in [4, 8] {
        let _ = gic.distributor_write(IGROUPR + word, 4, 0xffff_ffff);
        let _ = gic.distributor_write(ISENABLER + word, 4, 0xffff_ffff);
    }
    for byte in 32..96 {
        let _ = gic.distributor_write(IPRIORITYR + byte, 1, 0xa0);
    }
    for vcpu in 0..vcpus {
        let _ = gic.redistributor_write(vcpu, SGI_FRAME + IGROUPR, 4, 0xffff_ffff);
        let _ = gic.redistributor_write(vcpu, SGI_FRAME + ISENABLER, 4, 0xffff_ffff);
        for word in (0..32).step_by(4) {
            let offset = SGI_FRAME + IPRIORITYR + word;
            let _ = gic.redistributor_write(vcpu, offset, 4, 0xa0a0_a0a0);
        }
        let _ = gic.sync(vcpu, &mut Cpu::default());
    }
    gic
}

fn sgi(intid: u64, targets: u64) -> u64 {
    intid << 24 | targets
}

fn sync(gic: &VirtualGic, vcpu: usize, cpu: &mut Cpu) {
    assert_eq!(gic.sync(vcpu, cpu), Kicks::NONE);
    assert!(!gic.needs_sync(vcpu));
}

fn in_flight(gic: &VirtualGic, vcpu: usize, intid: u32) -> bool {
    gic.hardware_ppis_in_flight(vcpu)
        .checked_shr(intid)
        .unwrap_or(0)
        & 1
        == 1
}
