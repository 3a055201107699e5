//! How a CPU enters EL1 by a synchronous exception, for exceptions that EL2 injects (DDI0487J.a,
//! D1.3.1 and the pseudocode `AArch64.TakeException`).

/// PSTATE, in the layout of SPSR_EL2 (DDI0487J.a, C5.2.19).
pub mod pstate {
    /// The single-step state.
    pub const SS: u64 = 1 << 21;
    /// What kind of branch came last (FEAT_BTI). In AArch32 state these bits are part of IT.
    pub const BTYPE: u64 = 0b11 << 10;
    /// AArch32 state.
    pub const AARCH32: u64 = 1 << 4;
    /// A32 or T32, in AArch32 state.
    pub const T32: u64 = 1 << 5;

    pub(super) const NZCV: u64 = 0b1111 << 28;
    pub(super) const TCO: u64 = 1 << 25;
    pub(super) const DIT: u64 = 1 << 24;
    pub(super) const PAN: u64 = 1 << 22;
    pub(super) const ALLINT: u64 = 1 << 13;
    pub(super) const SSBS: u64 = 1 << 12;
    pub(super) const DAIF: u64 = 0b1111 << 6;
    pub(super) const EL_AND_SP: u64 = 0b1101;
    pub(super) const EL1_WITH_SP_EL1: u64 = 0b0101;
    pub(super) const EL1_WITH_SP_EL0: u64 = 0b0100;

    /// PSTATE of a CPU that starts: EL1 with SP_EL1, all exceptions masked.
    pub const START: u64 = DAIF | EL1_WITH_SP_EL1;
}

/// Where in EL1's vector table the handler for a synchronous exception lies, if it is taken at
/// `pstate` (DDI0487J.a, table D1-5): an offset in bytes from VBAR_EL1.
#[must_use]
pub const fn vector_offset(pstate: u64) -> u64 {
    const CURRENT_EL_WITH_SP_EL0: u64 = 0x000;
    const CURRENT_EL_WITH_SP_EL1: u64 = 0x200;
    const LOWER_EL_AARCH64: u64 = 0x400;
    const LOWER_EL_AARCH32: u64 = 0x600;
    if pstate & pstate::AARCH32 != 0 {
        return LOWER_EL_AARCH32;
    }
    match pstate & pstate::EL_AND_SP {
        pstate::EL1_WITH_SP_EL1 => CURRENT_EL_WITH_SP_EL1,
        pstate::EL1_WITH_SP_EL0 => CURRENT_EL_WITH_SP_EL0,
        _ => LOWER_EL_AARCH64,
    }
}

/// Whether `pstate` is that of EL0, in either state.
#[must_use]
pub const fn is_el0(pstate: u64) -> bool {
    matches!(vector_offset(pstate), 0x400 | 0x600)
}

/// What the CPU has that PSTATE tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PstateFeatures {
    /// FEAT_PAN: PSTATE.PAN.
    pub pan: bool,
    /// FEAT_SSBS: PSTATE.SSBS.
    pub ssbs: bool,
    /// FEAT_MTE: PSTATE.TCO.
    pub mte: bool,
    /// FEAT_NMI: PSTATE.ALLINT.
    pub nmi: bool,
}

impl PstateFeatures {
    /// Out of the CPU's ID_AA64MMFR1_EL1 and ID_AA64PFR1_EL1.
    #[must_use]
    pub const fn of(mmfr1: u64, pfr1: u64) -> Self {
        Self {
            pan: mmfr1 >> 20 & 0xf != 0,
            ssbs: pfr1 >> 4 & 0xf != 0,
            mte: pfr1 >> 8 & 0xf != 0,
            nmi: pfr1 >> 36 & 0xf != 0,
        }
    }
}

/// SCTLR_EL1 (DDI0487J.a, D19.2.117): PAN stays as it is at an exception.
const SCTLR_SPAN: u64 = 1 << 23;
/// SSBS at an exception.
const SCTLR_DSSBS: u64 = 1 << 44;
/// ALLINT stays clear at an exception.
const SCTLR_SPINTMASK: u64 = 1 << 62;

/// PSTATE after an exception at `before` was taken to EL1, where SCTLR_EL1 is `sctlr`.
#[must_use]
pub const fn pstate_at_el1(before: u64, sctlr: u64, features: PstateFeatures) -> u64 {
    let mut after = before & (pstate::NZCV | pstate::DIT | pstate::PAN) | pstate::START;
    if features.pan && sctlr & SCTLR_SPAN == 0 {
        after |= pstate::PAN;
    }
    if features.ssbs && sctlr & SCTLR_DSSBS != 0 {
        after |= pstate::SSBS;
    }
    if features.mte {
        after |= pstate::TCO;
    }
    if features.nmi && sctlr & SCTLR_SPINTMASK == 0 {
        after |= pstate::ALLINT;
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: PstateFeatures = PstateFeatures {
        pan: true,
        ssbs: true,
        mte: true,
        nmi: false,
    };

    #[test]
    fn each_state_has_its_vector() {
        for (pstate, offset, el0) in [
            (0b0101, 0x200, false),
            (0b0100, 0x000, false),
            (0b0000, 0x400, true),
            // AArch32 User, and System as firmware of a 32-bit guest would have it; A32 and T32.
            (0b1_0000, 0x600, true),
            (0b11_0000, 0x600, true),
        ] {
            assert_eq!(vector_offset(pstate), offset, "{pstate:#b}");
            assert_eq!(is_el0(pstate), el0, "{pstate:#b}");
            assert_eq!(vector_offset(pstate | 0xf << 28), offset, "with flags");
        }
    }

    #[test]
    fn what_a_cpu_without_extensions_does() {
        let features = PstateFeatures::default();
        // N and C, DIT, IL, SS, BTYPE and EL0.
        let before = 0b1010 << 28 | 1 << 24 | 1 << 20 | 1 << 21 | 0b10 << 10;
        assert_eq!(
            pstate_at_el1(before, 0, features),
            0b1010 << 28 | 1 << 24 | 0x3c5
        );
        assert_eq!(
            pstate_at_el1(0, u64::MAX, features),
            0x3c5,
            "SCTLR_EL1's bits have no meaning there"
        );
    }

    #[test]
    fn pan_follows_span() {
        let pan = |before, sctlr| pstate_at_el1(before, sctlr, ALL) & pstate::PAN != 0;
        assert!(pan(0, 0), "it is set where SPAN is clear");
        assert!(pan(pstate::PAN, 0));
        assert!(!pan(0, SCTLR_SPAN), "it stays clear");
        assert!(pan(pstate::PAN, SCTLR_SPAN), "it stays set");
    }

    #[test]
    fn ssbs_tco_and_allint_come_from_el1_and_not_from_what_was_interrupted() {
        let none = pstate_at_el1(pstate::SSBS | pstate::ALLINT, SCTLR_SPAN, ALL);
        assert_eq!(none & (pstate::SSBS | pstate::ALLINT), 0);
        assert_ne!(none & pstate::TCO, 0, "tag checks are off in a handler");
        let dssbs = pstate_at_el1(0, SCTLR_DSSBS, ALL);
        assert_ne!(dssbs & pstate::SSBS, 0);
        let nmi = PstateFeatures { nmi: true, ..ALL };
        assert_ne!(pstate_at_el1(0, 0, nmi) & pstate::ALLINT, 0);
        assert_eq!(pstate_at_el1(0, SCTLR_SPINTMASK, nmi) & pstate::ALLINT, 0);
    }

    #[test]
    fn nothing_of_aarch32_is_left() {
        // IT, GE, E, T, J and Q of a User program.
        let before = 0b1_0000 | 1 << 5 | 1 << 9 | 0b11_1111 << 10 | 0xf << 16 | 0b111 << 25;
        assert_eq!(
            pstate_at_el1(before, SCTLR_SPAN, ALL),
            pstate::TCO | pstate::START
        );
    }

    #[test]
    fn the_features_are_where_the_id_registers_say() {
        assert_eq!(PstateFeatures::of(0, 0), PstateFeatures::default());
        assert_eq!(PstateFeatures::of(3 << 20, 3 << 8 | 2 << 4), ALL);
    }
}
