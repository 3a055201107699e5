//! The machine's SMMUv3 (IHI0070F.b), which stands between devices and memory. EL2 alone uses it:
//! what a device of a VM's reads and writes is translated as the VM's own accesses are, and a
//! device that is nobody's reaches nothing.

pub mod event;
mod formats;
#[cfg(test)]
pub mod model;
mod queue;
pub mod registers;
mod stream_table;
mod table;

pub use formats::{Stage, Translation};

use crate::arch::timer;
use alloc::boxed::Box;
use core::fmt;
use event::Event;
use formats::{
    Command, INVALIDATE_CONFIGURATION, INVALIDATE_TRANSLATIONS, SYNCHRONIZE, invalidate_context,
    invalidate_stream, invalidate_translations,
};
use queue::{CommandQueue, EventQueue};
use registers::{Registers, offset};
use spin::Mutex;
use stream_table::StreamTable;

/// IDR0: what the SMMU can.
mod idr0 {
    pub const S2P: u32 = 1 << 0;
    pub const S1P: u32 = 1 << 1;
    /// TTF, bit 1 of it: VMSAv8-64 tables.
    pub const TTF_AARCH64: u32 = 1 << 3;
    pub const COHACC: u32 = 1 << 4;
    /// ATS: devices may translate for themselves.
    pub const ATS: u32 = 1 << 10;
    /// TTENDIAN 0b11: big endian only.
    pub const TTENDIAN: u32 = 0b11 << 21;
    pub const TTENDIAN_BIG: u32 = 0b11 << 21;
    /// STALL_MODEL 0b10: faults always wait.
    pub const STALL_MODEL: u32 = 0b11 << 24;
    pub const STALL_FORCED: u32 = 0b10 << 24;
    /// ST_LEVEL, bit 0 of it: two-level stream tables.
    pub const TWO_LEVELS: u32 = 1 << 27;
}

/// IDR1: tables or queues at fixed places, and how many bits of stream IDs there are.
mod idr1 {
    pub const PRESET: u32 = 0b11 << 29;
    /// At most 32.
    pub const SIDSIZE: u32 = 0x3f;
    /// log2 of the entries that a queue can have.
    pub const fn cmdqs(idr1: u32) -> u32 {
        idr1 >> 21 & 0x1f
    }
    pub const fn eventqs(idr1: u32) -> u32 {
        idr1 >> 16 & 0x1f
    }
}

/// IDR5: the sizes of addresses and pages.
mod idr5 {
    pub const OAS: u32 = 0b111;
    pub const GRAN4K: u32 = 1 << 4;
}

/// CR0 and what acknowledges it.
mod cr0 {
    pub const SMMUEN: u32 = 1 << 0;
    pub const EVENTQEN: u32 = 1 << 2;
    pub const CMDQEN: u32 = 1 << 3;
    /// What a device says that it has translated is looked at, too: no stream's entry allows it
    /// (EATS is 0). Without this it would pass to any address (3.9). RES0 without ATS.
    pub const ATSCHK: u32 = 1 << 4;
}

/// CR1: tables and queues are write-back, inner shareable.
const CR1_WRITE_BACK_INNER: u32 = 0b11_01_01 << 6 | 0b11_01_01;
/// CR2.RECINVSID: stream IDs beyond the table are recorded. PTM: broadcast invalidations of CPUs
/// are not taken part in.
const CR2_RECINVSID_PTM: u32 = 1 << 1 | 1 << 2;
/// GBPA.ABORT and UPDATE: while the SMMU is off, what devices do is aborted.
const GBPA_ABORT: u32 = 1 << 20;
const GBPA_UPDATE: u32 = 1 << 31;
/// IRQ_CTRL.EVENTQ_IRQEN.
const IRQ_EVENTQ: u32 = 1 << 2;
/// GERROR.CMDQ_ERR.
const GERROR_CMDQ: u32 = 1 << 0;

/// How long the SMMU may take for what it is asked: a tenth of a second.
const PATIENCE_PER_SECOND: u64 = 10;

/// Why an SMMU can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmmuError {
    /// It lacks what EL2 needs.
    Lacks(&'static str),
    /// It does not know such a stream.
    NoSuchStream(u32),
    /// The heap has no room for its tables.
    NoMemory,
    /// It does not answer.
    Unresponsive,
}

impl fmt::Display for SmmuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(what) => write!(f, "the SMMU lacks {what}"),
            Self::NoSuchStream(stream) => write!(f, "the SMMU has no stream {stream:#x}"),
            Self::NoMemory => f.write_str("the heap has no room for the SMMU's tables"),
            Self::Unresponsive => f.write_str("the SMMU does not answer"),
        }
    }
}

impl core::error::Error for SmmuError {}

/// The SMMU, on, with every stream aborted that is not [attached](Smmu::attach).
pub struct Smmu {
    registers: Box<dyn Registers>,
    /// Which translations it can do; one of them is used.
    stage: Stage,
    /// IDR5.OAS, in the encoding of TCR_EL1.IPS.
    output_size: u64,
    inner: Mutex<Inner>,
    events: Mutex<EventQueue>,
}

/// What attaching and detaching change, one at a time.
struct Inner {
    streams: StreamTable,
    commands: CommandQueue,
}

impl Smmu {
    /// Takes over the SMMU behind `registers`, and turns it on with all streams aborted. Streams
    /// from 0 up to and with `last_stream` can be attached.
    ///
    /// # Errors
    ///
    /// See [`SmmuError`]; what devices do is then aborted, or as it was before where that can't be.
    pub fn new(registers: Box<dyn Registers>, last_stream: u32) -> Result<Self, SmmuError> {
        let (stage, output_size) = capabilities(&*registers, last_stream)?;
        let streams = StreamTable::new(last_stream).ok_or(SmmuError::NoMemory)?;
        let mut commands = CommandQueue::new().ok_or(SmmuError::NoMemory)?;
        let events = EventQueue::new().ok_or(SmmuError::NoMemory)?;

        let set = |offset, value| registers.write32(offset, value);
        until(|| registers.read32(offset::GBPA) & GBPA_UPDATE == 0)?;
        set(offset::GBPA, GBPA_UPDATE | GBPA_ABORT);
        until(|| registers.read32(offset::GBPA) & GBPA_UPDATE == 0)?;
        enable(&*registers, 0)?;
        set(offset::CR1, CR1_WRITE_BACK_INNER);
        set(offset::CR2, CR2_RECINVSID_PTM);
        registers.write64(offset::STRTAB_BASE, streams.base());
        set(offset::STRTAB_BASE_CFG, streams.configuration());
        registers.write64(offset::CMDQ_BASE, commands.base());
        set(offset::CMDQ_PROD, 0);
        set(offset::CMDQ_CONS, 0);
        registers.write64(offset::EVENTQ_BASE, events.base());
        set(offset::EVENTQ_PROD, 0);
        set(offset::EVENTQ_CONS, 0);

        let checks = if registers.read32(offset::IDR0) & idr0::ATS == 0 {
            cr0::CMDQEN
        } else {
            cr0::CMDQEN | cr0::ATSCHK
        };
        enable(&*registers, checks)?;
        let forget = [INVALIDATE_CONFIGURATION, INVALIDATE_TRANSLATIONS];
        submit(&*registers, &mut commands, &forget)?;
        enable(&*registers, checks | cr0::EVENTQEN)?;
        set(offset::IRQ_CTRL, IRQ_EVENTQ);
        enable(&*registers, checks | cr0::EVENTQEN | cr0::SMMUEN)?;
        Ok(Self {
            registers,
            stage,
            output_size,
            inner: Mutex::new(Inner { streams, commands }),
            events: Mutex::new(events),
        })
    }

    /// The stage of the tables that it walks.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Makes room for a stream, which stays aborted.
    ///
    /// # Errors
    ///
    /// See [`SmmuError`].
    pub fn add(&self, stream: u32) -> Result<(), SmmuError> {
        let mut inner = self.inner.lock();
        inner.streams.make_room(stream).ok_or(SmmuError::NoMemory)?;
        let commands = [INVALIDATE_CONFIGURATION];
        submit(&*self.registers, &mut inner.commands, &commands)
    }

    /// Has what `stream`, which was [added](Self::add) and is aborted, does translated by tables of
    /// the SMMU's [stage](Self::stage), which live on as long as it is attached.
    ///
    /// # Errors
    ///
    /// See [`SmmuError`].
    pub fn attach(&self, stream: u32, translation: &Translation) -> Result<(), SmmuError> {
        let mut inner = self.inner.lock();
        let Inner { streams, commands } = &mut *inner;
        let context = match self.stage {
            Stage::One => {
                let descriptor = translation.context(self.output_size);
                let context = streams.set_context(stream, &descriptor);
                let context = context.ok_or(SmmuError::NoSuchStream(stream))?;
                submit(&*self.registers, commands, &[invalidate_context(stream)])?;
                Some(context)
            }
            Stage::Two => None,
        };
        let entry = translation.entry(context, self.output_size);
        let set = streams.set_entry(stream, &entry);
        set.ok_or(SmmuError::NoSuchStream(stream))?;
        let stale = [
            invalidate_stream(stream),
            invalidate_translations(self.stage, translation.tag),
        ];
        submit(&*self.registers, commands, &stale)
    }

    /// Has what `stream`, whose translations are tagged `tag`, does aborted. What it began before
    /// is over, and nothing is left of its translations.
    ///
    /// # Errors
    ///
    /// See [`SmmuError`].
    pub fn detach(&self, stream: u32, tag: u16) -> Result<(), SmmuError> {
        let mut inner = self.inner.lock();
        let Inner { streams, commands } = &mut *inner;
        let aborted = streams.abort(stream);
        aborted.ok_or(SmmuError::NoSuchStream(stream))?;
        let stale = [
            invalidate_stream(stream),
            invalidate_translations(self.stage, tag),
        ];
        submit(&*self.registers, commands, &stale)
    }

    /// Takes the next event, and whether some were lost before it because nobody took them.
    pub fn take_event(&self) -> Option<(Event, bool)> {
        let mut events = self.events.lock();
        let producer = self.registers.read32(offset::EVENTQ_PROD);
        let (event, lost, consumer) = events.take(producer)?;
        self.registers.write32(offset::EVENTQ_CONS, consumer);
        Some((event, lost))
    }

    /// Sets whether an interrupt says that there are events.
    pub fn set_event_interrupt(&self, enable: bool) {
        let value = if enable { IRQ_EVENTQ } else { 0 };
        self.registers.write32(offset::IRQ_CTRL, value);
    }

    /// Whether there are events.
    #[must_use]
    pub fn has_events(&self) -> bool {
        let producer = self.registers.read32(offset::EVENTQ_PROD);
        self.events.lock().has_some(producer)
    }
}

/// What the SMMU can, if that is enough.
fn capabilities(registers: &dyn Registers, last_stream: u32) -> Result<(Stage, u64), SmmuError> {
    let [idr0, idr1, idr5] =
        [offset::IDR0, offset::IDR1, offset::IDR5].map(|offset| registers.read32(offset));
    let needs = [
        (idr0 & idr0::TTF_AARCH64 != 0, "tables of AArch64"),
        (
            idr0 & idr0::TTENDIAN != idr0::TTENDIAN_BIG,
            "little-endian tables",
        ),
        (idr0 & idr0::COHACC != 0, "coherent walks of its tables"),
        (
            idr0 & idr0::STALL_MODEL != idr0::STALL_FORCED,
            "faults that end at once",
        ),
        (idr0 & idr0::TWO_LEVELS != 0, "stream tables of two levels"),
        (idr1 & idr1::PRESET == 0, "tables and queues anywhere"),
        (
            idr1::cmdqs(idr1).min(idr1::eventqs(idr1)) >= queue::LOG2_ENTRIES,
            "queues of 256 entries",
        ),
        (idr5 & idr5::GRAN4K != 0, "pages of 4 KiB"),
    ];
    if let Some((_, what)) = needs.iter().find(|(there, _)| !there) {
        return Err(SmmuError::Lacks(what));
    }
    let bits = (idr1 & idr1::SIDSIZE).min(stream_table::BITS_MAX);
    if u64::from(last_stream) >> bits != 0 {
        return Err(SmmuError::NoSuchStream(last_stream));
    }
    let stage = if idr0 & idr0::S2P != 0 {
        Stage::Two
    } else if idr0 & idr0::S1P != 0 {
        Stage::One
    } else {
        return Err(SmmuError::Lacks("translation"));
    };
    // Descriptors of the 4 KiB granule have 48 bits of address without FEAT_LPA2.
    Ok((stage, u64::from(idr5 & idr5::OAS).min(0b101)))
}

/// Sets CR0, and waits until that has happened.
fn enable(registers: &dyn Registers, what: u32) -> Result<(), SmmuError> {
    registers.write32(offset::CR0, what);
    until(|| registers.read32(offset::CR0ACK) == what)
}

/// Has the SMMU execute `commands`, and waits until it has.
fn submit(
    registers: &dyn Registers,
    queue: &mut CommandQueue,
    commands: &[Command],
) -> Result<(), SmmuError> {
    // One that went silent has earlier ones still.
    if !queue.has_room(registers.read32(offset::CMDQ_CONS), commands.len() + 1) {
        return Err(SmmuError::Unresponsive);
    }
    for &command in commands.iter().chain(&[SYNCHRONIZE]) {
        queue.push(command);
    }
    registers.write32(offset::CMDQ_PROD, queue.producer());
    until(|| queue.is_empty(registers.read32(offset::CMDQ_CONS)))?;
    let failed = registers.read32(offset::GERROR) ^ registers.read32(offset::GERRORN);
    if failed & GERROR_CMDQ != 0 {
        return Err(SmmuError::Unresponsive);
    }
    Ok(())
}

/// Waits until `done`, for as long as the SMMU may take.
fn until(done: impl Fn() -> bool) -> Result<(), SmmuError> {
    let start = timer::now();
    loop {
        if done() {
            return Ok(());
        }
        if timer::now().wrapping_sub(start) > timer::frequency() / PATIENCE_PER_SECOND {
            return Err(SmmuError::Unresponsive);
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests;
