//! Capabilities of both worlds (`OPTEE_SMC_NSEC_CAP_*`, `OPTEE_SMC_SEC_CAP_*`; `optee_smc.h`,
//! OP-TEE 4.5.0).

use core::ops::{BitAnd, BitOr};

/// `OPTEE_SMC_NSEC_CAP_UNIPROCESSOR`: the normal world runs on one CPU. The only capability a
/// caller can state.
pub const UNIPROCESSOR: u32 = 1 << 0;

/// A set of capabilities of the secure world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Shared memory set apart at boot.
    pub const HAVE_RESERVED_SHM: Self = Self(1 << 0);
    /// Memory references to memory that was never registered.
    pub const UNREGISTERED_SHM: Self = Self(1 << 1);
    /// Registering shared memory; messages anywhere in non-secure memory.
    pub const DYNAMIC_SHM: Self = Self(1 << 2);
    /// Several guests, told apart by a7.
    pub const VIRTUALIZATION: Self = Self(1 << 3);
    /// Null memory references.
    pub const MEMREF_NULL: Self = Self(1 << 4);
    /// Asynchronous notifications.
    pub const ASYNC_NOTIF: Self = Self(1 << 5);
    /// An RPC argument that follows the message.
    pub const RPC_ARG: Self = Self(1 << 6);
    /// Probing for an RPMB device through RPC.
    pub const RPMB_PROBE: Self = Self(1 << 7);

    /// Whether all of `others` are among these.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// These without `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_behave_like_sets() {
        let both = Capabilities::DYNAMIC_SHM | Capabilities::RPC_ARG;
        assert!(both.contains(Capabilities::RPC_ARG));
        assert!(!both.contains(Capabilities::RPC_ARG | Capabilities::MEMREF_NULL));
        assert_eq!(
            both.without(Capabilities::DYNAMIC_SHM),
            Capabilities::RPC_ARG
        );
        assert_eq!(both & Capabilities::RPC_ARG, Capabilities::RPC_ARG);
    }
}
