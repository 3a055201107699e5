//! Which interrupt goes to which vCPU, and into and out of its list registers.

use alloc::vec::Vec;

use crate::devices::gicv3::bank::{BANK_SIZE, Bank, Groups};
use crate::devices::gicv3::kicks::{Kicks, ones};
use crate::devices::gicv3::layout::{FIRST_SPI, Register, SPIS};
use crate::devices::gicv3::list_register::{
    ListRegisters, MAX_LIST_REGISTERS, Refill, VINTID_MASK,
};
use host_abi::binding::MAX_VCPUS;

/// SGIs and PPIs of a vCPU.
const PRIVATE: u32 = 32;
/// SGIs are edge-triggered, PPIs level-sensitive until the guest says otherwise.
const PRIVATE_EDGE: u64 = 0xffff;

/// Interrupts that can wait for one vCPU.
const MAX_DUE: usize = PRIVATE as usize + SPIS as usize;

/// ICC_SGI1R_EL1.TargetList.
const SGI_TARGETS: u64 = 0xffff;
/// ICC_SGI1R_EL1.INTID.
const SGI_INTID_SHIFT: u32 = 24;
/// ICC_SGI1R_EL1.IRM: all vCPUs but the sender.
const SGI_ALL_OTHERS: u64 = 1 << 40;
/// ICC_SGI1R_EL1.Aff1, Aff2, Aff3 and RS: zero for each vCPU that there is.
const SGI_ELSEWHERE: u64 = 0xff << 16 | 0xff << 32 | 0xf << 44 | 0xff << 48;

/// What belongs to one vCPU.
#[derive(Debug)]
pub(super) struct Vcpu {
    /// SGIs and PPIs.
    pub(super) private: Bank,
    /// GICR_WAKER.ProcessorSleep.
    pub(super) asleep: bool,
    /// Bit n: list register n holds an interrupt.
    in_use: u64,
    /// The INTID in each of those.
    listed: [u32; MAX_LIST_REGISTERS],
    /// A read that waits until these other vCPUs have come by.
    awaited: Option<(Register, Kicks)>,
}

impl Vcpu {
    const fn new() -> Self {
        Self {
            private: Bank::new(PRIVATE_EDGE),
            asleep: true,
            in_use: 0,
            listed: [0; MAX_LIST_REGISTERS],
            awaited: None,
        }
    }
}

/// All that the lock of a virtual GIC protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) groups: Groups,
    pub(super) vcpus: Vec<Vcpu>,
    pub(super) spis: Bank,
    /// The affinity of GICD_IROUTER for each SPI.
    route: [u64; BANK_SIZE],
    /// The vCPU that has the SPI in a list register or active.
    holder: [Option<usize>; BANK_SIZE],
    /// The INTID of the physical interrupt that an SPI stands for.
    physical: [u32; BANK_SIZE],
    list_registers: usize,
    /// Whether a read of some vCPU waits.
    reads_wait: bool,
}

impl State {
    pub(super) fn new(vcpus: usize, list_registers: usize) -> Self {
        Self {
            groups: Groups::default(),
            vcpus: (0..vcpus.min(MAX_VCPUS)).map(|_| Vcpu::new()).collect(),
            spis: Bank::new(0),
            route: [0; BANK_SIZE],
            holder: [None; BANK_SIZE],
            physical: [0; BANK_SIZE],
            list_registers: list_registers.min(MAX_LIST_REGISTERS),
            reads_wait: false,
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self {
            physical: self.physical,
            ..Self::new(self.vcpus.len(), self.list_registers)
        };
    }

    pub(super) fn reset_vcpu(&mut self, vcpu: usize) {
        self.vcpus[vcpu] = Vcpu::new();
        for n in 0..BANK_SIZE {
            if self.holder[n] == Some(vcpu) {
                // Nobody is left who could deactivate it.
                self.holder[n] = None;
                self.spis.clear_active(1 << n);
            }
        }
    }

    pub(super) fn send_sgi(&mut self, sender: usize, icc_sgi1r: u64) -> Kicks {
        let bit = 1 << (icc_sgi1r >> SGI_INTID_SHIFT & 0xf);
        let targets = if icc_sgi1r & SGI_ALL_OTHERS != 0 {
            SGI_TARGETS & !(1 << sender)
        } else if icc_sgi1r & SGI_ELSEWHERE != 0 {
            0
        } else {
            icc_sgi1r & SGI_TARGETS
        };
        let mut kicks = Kicks::NONE;
        for target in ones(targets) {
            if let Some(vcpu) = self.vcpus.get_mut(target) {
                vcpu.private.set_pending(bit);
                if vcpu.private.due(self.groups) & bit != 0 {
                    kicks = kicks | Kicks::one(target);
                }
            }
        }
        kicks
    }

    /// A write of `intid` to ICC_DIR_EL1 by `vcpu`.
    pub(super) fn deactivate(&mut self, vcpu: usize, intid: u32) -> Kicks {
        if let Some(bit) = spi_bit(intid) {
            self.spis.clear_active(bit);
            self.release_idle(bit);
            return self.spis_changed(bit);
        }
        if intid >= PRIVATE {
            return Kicks::NONE;
        }
        self.vcpus[vcpu].private.clear_active(1 << intid);
        Kicks::one(vcpu)
    }

    /// See [`VirtualGic::outdated`](crate::devices::gicv3::VirtualGic::outdated).
    pub(super) fn outdated(
        &mut self,
        reader: usize,
        register: Register,
        bytes: usize,
    ) -> Option<Kicks> {
        let holding = match register {
            Register::Distributor(offset) => self.distributor_stale(offset, bytes),
            Register::Redistributor(owner, offset) => {
                self.redistributor_stale(owner, offset, bytes)
            }
        };
        let others = Kicks(holding.0 & !Kicks::one(reader).0);
        let awaited = &mut self.vcpus[reader].awaited;
        let kicks = match *awaited {
            // A vCPU that has gone from its CPU meanwhile, or has no such interrupt any more, is
            // waited for no more.
            Some((asked, left)) if asked == register && left.0 & others.0 == 0 => None,
            Some((asked, _)) if asked == register => return Some(Kicks::NONE),
            _ if others == Kicks::NONE => None,
            _ => Some(others),
        };
        *awaited = kicks.map(|kicks| (register, kicks));
        self.reads_wait |= kicks.is_some();
        kicks
    }

    /// `vcpu` has come by: reads wait for it no more.
    fn note_arrival(&mut self, vcpu: usize) {
        self.reads_wait = false;
        for reader in &mut self.vcpus {
            if let Some((_, left)) = &mut reader.awaited {
                left.0 &= !Kicks::one(vcpu).0;
                self.reads_wait |= *left != Kicks::NONE;
            }
        }
    }

    pub(super) fn set_spi_level(&mut self, intid: u32, asserted: bool) -> Kicks {
        let Some(bit) = spi_bit(intid) else {
            return Kicks::NONE;
        };
        if (self.spis.line() & bit != 0) == asserted {
            return Kicks::NONE;
        }
        self.spis.set_line(bit, asserted);
        self.spis_changed(bit)
    }

    pub(super) fn pulse_spi(&mut self, intid: u32) -> Kicks {
        let Some(bit) = spi_bit(intid) else {
            return Kicks::NONE;
        };
        self.spis.set_pending(bit);
        self.spis_changed(bit)
    }

    /// See [`VirtualGic::raise_hardware_spi`](crate::devices::gicv3::VirtualGic::raise_hardware_spi).
    pub(super) fn raise_hardware_spi(&mut self, intid: u32, physical: u32) -> Kicks {
        let Some(n) = spi_index(intid) else {
            return Kicks::NONE;
        };
        self.physical[n] = physical;
        self.spis.raise_hardware(1 << n);
        self.spis_changed(1 << n)
    }

    /// Whether physical interrupts behind SPIs have to be made inactive.
    pub(super) fn has_orphaned_spis(&self) -> bool {
        self.spis.has_orphaned()
    }

    /// A PPI that still has its list register goes there again at once, as [`fill`](Self::fill)
    /// would have it: what waits for a list register is less urgent.
    pub(super) fn raise_hardware_ppi<L: ListRegisters>(
        &mut self,
        vcpu: usize,
        intid: u32,
        lrs: &mut L,
    ) -> Kicks {
        if intid >= PRIVATE {
            return Kicks::NONE;
        }
        let Vcpu {
            private,
            in_use,
            listed,
            ..
        } = &mut self.vcpus[vcpu];
        let (n, bit) = (intid as usize, 1 << intid);
        let own = ones(*in_use).find(|&lr| listed.get(lr) == Some(&intid));
        if let Some(lr) = own {
            private.unlist(n, lrs.read(lr));
        }
        private.raise_hardware(bit);
        match own {
            Some(lr) if private.due(self.groups) & bit != 0 => {
                lrs.write(lr, private.list(n, intid, intid, self.groups));
                Kicks::NONE
            }
            Some(lr) => {
                *in_use &= !(1 << lr);
                lrs.write(lr, 0);
                Kicks::one(vcpu)
            }
            None => Kicks::one(vcpu),
        }
    }

    pub(super) fn hardware_ppis_in_flight(&self, vcpu: usize) -> u32 {
        self.vcpus[vcpu].private.hardware_in_flight() as u32
    }

    pub(super) fn has_pending(&self, vcpu: usize) -> bool {
        let spis = self.spis.wake_up(self.groups);
        self.vcpus[vcpu].private.wake_up(self.groups) != 0
            || ones(spis).any(|n| self.target(n) == Some(vcpu))
    }

    /// The affinity that SPI `n` of the bank is routed to.
    pub(super) fn route(&self, n: usize) -> u64 {
        self.route.get(n).copied().unwrap_or(0)
    }

    /// Routes SPI `n` of the bank anew. As long as a vCPU holds it, it stays there.
    pub(super) fn set_route(&mut self, n: usize, affinity: u64) -> Kicks {
        let Some(route) = self.route.get_mut(n) else {
            return Kicks::NONE;
        };
        *route = affinity;
        self.spis_changed(1 << n)
    }

    /// No vCPU holds SPIs any more that are neither active nor in a list register.
    pub(super) fn release_idle(&mut self, bits: u64) {
        for n in ones(bits & !self.spis.active() & !self.spis.listed()) {
            self.holder[n] = None;
        }
    }

    /// The vCPUs that have some of these SPIs in a list register.
    pub(super) fn listing(&self, bits: u64) -> Kicks {
        let mut kicks = Kicks::NONE;
        kicks.extend(
            ones(bits & self.spis.listed())
                .filter_map(|n| self.target(n))
                .map(Kicks::one),
        );
        kicks
    }

    /// The vCPUs that have to look at SPIs of which something changed.
    pub(super) fn spis_changed(&self, bits: u64) -> Kicks {
        let concerned = bits & (self.spis.due(self.groups) | self.spis.listed());
        let mut kicks = Kicks::NONE;
        kicks.extend(
            ones(concerned)
                .filter_map(|n| self.target(n))
                .map(Kicks::one),
        );
        kicks
    }

    /// All vCPUs: something changed that concerns every interrupt.
    pub(super) fn all(&self) -> Kicks {
        let mut kicks = Kicks::NONE;
        kicks.extend((0..self.vcpus.len()).map(Kicks::one));
        kicks
    }

    /// Reads back the list registers of `vcpu`, leaving them as they are.
    pub(super) fn collect<L: ListRegisters>(&mut self, vcpu: usize, lrs: &mut L) -> Kicks {
        self.end_unlisted(vcpu, lrs.take_eoi_count());
        let mut released = 0;
        for n in ones(self.vcpus[vcpu].in_use) {
            let Some(&intid) = self.vcpus[vcpu].listed.get(n) else {
                continue;
            };
            let value = lrs.read(n);
            match spi_index(intid) {
                Some(spi) => {
                    self.spis.unlist(spi, value);
                    if self.spis.active() & 1 << spi == 0 {
                        self.holder[spi] = None;
                        released |= 1 << spi;
                    }
                }
                None => self.vcpus[vcpu].private.unlist(intid as usize, value),
            }
        }
        let private = &mut self.vcpus[vcpu].private;
        for intid in ones(private.hardware_waiting()) {
            if !lrs.physical_asserted(intid as u32) {
                private.lower_hardware(1 << intid);
            }
        }
        for intid in ones(private.take_orphaned()) {
            lrs.deactivate_physical(intid as u32);
        }
        for n in ones(self.spis.take_orphaned()) {
            lrs.deactivate_physical(self.physical[n]);
        }
        if self.reads_wait {
            self.note_arrival(vcpu);
        }
        Kicks(self.spis_changed(released).0 & !Kicks::one(vcpu).0)
    }

    /// Puts the most urgent interrupts of `vcpu` into its list registers, which were
    /// [collected](Self::collect).
    pub(super) fn fill<L: ListRegisters>(&mut self, vcpu: usize, lrs: &mut L) {
        let mut due = heapless::Vec::<Urgency, MAX_DUE>::new();
        due.extend(self.due(vcpu));
        due.sort_unstable();
        let mut refill = Refill::Never;
        if due.len() > self.list_registers {
            refill = Refill::Underflow;
            if lrs.drops_priority_only() {
                // What is active holds nothing back then, can be taken back from anywhere, and
                // keeps its list register.
                due.sort_unstable_by_key(|&urgency| (!urgency.waits, urgency));
                let waits = due
                    .get(self.list_registers)
                    .is_some_and(|first| first.waits);
                refill = if waits {
                    Refill::NonePending
                } else {
                    Refill::Never
                };
            }
        }
        let listed = due.get(..self.list_registers).unwrap_or(&due);
        for (n, Urgency { intid, .. }) in listed.iter().enumerate() {
            self.vcpus[vcpu].listed[n] = *intid;
            lrs.write(n, self.list(vcpu, *intid));
        }
        let in_use = (1 << listed.len()) - 1;
        let before = core::mem::replace(&mut self.vcpus[vcpu].in_use, in_use);
        for n in ones(before & !in_use) {
            lrs.write(n, 0);
        }
        lrs.set_refill(refill);
    }

    /// Empties the list registers of `vcpu`, which were [collected](Self::collect).
    pub(super) fn clear<L: ListRegisters>(&mut self, vcpu: usize, lrs: &mut L) {
        for n in ones(core::mem::take(&mut self.vcpus[vcpu].in_use)) {
            lrs.write(n, 0);
        }
        lrs.set_refill(Refill::Never);
    }

    /// The interrupts that want a list register of `vcpu`.
    fn due(&self, vcpu: usize) -> impl Iterator<Item = Urgency> {
        let private = &self.vcpus[vcpu].private;
        let spis = ones(self.spis.due(self.groups)).filter(move |&n| self.target(n) == Some(vcpu));
        let urgency = |bank: &Bank, n: usize, first: u32| Urgency {
            priority: bank.priority(n),
            waits: bank.active() & 1 << n == 0,
            intid: first + n as u32,
        };
        let private = ones(private.due(self.groups)).map(move |n| urgency(private, n, 0));
        private.chain(spis.map(move |n| urgency(&self.spis, n, FIRST_SPI)))
    }

    fn list(&mut self, vcpu: usize, intid: u32) -> u64 {
        match spi_index(intid) {
            Some(spi) => {
                self.holder[spi] = Some(vcpu);
                self.spis.list(spi, intid, self.physical[spi], self.groups)
            }
            None => {
                let private = &mut self.vcpus[vcpu].private;
                private.list(intid as usize, intid, intid, self.groups)
            }
        }
    }

    /// The guest ended `count` interrupts of `vcpu` that were in no list register. Interrupts end
    /// in the reverse order of their start, so they were the most urgent ones of those.
    fn end_unlisted(&mut self, vcpu: usize, count: u32) {
        for _ in 0..count {
            let private = &self.vcpus[vcpu].private;
            let spis = ones(self.spis.active_unlisted())
                .filter(|&n| self.target(n) == Some(vcpu))
                .map(|n| (self.spis.priority(n), n, true));
            let candidates = ones(private.active_unlisted())
                .map(|n| (private.priority(n), n, false))
                .chain(spis);
            match candidates.min() {
                Some((_, n, true)) => {
                    self.spis.clear_active(1 << n);
                    self.holder[n] = None;
                }
                Some((_, n, false)) => self.vcpus[vcpu].private.clear_active(1 << n),
                None => return,
            }
        }
    }

    /// The vCPU that SPI `n` of the bank goes to.
    fn target(&self, n: usize) -> Option<usize> {
        self.holder[n].or_else(|| {
            let vcpu = usize::try_from(self.route[n]).ok()?;
            (vcpu < self.vcpus.len()).then_some(vcpu)
        })
    }
}

/// The order in which interrupts get list registers: by priority, and among equals first those that
/// are active, so that their end is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Urgency {
    priority: u8,
    waits: bool,
    intid: u32,
}

/// Where the SPI `intid` stands in its bank.
fn spi_index(intid: u32) -> Option<usize> {
    let n = intid.checked_sub(FIRST_SPI)?;
    (n < SPIS).then_some(n as usize)
}

fn spi_bit(intid: u32) -> Option<u64> {
    spi_index(intid).map(|n| 1 << n)
}

const _: () = assert!(SPIS as usize == BANK_SIZE);
const _: () = assert!((FIRST_SPI + SPIS) as u64 <= VINTID_MASK);
