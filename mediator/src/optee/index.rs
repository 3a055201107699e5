//! Finding an entry of a table by a number that somebody else chose.
//!
//! Entries are chained by a hash of their number. The hash has a secret of the partition's own, so
//! that a guest can't choose numbers that all meet in one chain. Nothing is ever moved: each
//! operation takes as many steps as one chain has entries, also after many entries came and went.

use alloc::vec::Vec;

use super::error::NoHeap;

/// Marks the end of a chain.
const END: u32 = u32::MAX;

/// Entries for each chain, where the table is full and their numbers are spread evenly.
const ENTRIES_A_CHAIN: u32 = 4;
/// More chains would take long to set up.
const CHAINS_MAX: u32 = 8192;

/// What keeps a guest from knowing which numbers share a chain. Any two numbers that the guest does
/// not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashSecret(pub [u64; 2]);

#[derive(Debug)]
pub(super) struct Index {
    secret: HashSecret,
    /// The first entry of each chain; a power of two of them.
    heads: Vec<u32>,
    /// For each entry of the table the next one in its chain. Grows with the table, within what was
    /// set apart.
    next: Vec<u32>,
}

impl Index {
    /// An index of a table with up to `capacity` entries.
    pub(super) fn new(capacity: u32, secret: HashSecret) -> Result<Self, NoHeap> {
        let chains = capacity
            .div_ceil(ENTRIES_A_CHAIN)
            .clamp(1, CHAINS_MAX)
            .next_power_of_two() as usize;
        let mut heads = Vec::new();
        heads.try_reserve_exact(chains).map_err(|_| NoHeap)?;
        heads.resize(chains, END);
        let mut next = Vec::new();
        next.try_reserve_exact(capacity as usize)
            .map_err(|_| NoHeap)?;
        Ok(Self {
            secret,
            heads,
            next,
        })
    }

    /// The chain of `number`: a folded product, both factors of which have a secret in them.
    fn chain(&self, number: u64) -> usize {
        let HashSecret([added, factor]) = self.secret;
        let product = u128::from(number ^ added) * u128::from(factor | 1);
        let folded = (product as u64) ^ ((product >> 64) as u64);
        // The middle of a product depends on most of the bits of its factors.
        (folded >> 20) as usize & (self.heads.len() - 1)
    }

    /// The entry with `number` for which `is` holds.
    pub(super) fn find(&self, number: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut entry = *self.heads.get(self.chain(number))?;
        while entry != END {
            if is(entry) {
                return Some(entry);
            }
            entry = self.next.get(entry as usize).copied().unwrap_or(END);
        }
        None
    }

    /// Adds the entry at `entry`, which is not in the index. Entries come into use in their order.
    pub(super) fn insert(&mut self, number: u64, entry: u32) {
        let chain = self.chain(number);
        if entry as usize >= self.next.len() {
            // Never past what was set apart: nothing is allocated.
            self.next
                .resize((entry as usize + 1).min(self.next.capacity()), END);
        }
        if let (Some(head), Some(next)) =
            (self.heads.get_mut(chain), self.next.get_mut(entry as usize))
        {
            *next = core::mem::replace(head, entry);
        }
    }

    /// Takes the entry at `entry` out, if it is in the index.
    pub(super) fn remove(&mut self, number: u64, entry: u32) {
        let chain = self.chain(number);
        let Some(after) = self.next.get(entry as usize).copied() else {
            return;
        };
        let Some(head) = self.heads.get_mut(chain) else {
            return;
        };
        if *head == entry {
            *head = after;
            return;
        }
        let mut at = *head;
        while let Some(next) = self.next.get_mut(at as usize) {
            if *next == entry {
                *next = after;
                return;
            }
            at = *next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SECRET: HashSecret = HashSecret([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);

    fn longest_chain(index: &Index) -> usize {
        let chain = |head: &u32| {
            core::iter::successors(Some(*head).filter(|&entry| entry != END), |entry| {
                Some(index.next[*entry as usize]).filter(|&entry| entry != END)
            })
            .count()
        };
        index.heads.iter().map(chain).max().unwrap()
    }

    /// Numbers that all met in one place of a hash without a secret, and others that a guest may
    /// think of.
    #[test]
    fn no_choice_of_numbers_makes_chains_long() {
        let golden = 0x9e37_79b9_7f4a_7c15_u64;
        let inverse = (0..6).fold(golden, |inverse, _| {
            inverse.wrapping_mul(2_u64.wrapping_sub(golden.wrapping_mul(inverse)))
        });
        let choices: [fn(u64, u64) -> u64; 6] = [
            |n, _| n,
            |n, _| n << 12,
            |n, _| n << 40,
            |n, inverse| (n << 40).wrapping_mul(inverse),
            |n, inverse| n.rotate_right(12).wrapping_mul(inverse),
            |n, _| u64::MAX - (n << 6),
        ];
        for choose in choices {
            let mut index = Index::new(8192, SECRET).unwrap();
            (0..8192).for_each(|n| index.insert(choose(u64::from(n), inverse), n));
            assert!(longest_chain(&index) <= 32, "{}", longest_chain(&index));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_in_it_is_found(steps in proptest::collection::vec((0_u32..16, 0_u64..8), 1..200)) {
            let mut index = Index::new(16, SECRET).unwrap();
            let mut numbers = BTreeMap::new();
            for (entry, number) in steps {
                match numbers.remove(&entry) {
                    Some(number) => index.remove(number, entry),
                    None => {
                        index.insert(number, entry);
                        numbers.insert(entry, number);
                    }
                }
                for entry in 0..16 {
                    let number = numbers.get(&entry).copied();
                    for asked in 0..8 {
                        let is = |found| found == entry && number == Some(asked);
                        let found = index.find(asked, is);
                        prop_assert_eq!(found.is_some(), number == Some(asked));
                    }
                }
            }
            prop_assert!(index.next.len() <= 16);
        }
    }
}
