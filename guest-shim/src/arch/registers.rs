//! System registers of EL1.

/// Reads a system register that has no side effect when read. The register's name is a string
/// literal.
macro_rules! read {
    ($name:expr) => {{
        let value: u64;
        // SAFETY: reading the registers named in this crate changes nothing that Rust code relies
        // on.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nostack, preserves_flags));
        }
        value
    }};
}

/// Writes a system register. The caller's `unsafe` vouches that the payload's own execution stays
/// intact.
macro_rules! write {
    ($name:expr, $value:expr) => {{
        let value: u64 = $value;
        core::arch::asm!(concat!("msr ", $name, ", {}", "\nisb"), in(reg) value, options(nostack, preserves_flags));
    }};
}

pub(crate) use {read, write};

macro_rules! readers {
    ($($(#[$doc:meta])* $function:ident: $name:literal,)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $function() -> u64 {
                read!($name)
            }
        )*
    };
}

readers! {
    /// The exception level that runs.
    current_el: "currentel",
    /// MPIDR_EL1.
    mpidr: "mpidr_el1",
    /// MIDR_EL1.
    midr: "midr_el1",
    /// ID_AA64PFR0_EL1.
    id_aa64pfr0: "id_aa64pfr0_el1",
    /// ID_AA64PFR1_EL1.
    id_aa64pfr1: "id_aa64pfr1_el1",
    /// ID_AA64DFR0_EL1.
    id_aa64dfr0: "id_aa64dfr0_el1",
    /// ID_AA64MMFR1_EL1.
    id_aa64mmfr1: "id_aa64mmfr1_el1",
    /// PMCR_EL0.
    pmcr: "pmcr_el0",
    /// PMCEID0_EL0.
    pmceid0: "pmceid0_el0",
    /// MDRAR_EL1, which tells where the debug ROM table lies.
    mdrar: "mdrar_el1",
    /// ACTLR_EL1.
    actlr: "actlr_el1",
    /// CNTFRQ_EL0, in Hz.
    counter_frequency: "cntfrq_el0",
}

/// PSTATE's DAIF, and PAN (bit 22), SSBS (bit 12), DIT (bit 24) and TCO (bit 25) where the vCPU has
/// them, at the places that they have in SPSR_EL1.
#[must_use]
pub fn pstate_bits() -> u64 {
    let mut bits = read!("daif");
    if id_aa64mmfr1() >> 20 & 0xf != 0 {
        bits |= read!("s3_0_c4_c2_3");
    }
    if id_aa64pfr1() >> 4 & 0xf >= 2 {
        bits |= read!("s3_3_c4_c2_6");
    }
    if id_aa64pfr1() >> 8 & 0xf != 0 {
        bits |= read!("s3_3_c4_c2_7");
    }
    bits
}

/// SCTLR_EL1.
#[must_use]
pub fn sctlr() -> u64 {
    read!("sctlr_el1")
}

/// SCTLR_EL1.SPAN: an exception leaves PSTATE.PAN as it is.
pub const SCTLR_SPAN: u64 = 1 << 23;
/// SCTLR_EL1.DSSBS: PSTATE.SSBS at an exception.
pub const SCTLR_DSSBS: u64 = 1 << 44;

/// Sets SCTLR_EL1's bits `mask`, of SPAN and DSSBS, to `value`.
///
/// # Panics
///
/// For other bits.
pub fn set_sctlr_bits(mask: u64, value: u64) {
    assert_eq!(mask & !(SCTLR_SPAN | SCTLR_DSSBS), 0, "only these two");
    // SAFETY: both bits matter at exceptions alone, whose handlers rely on neither PAN nor SSBS.
    unsafe { write!("sctlr_el1", sctlr() & !mask | value & mask) }
}

/// Sets PSTATE.PAN, which the vCPU has.
pub fn set_pan(on: bool) {
    // SAFETY: the payload touches no memory of EL0 at addresses that EL0 may use.
    unsafe { write!("s3_0_c4_c2_3", u64::from(on) << 22) }
}

/// The affinity fields of this vCPU's MPIDR_EL1.
#[must_use]
pub fn affinity() -> u64 {
    mpidr() & 0xff_00ff_ffff
}

/// Reads HCR_EL2, which EL1 has not.
pub fn read_hcr_el2() -> u64 {
    read!("hcr_el2")
}

/// Reads VTTBR_EL2, which EL1 has not.
pub fn read_vttbr_el2() -> u64 {
    read!("vttbr_el2")
}

/// Reads LORID_EL1, which a vCPU without limited ordering regions has not.
pub fn read_limited_ordering() -> u64 {
    read!("s3_0_c10_c4_7")
}

/// Reads SCR_EL3, which EL1 has not.
pub fn read_scr_el3() -> u64 {
    read!("scr_el3")
}

/// Leaves a value in TPIDR_EL0, which the payload has no other use for.
pub fn set_thread_pointer(value: u64) {
    // SAFETY: the runtime does not rely on it between calls.
    unsafe { write!("tpidr_el0", value) }
}

/// Reads TPIDR_EL0.
#[must_use]
pub fn thread_pointer() -> u64 {
    read!("tpidr_el0")
}

/// Leaves a value in CONTEXTIDR_EL1, which the payload has no use for.
pub fn set_context_id(value: u64) {
    // SAFETY: nothing that runs depends on it: there are no ASIDs and no debugger.
    unsafe { write!("contextidr_el1", value) }
}

/// Reads CONTEXTIDR_EL1.
#[must_use]
pub fn context_id() -> u64 {
    read!("contextidr_el1")
}
