//! Which calls of a VM leave the hypervisor, and which get no answer.
//!
//! A VM may use what the hypervisor serves itself and the TEE it was given. Everything else is
//! refused unless the VM's description says that it is forwarded to the firmware; what the
//! description denies is refused in any case.

use heapless::Vec;
use host_abi::binding::SMC_RANGES_MAX;
use smccc::{ARCH_WORKAROUND_1, ARCH_WORKAROUND_3, FunctionId, IdRange};

/// Why a policy can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// The range ends before it starts.
    Backwards(IdRange),
    /// The range holds identifiers that must not reach the firmware as a guest has them: this
    /// hypervisor stands in for the firmware there, or a mediator has to check them.
    NotForwardable(IdRange),
    /// There are more than [`SMC_RANGES_MAX`] ranges.
    TooMany,
}

impl core::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Backwards(IdRange { first, last }) => {
                write!(f, "the range {first:#x} to {last:#x} ends before it starts")
            }
            Self::NotForwardable(IdRange { first, last }) => write!(
                f,
                "{first:#x} to {last:#x} can't be forwarded: only calls of the CPU, SiP, OEM and trusted-application owners \
                 and queries of the standard service (0x8400ff00 to 0x8400ff03) can"
            ),
            Self::TooMany => write!(f, "a list has more than {SMC_RANGES_MAX} ranges"),
        }
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The hypervisor or a mediator serves it, if it is one of theirs.
    Serve,
    /// It goes to the firmware.
    Forward,
    /// It is refused.
    Refuse,
}

/// The policy of one VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallPolicy {
    forward: Vec<IdRange, SMC_RANGES_MAX>,
    deny: Vec<IdRange, SMC_RANGES_MAX>,
    /// Bit n: a range names identifiers of owner n. Calls of other owners need no look at the
    /// lists.
    ruled_owners: u64,
}

impl CallPolicy {
    /// A policy that forwards and denies these.
    ///
    /// # Errors
    ///
    /// A range is backwards or can't be forwarded, or there are too many.
    pub fn new(forward: &[IdRange], deny: &[IdRange]) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        for &range in forward.iter().chain(deny) {
            if range.last < range.first {
                return Err(PolicyError::Backwards(range));
            }
            policy.ruled_owners |= owners_of(range);
        }
        if let Some(&range) = forward.iter().find(|range| !range.is_forwardable()) {
            return Err(PolicyError::NotForwardable(range));
        }
        policy.forward = Vec::from_slice(forward).map_err(|_| PolicyError::TooMany)?;
        policy.deny = Vec::from_slice(deny).map_err(|_| PolicyError::TooMany)?;
        Ok(policy)
    }

    /// What happens to a call of `function`.
    #[must_use]
    #[inline]
    pub fn verdict(&self, function: FunctionId) -> Verdict {
        if self.ruled_owners >> function.owner_number() & 1 == 0 {
            Verdict::Serve
        } else {
            self.look_up(function.0)
        }
    }

    /// Whether nothing is said of the workarounds that kernels issue all the time, so that they
    /// need no look.
    #[must_use]
    pub fn passes_workarounds(&self) -> bool {
        [ARCH_WORKAROUND_1, ARCH_WORKAROUND_3]
            .map(FunctionId)
            .iter()
            .all(|&function| self.verdict(function) == Verdict::Serve)
    }

    fn look_up(&self, id: u32) -> Verdict {
        let holds = |range: &IdRange| (range.first..=range.last).contains(&id);
        if self.deny.iter().any(holds) {
            Verdict::Refuse
        } else if self.forward.iter().any(holds) {
            Verdict::Forward
        } else {
            Verdict::Serve
        }
    }
}

/// The owners of a range's identifiers, a bit each.
fn owners_of(range: IdRange) -> u64 {
    const OWNER_STEP: u32 = 1 << 24;
    if range.last - range.first >= 64 * OWNER_STEP {
        return u64::MAX;
    }
    let mut owners = 1 << FunctionId(range.last).owner_number();
    let mut id = range.first;
    while id < range.last {
        owners |= 1 << FunctionId(id).owner_number();
        id = id.saturating_add(OWNER_STEP);
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, last: u32) -> IdRange {
        IdRange { first, last }
    }

    fn verdict(policy: &CallPolicy, id: u32) -> Verdict {
        policy.verdict(FunctionId(id))
    }

    #[test]
    fn nothing_is_forwarded_unless_it_is_listed() {
        let policy = CallPolicy::default();
        for id in [0x8200_0000, 0xc300_0001, 0xb000_0000, 0x8400_ff01] {
            assert_eq!(
                verdict(&policy, id),
                Verdict::Serve,
                "{id:#x} is left to its owner here, who may refuse"
            );
        }
    }

    #[test]
    fn what_is_listed_is_forwarded_and_its_neighbours_are_not() {
        let policy = CallPolicy::new(
            &[
                range(0xc200_0010, 0xc200_001f),
                range(0x8400_ff01, 0x8400_ff01),
            ],
            &[],
        )
        .unwrap();
        assert_eq!(verdict(&policy, 0xc200_0010), Verdict::Forward);
        assert_eq!(verdict(&policy, 0xc200_001f), Verdict::Forward);
        assert_eq!(verdict(&policy, 0xc200_0020), Verdict::Serve);
        assert_eq!(
            verdict(&policy, 0x8200_0010),
            Verdict::Serve,
            "the SMC32 call of the same number"
        );
        assert_eq!(verdict(&policy, 0x8400_ff01), Verdict::Forward);
        assert_eq!(verdict(&policy, 0x8400_0000), Verdict::Serve);
    }

    #[test]
    fn denying_beats_forwarding_and_serving() {
        let deny = [
            range(0xc200_0018, 0xc200_0018),
            range(0x8400_0009, 0x8400_0009),
        ];
        let policy = CallPolicy::new(&[range(0xc200_0010, 0xc200_001f)], &deny).unwrap();
        assert_eq!(verdict(&policy, 0xc200_0018), Verdict::Refuse);
        assert_eq!(verdict(&policy, 0x8400_0009), Verdict::Refuse);
        assert_eq!(verdict(&policy, 0x8400_0008), Verdict::Serve);
    }

    #[test]
    fn a_denied_range_may_span_owners() {
        let policy = CallPolicy::new(&[], &[range(0x3200_0000, 0x3fff_ffff)]).unwrap();
        assert_eq!(verdict(&policy, 0x3200_0004), Verdict::Refuse);
        assert_eq!(verdict(&policy, 0x3f00_0000), Verdict::Refuse);
        assert_eq!(verdict(&policy, 0xb200_0004), Verdict::Serve);
        let all = CallPolicy::new(&[], &[range(0, u32::MAX)]).unwrap();
        assert_eq!(verdict(&all, 0x8400_0000), Verdict::Refuse);
    }

    #[test]
    fn workarounds_are_looked_at_where_one_is_denied() {
        assert!(CallPolicy::default().passes_workarounds());
        for id in [ARCH_WORKAROUND_1, ARCH_WORKAROUND_3] {
            let policy = CallPolicy::new(&[], &[range(id, id)]).unwrap();
            assert!(!policy.passes_workarounds());
        }
        let other = CallPolicy::new(&[], &[range(0x8000_0001, 0x8000_0001)]).unwrap();
        assert!(other.passes_workarounds());
    }

    #[test]
    fn what_acts_on_the_machine_or_needs_a_mediator_cannot_be_forwarded() {
        for bad in [
            range(0x8400_0000, 0x8400_0000),
            range(0xc400_0003, 0xc400_0003),
            range(0x8400_fef0, 0x8400_ff01),
            range(0xb200_0000, 0xb200_ffff),
            range(0x8000_0000, 0x8000_0001),
            range(0x8600_0000, 0x8600_0000),
            range(0x8200_0000, 0x8400_ff01),
        ] {
            assert_eq!(
                CallPolicy::new(&[bad], &[]).err(),
                Some(PolicyError::NotForwardable(bad))
            );
        }
    }

    #[test]
    fn ranges_are_checked() {
        let backwards = range(2, 1);
        assert_eq!(
            CallPolicy::new(&[], &[backwards]).err(),
            Some(PolicyError::Backwards(backwards))
        );
        let many = [range(0x8200_0000, 0x8200_0000); SMC_RANGES_MAX + 1];
        assert_eq!(
            CallPolicy::new(&many, &[]).err(),
            Some(PolicyError::TooMany)
        );
        assert_eq!(
            CallPolicy::new(&[], &many).err(),
            Some(PolicyError::TooMany)
        );
    }
}
