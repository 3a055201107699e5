//! PSCI 1.1 for guests (DEN0022F.b): vCPUs on and off, the VM off and anew.

use super::answer;
use crate::cpu::Next;
use crate::power::{After, Entry, VcpuPower};
use crate::smccc::{FunctionId, NOT_SUPPORTED};
use crate::vcpu::Vcpu;
use arm_psci::{ErrorCode, FunctionId as Psci};

/// PSCI_VERSION: 1.1 (§5.1.1).
const VERSION_1_1: u64 = 0x1_0001;
/// MIGRATE_INFO_TYPE: there is no trusted OS that would have to migrate (§5.1.8).
const MIGRATION_NOT_REQUIRED: u64 = 2;
/// AFFINITY_INFO (§5.1.6).
const AFFINITY_ON: u64 = 0;
const AFFINITY_OFF: u64 = 1;
const AFFINITY_ON_PENDING: u64 = 2;
/// CPU_SUSPEND's power_state, original format: StateType, set for a power-down state (§5.4.2.1).
const POWER_DOWN_STATE: u64 = 1 << 16;
/// SYSTEM_RESET2's architectural warm reset (§5.1.11). A VM's reset keeps no memory, so it may stand for it.
const WARM_RESET: u64 = 0;
/// SMCCC_VERSION, which PSCI_FEATURES answers for too (§5.1.16).
const SMCCC_VERSION: u32 = 0x8000_0000;

fn error(code: ErrorCode) -> u64 {
    i64::from(i32::from(code)) as u64
}

/// Serves a call to the standard service's range; what is not PSCI there is not supported.
pub fn call(vcpu: &mut Vcpu, function: FunctionId) -> Next {
    let Ok(psci) = Psci::try_from(function.0) else {
        return answer(vcpu, NOT_SUPPORTED);
    };
    // SMC32 calls have 32-bit arguments (SMCCC, DEN0028G, §3.1).
    let mask = if function.is_64_bit() {
        u64::MAX
    } else {
        0xffff_ffff
    };
    let [_, a, b, c] = core::array::from_fn(|n| vcpu.context.x[n] & mask);
    match psci {
        Psci::PsciVersion => answer(vcpu, VERSION_1_1),
        Psci::PsciFeatures => answer(vcpu, features(a as u32)),
        Psci::MigrateInfoType => answer(vcpu, MIGRATION_NOT_REQUIRED),
        Psci::CpuOn32 | Psci::CpuOn64 => {
            let result = vcpu_at(a)
                .ok_or(ErrorCode::InvalidParameters)
                .and_then(|target| vcpu.vm.cpu_on(target, Entry { pc: b, argument: c }));
            answer(vcpu, result.map_or_else(error, |()| 0))
        }
        Psci::AffinityInfo32 | Psci::AffinityInfo64 => {
            let result = affinity_info(vcpu, a, b);
            answer(vcpu, result)
        }
        Psci::CpuSuspend32 | Psci::CpuSuspend64 => cpu_suspend(vcpu, a, b),
        Psci::CpuOff => {
            vcpu.turn_off();
            Next::Reschedule
        }
        Psci::SystemOff => stop(vcpu, After::Off),
        Psci::SystemReset => stop(vcpu, After::Restart),
        Psci::SystemReset232 | Psci::SystemReset264 => match a {
            WARM_RESET => stop(vcpu, After::Restart),
            _ => answer(vcpu, error(ErrorCode::InvalidParameters)),
        },
        _ => answer(vcpu, NOT_SUPPORTED),
    }
}

/// The vCPU with this affinity: Aff0 is its number, the other levels are 0.
fn vcpu_at(affinity: u64) -> Option<usize> {
    (affinity < 256).then_some(affinity as usize)
}

fn stop(vcpu: &mut Vcpu, after: After) -> Next {
    vcpu.vm.stop(after, None);
    Next::Reschedule
}

fn affinity_info(vcpu: &Vcpu, affinity: u64, lowest_level: u64) -> u64 {
    // Levels above 0 need not be supported from PSCI 1.0 on.
    let power = (lowest_level == 0)
        .then(|| vcpu_at(affinity))
        .flatten()
        .and_then(|target| vcpu.vm.vcpu_power(target));
    match power {
        Some(VcpuPower::On) => AFFINITY_ON,
        Some(VcpuPower::Off) => AFFINITY_OFF,
        Some(VcpuPower::Starting(_)) => AFFINITY_ON_PENDING,
        None => error(ErrorCode::InvalidParameters),
    }
}

/// Waits for an interrupt. A power-down state may be left at once, as standby would be (§5.4.5), so that the call
/// returns SUCCESS and nothing is lost; the entry is checked all the same.
fn cpu_suspend(vcpu: &mut Vcpu, power_state: u64, entry: u64) -> Next {
    if power_state & !(POWER_DOWN_STATE | 0x0300_ffff) != 0 {
        return answer(vcpu, error(ErrorCode::InvalidParameters));
    }
    if power_state & POWER_DOWN_STATE != 0 && !vcpu.vm.can_start_at(entry) {
        return answer(vcpu, error(ErrorCode::InvalidAddress));
    }
    vcpu.context.x[0] = 0;
    Next::Wait
}

fn features(function: u32) -> u64 {
    let supported = function == SMCCC_VERSION
        || matches!(
            Psci::try_from(function),
            Ok(Psci::PsciVersion
                | Psci::PsciFeatures
                | Psci::MigrateInfoType
                | Psci::CpuOn32
                | Psci::CpuOn64
                | Psci::AffinityInfo32
                | Psci::AffinityInfo64
                | Psci::CpuSuspend32
                | Psci::CpuSuspend64
                | Psci::CpuOff
                | Psci::SystemOff
                | Psci::SystemReset
                | Psci::SystemReset232
                | Psci::SystemReset264)
        );
    if supported { 0 } else { NOT_SUPPORTED }
}
