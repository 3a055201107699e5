//! Translation tables of one VM: VMSAv8-64, 4 KiB granule, 39 bits of IPA. The shape is the same
//! for stage 1 and stage 2; what leaves say is told by [`Attributes`].
//!
//! With 39 bits a walk starts at level 1 and needs one root table, so a look-up reads three
//! descriptors at most. Source: DDI0487J.a, chapter D8 (VMSAv8-64): "Translation process" for the
//! walk, "Translation table descriptor formats" for the descriptors.

use addresses::{Ipa, PAGE_SIZE, Pa, Run};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bits of an IPA.
pub const IPA_BITS: u32 = 39;

/// Descriptors in a table.
pub const ENTRIES: usize = 512;

/// The first level of a walk.
const ROOT_LEVEL: u32 = 1;
/// The level whose descriptors are pages.
const PAGE_LEVEL: u32 = 3;

/// Bits 47..12: the address of a table or of a page.
const ADDRESS_MASK: u64 = 0x0000_ffff_ffff_f000;
const PA_END: u64 = 1 << 48;

/// Bit 0: the descriptor means something.
const VALID: u64 = 1 << 0;
/// Bit 1: a table at levels 1 and 2, a page at level 3; clear for a block.
const TABLE_OR_PAGE: u64 = 1 << 1;
/// AF: no fault at the first access.
const ACCESSED: u64 = 1 << 10;
/// SH 0b11.
const INNER_SHAREABLE: u64 = 0b11 << 8;

/// What a block or page says besides where it is. The bits of stage 1 and stage 2 differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// These bits, with AF and, for normal memory, the shareability of the inner domain.
    #[must_use]
    pub(super) const fn new(bits: u64) -> Self {
        Self(bits | INNER_SHAREABLE | ACCESSED)
    }

    /// The bits of a descriptor that are not the address.
    const MASK: u64 = !(ADDRESS_MASK | VALID | TABLE_OR_PAGE);
}

/// The memory that tables lie in.
pub trait TableMemory {
    /// A table of [`ENTRIES`] descriptors, which is given back when it is dropped.
    type Table;

    /// Takes a table of zeros.
    fn allocate_table(&mut self) -> Option<Self::Table>;

    /// Where a table lies: a multiple of 4 KiB.
    fn address(&self, table: &Self::Table) -> Pa;

    /// Descriptor `index`, below [`ENTRIES`].
    fn read(&self, table: &Self::Table, index: usize) -> u64;

    /// Sets descriptor `index`, below [`ENTRIES`], such that a walk that sees it also sees what was
    /// written before.
    fn write(&mut self, table: &mut Self::Table, index: usize, descriptor: u64);
}

/// There is no memory left for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfTables;

/// Why a range was not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// An address or the length is no multiple of 4 KiB, or the length is zero.
    Misaligned,
    /// The range ends beyond 39 bits of IPA or 48 bits of PA.
    OutOfRange,
    /// A part of the range is mapped already. Nothing was changed.
    Overlap,
    /// There is no memory left for tables. A part of the range may be mapped.
    OutOfTables,
}

impl From<OutOfTables> for MapError {
    fn from(_: OutOfTables) -> Self {
        Self::OutOfTables
    }
}

/// The tables of one VM.
///
/// Mappings are only added: an invalid descriptor is in no TLB, so no invalidation is needed
/// (DDI0487J.a, chapter D8, "TLB maintenance"). Dropping frees the tables; before that, no CPU may
/// use them any more, and the VM's TLB entries must be gone.
#[derive(Debug)]
pub struct Tables<M: TableMemory> {
    memory: M,
    root: Node<M::Table>,
}

/// A table, and those that it points to.
#[derive(Debug)]
struct Node<T> {
    table: T,
    /// By index of the descriptor; empty where there are none.
    below: Vec<Option<Box<Node<T>>>>,
}

impl<T> Node<T> {
    const fn new(table: T) -> Self {
        Self {
            table,
            below: Vec::new(),
        }
    }

    /// The table that descriptor `index` points to.
    #[inline]
    fn below(&self, index: usize) -> Option<&Self> {
        self.below.get(index)?.as_deref()
    }
}

impl<M: TableMemory> Tables<M> {
    /// Tables that map nothing.
    ///
    /// # Errors
    ///
    /// There is no memory for the root table.
    pub fn new(mut memory: M) -> Result<Self, OutOfTables> {
        let root = memory.allocate_table().ok_or(OutOfTables)?;
        Ok(Self {
            memory,
            root: Node::new(root),
        })
    }

    /// The root table, for a base register.
    #[must_use]
    pub fn root(&self) -> Pa {
        self.memory.address(&self.root.table)
    }

    /// Maps `len` bytes from `ipa` on to those from `pa` on, as `attributes` say, in blocks of
    /// 1 GiB and 2 MiB where both addresses allow it.
    ///
    /// # Errors
    ///
    /// See [`MapError`].
    pub fn map(
        &mut self,
        ipa: Ipa,
        pa: Pa,
        len: u64,
        attributes: Attributes,
    ) -> Result<(), MapError> {
        let aligned = |value: u64| value.is_multiple_of(PAGE_SIZE);
        if len == 0 || !aligned(ipa.0) || !aligned(pa.0) || !aligned(len) {
            return Err(MapError::Misaligned);
        }
        let ends_within =
            |start: u64, limit: u64| start.checked_add(len).is_some_and(|end| end <= limit);
        if !ends_within(ipa.0, 1 << IPA_BITS) || !ends_within(pa.0, PA_END) {
            return Err(MapError::OutOfRange);
        }
        if self.maps_any(&self.root, ROOT_LEVEL, ipa.0, ipa.0 + len) {
            return Err(MapError::Overlap);
        }
        let mut done = 0;
        while done < len {
            let (at, to) = (ipa.0 + done, pa.0 + done);
            let level = leaf_level(at | to, len - done);
            self.set_leaf(at, to, level, attributes)?;
            done += entry_size(level);
        }
        Ok(())
    }

    /// The block or page that holds `ipa`, if it has these attributes.
    #[must_use]
    pub fn run(&self, ipa: Ipa, attributes: Attributes) -> Option<Run> {
        if ipa.0 >= 1 << IPA_BITS {
            return None;
        }
        let mut node = &self.root;
        let mut level = ROOT_LEVEL;
        while let Some(next) = node.below(index(ipa.0, level)) {
            node = next;
            level += 1;
        }
        let descriptor = self.memory.read(&node.table, index(ipa.0, level));
        let len = entry_size(level);
        (descriptor & (Attributes::MASK | VALID) == attributes.0 | VALID).then_some(Run {
            ipa: Ipa(ipa.0 & !(len - 1)),
            pa: Pa(descriptor & ADDRESS_MASK),
            len,
        })
    }

    /// The first block or page, by its place in the tables, that `is` does not hold for. A table
    /// that is not where the descriptor says counts as such.
    pub fn find_leaf(&self, is: impl Fn(Pa, u64, Attributes) -> bool) -> Option<Pa> {
        self.find_leaf_below(&self.root, ROOT_LEVEL, &is)
    }

    fn find_leaf_below(
        &self,
        node: &Node<M::Table>,
        level: u32,
        is: &impl Fn(Pa, u64, Attributes) -> bool,
    ) -> Option<Pa> {
        (0..ENTRIES).find_map(|index| {
            let descriptor = self.memory.read(&node.table, index);
            let pa = Pa(descriptor & ADDRESS_MASK);
            if descriptor & VALID == 0 {
                return None;
            }
            match node.below(index) {
                Some(next) if self.memory.address(&next.table) == pa => {
                    self.find_leaf_below(next, level + 1, is)
                }
                Some(_) => Some(pa),
                None => {
                    let attributes = Attributes(descriptor & Attributes::MASK);
                    (!is(pa, entry_size(level), attributes)).then_some(pa)
                }
            }
        })
    }

    /// Whether anything from `from` up to `to` is mapped by `node`, which is of `level` and covers
    /// `from`.
    fn maps_any(&self, node: &Node<M::Table>, level: u32, from: u64, to: u64) -> bool {
        let size = entry_size(level);
        let mut at = from;
        while at < to {
            let entry_end = (at & !(size - 1)) + size;
            let index = index(at, level);
            let mapped = match node.below(index) {
                Some(next) => self.maps_any(next, level + 1, at, to.min(entry_end)),
                None => self.memory.read(&node.table, index) & VALID != 0,
            };
            if mapped {
                return true;
            }
            at = entry_end;
        }
        false
    }

    /// Writes one block or page descriptor of `level`, with the tables on the way to it. There is
    /// none for `ipa` yet.
    fn set_leaf(
        &mut self,
        ipa: u64,
        pa: u64,
        level: u32,
        attributes: Attributes,
    ) -> Result<(), OutOfTables> {
        let Self { memory, root } = self;
        let mut node = root;
        for upper in ROOT_LEVEL..level {
            node = table_below(memory, node, index(ipa, upper))?;
        }
        let kind = if level == PAGE_LEVEL {
            TABLE_OR_PAGE
        } else {
            0
        };
        memory.write(
            &mut node.table,
            index(ipa, level),
            pa | attributes.0 | kind | VALID,
        );
        Ok(())
    }
}

/// The table that descriptor `index` of `node` points to, which is made if it is not there.
fn table_below<'a, M: TableMemory>(
    memory: &mut M,
    node: &'a mut Node<M::Table>,
    index: usize,
) -> Result<&'a mut Node<M::Table>, OutOfTables> {
    if node.below.is_empty() {
        node.below
            .try_reserve_exact(ENTRIES)
            .map_err(|_| OutOfTables)?;
        node.below.resize_with(ENTRIES, || None);
    }
    let slot = &mut node.below[index];
    if slot.is_none() {
        let table = memory.allocate_table().ok_or(OutOfTables)?;
        let descriptor = memory.address(&table).0 | TABLE_OR_PAGE | VALID;
        memory.write(&mut node.table, index, descriptor);
        *slot = Some(Box::new(Node::new(table)));
    }
    slot.as_deref_mut().ok_or(OutOfTables)
}

/// Bytes that a descriptor of `level` covers.
const fn entry_size(level: u32) -> u64 {
    PAGE_SIZE << (9 * (PAGE_LEVEL - level))
}

/// Which descriptor of a table of `level` serves `ipa`.
const fn index(ipa: u64, level: u32) -> usize {
    (ipa / entry_size(level)) as usize % ENTRIES
}

/// The level of the largest block (or page) that `len` bytes fill, given all bits of both
/// addresses.
fn leaf_level(address_bits: u64, len: u64) -> u32 {
    (ROOT_LEVEL..PAGE_LEVEL)
        .find(|&level| address_bits.is_multiple_of(entry_size(level)) && len >= entry_size(level))
        .unwrap_or(PAGE_LEVEL)
}

#[cfg(test)]
mod tests;
