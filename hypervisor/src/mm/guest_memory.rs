//! The memory of one VM: physical extents that are its own, the stage-2 tables that grant them, and
//! the ways EL2 itself reads and writes them.

use crate::arch::memory;
use crate::mm::frames::{Extent, Frames};
use crate::mm::stage2;
use crate::mm::table_pages::HeapTables;
use crate::mm::tables::{MapError, Tables};
use addresses::{Ipa, Pa, Run};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The range is not, or not as a whole, memory of this VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotGuestMemory;

/// The memory of one VM. Made once; a restarted VM gets the same memory, filled anew.
#[derive(Debug)]
pub struct GuestRam {
    extents: Vec<Extent>,
    /// Registers of its devices.
    registers: Vec<Extent>,
    stage2: Tables<HeapTables>,
    /// Pages that the secure world may know.
    pinned: AtomicU64,
    /// Whether nothing was ever written to it.
    is_zero: AtomicBool,
}

impl GuestRam {
    /// `bytes` of memory out of `free`, which is all zeros where `is_zero` is set, mapped from
    /// `base` on. `None` where memory or tables run out.
    ///
    /// # Safety
    ///
    /// What `free` hands out is memory that EL2 maps and nothing else uses.
    #[must_use]
    pub unsafe fn allocate(
        free: &mut Frames,
        base: Ipa,
        bytes: u64,
        is_zero: bool,
    ) -> Option<Self> {
        let extents = free.allocate_extents(bytes)?;
        let mut tables = Tables::new(HeapTables).ok()?;
        let mut ipa = base;
        for extent in &extents {
            tables
                .map(ipa, extent.pa, extent.len, stage2::MEMORY)
                .ok()?;
            ipa = ipa.checked_add(extent.len)?;
        }
        Some(Self {
            extents,
            stage2: tables,
            registers: Vec::new(),
            pinned: AtomicU64::new(0),
            is_zero: AtomicBool::new(is_zero),
        })
    }

    /// Root of the stage-2 tables.
    #[must_use]
    pub fn root(&self) -> Pa {
        self.stage2.root()
    }

    /// What it consists of.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Gives it the registers of a device, from `ipa` on.
    ///
    /// # Errors
    ///
    /// They are no whole pages, or something else is there.
    pub fn map_registers(&mut self, ipa: Ipa, registers: Extent) -> Result<(), MapError> {
        let Extent { pa, len } = registers;
        self.stage2.map(ipa, pa, len, stage2::REGISTERS)?;
        self.registers.push(registers);
        Ok(())
    }

    /// The registers that it has.
    #[must_use]
    pub fn registers(&self) -> &[Extent] {
        &self.registers
    }

    /// What its tables map and it does not have, if there is anything: memory as memory, registers
    /// as registers.
    #[must_use]
    pub fn mapped_beyond(&self) -> Option<Pa> {
        let holds = |extent: &Extent, pa: Pa, len: u64| {
            extent.pa.0 <= pa.0 && pa.0 - extent.pa.0 + len <= extent.len
        };
        self.stage2.find_leaf(|pa, len, attributes| {
            let has = match attributes {
                stage2::MEMORY => &self.extents,
                stage2::REGISTERS => &self.registers,
                _ => return false,
            };
            has.iter().any(|extent| holds(extent, pa, len))
        })
    }

    /// Maps what it does not have.
    #[cfg(test)]
    pub fn map_for_test(&mut self, ipa: Ipa, pa: Pa, len: u64) {
        self.stage2
            .map(ipa, pa, len, stage2::MEMORY)
            .expect("it can be mapped");
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.len).sum()
    }

    /// Pages that the secure world may know.
    #[must_use]
    pub fn pinned(&self) -> u64 {
        self.pinned.load(Ordering::Relaxed)
    }

    /// Whether all of it is zeros; from now on it counts as written.
    pub fn take_is_zero(&self) -> bool {
        self.is_zero.swap(false, Ordering::Relaxed)
    }

    /// Makes up to `most` bytes zeros, a multiple of a page, `from` bytes after the start, and says
    /// where to go on. `None` at the end.
    #[must_use]
    pub fn clear(&self, from: u64, most: u64) -> Option<u64> {
        let mut start = 0;
        for extent in &self.extents {
            let offset = from - start;
            if offset < extent.len {
                let bytes = most.min(extent.len - offset);
                // SAFETY: the range lies in an extent, which is this VM's alone; both are whole
                // pages (`allocate`).
                unsafe { memory::zero(Pa(extent.pa.0 + offset), bytes) }
                return Some(from + bytes);
            }
            start += extent.len;
        }
        None
    }

    /// Copies a part of the guest's image to `ipa`, visible to a CPU without caches.
    ///
    /// # Errors
    ///
    /// They do not fit.
    pub fn store(&self, ipa: Ipa, bytes: &[u8]) -> Result<(), NotGuestMemory> {
        self.each_run(ipa, bytes.len(), |pa, range| {
            let source = &bytes[range];
            // SAFETY: the target lies in this VM's extents, the source in memory of the
            // hypervisor's.
            unsafe { memory::copy(pa, Pa(source.as_ptr() as u64), source.len() as u64) }
        })
    }

    /// The physical address of `ipa`, if the `len` bytes there lie in one block or page.
    #[inline]
    fn within_one_run(&self, ipa: Ipa, len: usize) -> Option<Pa> {
        let run = self.stage2.run(ipa, stage2::MEMORY)?;
        let offset = ipa.0 - run.ipa.0;
        (len as u64 <= run.len - offset).then_some(Pa(run.pa.0 + offset))
    }

    #[cold]
    #[inline(never)]
    fn read_runs(&self, ipa: Ipa, into: &mut [u8]) -> Result<(), NotGuestMemory> {
        // SAFETY: stage 2 maps only the VM's own memory, to which EL2 holds no references.
        self.each_run(ipa, into.len(), |pa, range| unsafe {
            memory::read(pa, &mut into[range]);
        })
    }

    #[cold]
    #[inline(never)]
    fn write_runs(&self, ipa: Ipa, from: &[u8]) -> Result<(), NotGuestMemory> {
        // SAFETY: stage 2 maps only the VM's own memory, to which EL2 holds no references.
        self.each_run(ipa, from.len(), |pa, range| unsafe {
            memory::write(pa, &from[range]);
        })
    }

    /// Calls `each` with physical start and part of the range, for each contiguous part of `len`
    /// bytes from `ipa` on.
    fn each_run(
        &self,
        ipa: Ipa,
        len: usize,
        mut each: impl FnMut(Pa, core::ops::Range<usize>),
    ) -> Result<(), NotGuestMemory> {
        let mut done = 0;
        while done < len {
            let at = ipa.checked_add(done as u64).ok_or(NotGuestMemory)?;
            let run = self.stage2.run(at, stage2::MEMORY).ok_or(NotGuestMemory)?;
            let offset = at.0 - run.ipa.0;
            let part = ((run.len - offset) as usize).min(len - done);
            each(Pa(run.pa.0 + offset), done..done + part);
            done += part;
        }
        Ok(())
    }

    /// The longest run known at once that holds `ipa`.
    ///
    /// # Errors
    ///
    /// `ipa` is not memory of this VM.
    #[inline]
    pub fn run(&self, ipa: Ipa) -> Result<Run, NotGuestMemory> {
        self.stage2.run(ipa, stage2::MEMORY).ok_or(NotGuestMemory)
    }

    /// Copies memory from `ipa` on into `into`.
    ///
    /// # Errors
    ///
    /// Not all of the range is memory of this VM; `into` may be filled in part.
    #[inline]
    pub fn read(&self, ipa: Ipa, into: &mut [u8]) -> Result<(), NotGuestMemory> {
        // As almost every message does.
        if let Some(pa) = self.within_one_run(ipa, into.len()) {
            // SAFETY: stage 2 maps only the VM's own memory, to which EL2 holds no references.
            unsafe { memory::read(pa, into) }
            return Ok(());
        }
        self.read_runs(ipa, into)
    }

    /// Copies `from` to memory from `ipa` on.
    ///
    /// # Errors
    ///
    /// Not all of the range is memory of this VM; a part of it may be written.
    #[inline]
    pub fn write(&self, ipa: Ipa, from: &[u8]) -> Result<(), NotGuestMemory> {
        if let Some(pa) = self.within_one_run(ipa, from.len()) {
            // SAFETY: stage 2 maps only the VM's own memory, to which EL2 holds no references.
            unsafe { memory::write(pa, from) }
            return Ok(());
        }
        self.write_runs(ipa, from)
    }

    /// Takes note that the secure world is about to learn of `pages` pages.
    pub fn pin(&self, pages: u64) {
        self.pinned.fetch_add(pages, Ordering::Relaxed);
    }

    /// Takes back [`pin`](Self::pin), once the secure world has forgotten the pages.
    pub fn unpin(&self, pages: u64) {
        let before = self.pinned.fetch_sub(pages, Ordering::Relaxed);
        assert!(before >= pages, "a mediator unpins what it pinned");
    }
}
