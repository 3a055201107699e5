//! PSCI (DEN0022F.b): identifiers, errors, and the calls that the runtime itself makes.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::runtime::conduit::call;
use smccc::{Conduit, WIDE};

/// Function identifiers (§5.1); those that take addresses have an SMC64 form, too: [`wide`].
pub mod id {
    /// PSCI_VERSION
    pub const VERSION: u32 = 0x8400_0000;
    /// CPU_SUSPEND
    pub const CPU_SUSPEND: u32 = 0x8400_0001;
    /// CPU_OFF
    pub const CPU_OFF: u32 = 0x8400_0002;
    /// CPU_ON
    pub const CPU_ON: u32 = 0x8400_0003;
    /// AFFINITY_INFO
    pub const AFFINITY_INFO: u32 = 0x8400_0004;
    /// MIGRATE
    pub const MIGRATE: u32 = 0x8400_0005;
    /// MIGRATE_INFO_TYPE
    pub const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
    /// MIGRATE_INFO_UP_CPU
    pub const MIGRATE_INFO_UP_CPU: u32 = 0x8400_0007;
    /// SYSTEM_OFF
    pub const SYSTEM_OFF: u32 = 0x8400_0008;
    /// SYSTEM_RESET
    pub const SYSTEM_RESET: u32 = 0x8400_0009;
    /// PSCI_FEATURES
    pub const FEATURES: u32 = 0x8400_000a;
    /// CPU_FREEZE
    pub const CPU_FREEZE: u32 = 0x8400_000b;
    /// CPU_DEFAULT_SUSPEND
    pub const CPU_DEFAULT_SUSPEND: u32 = 0x8400_000c;
    /// NODE_HW_STATE
    pub const NODE_HW_STATE: u32 = 0x8400_000d;
    /// SYSTEM_SUSPEND
    pub const SYSTEM_SUSPEND: u32 = 0x8400_000e;
    /// PSCI_SET_SUSPEND_MODE
    pub const SET_SUSPEND_MODE: u32 = 0x8400_000f;
    /// PSCI_STAT_RESIDENCY
    pub const STAT_RESIDENCY: u32 = 0x8400_0010;
    /// PSCI_STAT_COUNT
    pub const STAT_COUNT: u32 = 0x8400_0011;
    /// SYSTEM_RESET2
    pub const SYSTEM_RESET2: u32 = 0x8400_0012;
    /// MEM_PROTECT
    pub const MEM_PROTECT: u32 = 0x8400_0013;
    /// MEM_PROTECT_CHECK_RANGE
    pub const MEM_PROTECT_CHECK_RANGE: u32 = 0x8400_0014;
}

/// Return codes (§5.2.2).
pub mod status {
    /// SUCCESS
    pub const SUCCESS: i64 = 0;
    /// NOT_SUPPORTED
    pub const NOT_SUPPORTED: i64 = -1;
    /// INVALID_PARAMETERS
    pub const INVALID_PARAMETERS: i64 = -2;
    /// ALREADY_ON
    pub const ALREADY_ON: i64 = -4;
    /// INVALID_ADDRESS
    pub const INVALID_ADDRESS: i64 = -9;
}

/// The SMC64 form of an identifier.
#[must_use]
pub const fn wide(id: u32) -> u32 {
    id | WIDE
}

static USES_HVC: AtomicBool = AtomicBool::new(false);

/// Makes the runtime use the conduit that the device tree names.
pub fn use_conduit(conduit: Conduit) {
    USES_HVC.store(conduit == Conduit::Hvc, Ordering::Relaxed);
}

/// The conduit that the runtime uses.
#[must_use]
pub fn conduit() -> Conduit {
    if USES_HVC.load(Ordering::Relaxed) {
        Conduit::Hvc
    } else {
        Conduit::Smc
    }
}

/// Calls PSCI with the conduit of the device tree.
#[must_use]
pub fn psci(id: u32, arguments: &[u64]) -> i64 {
    call(conduit(), id, arguments).result()
}

/// Turns the guest off.
pub fn system_off() -> ! {
    loop {
        let _ = psci(id::SYSTEM_OFF, &[]);
    }
}

/// Restarts the guest.
pub fn system_reset() -> i64 {
    psci(id::SYSTEM_RESET, &[])
}

/// Turns the vCPU off that calls.
pub fn cpu_off() -> ! {
    loop {
        let _ = psci(id::CPU_OFF, &[]);
    }
}
