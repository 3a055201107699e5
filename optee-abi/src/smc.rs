//! SMC function IDs, return codes and register conventions (`optee_smc.h`, OP-TEE 4.5.0).
//!
//! All calls follow the SMC32 convention: only the lower 32 bits of a register mean anything, and
//! 64-bit values go in pairs of registers, the upper half first.

/// Bit of a function ID that marks a fast call; a yielding ("standard") call has it clear (SMCCC,
/// DEN0028F, §2.5).
pub const FAST_CALL: u32 = 1 << 31;
/// Bit of a function ID that marks the SMC64 convention.
pub const SMC64: u32 = 1 << 30;

/// Owners whose calls go to the Trusted OS (SMCCC, DEN0028F, table 6-1).
pub const TRUSTED_OS_OWNERS: core::ops::RangeInclusive<u8> = 50..=63;
/// `OPTEE_SMC_OWNER_TRUSTED_OS`
pub const OWNER_TRUSTED_OS: u8 = 50;
/// `OPTEE_SMC_OWNER_TRUSTED_OS_API`
pub const OWNER_TRUSTED_OS_API: u8 = 63;

/// The owner in a function ID (bits 29 to 24).
#[must_use]
pub const fn owner(function: u32) -> u8 {
    ((function >> 24) & 0x3f) as u8
}

const fn fast(owner: u8, number: u16) -> u32 {
    FAST_CALL | ((owner as u32) << 24) | number as u32
}

const fn yielding(number: u16) -> u32 {
    ((OWNER_TRUSTED_OS as u32) << 24) | number as u32
}

/// `OPTEE_SMC_CALLS_COUNT`
pub const CALLS_COUNT: u32 = fast(OWNER_TRUSTED_OS_API, 0xff00);
/// `OPTEE_SMC_CALLS_UID`
pub const CALLS_UID: u32 = fast(OWNER_TRUSTED_OS_API, 0xff01);
/// `OPTEE_SMC_CALLS_REVISION`
pub const CALLS_REVISION: u32 = fast(OWNER_TRUSTED_OS_API, 0xff03);
/// `OPTEE_SMC_CALL_GET_OS_UUID`
pub const GET_OS_UUID: u32 = fast(OWNER_TRUSTED_OS, 0);
/// `OPTEE_SMC_CALL_GET_OS_REVISION`
pub const GET_OS_REVISION: u32 = fast(OWNER_TRUSTED_OS, 1);
/// `OPTEE_SMC_GET_SHM_CONFIG`
pub const GET_SHM_CONFIG: u32 = fast(OWNER_TRUSTED_OS, 7);
/// `OPTEE_SMC_L2CC_MUTEX`
pub const L2CC_MUTEX: u32 = fast(OWNER_TRUSTED_OS, 8);
/// `OPTEE_SMC_EXCHANGE_CAPABILITIES`
pub const EXCHANGE_CAPABILITIES: u32 = fast(OWNER_TRUSTED_OS, 9);
/// `OPTEE_SMC_DISABLE_SHM_CACHE`
pub const DISABLE_SHM_CACHE: u32 = fast(OWNER_TRUSTED_OS, 10);
/// `OPTEE_SMC_ENABLE_SHM_CACHE`
pub const ENABLE_SHM_CACHE: u32 = fast(OWNER_TRUSTED_OS, 11);
/// `OPTEE_SMC_BOOT_SECONDARY`
pub const BOOT_SECONDARY: u32 = fast(OWNER_TRUSTED_OS, 12);
/// `OPTEE_SMC_VM_CREATED`, for the hypervisor alone
pub const VM_CREATED: u32 = fast(OWNER_TRUSTED_OS, 13);
/// `OPTEE_SMC_VM_DESTROYED`, for the hypervisor alone
pub const VM_DESTROYED: u32 = fast(OWNER_TRUSTED_OS, 14);
/// `OPTEE_SMC_GET_THREAD_COUNT`
pub const GET_THREAD_COUNT: u32 = fast(OWNER_TRUSTED_OS, 15);
/// `OPTEE_SMC_ENABLE_ASYNC_NOTIF`
pub const ENABLE_ASYNC_NOTIF: u32 = fast(OWNER_TRUSTED_OS, 16);
/// `OPTEE_SMC_GET_ASYNC_NOTIF_VALUE`
pub const GET_ASYNC_NOTIF_VALUE: u32 = fast(OWNER_TRUSTED_OS, 17);

/// `OPTEE_SMC_CALL_RETURN_FROM_RPC`
pub const RETURN_FROM_RPC: u32 = yielding(3);
/// `OPTEE_SMC_CALL_WITH_ARG`
pub const CALL_WITH_ARG: u32 = yielding(4);
/// `OPTEE_SMC_CALL_WITH_RPC_ARG`
pub const CALL_WITH_RPC_ARG: u32 = yielding(18);
/// `OPTEE_SMC_CALL_WITH_REGD_ARG`
pub const CALL_WITH_REGD_ARG: u32 = yielding(19);

/// Client ID of the hypervisor itself in a7 (`HYP_CLNT_ID`,
/// `core/include/kernel/virtualization.h`).
pub const HYPERVISOR_CLIENT: u16 = 0;

/// `OPTEE_MSG_UID_0` to `_3`: what [`CALLS_UID`] returns in a0 to a3.
pub const API_UID: [u32; 4] = [0x384f_b3e0, 0xe7f8_11e3, 0xaf63_0002, 0xa5d5_c51b];
/// `OPTEE_MSG_REVISION_MAJOR`, `OPTEE_MSG_REVISION_MINOR`
pub const API_REVISION: [u32; 2] = [2, 0];

/// Return codes in a0.
pub mod status {
    /// `OPTEE_SMC_RETURN_OK`
    pub const OK: u32 = 0;
    /// `OPTEE_SMC_RETURN_ETHREAD_LIMIT`
    pub const ETHREAD_LIMIT: u32 = 1;
    /// `OPTEE_SMC_RETURN_EBUSY`
    pub const EBUSY: u32 = 2;
    /// `OPTEE_SMC_RETURN_ERESUME`
    pub const ERESUME: u32 = 3;
    /// `OPTEE_SMC_RETURN_EBADADDR`
    pub const EBADADDR: u32 = 4;
    /// `OPTEE_SMC_RETURN_EBADCMD`
    pub const EBADCMD: u32 = 5;
    /// `OPTEE_SMC_RETURN_ENOMEM`
    pub const ENOMEM: u32 = 6;
    /// `OPTEE_SMC_RETURN_ENOTAVAIL`
    pub const ENOTAVAIL: u32 = 7;
    /// `OPTEE_SMC_RETURN_UNKNOWN_FUNCTION`
    pub const UNKNOWN_FUNCTION: u32 = 0xffff_ffff;
}

/// Flags in a2 of [`GET_ASYNC_NOTIF_VALUE`].
pub mod notification {
    /// `OPTEE_SMC_ASYNC_NOTIF_VALID`: there is a value in a1.
    pub const VALID: u64 = 1 << 0;
    /// `OPTEE_SMC_ASYNC_NOTIF_PENDING`: there are more.
    pub const PENDING: u64 = 1 << 1;
}

/// What a yielding call came back with in a0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The call ended with this return code, one of [`status`].
    Done(u32),
    /// The call is suspended and asks for something (`OPTEE_SMC_RETURN_IS_RPC`).
    Rpc(RpcFunction),
}

impl Returned {
    /// Reads a0.
    #[must_use]
    pub const fn from_a0(a0: u32) -> Self {
        if a0 == status::UNKNOWN_FUNCTION || a0 & RPC_PREFIX != RPC_PREFIX {
            return Self::Done(a0);
        }
        Self::Rpc(match a0 & !RPC_PREFIX {
            0 => RpcFunction::Alloc,
            2 => RpcFunction::Free,
            4 => RpcFunction::ForeignInterrupt,
            5 => RpcFunction::Command,
            other => RpcFunction::Unknown(other as u16),
        })
    }
}

const RPC_PREFIX: u32 = 0xffff_0000;

/// `OPTEE_SMC_RPC_FUNC_*`: what a suspended call asks of the normal world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcFunction {
    /// Memory for an RPC argument; a1 has its size in bytes.
    Alloc,
    /// Freeing of such memory; a1 and a2 have its cookie.
    Free,
    /// An interrupt of the normal world is to be taken.
    ForeignInterrupt,
    /// A command, which stands in the RPC argument.
    Command,
    /// A number that OP-TEE 4.5.0 does not define.
    Unknown(u16),
}

impl RpcFunction {
    /// a0 of a return that asks for this.
    #[must_use]
    pub const fn a0(self) -> u32 {
        RPC_PREFIX
            | match self {
                Self::Alloc => 0,
                Self::Free => 2,
                Self::ForeignInterrupt => 4,
                Self::Command => 5,
                Self::Unknown(number) => number as u32,
            }
    }
}

/// Joins a register pair, upper half first (`reg_pair_to_64`).
#[must_use]
pub const fn join(upper: u64, lower: u64) -> u64 {
    (upper << 32) | (lower & 0xffff_ffff)
}

/// Splits a value into a register pair, upper half first (`reg_pair_from_64`).
#[must_use]
pub const fn split(value: u64) -> [u64; 2] {
    [value >> 32, value & 0xffff_ffff]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_ids_have_the_numbers_of_the_header() {
        assert_eq!(CALLS_UID, 0xbf00_ff01);
        assert_eq!(CALLS_REVISION, 0xbf00_ff03);
        assert_eq!(GET_OS_REVISION, 0xb200_0001);
        assert_eq!(EXCHANGE_CAPABILITIES, 0xb200_0009);
        assert_eq!(VM_CREATED, 0xb200_000d);
        assert_eq!(RETURN_FROM_RPC, 0x3200_0003);
        assert_eq!(CALL_WITH_ARG, 0x3200_0004);
        assert_eq!(CALL_WITH_RPC_ARG, 0x3200_0012);
        assert_eq!(CALL_WITH_REGD_ARG, 0x3200_0013);
        assert_eq!(owner(CALLS_UID), OWNER_TRUSTED_OS_API);
        assert_eq!(owner(CALL_WITH_ARG), OWNER_TRUSTED_OS);
    }

    #[test]
    fn unknown_function_is_no_rpc() {
        assert_eq!(
            Returned::from_a0(status::UNKNOWN_FUNCTION),
            Returned::Done(status::UNKNOWN_FUNCTION)
        );
        assert_eq!(Returned::from_a0(status::ETHREAD_LIMIT), Returned::Done(1));
    }

    #[test]
    fn every_rpc_function_survives_the_way_through_a_register() {
        for function in [
            RpcFunction::Alloc,
            RpcFunction::Free,
            RpcFunction::ForeignInterrupt,
            RpcFunction::Command,
            RpcFunction::Unknown(9),
        ] {
            assert_eq!(Returned::from_a0(function.a0()), Returned::Rpc(function));
        }
    }

    #[test]
    fn pairs_ignore_what_smc32_ignores() {
        assert_eq!(join(0x12, 0xdead_0000_0000_0034), 0x12_0000_0034);
        assert_eq!(split(0x12_0000_0034), [0x12, 0x34]);
        assert_eq!(join(0xffff_0000_0001, 2), 0x1_0000_0002);
    }
}
