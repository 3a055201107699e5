//! PSCI 1.1 for guests (DEN0022F.b): vCPUs on and off, the VM off and anew.

use crate::exits::smc::answer::answer;
use crate::vm::power::{After, Entry, VcpuPower};
use crate::vm::vcpu::{Next, Vcpu};
use arm_psci::ErrorCode;
use smccc::{FunctionId, NOT_SUPPORTED};

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
/// SYSTEM_RESET2's architectural warm reset (§5.1.11). A VM's reset keeps no memory, so it may
/// stand for it.
const WARM_RESET: u64 = 0;
/// The functions that are served (§5.1). They are matched as the numbers they are: a guest may give
/// any other.
mod function {
    use arm_psci::FunctionId;

    pub const PSCI_VERSION: u32 = FunctionId::PsciVersion as u32;
    pub const PSCI_FEATURES: u32 = FunctionId::PsciFeatures as u32;
    pub const MIGRATE_INFO_TYPE: u32 = FunctionId::MigrateInfoType as u32;
    pub const CPU_ON_32: u32 = FunctionId::CpuOn32 as u32;
    pub const CPU_ON_64: u32 = FunctionId::CpuOn64 as u32;
    pub const AFFINITY_INFO_32: u32 = FunctionId::AffinityInfo32 as u32;
    pub const AFFINITY_INFO_64: u32 = FunctionId::AffinityInfo64 as u32;
    pub const CPU_SUSPEND_32: u32 = FunctionId::CpuSuspend32 as u32;
    pub const CPU_SUSPEND_64: u32 = FunctionId::CpuSuspend64 as u32;
    pub const CPU_OFF: u32 = FunctionId::CpuOff as u32;
    pub const SYSTEM_OFF: u32 = FunctionId::SystemOff as u32;
    pub const SYSTEM_RESET: u32 = FunctionId::SystemReset as u32;
    pub const SYSTEM_RESET2_32: u32 = FunctionId::SystemReset232 as u32;
    pub const SYSTEM_RESET2_64: u32 = FunctionId::SystemReset264 as u32;
}

/// SMCCC_VERSION, which PSCI_FEATURES answers for too (§5.1.16).
const SMCCC_VERSION: u32 = 0x8000_0000;

fn error(code: ErrorCode) -> u64 {
    i64::from(i32::from(code)) as u64
}

/// Whether a call of the standard service lies in PSCI's range: the first 32 numbers (SMCCC's list
/// of service calls).
pub fn owns(id: FunctionId) -> bool {
    id.0 & 0xffe0 == 0
}

/// Serves a call to PSCI's range; what is not known there is not supported.
#[inline(never)]
pub fn call(vcpu: &mut Vcpu, id: FunctionId) -> Next {
    match id.0 {
        function::PSCI_VERSION => answer(vcpu, VERSION_1_1),
        function::PSCI_FEATURES => {
            let [asked, ..] = arguments(vcpu, id);
            answer(vcpu, features(asked as u32))
        }
        function::MIGRATE_INFO_TYPE => answer(vcpu, MIGRATION_NOT_REQUIRED),
        function::CPU_ON_32 | function::CPU_ON_64 => {
            let [target, pc, argument] = arguments(vcpu, id);
            let result = vcpu_at(target)
                .ok_or(ErrorCode::InvalidParameters)
                .and_then(|target| vcpu.vm.cpu_on(target, Entry { pc, argument }));
            answer(vcpu, result.map_or_else(error, |()| 0))
        }
        function::AFFINITY_INFO_32 | function::AFFINITY_INFO_64 => {
            let [affinity, lowest_level, _] = arguments(vcpu, id);
            let result = affinity_info(vcpu, affinity, lowest_level);
            answer(vcpu, result)
        }
        function::CPU_SUSPEND_32 | function::CPU_SUSPEND_64 => {
            let [power_state, entry, _] = arguments(vcpu, id);
            cpu_suspend(vcpu, power_state, entry)
        }
        function::CPU_OFF => {
            vcpu.turn_off();
            Next::Reschedule
        }
        function::SYSTEM_OFF => stop(vcpu, After::Off),
        function::SYSTEM_RESET => stop(vcpu, After::Restart),
        function::SYSTEM_RESET2_32 | function::SYSTEM_RESET2_64 => match arguments(vcpu, id) {
            [WARM_RESET, ..] => stop(vcpu, After::Restart),
            _ => answer(vcpu, error(ErrorCode::InvalidParameters)),
        },
        _ => answer(vcpu, NOT_SUPPORTED),
    }
}

/// The first arguments of a call. SMC32 calls have 32-bit arguments (SMCCC, DEN0028G, §3.1).
fn arguments(vcpu: &Vcpu, id: FunctionId) -> [u64; 3] {
    let mask = if id.is_64_bit() {
        u64::MAX
    } else {
        0xffff_ffff
    };
    core::array::from_fn(|n| vcpu.context.x[n + 1] & mask)
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

/// Waits for an interrupt. A power-down state may be left at once, as standby would be (§5.4.5), so
/// that the call returns SUCCESS and nothing is lost; the entry is checked all the same.
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

fn features(id: u32) -> u64 {
    let supported = id == SMCCC_VERSION
        || matches!(
            id,
            function::PSCI_VERSION
                | function::PSCI_FEATURES
                | function::MIGRATE_INFO_TYPE
                | function::CPU_ON_32
                | function::CPU_ON_64
                | function::AFFINITY_INFO_32
                | function::AFFINITY_INFO_64
                | function::CPU_SUSPEND_32
                | function::CPU_SUSPEND_64
                | function::CPU_OFF
                | function::SYSTEM_OFF
                | function::SYSTEM_RESET
                | function::SYSTEM_RESET2_32
                | function::SYSTEM_RESET2_64
        );
    if supported { 0 } else { NOT_SUPPORTED }
}

#[cfg(test)]
mod tests;
