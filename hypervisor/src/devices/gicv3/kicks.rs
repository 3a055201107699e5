//! Which vCPUs have something new to see.

use core::ops::BitOr;
use host_abi::binding::MAX_VCPUS;

const _: () = assert!(
    MAX_VCPUS <= 16,
    "Kicks and the target list of an SGI name vCPUs without a range selector"
);

/// Bit n: vCPU n has something new for its list registers. If it runs, interrupt its CPU, so that
/// it comes by [`VirtualGic::sync`](crate::devices::gicv3::VirtualGic::sync); if it sleeps, see
/// whether it should wake up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Kicks(pub u32);

impl Kicks {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// One vCPU.
    pub const fn one(vcpu: usize) -> Self {
        Self(1 << vcpu)
    }

    /// The vCPUs named, in ascending order.
    pub fn vcpus(self) -> impl Iterator<Item = usize> {
        ones(u64::from(self.0))
    }
}

impl BitOr for Kicks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Extend<Self> for Kicks {
    fn extend<T: IntoIterator<Item = Self>>(&mut self, kicks: T) {
        for kick in kicks {
            self.0 |= kick.0;
        }
    }
}

/// The positions of the bits set in `bits`, in ascending order.
pub fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let n = bits.trailing_zeros();
        if n == u64::BITS {
            return None;
        }
        bits &= bits - 1;
        Some(n as usize)
    })
}
