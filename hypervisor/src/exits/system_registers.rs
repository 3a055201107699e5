//! What becomes of an access to a system register that traps.

use crate::arch::debug_registers::DebugRegister;
use crate::arch::registers;
use crate::arch::syndrome::{RegisterName, SystemRegisterAccess};
use crate::exits::id_registers;
use crate::vm::vcpu::{Next, Vcpu};

/// A system register that traps, by what the hypervisor does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrappedRegister {
    /// An ID register.
    Id {
        /// CRm of its name.
        crm: u8,
        /// op2 of its name.
        op2: u8,
    },
    /// ICC_SGI1R_EL1, by which the guest sends SGIs.
    SendSgi,
    /// ICC_SGI0R_EL1 and ICC_ASGI1R_EL1: SGIs of interrupt groups that a guest does not have.
    SendOtherSgi,
    /// ICC_DIR_EL1, by which the guest deactivates an interrupt apart from dropping its priority.
    Deactivate,
    /// One of the vCPU's debug registers.
    Debug(DebugRegister),
    /// ICC_SRE_EL1: the system registers of the interrupt controller are on, and stay so.
    InterruptControllerEnable,
    /// Something a guest's CPU has to have, but that does nothing: it reads as zero and ignores
    /// writes.
    ReadsAsZero,
    /// Something a guest's CPU does not have.
    Undefined,
}

/// Says what a register is.
#[must_use]
pub fn classify(register: RegisterName) -> TrappedRegister {
    let RegisterName {
        op0,
        op1,
        crn,
        crm,
        op2,
    } = register;
    if id_registers::is_id_register(register) {
        return TrappedRegister::Id { crm, op2 };
    }
    if op0 == 2 {
        return DebugRegister::of(register)
            .map_or(TrappedRegister::Undefined, TrappedRegister::Debug);
    }
    match (op0, op1, crn, crm, op2) {
        (3, 0, 12, 11, 1) => TrappedRegister::Deactivate,
        (3, 0, 12, 12, 5) => TrappedRegister::InterruptControllerEnable,
        (3, 0, 12, 11, 5) => TrappedRegister::SendSgi,
        (3, 0, 12, 11, 6 | 7) => TrappedRegister::SendOtherSgi,
        // ACTLR_EL1; performance monitors, which ID_AA64DFR0_EL1 hides but Linux resets in any
        // case.
        (3, 0, 1, 0, 1) | (3, _, 9, 12..=14, _) | (3, 3, 14, 8..=15, _) => {
            TrappedRegister::ReadsAsZero
        }
        _ => TrappedRegister::Undefined,
    }
}

/// Serves an access to a system register.
pub fn serve(vcpu: &mut Vcpu, access: SystemRegisterAccess) -> Next {
    match classify(access.register) {
        TrappedRegister::Id { crm, op2 } if access.read => {
            let value = id_registers::for_guest(crm, op2, registers::id_register(crm, op2));
            vcpu.set_register(access.transfer, value);
        }
        TrappedRegister::SendSgi if !access.read => {
            let kicks = vcpu
                .vm
                .gic
                .send_sgi(vcpu.index, vcpu.register(access.transfer));
            vcpu.vm.deliver(kicks, vcpu.index);
        }
        TrappedRegister::SendOtherSgi if !access.read => {}
        TrappedRegister::Deactivate if !access.read => vcpu.deactivate(access.transfer),
        TrappedRegister::Debug(register) => {
            let done = if access.read {
                let value = vcpu.debug_register(register);
                value.map(|value| vcpu.set_register(access.transfer, value))
            } else {
                vcpu.set_debug_register(register, vcpu.register(access.transfer))
            };
            if done.is_none() {
                vcpu.context.inject_undefined();
                return Next::Resume;
            }
        }
        TrappedRegister::InterruptControllerEnable => {
            /// ICC_SRE_EL1: SRE, DFB and DIB.
            const ON: u64 = 0b111;
            if access.read {
                vcpu.set_register(access.transfer, ON);
            }
        }
        TrappedRegister::ReadsAsZero => {
            if access.read {
                vcpu.set_register(access.transfer, 0);
            }
        }
        _ => {
            vcpu.context.inject_undefined();
            return Next::Resume;
        }
    }
    vcpu.context.skip_a64();
    Next::Resume
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(op0: u8, op1: u8, crn: u8, crm: u8, op2: u8) -> TrappedRegister {
        classify(RegisterName {
            op0,
            op1,
            crn,
            crm,
            op2,
        })
    }

    #[test]
    fn registers_are_told_apart() {
        assert_eq!(
            register(3, 0, 0, 4, 0),
            TrappedRegister::Id { crm: 4, op2: 0 },
            "ID_AA64PFR0_EL1"
        );
        assert_eq!(register(3, 0, 12, 11, 1), TrappedRegister::Deactivate);
        assert_eq!(register(3, 0, 12, 11, 5), TrappedRegister::SendSgi);
        assert_eq!(register(3, 0, 12, 11, 7), TrappedRegister::SendOtherSgi);
        assert_eq!(
            register(2, 0, 1, 0, 4),
            TrappedRegister::Debug(DebugRegister::OsLockAccess),
            "OSLAR_EL1"
        );
        assert_eq!(
            register(3, 0, 12, 12, 5),
            TrappedRegister::InterruptControllerEnable,
            "ICC_SRE_EL1"
        );
        assert_eq!(
            register(3, 0, 1, 0, 1),
            TrappedRegister::ReadsAsZero,
            "ACTLR_EL1"
        );
        assert_eq!(
            register(3, 3, 9, 14, 0),
            TrappedRegister::ReadsAsZero,
            "PMUSERENR_EL0"
        );
        assert_eq!(
            register(3, 3, 14, 15, 7),
            TrappedRegister::ReadsAsZero,
            "PMCCFILTR_EL0"
        );
    }

    #[test]
    fn what_a_guest_does_not_have_is_undefined() {
        assert_eq!(
            register(3, 3, 14, 2, 1),
            TrappedRegister::Undefined,
            "CNTP_CTL_EL0"
        );
        assert_eq!(
            register(3, 0, 1, 2, 0),
            TrappedRegister::Undefined,
            "ZCR_EL1"
        );
        assert_eq!(
            register(2, 1, 0, 1, 0),
            TrappedRegister::Undefined,
            "TRCPRGCTLR"
        );
        for (crn, crm, op2, name) in [
            (15, 3, 0, "CBAR_EL1"),
            (11, 0, 2, "L2CTLR_EL1"),
            (10, 4, 0, "LORSA_EL1"),
            (5, 3, 1, "ERRSELR_EL1"),
            (5, 6, 0, "TFSR_EL1"),
            (13, 0, 7, "SCXTNUM_EL1"),
        ] {
            let op1 = if crn >= 11 && crn != 13 { 1 } else { 0 };
            let what = register(3, op1, crn, crm, op2);
            assert_eq!(what, TrappedRegister::Undefined, "{name}");
        }
        assert_eq!(
            register(1, 0, 7, 14, 2),
            TrappedRegister::Undefined,
            "DC CISW"
        );
    }
}
