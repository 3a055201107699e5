//! The EL1 state of a vCPU that only a switch to another vCPU saves, and the EL2 controls that
//! confine a guest.

use crate::arch::access::{self, read, write};
use crate::arch::float::FloatRegisters;
use crate::arch::{debug, pmu, probe, timer};
use addresses::Pa;
use core::sync::atomic::{AtomicBool, Ordering};

macro_rules! registers {
    ($(#[$doc:meta])* $structure:ident { $($field:ident: $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $structure {
            $($field: u64,)*
        }

        impl $structure {
            /// Reads them from this CPU.
            fn save(&mut self) {
                $(self.$field = read!($name);)*
            }

            /// Loads them into this CPU.
            ///
            /// # Safety
            ///
            /// EL2 runs with the physical CPU's own translation regime, so that these only matter
            /// to the guest that is entered next, which must be the one they were saved from or a
            /// fresh one.
            unsafe fn load(&self) {
                // SAFETY: registers of EL1 and EL0, of no meaning to EL2 (E2H is 0); the caller
                // vouches for the guest.
                unsafe { $(write!($name, self.$field);)* }
            }
        }
    };
}

registers! {
    /// What every CPU has, besides that.
    General {
        cpacr: "cpacr_el1",
        ttbr0: "ttbr0_el1",
        ttbr1: "ttbr1_el1",
        mair: "mair_el1",
        amair: "amair_el1",
        vbar: "vbar_el1",
        contextidr: "contextidr_el1",
        esr: "esr_el1",
        far: "far_el1",
        afsr0: "afsr0_el1",
        afsr1: "afsr1_el1",
        elr: "elr_el1",
        spsr: "spsr_el1",
        sp_el0: "sp_el0",
        sp_el1: "sp_el1",
        tpidr_el0: "tpidr_el0",
        tpidrro_el0: "tpidrro_el0",
        tpidr_el1: "tpidr_el1",
        par: "par_el1",
        csselr: "csselr_el1",
        cntkctl: "cntkctl_el1",
        cntv_cval: "cntv_cval_el0",
        cntv_ctl: "cntv_ctl_el0",
        cntp_cval: "cntp_cval_el0",
        cntp_ctl: "cntp_ctl_el0",
        vmpidr: "vmpidr_el2",
        vmcr: "ich_vmcr_el2",
        active0: "ich_ap0r0_el2",
        active1: "ich_ap1r0_el2",
    }
}

registers! {
    /// Pointer authentication keys (FEAT_PAuth), by encoding since the baseline assembler has no
    /// names for them.
    PointerKeys {
        ia_lo: "s3_0_c2_c1_0", ia_hi: "s3_0_c2_c1_1",
        ib_lo: "s3_0_c2_c1_2", ib_hi: "s3_0_c2_c1_3",
        da_lo: "s3_0_c2_c2_0", da_hi: "s3_0_c2_c2_1",
        db_lo: "s3_0_c2_c2_2", db_hi: "s3_0_c2_c2_3",
        ga_lo: "s3_0_c2_c3_0", ga_hi: "s3_0_c2_c3_1",
    }
}

/// What turns stage 1 on: loaded apart from all others, after stage 2.
#[derive(Clone, Debug, Default)]
struct Stage1 {
    sctlr: u64,
    tcr: u64,
}

impl Stage1 {
    /// Reads them from this CPU.
    fn save(&mut self) {
        self.sctlr = read!("sctlr_el1");
        self.tcr = read!("tcr_el1");
    }
}

registers! {
    /// Deferred SErrors (FEAT_RAS): VDISR_EL2 is what EL1 has as DISR_EL1.
    Deferred {
        vdisr: "s3_4_c12_c1_1",
    }
}

registers! {
    /// The second thread pointer (FEAT_SME), which no control of EL2's hides.
    SecondThreadPointer {
        tpidr2: "s3_3_c13_c0_5",
    }
}

registers! {
    /// Active priorities of an interrupt controller that tells 64 priorities or more apart
    /// (IHI0069H, 12.4.2 and 12.4.3).
    ActivePriorities64 {
        group0: "s3_4_c12_c8_1", group1: "s3_4_c12_c9_1",
    }
}

registers! {
    /// The same for 128 priorities.
    ActivePriorities128 {
        group0_2: "s3_4_c12_c8_2", group1_2: "s3_4_c12_c9_2",
        group0_3: "s3_4_c12_c8_3", group1_3: "s3_4_c12_c9_3",
    }
}

/// SCTLR_EL1 of a CPU that starts: MMU and caches off, RES1 bits set (DDI0487 D24.2.123).
const SCTLR_START: u64 = 0x30c5_0838;

/// TCR_EL1.EPD0 and EPD1: no table is walked.
const NO_WALKS: u64 = 1 << 23 | 1 << 7;
/// SCTLR_EL1.M.
const MMU_ON: u64 = 1;

/// What EL1 on a CPU is confined to.
#[derive(Clone, Copy, Debug)]
pub struct Confinement {
    /// The root of the VM's stage-2 tables.
    pub stage2_root: Pa,
    /// The VMID, which is the VM's alone.
    pub vmid: u16,
    /// Whether other vCPUs wait for this CPU, so that WFI gives way to them.
    pub shares_cpu: bool,
}

/// The EL1 registers of a vCPU.
#[derive(Clone, Debug)]
pub struct SystemRegisters {
    stage1: Stage1,
    general: General,
    pointer_keys: PointerKeys,
    deferred: Deferred,
    second_thread_pointer: SecondThreadPointer,
    priorities_64: ActivePriorities64,
    priorities_128: ActivePriorities128,
    float: FloatRegisters,
}

impl SystemRegisters {
    /// Those of vCPU number `index` at its start.
    #[must_use]
    pub fn start(index: usize) -> Self {
        let general = General {
            // Bit 31 is RES1; Aff0 is the vCPU's number.
            vmpidr: 1 << 31 | index as u64,
            ..General::default()
        };
        Self {
            stage1: Stage1 {
                sctlr: SCTLR_START,
                ..Stage1::default()
            },
            general,
            pointer_keys: PointerKeys::default(),
            deferred: Deferred::default(),
            second_thread_pointer: SecondThreadPointer::default(),
            priorities_64: ActivePriorities64::default(),
            priorities_128: ActivePriorities128::default(),
            float: FloatRegisters::default(),
        }
    }

    /// Saves them from this CPU.
    pub fn save(&mut self) {
        self.stage1.save();
        self.general.save();
        let features = Features::of_this_cpu();
        if features.pointer_authentication {
            self.pointer_keys.save();
        }
        if features.deferred_errors {
            self.deferred.save();
        }
        if features.second_thread_pointer {
            self.second_thread_pointer.save();
        }
        if features.priority_bits >= 6 {
            self.priorities_64.save();
        }
        if features.priority_bits >= 7 {
            self.priorities_128.save();
        }
        self.float.save();
    }

    /// Loads them into this CPU, and confines EL1 to its VM.
    ///
    /// Between a VM's stage 1 and another's stage 2 no translation may be made, not even a
    /// speculative one, which Cortex-A57 (erratum 1319367) and others keep in their TLB: until both
    /// are loaded, no table is walked.
    ///
    /// # Safety
    ///
    /// The next guest to be entered on this CPU is the one these registers belong to, and the
    /// confinement is that of its VM: the stage-2 tables are the VM's and live as long as it, and
    /// no other VM has the VMID.
    pub unsafe fn load(&self, confinement: &Confinement) {
        let features = Features::of_this_cpu();
        // SAFETY: the caller vouches that these belong to the guest that is entered next.
        unsafe {
            write!("tcr_el1", self.stage1.tcr | NO_WALKS);
            access::synchronize();
            write!("sctlr_el1", self.stage1.sctlr | MMU_ON);
            access::synchronize();
            self.general.load();
            if features.pointer_authentication {
                self.pointer_keys.load();
            }
            if features.deferred_errors {
                self.deferred.load();
            }
            if features.second_thread_pointer {
                self.second_thread_pointer.load();
            }
            if features.priority_bits >= 6 {
                self.priorities_64.load();
            }
            if features.priority_bits >= 7 {
                self.priorities_128.load();
            }
            confine(confinement, &features);
            write!("sctlr_el1", self.stage1.sctlr);
            access::synchronize();
            write!("tcr_el1", self.stage1.tcr);
            access::synchronize();
        }
        self.float.load();
    }

    /// When the first of the saved timers fires, as a value of the counter; `None` where both are
    /// off or masked.
    #[must_use]
    pub fn timer_deadline(&self) -> Option<u64> {
        let General {
            cntv_ctl,
            cntv_cval,
            cntp_ctl,
            cntp_cval,
            ..
        } = self.general;
        [(cntv_ctl, cntv_cval), (cntp_ctl, cntp_cval)]
            .into_iter()
            .filter_map(|(control, value)| timer::is_armed(control).then_some(value))
            .min()
    }
}

/// Whether guests can write TPIDR2_EL0: CPUs with FEAT_SME have it (ID_AA64PFR1_EL1.SME), unless
/// the firmware keeps it for itself (SCR_EL3.EnTP2).
static HAS_SECOND_THREAD_POINTER: AtomicBool = AtomicBool::new(false);

/// What of this CPU has registers that a guest can write whatever its ID registers say.
struct Features {
    pointer_authentication: bool,
    deferred_errors: bool,
    second_thread_pointer: bool,
    /// How many bits of priority preempt.
    priority_bits: u64,
}

impl Features {
    fn of_this_cpu() -> Self {
        let pfr0 = read!("id_aa64pfr0_el1");
        Self {
            // ID_AA64ISAR1_EL1: APA, API, GPA and GPI (DDI0487 D24.2.79); ID_AA64ISAR2_EL1: APA3
            // and GPA3.
            pointer_authentication: read!("id_aa64isar1_el1") & 0xff00_0ff0 != 0
                || read!("s3_0_c0_c6_2") & 0xff00 != 0,
            // ID_AA64PFR0_EL1.RAS.
            deferred_errors: pfr0 >> 28 & 0xf != 0,
            second_thread_pointer: HAS_SECOND_THREAD_POINTER.load(Ordering::Relaxed),
            // ICH_VTR_EL2.PREbits, less one.
            priority_bits: (read!("ich_vtr_el2") >> 26 & 0b111) + 1,
        }
    }
}

/// Sets what does not change from guest to guest: traps of what guests share, and the counter they
/// may read.
///
/// # Safety
///
/// `vtcr` (VTCR_EL2) is that of the tables which guests are confined by.
pub unsafe fn init_cpu(vtcr: u64) {
    // CPTR_EL2 (DDI0487J.a, D19.2.34, E2H = 0): RES1 bits, TSM, TZ, TTA and TAM: SME, SVE, trace
    // and activity monitors trap, floating point does not.
    const CPTR: u64 = 0x32ff | 1 << 8 | 1 << 20 | 1 << 30;
    // MDCR_EL2 (D19.3.18): TDRA, TDOSA and TDA: debug registers are kept for each vCPU; TPM and
    // TPMCR, TPMS, TTRF and TDCC: performance monitors, profiling, trace and the debugger's channel
    // are not guests' to use. TDE stays clear: a guest takes its own debug exceptions.
    const MDCR: u64 = 1 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 1 << 5 | 1 << 14 | 1 << 19 | 1 << 27;
    // CNTHCTL_EL2 (DDI0487J.a, D19.12.2, E2H = 0): EL1PCTEN and EL1PCEN: guests have the counter
    // and the EL1 physical timer.
    const CNTHCTL: u64 = 1 | 1 << 1;
    // MDCR_EL2.HPMN stays as it was.
    let mdcr = MDCR | read!("mdcr_el2") & 0x1f;
    let midr = read!("midr_el1");
    // SAFETY: these trap or allow what guests do; EL2 uses none of it. The caller vouches for
    // VTCR_EL2.
    unsafe {
        write!("cptr_el2", CPTR);
        write!("mdcr_el2", mdcr);
        write!("cnthctl_el2", CNTHCTL);
        // The virtual counter is the physical one: docs/qemu-faults.md, "A timer whose sum wraps".
        write!("cntvoff_el2", 0);
        write!("hstr_el2", 0);
        write!("vpidr_el2", midr);
        write!("vtcr_el2", vtcr);
        if pmu::is_present() {
            // What EL0 tries is EL1's to refuse.
            write!("pmuserenr_el0", 0);
        }
        access::synchronize();
    }
    init_later_controls();
    if read!("id_aa64pfr1_el1") >> 24 & 0xf != 0 && probe::second_thread_pointer_is_readable() {
        HAS_SECOND_THREAD_POINTER.store(true, Ordering::Relaxed);
    }
    debug::init_cpu();
}

/// Turns off what later revisions of the architecture let EL2 allow (HCRX_EL2), and its
/// fine-grained traps, except for those of registers that came after them, which are on while their
/// bits are 0. The firmware may keep either for itself, and then that is so (SCR_EL3.HXEn and
/// FGTEn).
fn init_later_controls() {
    let has_hcrx = read!("id_aa64mmfr1_el1") >> 40 & 0xf != 0;
    if has_hcrx && probe::hcrx_is_readable() {
        // SAFETY: it concerns EL1 and EL0 alone.
        unsafe { write!("s3_4_c1_c2_2", 0) }
    }
    let has_fine_grained_traps = read!("id_aa64mmfr0_el1") >> 56 & 0xf != 0;
    if has_fine_grained_traps && probe::fine_grained_traps_are_readable() {
        // SAFETY: HFGRTR_EL2, HFGWTR_EL2, HFGITR_EL2, HDFGRTR_EL2 and HDFGWTR_EL2 trap what EL1 and
        // EL0 do.
        unsafe {
            write!("s3_4_c1_c1_4", 0);
            write!("s3_4_c1_c1_5", 0);
            write!("s3_4_c1_c1_6", 0);
            write!("s3_4_c3_c1_4", 0);
            write!("s3_4_c3_c1_5", 0);
        }
    }
}

/// HCR_EL2 (DDI0487J.a, D19.2.48) of every guest, apart from what depends on CPU or guest. EnSCXT,
/// ATA and FIEN stay clear: SCXTNUM_ELx, memory tags and error injection trap.
const HCR: u64 = hcr::VM
    | hcr::SWIO
    | hcr::FMO
    | hcr::IMO
    | hcr::AMO
    | hcr::TID3
    | hcr::TSC
    | hcr::TIDCP
    | hcr::TACR
    | hcr::RW
    | hcr::TLOR
    | hcr::TERR
    | hcr::TID5;

mod hcr {
    pub(super) const VM: u64 = 1;
    pub(super) const SWIO: u64 = 1 << 1;
    pub(super) const FMO: u64 = 1 << 3;
    pub(super) const IMO: u64 = 1 << 4;
    pub(super) const AMO: u64 = 1 << 5;
    pub(super) const TWI: u64 = 1 << 13;
    pub(super) const TID3: u64 = 1 << 18;
    pub(super) const TSC: u64 = 1 << 19;
    /// Registers that are the CPU's own, such as CBAR_EL1, which tells where the machine's
    /// interrupt controller lies.
    pub(super) const TIDCP: u64 = 1 << 20;
    pub(super) const TACR: u64 = 1 << 21;
    pub(super) const RW: u64 = 1 << 31;
    /// Limited ordering regions.
    pub(super) const TLOR: u64 = 1 << 35;
    /// Error records.
    pub(super) const TERR: u64 = 1 << 36;
    pub(super) const APK: u64 = 1 << 40;
    pub(super) const API: u64 = 1 << 41;
    /// GMID_EL1.
    pub(super) const TID5: u64 = 1 << 58;
}

/// Confines what EL1 does on this CPU from now on to one VM.
///
/// # Safety
///
/// As for [`SystemRegisters::load`].
unsafe fn confine(confinement: &Confinement, features: &Features) {
    let mut value = HCR;
    if confinement.shares_cpu {
        value |= hcr::TWI;
    }
    if features.pointer_authentication {
        value |= hcr::API | hcr::APK;
    }
    let tables = u64::from(confinement.vmid) << 48 | confinement.stage2_root.0;
    // SAFETY: the caller vouches for VMID and tables.
    unsafe {
        write!("hcr_el2", value);
        write!("vttbr_el2", tables);
    }
    access::synchronize();
}
