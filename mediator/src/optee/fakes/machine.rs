//! The machine: memory of the guest and of the hypervisor, and interrupts.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use super::optee::OpteeState;
use crate::ports::{Cpu, GuestMemory, NotGuestMemory, Platform, Ports, ShadowMemory};
use addresses::Run;
use addresses::{Ipa, Pa};

pub const RAM: u64 = 0x4000_0000;
pub const RAM_PAGES: u64 = 32768;
const GUEST_PA: u64 = 0x5a_0000_0000;
pub const SHADOW_PA: u64 = 0x77_0000_0000;
/// Guest memory is contiguous in physical memory for this long, then goes on elsewhere.
const CHUNK: u64 = 16 * 4096;
/// The clock's frequency.
pub const TICKS_PER_SECOND: u64 = 1000;
/// Looks like a physical address and is none.
pub const NOWHERE: u64 = 0x5b_4000_0000;

type Page = Box<[u8; 4096]>;
type Hook = Box<dyn FnMut(&World, Ipa, usize) + Send>;
pub struct Machine {
    pages: Mutex<BTreeMap<u64, Page>>,
    shadow: Mutex<Vec<Page>>,
    pub optee: Mutex<OpteeState>,
    pub pinned: AtomicI64,
    /// How many more looks for an interrupt find none; then each finds one.
    pub quiet: AtomicI64,
    /// The time, in ticks.
    pub clock: AtomicU64,
    pub reads: Mutex<Vec<(u64, usize)>>,
    hook: Mutex<Option<Hook>>,
    pub destroyed: AtomicU64,
}

/// All ports of the machine.
#[derive(Clone)]
pub struct World(pub Arc<Machine>);

impl Platform for World {
    type World = Self;
    type Memory = Self;
    type Shadow = Self;
    type Cpu = Self;
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("pinned", &self.pinned())
            .finish_non_exhaustive()
    }
}
pub fn pa_of(ipa: u64) -> u64 {
    GUEST_PA + (ipa ^ CHUNK)
}

pub fn is_secret(value: u64) -> bool {
    (GUEST_PA..GUEST_PA + (1 << 32)).contains(&value)
        || (SHADOW_PA..SHADOW_PA + (1 << 32)).contains(&value)
}

impl World {
    pub fn new(shadow_pages: usize) -> Self {
        let blank = || Box::new([0; 4096]);
        Self(Arc::new(Machine {
            pages: Mutex::default(),
            shadow: Mutex::new((0..shadow_pages).map(|_| blank()).collect()),
            optee: Mutex::default(),
            pinned: AtomicI64::new(0),
            quiet: AtomicI64::new(i64::MAX),
            clock: AtomicU64::new(1_000_000),
            reads: Mutex::default(),
            hook: Mutex::default(),
            destroyed: AtomicU64::new(0),
        }))
    }

    pub fn ports(&self) -> Ports<Self> {
        Ports {
            world: self.clone(),
            memory: self.clone(),
            shadow: self.clone(),
            cpu: self.clone(),
        }
    }

    /// Guest memory, as the guest writes it.
    pub fn poke(&self, ipa: u64, bytes: &[u8]) {
        let mut pages = self.0.pages.lock().unwrap();
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = ipa + (bytes.len() - rest.len()) as u64;
            let offset = (at & 0xfff) as usize;
            let (part, others) = rest.split_at(rest.len().min(4096 - offset));
            let page = pages
                .entry(at & !0xfff)
                .or_insert_with(|| Box::new([0; 4096]));
            page[offset..offset + part.len()].copy_from_slice(part);
            rest = others;
        }
    }

    pub fn poke_words(&self, ipa: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.poke(ipa, &bytes);
    }

    /// Guest memory, as the guest reads it.
    pub fn peek(&self, ipa: u64, into: &mut [u8]) {
        let pages = self.0.pages.lock().unwrap();
        let mut done = 0;
        while done < into.len() {
            let at = ipa + done as u64;
            let offset = (at & 0xfff) as usize;
            let count = (into.len() - done).min(4096 - offset);
            let part = &mut into[done..done + count];
            match pages.get(&(at & !0xfff)) {
                Some(page) => part.copy_from_slice(&page[offset..offset + count]),
                None => part.fill(0),
            }
            done += count;
        }
    }

    /// Calls `hook` after each read of guest memory by the mediator.
    pub fn after_read(&self, hook: impl FnMut(&Self, Ipa, usize) + Send + 'static) {
        *self.0.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub fn pinned(&self) -> i64 {
        self.0.pinned.load(Ordering::SeqCst)
    }
    pub fn physical_read(&self, pa: u64, into: &mut [u8]) {
        if pa >= SHADOW_PA {
            let at = pa - SHADOW_PA;
            self.read_shadow((at / 4096) as usize, (at % 4096) as usize, into);
        } else {
            let ipa = (pa - GUEST_PA) ^ CHUNK;
            assert!(
                (RAM..RAM + RAM_PAGES * 4096).contains(&ipa),
                "OP-TEE was given {pa:#x}"
            );
            self.peek(ipa, into);
        }
    }

    fn read_shadow(&self, page: usize, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0.shadow.lock().unwrap()[page][offset..offset + into.len()]);
    }

    pub fn write_shadow(&self, pa: u64, from: &[u8]) {
        let at = pa
            .checked_sub(SHADOW_PA)
            .expect("OP-TEE writes its messages in shadow memory") as usize;
        self.0.shadow.lock().unwrap()[at / 4096][at % 4096..at % 4096 + from.len()]
            .copy_from_slice(from);
    }
}

impl GuestMemory for World {
    fn run(&self, ipa: Ipa) -> Result<Run, NotGuestMemory> {
        if !(RAM..RAM + RAM_PAGES * 4096).contains(&ipa.0) {
            return Err(NotGuestMemory);
        }
        let start = ipa.0 & !(CHUNK - 1);
        Ok(Run {
            ipa: Ipa(start),
            pa: Pa(pa_of(start)),
            len: CHUNK,
        })
    }

    fn read(&self, ipa: Ipa, into: &mut [u8]) -> Result<(), NotGuestMemory> {
        self.run(ipa)?;
        self.run(
            ipa.checked_add(into.len() as u64 - 1)
                .ok_or(NotGuestMemory)?,
        )?;
        self.peek(ipa.0, into);
        self.0.reads.lock().unwrap().push((ipa.0, into.len()));
        let hook = self.0.hook.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook(self, ipa, into.len());
            *self.0.hook.lock().unwrap() = Some(hook);
        }
        Ok(())
    }

    fn write(&self, ipa: Ipa, from: &[u8]) -> Result<(), NotGuestMemory> {
        self.run(ipa)?;
        self.run(
            ipa.checked_add(from.len() as u64 - 1)
                .ok_or(NotGuestMemory)?,
        )?;
        for word in from.chunks_exact(8) {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            assert!(!is_secret(word), "the guest gets to see {word:#x}");
        }
        self.poke(ipa.0, from);
        Ok(())
    }

    fn pin(&self, pages: u64) {
        self.0.pinned.fetch_add(pages as i64, Ordering::SeqCst);
    }

    fn unpin(&self, pages: u64) {
        let before = self.0.pinned.fetch_sub(pages as i64, Ordering::SeqCst);
        assert!(before >= pages as i64, "more is unpinned than was pinned");
    }
}

impl ShadowMemory for World {
    fn pages(&self) -> usize {
        self.0.shadow.lock().unwrap().len()
    }

    fn pa(&self, page: usize) -> Pa {
        Pa(SHADOW_PA + page as u64 * 4096)
    }

    fn read(&self, page: usize, offset: usize, into: &mut [u8]) {
        self.read_shadow(page, offset, into);
    }

    fn write(&self, page: usize, offset: usize, from: &[u8]) {
        self.write_shadow(SHADOW_PA + (page * 4096 + offset) as u64, from);
    }
}

impl Cpu for World {
    fn interrupt_pending(&self) -> bool {
        self.0.quiet.fetch_sub(1, Ordering::SeqCst) <= 0
    }

    fn now(&self) -> u64 {
        self.0.clock.load(Ordering::SeqCst)
    }

    fn ticks_per_second(&self) -> u64 {
        TICKS_PER_SECOND
    }
}
