//! The EL1 state of a vCPU that only a switch to another vCPU saves, and the EL2 controls that confine a guest.

use super::registers::{read, write};
use super::timer;
use aarch64_cpu::registers::Writeable;
use aarch64_cpu::registers::{HCR_EL2, VTTBR_EL2};

use mediator::address::Pa;

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
            /// EL2 runs with the physical CPU's own translation regime, so that these only matter to the guest that is
            /// entered next, which must be the one they were saved from or a fresh one.
            unsafe fn load(&self) {
                // SAFETY: registers of EL1 and EL0, of no meaning to EL2 (E2H is 0); the caller vouches for the guest.
                unsafe { $(write!($name, self.$field);)* }
            }
        }
    };
}

registers! {
    /// What every CPU has.
    General {
        sctlr: "sctlr_el1",
        cpacr: "cpacr_el1",
        ttbr0: "ttbr0_el1",
        ttbr1: "ttbr1_el1",
        tcr: "tcr_el1",
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
        mdscr: "mdscr_el1",
        vmpidr: "vmpidr_el2",
        vmcr: "ich_vmcr_el2",
        active0: "ich_ap0r0_el2",
        active1: "ich_ap1r0_el2",
    }
}

registers! {
    /// Pointer authentication keys (FEAT_PAuth), by encoding since the baseline assembler has no names for them.
    PointerKeys {
        ia_lo: "s3_0_c2_c1_0", ia_hi: "s3_0_c2_c1_1",
        ib_lo: "s3_0_c2_c1_2", ib_hi: "s3_0_c2_c1_3",
        da_lo: "s3_0_c2_c2_0", da_hi: "s3_0_c2_c2_1",
        db_lo: "s3_0_c2_c2_2", db_hi: "s3_0_c2_c2_3",
        ga_lo: "s3_0_c2_c3_0", ga_hi: "s3_0_c2_c3_1",
    }
}

/// SCTLR_EL1 of a CPU that starts: MMU and caches off, RES1 bits set (DDI0487 D24.2.123).
const SCTLR_START: u64 = 0x30c5_0838;

/// The EL1 registers of a vCPU.
#[derive(Clone, Debug)]
pub struct SystemRegisters {
    general: General,
    pointer_keys: PointerKeys,
    float: FloatRegisters,
}

impl SystemRegisters {
    /// Those of vCPU number `index` at its start.
    #[must_use]
    pub fn start(index: usize) -> Self {
        let general = General {
            sctlr: SCTLR_START,
            // Bit 31 is RES1; Aff0 is the vCPU's number.
            vmpidr: 1 << 31 | index as u64,
            ..General::default()
        };
        Self {
            general,
            pointer_keys: PointerKeys::default(),
            float: FloatRegisters::default(),
        }
    }

    /// Saves them from this CPU.
    pub fn save(&mut self) {
        self.general.save();
        if has_pointer_authentication() {
            self.pointer_keys.save();
        }
        self.float.save();
    }

    /// Loads them into this CPU.
    ///
    /// # Safety
    ///
    /// The next guest to be entered on this CPU is the one these registers belong to.
    pub unsafe fn load(&self) {
        // SAFETY: the caller vouches that these belong to the guest that is entered next.
        unsafe {
            self.general.load();
            if has_pointer_authentication() {
                self.pointer_keys.load();
            }
        }
        self.float.load();
    }

    /// When the first of the saved timers fires, as a value of the counter; `None` where both are off or masked.
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

fn has_pointer_authentication() -> bool {
    // ID_AA64ISAR1_EL1: APA, API, GPA and GPI (DDI0487 D24.2.79); ID_AA64ISAR2_EL1: APA3 and GPA3.
    read!("id_aa64isar1_el1") & 0xff00_0ff0 != 0 || read!("s3_0_c0_c6_2") & 0xff00 != 0
}

/// q0 to q31, FPSR and FPCR.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default)]
struct FloatRegisters {
    q: [[u128; 8]; 4],
    fpsr: u64,
    fpcr: u64,
}

const _: () = assert!(
    core::mem::offset_of!(FloatRegisters, fpsr) == 512,
    "save_float and load_float use this offset"
);

impl FloatRegisters {
    fn save(&mut self) {
        unsafe extern "C" {
            fn save_float(registers: *mut FloatRegisters);
        }
        // SAFETY: writes exactly the structure; EL2's own code is built without floating point.
        unsafe { save_float(self) }
    }

    fn load(&self) {
        unsafe extern "C" {
            fn load_float(registers: *const FloatRegisters);
        }
        // SAFETY: reads exactly the structure; EL2's own code is built without floating point.
        unsafe { load_float(self) }
    }
}

core::arch::global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".macro each_pair instruction",
    "\\instruction q0, q1, [x0]",
    "\\instruction q2, q3, [x0, #32]",
    "\\instruction q4, q5, [x0, #64]",
    "\\instruction q6, q7, [x0, #96]",
    "\\instruction q8, q9, [x0, #128]",
    "\\instruction q10, q11, [x0, #160]",
    "\\instruction q12, q13, [x0, #192]",
    "\\instruction q14, q15, [x0, #224]",
    "\\instruction q16, q17, [x0, #256]",
    "\\instruction q18, q19, [x0, #288]",
    "\\instruction q20, q21, [x0, #320]",
    "\\instruction q22, q23, [x0, #352]",
    "\\instruction q24, q25, [x0, #384]",
    "\\instruction q26, q27, [x0, #416]",
    "\\instruction q28, q29, [x0, #448]",
    "\\instruction q30, q31, [x0, #480]",
    ".endm",
    "save_float:",
    "each_pair stp",
    "mrs x1, fpsr",
    "mrs x2, fpcr",
    "str x1, [x0, #512]",
    "str x2, [x0, #520]",
    "ret",
    "load_float:",
    "each_pair ldp",
    "ldr x1, [x0, #512]",
    "ldr x2, [x0, #520]",
    "msr fpsr, x1",
    "msr fpcr, x2",
    "ret",
    ".arch_extension nosimd",
    ".arch_extension nofp",
);

/// Sets what does not change from guest to guest: traps of what guests share, and the counter they may read.
pub fn init_cpu() {
    // CPTR_EL2 (DDI0487 D24.2.31, E2H = 0): RES1 bits, TZ set: SVE traps, floating point does not.
    const CPTR: u64 = 0x32ff | 1 << 8;
    // MDCR_EL2: TDRA, TDOSA, TDA, TPM and TPMCR: debug and performance registers are not guests' to use.
    const MDCR: u64 = 1 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 1 << 5;
    // CNTHCTL_EL2 (DDI0487J.a, D19.12.2, E2H = 0): EL1PCTEN and EL1PCEN: guests have the counter and the EL1 physical timer.
    const CNTHCTL: u64 = 1 | 1 << 1;
    // MDCR_EL2.HPMN stays as it was.
    let mdcr = MDCR | read!("mdcr_el2") & 0x1f;
    let (midr, vtcr) = (
        read!("midr_el1"),
        crate::stage2::vtcr(read!("id_aa64mmfr0_el1") & 0xf),
    );
    // SAFETY: these trap or allow what guests do; EL2 uses none of it.
    unsafe {
        write!("cptr_el2", CPTR);
        write!("mdcr_el2", mdcr);
        write!("cnthctl_el2", CNTHCTL);
        // The virtual counter is the physical one: docs/qemu-faults.md, "A timer whose sum wraps".
        write!("cntvoff_el2", 0);
        write!("hstr_el2", 0);
        write!("vpidr_el2", midr);
        write!("vtcr_el2", vtcr);
        core::arch::asm!("isb", options(nostack, preserves_flags));
    }
}

/// Confines what EL1 does on this CPU from now on to one VM.
///
/// `shares_cpu` says that other vCPUs wait for this CPU, so that WFI gives way to them.
///
/// # Safety
///
/// `stage2_root` is the root of the VM's stage-2 tables, which live as long as the VM, and `vmid` is that VM's alone.
pub unsafe fn confine(stage2_root: Pa, vmid: u16, shares_cpu: bool) {
    let mut hcr = HCR_EL2::VM::Enable
        + HCR_EL2::SWIO::SET
        + HCR_EL2::FMO::EnableVirtualFIQ
        + HCR_EL2::IMO::EnableVirtualIRQ
        + HCR_EL2::AMO::SET
        + HCR_EL2::TSC::EnableTrapEl1SmcToEl2
        + HCR_EL2::TID3::SET
        + HCR_EL2::TACR::SET
        + HCR_EL2::RW::EL1IsAarch64;
    if shares_cpu {
        hcr += HCR_EL2::TWI::SET;
    }
    if has_pointer_authentication() {
        hcr += HCR_EL2::API::DisableTrapPointerAuthInstToEl2
            + HCR_EL2::APK::DisableTrapPointerAuthKeyRegsToEl2;
    }
    HCR_EL2.write(hcr);
    VTTBR_EL2.set(u64::from(vmid) << 48 | stage2_root.0);
    // SAFETY: a barrier, so that the next ERET sees both registers.
    unsafe { core::arch::asm!("isb", options(nostack, preserves_flags)) }
}
