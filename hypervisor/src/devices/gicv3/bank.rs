//! The state of up to 64 interrupts, a bit each.
//!
//! An interrupt that sits in a list register has a part of its state there, where the guest changes
//! it unseen. What others decide about it meanwhile is kept apart (`withdrawn`, `activated`,
//! `deactivated`) and applied when the list register is read back.

use crate::devices::gicv3::list_register::{
    ACTIVE, EOI, GROUP_1, HW, PENDING, PINTID_SHIFT, PRIORITY_SHIFT,
};

/// Interrupts in a bank.
pub const BANK_SIZE: usize = 64;

/// The priority bits that are implemented: 5, as in the CPU interface of a Cortex-A57.
const PRIORITY_MASK: u8 = 0xf8;

/// Which groups GICD_CTLR enables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// EnableGrp0.
    pub group_0: bool,
    /// EnableGrp1.
    pub group_1: bool,
}

/// Bit n speaks of the bank's interrupt n.
#[derive(Clone, Debug)]
pub struct Bank {
    pub enabled: u64,
    /// Set: Group 1, clear: Group 0.
    pub group_1: u64,
    /// Set: edge-triggered, clear: level-sensitive.
    pub edge: u64,
    /// The level of the input.
    line: u64,
    /// Pending by an edge, by software or by the physical interrupt. Moves to the list register
    /// with the interrupt.
    latch: u64,
    active: u64,
    priority: [u8; BANK_SIZE],

    /// What is pending or active stands for a physical interrupt, which is active as long.
    hardware: u64,
    /// The guest gave up a hardware interrupt, the physical one is still active.
    orphaned: u64,

    /// In a list register.
    listed: u64,
    /// Put there as pending.
    listed_pending: u64,
    /// Put there because of the latch, rather than because of the line.
    listed_latch: u64,
    /// To lose the pending state that it has in the list register.
    withdrawn: u64,
    /// To be active whatever the list register says.
    activated: u64,
    /// To be inactive whatever the list register says.
    deactivated: u64,
}

impl Bank {
    /// The state after reset, with these interrupts edge-triggered.
    pub const fn new(edge: u64) -> Self {
        Self {
            enabled: 0,
            group_1: 0,
            edge,
            line: 0,
            latch: 0,
            active: 0,
            priority: [0; BANK_SIZE],
            hardware: 0,
            orphaned: 0,
            listed: 0,
            listed_pending: 0,
            listed_latch: 0,
            withdrawn: 0,
            activated: 0,
            deactivated: 0,
        }
    }

    /// Pending, as far as known: also those that are so in a list register.
    pub fn pending(&self) -> u64 {
        self.waiting() | self.listed_pending
    }

    /// Active, as far as known.
    pub fn active(&self) -> u64 {
        self.active
    }

    /// In a list register, so that the state known here may be old.
    pub fn listed(&self) -> u64 {
        self.listed
    }

    /// Active and in no list register.
    pub fn active_unlisted(&self) -> u64 {
        self.active & !self.listed
    }

    /// Those that a list register should hold: active, or pending and enabled.
    pub fn due(&self, groups: Groups) -> u64 {
        self.active | self.waiting() & self.deliverable(groups)
    }

    /// Those for whose sake the vCPU should run.
    pub fn wake_up(&self, groups: Groups) -> u64 {
        self.pending() & self.deliverable(groups) & !self.active
    }

    /// Those that stand for a physical interrupt which has to be active.
    pub fn hardware_in_flight(&self) -> u64 {
        self.hardware & (self.latch | self.listed | self.active)
    }

    pub fn priority(&self, n: usize) -> u8 {
        self.priority.get(n).copied().unwrap_or(0)
    }

    pub fn set_priority(&mut self, n: usize, priority: u8) {
        if let Some(entry) = self.priority.get_mut(n) {
            *entry = priority & PRIORITY_MASK;
        }
    }

    pub fn set_pending(&mut self, bits: u64) {
        self.latch |= bits;
    }

    /// Takes back what an edge or software made pending. What an input holds up stays: a line, or a
    /// physical interrupt (IHI0069H, `GICD_ICPENDR<n>`).
    pub fn clear_pending(&mut self, bits: u64) {
        let bits = bits & !self.hardware;
        self.latch &= !bits;
        self.withdrawn |= bits & self.listed;
    }

    pub fn set_active(&mut self, bits: u64) {
        self.active |= bits;
        self.activated |= bits & self.listed;
        self.deactivated &= !bits;
    }

    pub fn clear_active(&mut self, bits: u64) {
        let unlisted = bits & self.active_unlisted();
        self.orphan(unlisted);
        self.active &= !bits;
        self.deactivated |= bits & self.listed;
        self.activated &= !bits;
    }

    /// Sets the level of inputs; a rising edge counts for those that are edge-triggered.
    pub fn set_line(&mut self, bits: u64, asserted: bool) {
        if asserted {
            self.latch |= bits & !self.line & self.edge;
            self.line |= bits;
        } else {
            self.line &= !bits;
        }
    }

    pub fn line(&self) -> u64 {
        self.line
    }

    /// A physical interrupt fired.
    pub fn raise_hardware(&mut self, bits: u64) {
        self.latch |= bits;
        self.hardware |= bits;
        self.orphaned &= !bits;
    }

    /// Hardware interrupts that are pending, neither active nor in a list register.
    pub fn hardware_waiting(&self) -> u64 {
        self.hardware & self.latch & !self.active & !self.listed
    }

    /// The inputs of these hardware interrupts fell before anybody took them: they are pending no
    /// more.
    pub fn lower_hardware(&mut self, bits: u64) {
        let fallen = bits & self.hardware_waiting();
        self.latch &= !fallen;
        self.orphan(fallen);
    }

    /// Whether physical interrupts have to be made inactive.
    pub fn has_orphaned(&self) -> bool {
        self.orphaned != 0
    }

    /// Gives the physical interrupts that have to be made inactive.
    pub fn take_orphaned(&mut self) -> u64 {
        core::mem::take(&mut self.orphaned)
    }

    /// Puts interrupt `n`, which is [due](Self::due), into a list register: the value for it. A
    /// hardware interrupt stands for the physical one with INTID `physical`.
    ///
    /// Pending and active at once only for an edge: a level is looked at anew after deactivation,
    /// which the EOI maintenance interrupt reports, and for a hardware interrupt the architecture
    /// does not allow both (IHI0069H, `ICH_LR<n>_EL2`).
    pub fn list(&mut self, n: usize, intid: u32, physical: u32, groups: Groups) -> u64 {
        let bit = 1 << n;
        let has = |bits: u64| bits & bit != 0;
        let (active, hardware) = (has(self.active), has(self.hardware));
        let both_allowed = has(self.edge) && !hardware;
        let pending = has(self.waiting() & self.deliverable(groups)) && (!active || both_allowed);

        let mut value = u64::from(intid) | u64::from(self.priority(n)) << PRIORITY_SHIFT;
        if has(self.group_1) {
            value |= GROUP_1;
        }
        if active {
            value |= ACTIVE;
        }
        if pending {
            value |= PENDING;
            self.listed_pending |= bit;
            self.listed_latch |= self.latch & bit;
            self.latch &= !bit;
        }
        if hardware {
            value |= HW | u64::from(physical) << PINTID_SHIFT;
        } else if !has(self.edge) {
            value |= EOI;
        }
        self.listed |= bit;
        value
    }

    /// Takes interrupt `n` back from the list register that reads `value` now.
    pub fn unlist(&mut self, n: usize, value: u64) {
        let bit = 1 << n;
        let has = |bits: u64| bits & bit != 0;
        if value & PENDING != 0 && !has(self.withdrawn) {
            self.latch |= self.listed_latch & bit;
        }
        if value & ACTIVE != 0 && has(self.deactivated) {
            self.orphan(bit);
        }
        let active = (value & ACTIVE != 0 || has(self.activated)) && !has(self.deactivated);
        if active {
            self.active |= bit;
        } else {
            self.active &= !bit;
        }
        for mask in [
            &mut self.listed,
            &mut self.listed_pending,
            &mut self.listed_latch,
            &mut self.withdrawn,
            &mut self.activated,
            &mut self.deactivated,
        ] {
            *mask &= !bit;
        }
        self.hardware &= !bit | self.latch | self.active;
    }

    fn orphan(&mut self, bits: u64) {
        self.orphaned |= bits & self.hardware;
        self.hardware &= !bits;
    }

    /// Pending, apart from what is so in a list register only.
    fn waiting(&self) -> u64 {
        self.latch | self.line & !self.edge
    }

    fn deliverable(&self, groups: Groups) -> u64 {
        let group_1 = if groups.group_1 { self.group_1 } else { 0 };
        let group_0 = if groups.group_0 { !self.group_1 } else { 0 };
        self.enabled & (group_0 | group_1)
    }
}
