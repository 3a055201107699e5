//! The shared buffers of a guest.
//!
//! A guest knows a buffer by a cookie of its own choice, the secure world by a handle that is
//! minted here. A handle is never used twice (its generation has 32 bits), so a call can name only
//! what the guest shares at that moment.
//!
//! From when a guest takes a buffer back, no new call can refer to it, and OP-TEE is told when
//! those that do are over: OP-TEE up to 4.10 halts for all guests when it looks up a buffer that it
//! is about to forget (`mobj_get`, `core/include/mm/mobj.h`).
//!
//! Pages are counted here, once for each buffer, from before OP-TEE learns of them until after it
//! forgot them; the caller pins and unpins as many as these functions say.

use crate::sync::atomic::{AtomicU64, Ordering};
use alloc::vec::Vec;
use core::cell::Cell;

use crate::sync::{Mutex, MutexGuard};
use optee_abi::pagelist::PAGE_SIZE;

use super::handle::{Handle, Kind};
use super::location::{Extents, Location};
use super::references::References;
use crate::optee::core_window::{FILE_PAGES, Share};
use crate::optee::error::NoHeap;
use crate::optee::index::{HashSecret, Index};
use crate::optee::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// OP-TEE is about to learn of it; nothing can refer to it yet.
    Announced,
    Shared,
    /// OP-TEE is about to forget it; no new call can refer to it.
    Released,
}

#[derive(Debug)]
struct Buffer {
    kind: Kind,
    state: State,
    generation: u32,
    next_free: u32,
    cookie: u64,
    pages: u64,
    /// Where the buffer starts in its first page.
    offset: u64,
    /// The life of the guest's kernel in which it was shared.
    era: u32,
    /// How many OP-TEE came to know before it.
    number: u64,
    extents: Extents,
    /// What OP-TEE has of it in its own address space.
    share: Option<Share>,
}

impl Buffer {
    /// Whether OP-TEE knows it.
    fn is_known(&self) -> bool {
        matches!(self.state, State::Shared | State::Released)
    }

    /// Whether it is registered and calls may refer to it.
    fn is_shared(&self) -> bool {
        self.kind == Kind::Registered && self.state == State::Shared
    }
}

/// Why a buffer can't be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) enum ReserveError {
    /// The cookie stands for another buffer.
    CookieInUse,
    /// It is more than this guest may share.
    Limit,
}

/// A buffer to take back, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) enum TakeBack {
    Found(Handle),
    /// There may be one farther on.
    LookOn,
    None,
}

/// Buffers that are looked at for one to take back before interrupts get their turn.
const LOOK_AT_ONCE: usize = 128;

/// What goes with a buffer.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub(in crate::optee) struct Removed {
    /// How many pages are to be unpinned.
    pub(in crate::optee) pages: u64,
    /// What OP-TEE had of it in its own address space.
    pub(in crate::optee) share: Option<Share>,
}

/// Why a reference to a registered buffer can't be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) enum ReferenceError {
    /// There is no such buffer.
    Unknown,
    /// It goes beyond the end of the buffer.
    OutOfBounds,
}

#[derive(Debug)]
pub(in crate::optee) struct Buffers {
    table: Mutex<Table>,
    /// How many buffers OP-TEE ever came to know. Changes only while the table is locked.
    registrations: AtomicU64,
    /// For each slot, what its call refers to. Grows only while the table is locked.
    references: Vec<References>,
    pages_max: u64,
    bytes_max: u64,
    registered_max: u32,
}

/// Counts the buffers that OP-TEE came to know after a slot's memory for messages.
#[derive(Clone, Copy, Debug, Default)]
struct Newer {
    /// Those with this number or a higher one.
    since: u64,
    count: u32,
}

#[derive(Debug)]
struct Table {
    /// Room for all buffers is there from the start; it is filled as it is needed.
    slab: Vec<Buffer>,
    capacity: u32,
    free: u32,
    by_cookie: Index,
    /// Where registered buffers were found last, by [`recent_place`]: most calls refer to the same
    /// ones.
    recent: [Cell<u32>; RECENT],
    used: u32,
    registered: u32,
    pages: u64,
    /// Counts the kernels that the guest has run.
    era: u32,
    /// For each slot.
    newer: Vec<Newer>,
}

const END: u32 = u32::MAX;

/// How many buffers are remembered as used; a power of two.
const RECENT: usize = 256;

/// The place in the memory of buffers that were used. Cookies are often addresses of structures of
/// some 100 bytes.
const fn recent_place(cookie: u64) -> usize {
    (cookie >> 6 ^ cookie >> 14) as usize % RECENT
}

impl Table {
    /// A place that no buffer has, and the generation of the one that gets it.
    fn take_free(&mut self) -> Option<(u32, u32)> {
        if let Some(buffer) = self.slab.get(self.free as usize) {
            let index = core::mem::replace(&mut self.free, buffer.next_free);
            return Some((index, buffer.generation.wrapping_add(1)));
        }
        let index = self.slab.len() as u32;
        (index < self.capacity).then_some((index, 1))
    }

    /// Whether the buffer at `index` was shared by an earlier kernel of the guest.
    fn is_left_over(&self, index: u32) -> bool {
        self.slab
            .get(index as usize)
            .is_some_and(|buffer| buffer.state == State::Shared && buffer.era != self.era)
    }

    fn by_handle(&mut self, handle: Handle) -> Option<&mut Buffer> {
        let index = handle.index()?;
        let buffer = self.slab.get_mut(index)?;
        let alive = buffer.state != State::Free && buffer.generation == handle.generation();
        alive.then_some(buffer)
    }

    fn find(&self, cookie: u64) -> Option<u32> {
        let slab = &self.slab;
        let is = |index: u32| {
            slab.get(index as usize)
                .is_some_and(|buffer| buffer.cookie == cookie)
        };
        self.by_cookie.find(cookie, is)
    }

    /// The registered buffer that `cookie` stands for and that calls may refer to.
    #[inline]
    fn shared(&self, cookie: u64) -> Option<(u32, &Buffer)> {
        let recent = self.recent.get(recent_place(cookie))?;
        let shared_at = |index: u32| {
            let buffer = self.slab.get(index as usize)?;
            (buffer.cookie == cookie && buffer.is_shared()).then_some((index, buffer))
        };
        if let Some(found) = shared_at(recent.get()) {
            return Some(found);
        }
        let found = shared_at(self.find(cookie)?)?;
        recent.set(found.0);
        Some(found)
    }
}

impl Buffers {
    /// Room for as many buffers as `limits` allow to be registered, and for `others` besides, which
    /// calls on `slots` slots refer to.
    pub(in crate::optee) fn new(
        limits: &Limits,
        others: u32,
        slots: usize,
        secret: HashSecret,
    ) -> Result<Self, NoHeap> {
        let capacity = limits.buffers_max.saturating_add(others).min(END - 1);
        let mut slab = Vec::new();
        slab.try_reserve_exact(capacity as usize)
            .map_err(|_| NoHeap)?;
        let mut newer = Vec::new();
        newer.try_reserve_exact(slots).map_err(|_| NoHeap)?;
        newer.resize(slots, Newer::default());
        let mut references = Vec::new();
        references.try_reserve_exact(slots).map_err(|_| NoHeap)?;
        references.resize_with(slots, References::default);
        Ok(Self {
            table: Mutex::new(Table {
                slab,
                capacity,
                free: END,
                by_cookie: Index::new(capacity, secret)?,
                recent: [const { Cell::new(END) }; RECENT],
                used: 0,
                registered: 0,
                pages: 0,
                era: 0,
                newer,
            }),
            registrations: AtomicU64::new(0),
            references,
            pages_max: limits.total_bytes_max / PAGE_SIZE,
            bytes_max: limits.buffer_bytes_max,
            registered_max: limits.buffers_max,
        })
    }

    /// Sets a buffer of `bytes` bytes in `pages` pages apart, of which OP-TEE does not know yet. It
    /// starts `offset` bytes into its first page.
    ///
    /// The caller pins the pages next, and sets room apart where OP-TEE maps them.
    pub(in crate::optee) fn reserve(
        &self,
        kind: Kind,
        cookie: u64,
        offset: u64,
        bytes: u64,
        pages: u64,
    ) -> Result<Handle, ReserveError> {
        let mut table = self.table.lock();
        let table = &mut *table;
        let other = (kind != Kind::Temporary)
            .then(|| table.find(cookie))
            .flatten();
        let total = table.pages.checked_add(pages).ok_or(ReserveError::Limit)?;
        let many = kind == Kind::Registered && table.registered >= self.registered_max;
        if other.is_some_and(|other| !table.is_left_over(other)) {
            return Err(ReserveError::CookieInUse);
        }
        let for_a_file = kind == Kind::Rpc && pages <= u64::from(FILE_PAGES);
        if bytes > self.bytes_max || (total > self.pages_max && !for_a_file) || many {
            return Err(ReserveError::Limit);
        }
        if let Some(other) = other {
            // It keeps its place until the partition ends; the cookie is the new kernel's.
            table.by_cookie.remove(cookie, other);
        }
        let (index, generation) = table.take_free().ok_or(ReserveError::Limit)?;
        table.used += 1;
        table.pages = total;
        table.registered += u32::from(kind == Kind::Registered);
        let buffer = Buffer {
            kind,
            state: State::Announced,
            generation,
            next_free: END,
            cookie,
            pages,
            offset,
            era: table.era,
            number: 0,
            share: None,
            extents: Extents::default(),
        };
        match table.slab.get_mut(index as usize) {
            Some(place) => *place = buffer,
            None => table.slab.push(buffer),
        }
        let handle = Handle::mint(index, generation);
        if kind != Kind::Temporary {
            table.by_cookie.insert(cookie, index);
        }
        Ok(handle)
    }

    /// Keeps what OP-TEE has of the buffer in its own address space until the buffer is
    /// [removed](Self::remove).
    pub(in crate::optee) fn keep_share(&self, handle: Handle, share: Share) {
        if let Some(buffer) = self.table.lock().by_handle(handle) {
            buffer.share = Some(share);
        }
    }

    /// Remembers where in guest memory the buffer lies.
    pub(in crate::optee) fn describe(&self, handle: Handle, extents: &Extents) {
        if let Some(buffer) = self.table.lock().by_handle(handle) {
            buffer.extents = *extents;
        }
    }

    /// OP-TEE knows the buffer now: calls can refer to it.
    pub(in crate::optee) fn commit(&self, handle: Handle) {
        let mut table = self.table.lock();
        let number = self.registrations.load(Ordering::Relaxed);
        if let Some(buffer) = table.by_handle(handle) {
            buffer.state = State::Shared;
            buffer.number = number;
            self.registrations.store(number + 1, Ordering::Relaxed);
            table.newer.iter_mut().for_each(|newer| newer.count += 1);
        }
    }

    /// How many buffers OP-TEE ever came to know.
    pub(in crate::optee) fn registrations(&self) -> u64 {
        self.registrations.load(Ordering::Relaxed)
    }

    /// How many buffers that OP-TEE knows came to it after the memory of the slot at `slot`.
    pub(in crate::optee) fn newer_than(&self, slot: usize) -> u32 {
        let table = self.table.lock();
        table.newer.get(slot).map_or(0, |newer| newer.count)
    }

    /// OP-TEE knows the memory of the slot at `slot` anew. Buffers that it came to know meanwhile
    /// count as older.
    pub(in crate::optee) fn renewed(&self, slot: usize) {
        let mut table = self.table.lock();
        let since = self.registrations.load(Ordering::Relaxed);
        if let Some(newer) = table.newer.get_mut(slot) {
            *newer = Newer { since, count: 0 };
        }
    }

    /// OP-TEE does not know the buffer, or not any more. Gives what the caller has to let go of.
    pub(in crate::optee) fn remove(&self, handle: Handle) -> Removed {
        let mut table = self.table.lock();
        let table = &mut *table;
        let Some(index) = handle.index() else {
            return Removed::default();
        };
        let Some(buffer) = table.by_handle(handle) else {
            return Removed::default();
        };
        let (kind, cookie, pages) = (buffer.kind, buffer.cookie, buffer.pages);
        let known = buffer.is_known().then_some(buffer.number);
        let share = buffer.share.take();
        let index = index as u32;
        buffer.state = State::Free;
        let before = core::mem::replace(&mut table.free, index);
        if let Some(buffer) = table.slab.get_mut(index as usize) {
            buffer.next_free = before;
        }
        table.used -= 1;
        table.pages -= pages;
        table.registered -= u32::from(kind == Kind::Registered);
        if kind != Kind::Temporary {
            // It is gone already where the guest was told to free the buffer.
            table.by_cookie.remove(cookie, index);
        }
        if let Some(number) = known {
            let newer = |newer: &&mut Newer| number >= newer.since;
            for newer in table.newer.iter_mut().filter(newer) {
                newer.count -= 1;
            }
        }
        Removed { pages, share }
    }

    /// The registered buffers, for the call of the slot at `slot` to refer to one after the other,
    /// until it [lets go](Self::let_go) of them.
    pub(in crate::optee) fn registered(&self, slot: usize) -> RegisteredBuffers<'_> {
        RegisteredBuffers {
            references: self.references.get(slot),
            table: self.table.lock(),
        }
    }

    /// The call of the slot at `slot` refers to no buffer any more.
    #[inline]
    pub(in crate::optee) fn let_go(&self, slot: usize) {
        if let Some(references) = self.references.get(slot) {
            references.clear();
        }
    }

    /// Whether no call refers to the buffer any more, which was [released](Self::release).
    pub(in crate::optee) fn is_unused(&self, handle: Handle) -> bool {
        let refers = |references: &References| references.have(handle);
        !self.references.iter().any(refers)
    }

    /// Follows OP-TEE's reference to `size` bytes from `offset` on of a buffer, and gives the
    /// guest's cookie.
    pub(in crate::optee) fn cookie(&self, handle: Handle, offset: u64, size: u64) -> Option<u64> {
        let mut table = self.table.lock();
        let buffer = table.by_handle(handle)?;
        (buffer.state != State::Announced && within(buffer, offset, size)).then_some(buffer.cookie)
    }

    /// Where up to `len` bytes from `offset` on of a registered buffer lie in guest memory.
    pub(in crate::optee) fn location(
        &self,
        cookie: u64,
        offset: u64,
        len: usize,
    ) -> Option<Location> {
        let table = self.table.lock();
        let (_, buffer) = table.shared(cookie)?;
        buffer
            .extents
            .location(buffer.offset.checked_add(offset)?, len)
    }

    /// The guest wants a registered buffer back: from now on no further call can refer to it.
    pub(in crate::optee) fn release(&self, cookie: u64) -> Option<Handle> {
        let mut table = self.table.lock();
        let (index, _) = table.shared(cookie)?;
        let buffer = table.slab.get_mut(index as usize)?;
        buffer.state = State::Released;
        Some(Handle::mint(index, buffer.generation))
    }

    /// Takes a buffer that OP-TEE knows from its guest, which is gone and has no call under way,
    /// for OP-TEE to forget, beginning at `place`, which moves on.
    pub(in crate::optee) fn take_back(&self, place: &mut usize) -> TakeBack {
        let mut table = self.table.lock();
        for _ in 0..LOOK_AT_ONCE {
            let index = *place;
            let Some(buffer) = table.slab.get_mut(index) else {
                return TakeBack::None;
            };
            *place += 1;
            if buffer.is_known() {
                buffer.state = State::Released;
                return TakeBack::Found(Handle::mint(index as u32, buffer.generation));
            }
        }
        TakeBack::LookOn
    }

    /// OP-TEE did not give the buffer back: it is shared as before.
    pub(in crate::optee) fn keep(&self, handle: Handle) {
        if let Some(buffer) = self.table.lock().by_handle(handle) {
            buffer.state = State::Shared;
        }
    }

    /// OP-TEE wants the guest to free a buffer that it had asked for. Gives the cookie, which
    /// stands for nothing from now on: the guest may use it anew as soon as it was told.
    pub(in crate::optee) fn free(&self, handle: Handle) -> Option<u64> {
        let mut table = self.table.lock();
        let table = &mut *table;
        let buffer = table.by_handle(handle)?;
        if buffer.kind != Kind::Rpc || buffer.state != State::Shared {
            return None;
        }
        buffer.state = State::Released;
        let cookie = buffer.cookie;
        table.by_cookie.remove(cookie, handle.index()? as u32);
        Some(cookie)
    }

    /// The guest's kernel starts anew: it does not know the cookies of its predecessor, and may use
    /// them.
    pub(in crate::optee) fn begin_era(&self) {
        let mut table = self.table.lock();
        table.era = table.era.wrapping_add(1);
    }

    /// Forgets all buffers, for good, and gives the number of pages that the caller unpins.
    #[must_use]
    pub(in crate::optee) fn clear(&self) -> u64 {
        let mut table = self.table.lock();
        table.slab.clear();
        table.capacity = 0;
        table.free = END;
        table.used = 0;
        table.registered = 0;
        core::mem::take(&mut table.pages)
    }

    /// How many buffers there are, and how many pages they have.
    pub(in crate::optee) fn held(&self) -> (u32, u64) {
        let table = self.table.lock();
        (table.used, table.pages)
    }
}

/// The registered buffers of a guest, which stay as they are as long as this lives.
#[derive(Debug)]
pub(in crate::optee) struct RegisteredBuffers<'a> {
    references: Option<&'a References>,
    table: MutexGuard<'a, Table>,
}

impl RegisteredBuffers<'_> {
    /// Follows the reference of `parameter`, by its place, to `size` bytes from `offset` on of a
    /// registered buffer, and says how many pages that has. It is [held](Self::hold) in the end.
    ///
    /// The bounds are those of OP-TEE (`mobj_reg_shm_alloc`, 4.5.0): a buffer reaches to the end of
    /// its last page.
    #[inline]
    pub(in crate::optee) fn refer(
        &self,
        parameter: usize,
        cookie: u64,
        offset: u64,
        size: u64,
    ) -> Result<(Handle, u64), ReferenceError> {
        let found = self.table.shared(cookie);
        let (index, buffer) = found.ok_or(ReferenceError::Unknown)?;
        if !within(buffer, offset, size) {
            return Err(ReferenceError::OutOfBounds);
        }
        let handle = Handle::mint(index, buffer.generation);
        self.references
            .and_then(|references| references.note(parameter, handle))
            .ok_or(ReferenceError::Unknown)?;
        Ok((handle, buffer.pages))
    }

    /// The call refers to what was found for these parameters, a bit each.
    #[inline]
    pub(in crate::optee) fn hold(&self, parameters: u8) {
        if let Some(references) = self.references {
            references.hold(parameters);
        }
    }
}

fn within(buffer: &Buffer, offset: u64, size: u64) -> bool {
    let end = offset.checked_add(size);
    let bytes = buffer.pages * PAGE_SIZE - buffer.offset;
    end.is_some_and(|end| end <= bytes)
}

#[cfg(test)]
mod tests;
