//! The SMC Calling Convention: what a function identifier says (DEN0028G, §2.5), and which
//! registers a call uses.

#![no_std]
#![forbid(unsafe_code)]

/// x0 to x17: the registers that may carry a call's arguments and results (§3.1).
pub type CallRegisters = [u64; 18];

/// "The function is not known or not supported" (§7.1), and what a refused call returns.
pub const NOT_SUPPORTED: u64 = -1_i64 as u64;

/// Mitigates CVE-2017-5715 on the calling CPU (§7.5).
pub const ARCH_WORKAROUND_1: u32 = 0x8000_8000;
/// Mitigates CVE-2017-5715 and CVE-2022-23960 on the calling CPU (§7.7).
pub const ARCH_WORKAROUND_3: u32 = 0x8000_3fff;

/// The instruction by which a call comes (§2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// SMC.
    Smc,
    /// HVC.
    Hvc,
}

impl Conduit {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Smc, Self::Hvc];

    /// The name in a device tree.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smc => "smc",
            Self::Hvc => "hvc",
        }
    }
}

/// Bit of an identifier that marks a fast call (§2.5).
pub const FAST: u32 = 1 << 31;
/// Bit of an identifier that marks the SMC64 convention.
pub const WIDE: u32 = 1 << 30;

/// The identifier of a fast SMC32 call.
#[must_use]
pub const fn fast32(owner: u32, number: u32) -> u32 {
    FAST | owner << 24 | number
}

/// A function identifier, W0 of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId(pub u32);

/// Function identifiers from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first identifier.
    pub first: u32,
    /// The last one.
    pub last: u32,
}

impl IdRange {
    /// Whether all of it may reach the firmware as a guest has it: calls of the CPU, SiP, OEM and
    /// trusted-application owners, and the general queries of the standard service. A range within
    /// one owner has one answer for all of it.
    #[must_use]
    pub fn is_forwardable(self) -> bool {
        let (first, last) = (FunctionId(self.first), FunctionId(self.last));
        self.first >> 24 == self.last >> 24
            && match first.owner() {
                Owner::Cpu | Owner::Sip | Owner::Oem | Owner::TrustedApplication => true,
                // Call count, UID and revision (§6.2): they say what is there and do nothing.
                Owner::StandardSecure => first.is_query() && last.is_query(),
                _ => false,
            }
    }
}

/// The lowest number of a trusted OS's owners (§2.5).
pub const FIRST_TRUSTED_OS_OWNER: u32 = 50;

/// Who answers a call (§2.5, bits 29 to 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// SMCCC_VERSION and what the CPU's errata need.
    Architecture,
    /// CPU services of the CPU's designer.
    Cpu,
    /// The silicon partner.
    Sip,
    /// The maker of the machine.
    Oem,
    /// PSCI, TRNG and the like.
    StandardSecure,
    /// The standard hypervisor services.
    StandardHypervisor,
    /// This hypervisor's own.
    VendorHypervisor,
    /// Trusted applications.
    TrustedApplication,
    /// A trusted OS.
    TrustedOs,
    /// Nobody: reserved.
    Reserved,
}

impl FunctionId {
    /// The number of the call's owner, below 64.
    #[must_use]
    pub const fn owner_number(self) -> u32 {
        self.0 >> 24 & 0x3f
    }

    /// The call's owner.
    #[must_use]
    pub const fn owner(self) -> Owner {
        match self.owner_number() {
            0 => Owner::Architecture,
            1 => Owner::Cpu,
            2 => Owner::Sip,
            3 => Owner::Oem,
            4 => Owner::StandardSecure,
            5 => Owner::StandardHypervisor,
            6 => Owner::VendorHypervisor,
            48..=49 => Owner::TrustedApplication,
            FIRST_TRUSTED_OS_OWNER..=63 => Owner::TrustedOs,
            _ => Owner::Reserved,
        }
    }

    /// Whether the call is fast (atomic) rather than yielding.
    #[must_use]
    pub const fn is_fast(self) -> bool {
        self.0 & FAST != 0
    }

    /// Whether the call asks who is there: call count, UID or revision (§6.2).
    #[must_use]
    pub const fn is_query(self) -> bool {
        self.is_fast()
            && !self.is_64_bit()
            && self.0 & 0xffff >= 0xff00
            && self.0 & 0xffff <= 0xff03
    }

    /// Whether the call uses 64-bit registers.
    #[must_use]
    pub const fn is_64_bit(self) -> bool {
        self.0 & WIDE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_name_their_owner() {
        assert_eq!(FunctionId(0x8000_0000).owner(), Owner::Architecture);
        assert_eq!(FunctionId(0xc400_0003).owner(), Owner::StandardSecure);
        assert_eq!(FunctionId(0x8600_ff01).owner(), Owner::VendorHypervisor);
        assert_eq!(FunctionId(0xb200_0009).owner(), Owner::TrustedOs);
        assert_eq!(FunctionId(0x3200_0004).owner(), Owner::TrustedOs);
        assert_eq!(FunctionId(0xbf00_ff01).owner(), Owner::TrustedOs);
        assert_eq!(FunctionId(0x9000_0000).owner(), Owner::Reserved);
    }

    #[test]
    fn queries_are_fast_32_bit_calls_at_the_end_of_the_range() {
        assert!(FunctionId(0x8400_ff00).is_query() && FunctionId(0x8600_ff03).is_query());
        assert!(!FunctionId(0x8400_ff04).is_query() && !FunctionId(0x8400_feff).is_query());
        assert!(!FunctionId(0xc400_ff01).is_query() && !FunctionId(0x0400_ff01).is_query());
    }

    #[test]
    fn identifiers_tell_fast_from_yielding_and_32_from_64() {
        assert!(FunctionId(0xc400_0003).is_fast() && FunctionId(0xc400_0003).is_64_bit());
        assert!(!FunctionId(0x3200_0004).is_fast() && !FunctionId(0x3200_0004).is_64_bit());
    }
}
