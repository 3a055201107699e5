//! Who has which memory: looked at once more before guests run, in the tables that CPUs walk.

use core::fmt;

use super::frames::Extent;
use super::guest_memory::GuestRam;
use addresses::Pa;

/// Memory that two have, or that one reaches beyond what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict<'a> {
    /// Two have it.
    Shared {
        /// One.
        one: &'a str,
        /// The other.
        other: &'a str,
        /// Where it starts.
        pa: Pa,
    },
    /// A guest's stage 2 maps it, and it is not the guest's.
    Mapped {
        /// The guest.
        guest: &'a str,
        /// Where it starts.
        pa: Pa,
    },
}

impl fmt::Display for Conflict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared { one, other, pa } => {
                write!(f, "{one} and {other} both have the memory at {:#x}", pa.0)
            }
            Self::Mapped { guest, pa } => write!(
                f,
                "the tables of {guest} map the memory at {:#x}, which it does not have",
                pa.0
            ),
        }
    }
}

/// Checks that each guest's tables map what it has and nothing else, and that nobody has what
/// another one has. What `others` have, which are no guests, may be the same.
///
/// # Errors
///
/// The first [`Conflict`].
pub fn check<'a>(
    guests: &[(&'a str, &'a GuestRam)],
    others: &[(&'a str, Extent)],
) -> Result<(), Conflict<'a>> {
    let mut taken = others.to_vec();
    for &(guest, ram) in guests {
        if let Some(pa) = ram.mapped_beyond() {
            return Err(Conflict::Mapped { guest, pa });
        }
        for &extent in ram.extents().iter().chain(ram.registers()) {
            if let Some(&(one, other)) = taken.iter().find(|(_, other)| overlap(*other, extent)) {
                let pa = other.pa.max(extent.pa);
                return Err(Conflict::Shared {
                    one,
                    other: guest,
                    pa,
                });
            }
            taken.push((guest, extent));
        }
    }
    Ok(())
}

fn overlap(one: Extent, other: Extent) -> bool {
    one.pa.0 < other.pa.0 + other.len && other.pa.0 < one.pa.0 + one.len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::frames::Frames;
    use addresses::Ipa;
    use alloc::string::ToString as _;
    use alloc::vec::Vec;
    use host_abi::memory_map::BLOCK_SIZE;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const NAMES: [&str; 4] = ["vm1", "vm2", "vm3", "vm4"];

    fn guest(free: &mut Frames, bytes: u64) -> Option<GuestRam> {
        // SAFETY: nothing of it is touched: only tables are made, on the heap.
        #[expect(unsafe_code, reason = "the memory is made up, and stays so")]
        unsafe {
            GuestRam::allocate(free, Ipa(0x4000_0000), bytes, true)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Machines with holes, EL2 and its modules anywhere, and guests of any size.
        #[test]
        fn no_two_guests_and_not_el2_have_a_page_in_common(
            holes in prop::collection::vec((0_u64..2000, 1_u64..64), 0..5),
            el2 in (0_u64..2000, 1_u64..40),
            sizes in prop::collection::vec(1_u64..512, 1..5),
        ) {
            let mut free = Frames::new();
            free.add(Pa(0x4000_0000), 2048 * MIB);
            let mut others = Vec::new();
            for (at, len) in holes.into_iter().chain([el2]) {
                let hole = Extent { pa: Pa(0x4000_0000 + at * MIB), len: len * MIB };
                free.reserve(hole.pa, hole.len);
                others.push(("EL2", hole));
            }
            let rams: Vec<GuestRam> = sizes
                .into_iter()
                .filter_map(|size| guest(&mut free, size * BLOCK_SIZE))
                .collect();
            let guests: Vec<_> = NAMES.into_iter().zip(&rams).collect();
            prop_assert_eq!(check(&guests, &others), Ok(()));
        }
    }

    #[test]
    fn what_two_have_is_found() {
        let frames = || {
            let mut free = Frames::new();
            free.add(Pa(0x8000_0000), 8 * MIB);
            free
        };
        let [one, other] = [(); 2].map(|()| guest(&mut frames(), 4 * MIB).unwrap());
        let conflict = check(&[("vm1", &one), ("vm2", &other)], &[]).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "vm1 and vm2 both have the memory at 0x80000000"
        );
        let el2 = Extent {
            pa: Pa(0x8020_0000),
            len: MIB,
        };
        let conflict = check(&[("vm1", &one)], &[("EL2", el2)]).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "EL2 and vm1 both have the memory at 0x80200000"
        );
    }

    #[test]
    fn what_is_mapped_beyond_a_guest_s_own_is_found() {
        let mut free = Frames::new();
        free.add(Pa(0x8000_0000), 8 * MIB);
        let mut ram = guest(&mut free, 4 * MIB).unwrap();
        ram.map_for_test(Ipa(0x7000_0000), Pa(0x9000_0000), 4096);
        let conflict = check(&[("vm1", &ram)], &[]).unwrap_err();
        assert_eq!(
            conflict.to_string(),
            "the tables of vm1 map the memory at 0x90000000, which it does not have"
        );
    }
}
