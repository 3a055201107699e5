//! Translating the pages of a buffer into a list that OP-TEE can read.
//!
//! The guest's list is copied a page at a time; each address is checked and replaced in the copy,
//! and the copy goes to a shadow page as a whole. Translation can stop after any stretch of entries
//! and go on from the same copy.

use optee_abi::message::{Direction, Parameter};
use optee_abi::pagelist::{ENTRIES, LINK, PAGE_SIZE, WORDS};
use zerocopy::IntoBytes;

use super::handle::Handle;
use super::location::Extents;
use super::page_pool::{Chain, PagePool};
use crate::optee::stats::Counters;
use crate::ports::{Cpu, GuestMemory, Platform, Ports, ShadowMemory};
use addresses::{Ipa, Run};

/// How many entries are translated before the next look for an interrupt.
const STRETCH: usize = 64;

/// Memory as a guest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) struct Memory {
    /// Whether `address` is that of a list of its pages.
    pub(in crate::optee) list: bool,
    pub(in crate::optee) address: u64,
    pub(in crate::optee) size: u64,
    pub(in crate::optee) reference: u64,
}

/// Where the addresses of the pages come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A list of the guest whose next page is here.
    List(Ipa),
    /// The buffer is contiguous, and its next page is here.
    Contiguous(Ipa),
}

/// The words of one page of a list.
pub(in crate::optee) type Words = [u64; WORDS];

/// A translation: one that is under way, or the last one of its slot.
#[derive(Debug)]
pub(in crate::optee) struct Translation {
    /// Size of the buffer in bytes, and where it starts in its first page.
    size: u64,
    offset: u64,
    /// Where the buffer lies, if that is to be remembered.
    extents: Option<Extents>,
    source: Source,
    /// Entries that are not loaded yet.
    left: u64,
    /// Entries that are loaded, and how many of them are translated.
    loaded: usize,
    translated: usize,
    window: Window,
}

/// The pages that can be translated at once, because they are contiguous both in IPA and in PA.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// IPA of the first page.
    start: u64,
    /// How many pages there are.
    pages: u64,
    /// What leads from IPA to PA.
    distance: u64,
}

impl Window {
    /// The whole pages of `run`: none if IPA and PA are not aligned alike.
    fn of(run: &Run) -> Self {
        let distance = run.pa.0.wrapping_sub(run.ipa.0);
        let start = run.ipa.0.checked_next_multiple_of(PAGE_SIZE);
        match start {
            Some(start) if distance.is_multiple_of(PAGE_SIZE) => Self {
                start,
                pages: run.len.saturating_sub(start - run.ipa.0) / PAGE_SIZE,
                distance,
            },
            _ => Self::default(),
        }
    }

    /// The physical address of the page that starts at `ipa`.
    fn translate(&self, ipa: u64) -> Option<u64> {
        // So turned, an offset that is no multiple of a page is more than any number of pages.
        let index = ipa
            .wrapping_sub(self.start)
            .rotate_right(PAGE_SIZE.trailing_zeros());
        (index < self.pages).then(|| ipa.wrapping_add(self.distance))
    }
}

/// How far a translation got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) enum Progress {
    /// All is translated.
    Complete,
    /// An interrupt is pending; call again once the guest had the chance to take it.
    Interrupted,
}

/// Why a buffer can't be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::optee) enum TranslateError {
    /// The list or one of its pages is not memory of the guest, or is not aligned.
    BadList,
    /// The VM's shadow pages are all in use.
    NoShadowPage,
}

impl Default for Translation {
    fn default() -> Self {
        Self {
            size: 0,
            offset: 0,
            extents: None,
            source: Source::Contiguous(Ipa(0)),
            left: 0,
            loaded: 0,
            translated: 0,
            window: Window::default(),
        }
    }
}

impl Translation {
    /// Begins to translate the `pages` pages of a buffer, and to `remember` where they lie.
    pub(in crate::optee) fn begin(&mut self, buffer: Memory, pages: u64, remember: bool) {
        let start = Ipa(buffer.address);
        self.size = buffer.size;
        self.offset = start.page_offset();
        self.extents = remember.then(Extents::default);
        self.source = if buffer.list {
            Source::List(start.page())
        } else {
            Source::Contiguous(start.page())
        };
        self.left = pages;
        self.loaded = 0;
        self.translated = 0;
        self.window = Window::default();
    }

    /// Translates until all is done or an interrupt is pending. `words` holds the copy of the
    /// list's present page between calls; the shadow pages of the translated list are added to
    /// `list`.
    pub(in crate::optee) fn advance<P: Platform>(
        &mut self,
        words: &mut Words,
        list: &mut Chain,
        ports: &Ports<P>,
        pool: &PagePool,
        counters: &Counters,
    ) -> Result<Progress, TranslateError> {
        loop {
            if self.translated == self.loaded {
                if self.loaded > 0 {
                    self.store(words, list, &ports.shadow, pool)?;
                }
                if self.left == 0 {
                    return Ok(Progress::Complete);
                }
                if self.loaded == 0 {
                    pool.take(list).ok_or(TranslateError::NoShadowPage)?;
                }
                self.load(words, &ports.memory, counters)?;
            }
            let end = self.loaded.min(self.translated + STRETCH);
            self.translate(words, end, &ports.memory)?;
            counters
                .entries_translated
                .add((end - self.translated) as u64);
            self.translated = end;
            let finished = self.left == 0 && self.translated == self.loaded;
            if !finished && ports.cpu.interrupt_pending() {
                return Ok(Progress::Interrupted);
            }
        }
    }

    /// Loads the next page of the list. Its link is followed only where there is more to come:
    /// Linux leaves a stray link at the end of a list that fills its last page.
    fn load<M: GuestMemory>(
        &mut self,
        words: &mut Words,
        memory: &M,
        counters: &Counters,
    ) -> Result<(), TranslateError> {
        let count = self.left.min(ENTRIES as u64);
        self.left -= count;
        self.loaded = count as usize;
        self.translated = 0;
        match self.source {
            Source::List(page) => {
                let needed = if self.left == 0 { self.loaded } else { WORDS };
                let bytes = words.get_mut(..needed).unwrap_or_default().as_mut_bytes();
                memory
                    .read(page, bytes)
                    .map_err(|_| TranslateError::BadList)?;
                counters.bytes_copied.add(bytes.len() as u64);
                if self.left > 0 {
                    let link = Ipa(words[LINK]);
                    if !link.is_aligned(PAGE_SIZE) {
                        return Err(TranslateError::BadList);
                    }
                    self.source = Source::List(link);
                }
            }
            Source::Contiguous(first) => {
                let mut next = first;
                for word in words.iter_mut().take(self.loaded) {
                    *word = next.0;
                    next = next.checked_add(PAGE_SIZE).ok_or(TranslateError::BadList)?;
                }
                self.source = Source::Contiguous(next);
            }
        }
        Ok(())
    }

    /// Replaces the addresses up to `end` in the copy by physical ones.
    fn translate<M: GuestMemory>(
        &mut self,
        words: &mut Words,
        end: usize,
        memory: &M,
    ) -> Result<(), TranslateError> {
        let mut window = self.window;
        let mut contiguous = 0..0;
        for word in words.get_mut(self.translated..end).unwrap_or_default() {
            let page = *word;
            let pa = match window.translate(page) {
                Some(pa) => pa,
                None => {
                    let run = memory.run(Ipa(page)).map_err(|_| TranslateError::BadList)?;
                    window = Window::of(&run);
                    window.translate(page).ok_or(TranslateError::BadList)?
                }
            };
            if page != contiguous.end {
                if let Some(extents) = &mut self.extents {
                    extents.push(contiguous);
                }
                contiguous = page..page;
            }
            contiguous.end = page.wrapping_add(PAGE_SIZE);
            *word = pa;
        }
        if let Some(extents) = &mut self.extents {
            extents.push(contiguous);
        }
        self.window = window;
        Ok(())
    }

    /// Writes the translated page to the last shadow page, linked to a new one if there is more to
    /// come.
    fn store<S: ShadowMemory>(
        &mut self,
        words: &mut Words,
        list: &mut Chain,
        shadow: &S,
        pool: &PagePool,
    ) -> Result<(), TranslateError> {
        let target = list.last().ok_or(TranslateError::NoShadowPage)?;
        let used = if self.left > 0 {
            let next = pool.take(list).ok_or(TranslateError::NoShadowPage)?;
            words[LINK] = shadow.pa(next).0;
            WORDS
        } else {
            self.loaded
        };
        shadow.write(target, 0, words.get(..used).unwrap_or_default().as_bytes());
        Ok(())
    }

    /// The extents of a buffer whose place is to be remembered, once all of it is translated.
    pub(in crate::optee) fn extents(&self) -> Option<&Extents> {
        self.extents.as_ref()
    }

    /// What OP-TEE is told of the buffer, which it is to know by `handle`: where the translated
    /// list starts, and the offset into the first page.
    pub(in crate::optee) fn parameter<S: ShadowMemory>(
        &self,
        list: &Chain,
        shadow: &S,
        handle: Handle,
    ) -> Parameter {
        Parameter::Temporary {
            direction: Direction::Output,
            list: true,
            address: list.first().map_or(0, |page| shadow.pa(page).0) | self.offset,
            size: self.size,
            reference: handle.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use addresses::Pa;

    fn window(ipa: u64, pa: u64, len: u64) -> Window {
        let (ipa, pa) = (Ipa(ipa), Pa(pa));
        Window::of(&Run { ipa, pa, len })
    }

    #[test]
    fn whole_pages_of_a_run_are_translated() {
        let window = window(0x4000_0000, 0x5000, 0x3000);
        assert_eq!(window.translate(0x4000_0000), Some(0x5000));
        assert_eq!(window.translate(0x4000_2000), Some(0x7000));
        for outside in [0x4000_3000, 0x3fff_f000, 0, u64::MAX - 0xfff] {
            assert_eq!(window.translate(outside), None, "{outside:#x}");
        }
        for inside_a_page in [0x4000_0001, 0x4000_0800, 0x4000_1fff] {
            assert_eq!(window.translate(inside_a_page), None, "{inside_a_page:#x}");
        }
    }

    #[test]
    fn pages_that_a_run_holds_in_part_are_not() {
        let window = window(0x1800, 0x9800, 0x2000);
        assert_eq!(window.translate(0x1000), None);
        assert_eq!(window.translate(0x2000), Some(0xa000));
        assert_eq!(window.translate(0x3000), None);
    }

    #[test]
    fn runs_without_a_page_translate_nothing() {
        for (ipa, pa, len) in [
            (0x1000, 0x9000, 0xfff),
            (0x1000, 0x9800, 0x4000),
            (0x1800, 0x9800, 0x100),
            (u64::MAX - 0x7ff, 0x800, 0x800),
        ] {
            let window = window(ipa, pa, len);
            assert_eq!(window.translate(ipa & !0xfff), None);
            assert_eq!(window.translate(0x2000), None);
        }
        assert_eq!(Window::default().translate(0), None);
    }
}
