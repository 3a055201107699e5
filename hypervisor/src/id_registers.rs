//! What the ID registers tell a guest: the CPU it runs on, less what the hypervisor does not keep for each vCPU.
//!
//! HCR_EL2.TID3 traps reads of op0 = 3, op1 = 0, CRn = 0, CRm = 1 to 7 (DDI0487J.a, D19.2.48).

use crate::syndrome::RegisterName;

/// Whether a register is one of those that HCR_EL2.TID3 traps.
#[must_use]
pub fn is_id_register(register: RegisterName) -> bool {
    let RegisterName {
        op0, op1, crn, crm, ..
    } = register;
    (op0, op1, crn) == (3, 0, 0) && (1..=7).contains(&crm)
}

/// `value` of the CPU's own ID register (CRm, op2), with the fields cleared that a guest must not rely on.
#[must_use]
pub fn for_guest(crm: u8, op2: u8, value: u64) -> u64 {
    match (crm, op2) {
        // ID_AA64PFR0_EL1: SVE, MPAM, AMU, RME; EL2 and EL3 are not the guest's.
        (4, 0) => clear(value, &[32, 40, 44, 52, 8, 12]),
        // ID_AA64PFR1_EL1: MTE, MPAM_frac, SME, THE, GCS, MTEX and what comes above.
        (4, 1) => clear(value, &[8, 16, 24, 40, 44, 48, 52]),
        // ID_AA64PFR2_EL1, ID_AA64ZFR0_EL1, ID_AA64SMFR0_EL1 and ID_AA64FPFR0_EL1.
        (4, 2 | 4 | 5 | 7) => 0,
        // ID_AA64DFR0_EL1: trace, performance monitors, statistical profiling, trace buffer, branch records.
        (5, 0) => clear(value, &[4, 8, 32, 40, 44, 48, 52]),
        // ID_AA64DFR1_EL1, ID_AA64AFR0_EL1 and ID_AA64AFR1_EL1.
        (5, 1 | 4 | 5) => 0,
        // ID_AA64ISAR2_EL1: WFxT and MOPS need EL2's help.
        (6, 2) => clear(value, &[0, 16]),
        // ID_AA64ISAR3_EL1.
        (6, 3) => 0,
        // ID_AA64MMFR1_EL1: VHE and limited ordering regions.
        (7, 1) => clear(value, &[8, 16]),
        // ID_AA64MMFR2_EL1: nested virtualization.
        (7, 2) => clear(value, &[24]),
        // ID_AA64MMFR3_EL1 and ID_AA64MMFR4_EL1: registers that a switch of vCPUs does not keep.
        (7, 3 | 4) => 0,
        // ID_DFR0_EL1: AArch32's view of trace and performance monitors.
        (1, 2) => clear(value, &[12, 16, 20, 24]),
        _ => value,
    }
}

/// Clears four-bit fields, each named by its lowest bit.
fn clear(value: u64, fields: &[u32]) -> u64 {
    fields
        .iter()
        .fold(value, |value, field| value & !(0xf << field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_sees_no_sve_and_no_el2_but_its_floating_point() {
        let pfr0 = for_guest(4, 0, 0x0000_0001_1111_2222);
        assert_eq!(pfr0, 0x0000_0000_1111_0022);
    }

    #[test]
    fn a_guest_sees_no_performance_monitors() {
        assert_eq!(
            for_guest(5, 0, 0x0000_0000_1030_5106),
            0x0000_0000_1030_5006
        );
    }

    #[test]
    fn cryptography_and_atomics_stay() {
        assert_eq!(
            for_guest(6, 0, 0x0221_1110_1021_2120),
            0x0221_1110_1021_2120
        );
    }

    #[test]
    fn only_the_trapped_group_counts() {
        let name = |op0, crm| RegisterName {
            op0,
            op1: 0,
            crn: 0,
            crm,
            op2: 0,
        };
        assert!(is_id_register(name(3, 4)));
        assert!(!is_id_register(name(3, 0)), "MIDR_EL1 does not trap");
        assert!(!is_id_register(name(2, 4)), "a debug register");
    }
}
