//! An SMMUv3 for tests: what stands on the other side of the registers and of the memory that EL2
//! shares with it (IHI0070F.b). It keeps whatever it read, and forgets it when a command says so
//! and not before. It takes its time, during which the counter goes on.

use super::registers::{Registers, offset};
use crate::arch::fake;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

/// Ticks a second.
pub const FREQUENCY: u64 = 1_000_000;
/// Ticks that an access to a register takes.
const TICKS_OF_ACCESS: u64 = 5;
/// How many reads it takes until something is done.
const DELAY: u32 = 3;
/// Streams of devices that try at any time to reach an address.
const TRYING: [u32; 6] = [0, 8, 0x100, 0x1ff, 0x200, 0xffff];
/// That address, which is a guest's memory.
pub const TRIED: u64 = 0x4000_0000;

/// What it is, and how it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// IDR0.
    pub idr0: u32,
    /// IDR1.
    pub idr1: u32,
    /// IDR5.
    pub idr5: u32,
    /// CR0 and GBPA as the firmware left them.
    pub cr0: u32,
    /// GBPA as the firmware left it.
    pub gbpa: u32,
    /// Whether it acknowledges CR0.
    pub acknowledges: bool,
    /// Whether it takes a new GBPA.
    pub updates: bool,
    /// How many commands it executes before it stops to.
    pub commands: usize,
    /// The opcode of a command that it takes for an error.
    pub illegal: Option<u8>,
}

impl Kind {
    /// As QEMU's, with stage 2 alone: tables of AArch64 in little endian, coherent, no stalls, two
    /// levels, 16 bits of stream ID, queues of 2^19 entries, 4 KiB, 48 bits of address.
    pub const STAGE_2: Self = Self {
        idr0: 1 | 0b10 << 2 | 1 << 4 | 0b10 << 21 | 0b01 << 24 | 0b01 << 27,
        idr1: 19 << 21 | 19 << 16 | 16,
        idr5: 1 << 4 | 0b101,
        cr0: 0,
        gbpa: 0,
        acknowledges: true,
        updates: true,
        commands: usize::MAX,
        illegal: None,
    };
    /// The same for devices that can do ATS.
    pub const WITH_ATS: Self = Self {
        idr0: Self::STAGE_2.idr0 | 1 << 10,
        ..Self::STAGE_2
    };
    /// The same with stage 1 alone.
    pub const STAGE_1: Self = Self {
        idr0: Self::STAGE_2.idr0 & !1 | 1 << 1,
        ..Self::STAGE_2
    };
}

/// Why an access got nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was aborted, and nothing is told.
    Aborted,
    /// An event of this number is recorded.
    Event(u8),
}

const C_BAD_STREAMID: Refused = Refused::Event(0x02);
/// F_TRANSL_FORBIDDEN.
const F_FORBIDDEN: Refused = Refused::Event(0x07);
const C_BAD_STE: Refused = Refused::Event(0x04);
const C_BAD_CD: Refused = Refused::Event(0x0a);
const F_TRANSLATION: Refused = Refused::Event(0x10);
const F_ADDR_SIZE: Refused = Refused::Event(0x11);
const F_ACCESS: Refused = Refused::Event(0x12);
const F_PERMISSION: Refused = Refused::Event(0x13);

/// A translation that it keeps.
#[derive(Clone, Copy, Debug)]
struct Kept {
    stage: u32,
    /// The VMID for stage 2, the ASID for stage 1.
    tag: u16,
    /// Stage 1 of any ASID.
    global: bool,
    page: u64,
    descriptor: u64,
    output: u64,
}

/// How a stream's accesses are walked.
struct Walk {
    stage: u32,
    tag: u16,
    root: u64,
    input_bits: u32,
    output_bits: u32,
    mair: u64,
}

/// What is called before a command is executed.
type Hook = Box<dyn FnMut([u64; 2]) + Send>;

struct State {
    kind: Kind,
    cr0: u32,
    cr0_acknowledged: u32,
    cr1: u32,
    cr2: u32,
    gbpa: u32,
    irq_ctrl: u32,
    gerror: u32,
    strtab_base: u64,
    strtab_base_cfg: u32,
    cmdq_base: u64,
    cmdq_prod: u32,
    cmdq_cons: u32,
    eventq_base: u64,
    eventq_prod: u32,
    eventq_cons: u32,
    /// Reads until what was written to CR0, to GBPA and to CMDQ_PROD has its effect.
    delays: [u32; 3],
    first_write: Option<u64>,
    /// Whether it was off, with what devices do aborted.
    was_off: bool,
    levels: BTreeMap<u32, u64>,
    entries: BTreeMap<u32, [u64; 8]>,
    contexts: BTreeMap<u32, [u64; 8]>,
    kept: Vec<Kept>,
    hook: Option<Hook>,
}

/// The SMMU; clones are the same one.
#[derive(Clone)]
pub struct ModelSmmu(Arc<Mutex<State>>);

impl ModelSmmu {
    /// One as the firmware left it, with the counter at work.
    pub fn new(kind: Kind) -> Self {
        fake::set_register("cntfrq_el0", FREQUENCY);
        Self(Arc::new(Mutex::new(State {
            kind,
            cr0: kind.cr0,
            cr0_acknowledged: kind.cr0,
            cr1: 0,
            cr2: 0,
            gbpa: kind.gbpa,
            irq_ctrl: 0,
            gerror: 0,
            strtab_base: 0,
            strtab_base_cfg: 0,
            cmdq_base: 0,
            cmdq_prod: 0,
            cmdq_cons: 0,
            eventq_base: 0,
            eventq_prod: 0,
            eventq_cons: 0,
            delays: [0; 3],
            first_write: None,
            was_off: false,
            levels: BTreeMap::new(),
            entries: BTreeMap::new(),
            contexts: BTreeMap::new(),
            kept: Vec::new(),
            hook: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It keeps that these streams bypass it, and translations of `tag` of the pages at `pages` to
    /// themselves, as an earlier user's.
    pub fn keep_what_was_before(&self, streams: &[u32], tag: u16, pages: &[u64]) {
        /// V, and Config 0b100.
        const BYPASS: [u64; 8] = [0b1001, 0, 0, 0, 0, 0, 0, 0];
        let mut state = self.state();
        for &stream in streams {
            state.entries.insert(stream, BYPASS);
            state.levels.insert(stream >> 8, 0);
        }
        for stage in [1, 2] {
            let kept = pages.iter().map(|&page| Kept {
                stage,
                tag,
                global: false,
                page: page >> 12,
                descriptor: 0b01 << 6 | 0b11 << 6 | 0b1111 << 2 | 1 << 10,
                output: page,
            });
            state.kept.extend(kept.collect::<Vec<_>>());
        }
    }

    /// What an access of `stream` at `address` reaches.
    pub fn dma(&self, stream: u32, address: u64, write: bool) -> Result<u64, Refused> {
        let mut state = self.state();
        let reached = state.access(stream, address, write);
        if let Err(Refused::Event(number)) = reached {
            state.record(number, stream, address, write);
        }
        reached
    }

    /// The same for a device that says that it had the address translated before, by ATS.
    pub fn translated_dma(&self, stream: u32, address: u64) -> Result<u64, Refused> {
        self.state().translated_access(stream, address)
    }

    /// Whether it says that events were lost: OVFLG and OVACKFLG differ.
    pub fn has_overflowed(&self) -> bool {
        let state = self.state();
        (state.eventq_prod ^ state.eventq_cons) >> 31 != 0
    }

    /// Whether it interrupts when there are events.
    pub fn interrupts(&self) -> bool {
        self.state().irq_ctrl & 1 << 2 != 0
    }

    /// Whether it keeps a translation that is tagged so.
    pub fn keeps_translations_of(&self, tag: u16) -> bool {
        self.state().kept.iter().any(|kept| kept.tag == tag)
    }

    /// Calls `hook` before each command.
    pub fn before_commands(&self, hook: impl FnMut([u64; 2]) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// It stops to execute commands after `commands` more.
    pub fn stop_after(&self, commands: usize) {
        self.state().kind.commands = commands;
    }

    /// The first register that was written.
    pub fn first_write(&self) -> Option<u64> {
        self.state().first_write
    }

    /// The stream's entry in memory.
    pub fn entry_in_memory(&self, stream: u32) -> [u64; 8] {
        let state = self.state();
        let level = read(state.strtab_base + u64::from(stream >> 8) * 8);
        state.entry_at(level, stream)
    }
}

/// The address in a base register or a pointer: bits 51..6.
fn address(word: u64) -> u64 {
    word & 0x000f_ffff_ffff_ffc0
}

/// A word of memory, whose addresses are those of this process.
fn read(at: u64) -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: EL2 told the SMMU that this is memory to be read.
    unsafe { crate::arch::memory::read(addresses::Pa(at), &mut bytes) }
    u64::from_le_bytes(bytes)
}

fn write(at: u64, word: u64) {
    // SAFETY: EL2 told the SMMU that this is memory to be written.
    unsafe { crate::arch::memory::write(addresses::Pa(at), &word.to_le_bytes()) }
}

fn words<const N: usize>(at: u64) -> [u64; N] {
    core::array::from_fn(|n| read(at + 8 * n as u64))
}

/// Bits `first` and so on, `count` of them.
fn field(word: u64, first: u32, count: u32) -> u64 {
    word >> first & ((1 << count) - 1)
}

/// The bits of an address that IPS, PS or OAS encode.
fn output_bits(encoded: u64) -> u32 {
    [32, 36, 40, 42, 44, 48, 52, 52][encoded as usize]
}

impl State {
    fn access(&mut self, stream: u32, address: u64, write: bool) -> Result<u64, Refused> {
        if self.cr0_acknowledged & 1 == 0 {
            return if self.gbpa & 1 << 20 != 0 {
                Err(Refused::Aborted)
            } else {
                Ok(address)
            };
        }
        let entry = self.entry(stream)?;
        if entry[0] & 1 == 0 {
            return Err(C_BAD_STE);
        }
        let walk = match field(entry[0], 1, 3) {
            0b000 => return Err(Refused::Aborted),
            0b100 => return Ok(address),
            0b101 => self.stage_1(stream, &entry)?,
            0b110 => self.stage_2(&entry)?,
            _ => return Err(C_BAD_STE),
        };
        self.translate(&walk, address, write)
    }

    /// ATS: what says that it is translated passes without a look, unless CR0.ATSCHK says otherwise
    /// and the entry's EATS does not allow it.
    fn translated_access(&mut self, stream: u32, address: u64) -> Result<u64, Refused> {
        if !self.has_ats() || self.cr0_acknowledged & 1 == 0 {
            return Err(Refused::Aborted);
        }
        if self.cr0_acknowledged & 1 << 4 == 0 {
            return Ok(address);
        }
        let entry = self.entry(stream)?;
        if field(entry[0], 0, 4) == 1 {
            return Err(Refused::Aborted);
        }
        match field(entry[1], 28, 2) {
            0b00 => Err(F_FORBIDDEN),
            _ => Ok(address),
        }
    }

    fn has_ats(&self) -> bool {
        self.kind.idr0 & 1 << 10 != 0
    }

    fn entry(&mut self, stream: u32) -> Result<[u64; 8], Refused> {
        let config = u64::from(self.strtab_base_cfg);
        assert_eq!(field(config, 16, 2), 0b01, "two levels");
        assert_eq!(field(config, 6, 5), 8, "split by bus");
        let bits = field(config, 0, 6).min(u64::from(self.kind.idr1 & 0x3f));
        if u64::from(stream) >> bits != 0 {
            return Err(C_BAD_STREAMID);
        }
        let tables = 8 << (bits - 8).max(3);
        assert_eq!(address(self.strtab_base) % tables, 0, "aligned to its size");
        let top = address(self.strtab_base) + u64::from(stream >> 8) * 8;
        let level = *self.levels.entry(stream >> 8).or_insert_with(|| read(top));
        if let Some(&entry) = self.entries.get(&stream) {
            return Ok(entry);
        }
        let span = field(level, 0, 5);
        if span == 0 || u64::from(stream & 0xff) >= 1 << (span - 1) {
            return Err(C_BAD_STREAMID);
        }
        assert_eq!(
            address(level) % (64 << (span - 1)),
            0,
            "aligned to its size"
        );
        let entry = self.entry_at(level, stream);
        self.entries.insert(stream, entry);
        Ok(entry)
    }

    fn entry_at(&self, level: u64, stream: u32) -> [u64; 8] {
        words(address(level) + u64::from(stream & 0xff) * 64)
    }

    /// By the context descriptor: one, not several, that walks TTB0 of AArch64.
    fn stage_1(&mut self, stream: u32, entry: &[u64; 8]) -> Result<Walk, Refused> {
        if self.kind.idr0 & 1 << 1 == 0 || field(entry[0], 59, 5) != 0 {
            return Err(C_BAD_STE);
        }
        let at = address(entry[0]);
        let context = *self.contexts.entry(stream).or_insert_with(|| words(at));
        let [first, root, _, mair, ..] = context;
        let has = |bit: u32| field(first, bit, 1) == 1;
        // V and AA64; no big endian, and faults that end at once and are recorded.
        if !has(31) || !has(41) || has(15) || has(44) || !has(46) || has(14) {
            return Err(C_BAD_CD);
        }
        assert!(has(45), "faults are recorded");
        assert!(has(30), "nothing is walked by TTB1");
        assert_eq!(field(first, 6, 2), 0b00, "pages of 4 KiB");
        assert_eq!(
            field(first, 8, 6),
            0b11_01_01,
            "walks are write-back, inner shareable"
        );
        Ok(Walk {
            stage: 1,
            tag: (first >> 48) as u16,
            root: root & 0x000f_ffff_ffff_fff0,
            input_bits: 64 - field(first, 0, 6) as u32,
            output_bits: output_bits(field(first, 32, 3)),
            mair,
        })
    }

    fn stage_2(&self, entry: &[u64; 8]) -> Result<Walk, Refused> {
        let words = entry[2];
        let aarch64 = field(words, 51, 1) == 1;
        if self.kind.idr0 & 1 == 0 || !aarch64 || field(words, 52, 1) == 1 {
            return Err(C_BAD_STE);
        }
        let stalls = field(words, 57, 1) == 1;
        let level_1_of_4k = field(words, 38, 2) == 1 && field(words, 46, 2) == 0;
        if stalls || !level_1_of_4k {
            return Err(C_BAD_STE);
        }
        assert_eq!(field(words, 58, 1), 1, "faults are recorded");
        assert_eq!(
            field(words, 40, 6),
            0b11_01_01,
            "walks are write-back, inner shareable"
        );
        Ok(Walk {
            stage: 2,
            tag: words as u16,
            root: entry[3] & 0x000f_ffff_ffff_fff0,
            input_bits: 64 - field(words, 32, 6) as u32,
            output_bits: output_bits(field(words, 48, 3)),
            mair: 0,
        })
    }

    fn translate(&mut self, walk: &Walk, address: u64, write: bool) -> Result<u64, Refused> {
        let page = address >> 12;
        let same = |kept: &&Kept| {
            let tagged = kept.tag == walk.tag || kept.global;
            kept.stage == walk.stage && tagged && kept.page == page
        };
        let kept = match self.kept.iter().find(same) {
            Some(&kept) => kept,
            None => {
                let kept = self.walk(walk, address)?;
                self.kept.push(kept);
                kept
            }
        };
        let forbidden = match walk.stage {
            // AP[1], for what is not privileged, and AP[2], read only.
            1 => kept.descriptor & 1 << 6 == 0 || write && kept.descriptor & 1 << 7 != 0,
            _ => kept.descriptor & 1 << (if write { 7 } else { 6 }) == 0,
        };
        if forbidden {
            return Err(F_PERMISSION);
        }
        Ok(kept.output | address & 0xfff)
    }

    /// Three levels of tables at most, of 512 descriptors each.
    fn walk(&self, walk: &Walk, address: u64) -> Result<Kept, Refused> {
        if address >> walk.input_bits != 0 {
            return Err(F_TRANSLATION);
        }
        assert_eq!(walk.input_bits, 39, "one table at level 1");
        let implemented = output_bits(u64::from(self.kind.idr5 & 0b111));
        let limit = walk.output_bits.min(implemented).min(48);
        let mut table = walk.root;
        for level in 1..=3_u32 {
            let shift = 12 + 9 * (3 - level);
            let descriptor = read(table + 8 * field(address, shift, 9));
            let next = descriptor & 0x0000_ffff_ffff_f000;
            if descriptor & 1 == 0 || level == 3 && descriptor & 2 == 0 {
                return Err(F_TRANSLATION);
            }
            if next >> limit != 0 {
                return Err(F_ADDR_SIZE);
            }
            if descriptor & 2 != 0 && level < 3 {
                table = next;
                continue;
            }
            if descriptor & 1 << 10 == 0 {
                return Err(F_ACCESS);
            }
            let normal = match walk.stage {
                1 => field(walk.mair, 8 * field(descriptor, 2, 3) as u32, 8) == 0xff,
                _ => field(descriptor, 2, 4) == 0b1111,
            };
            assert!(normal, "memory is normal and write-back");
            assert_eq!(field(descriptor, 8, 2), 0b11, "memory is inner shareable");
            let within = address & ((1 << shift) - 1) & !0xfff;
            return Ok(Kept {
                stage: walk.stage,
                tag: walk.tag,
                global: walk.stage == 1 && descriptor & 1 << 11 == 0,
                page: address >> 12,
                descriptor,
                output: next & !((1 << shift) - 1) | within,
            });
        }
        Err(F_TRANSLATION)
    }

    fn record(&mut self, number: u8, stream: u32, address: u64, write: bool) {
        if self.cr0_acknowledged & 1 << 2 == 0 {
            return;
        }
        // CR2.RECINVSID.
        if number == 0x02 && self.cr2 & 1 << 1 == 0 {
            return;
        }
        let log2 = (self.eventq_base & 0x1f) as u32;
        let (index, position) = ((1 << log2) - 1, (2 << log2) - 1);
        let full = (self.eventq_prod ^ self.eventq_cons) & position == 1 << log2;
        if full {
            let told = (self.eventq_prod ^ self.eventq_cons) >> 31 != 0;
            self.eventq_prod ^= u32::from(!told) << 31;
            return;
        }
        let at = self::address(self.eventq_base) + 32 * u64::from(self.eventq_prod & index);
        let fault = (0x10..=0x13).contains(&number);
        let direction = u64::from(fault && !write) << 35;
        let input = if fault { address } else { 0 };
        let event = [
            u64::from(number) | u64::from(stream) << 32,
            direction,
            input,
            0,
        ];
        for (n, word) in event.into_iter().enumerate() {
            self::write(at + 8 * n as u64, word);
        }
        self.eventq_prod = self.eventq_prod & !position | (self.eventq_prod + 1) & position;
    }

    /// Consumes what commands there are.
    fn execute(&mut self) {
        let log2 = (self.cmdq_base & 0x1f) as u32;
        let (index, position) = ((1 << log2) - 1, (2 << log2) - 1);
        while self.cr0_acknowledged & 1 << 3 != 0
            && self.gerror & 1 == 0
            && self.cmdq_cons & position != self.cmdq_prod & position
            && self.kind.commands > 0
        {
            self.kind.commands -= 1;
            let at = address(self.cmdq_base) + 16 * u64::from(self.cmdq_cons & index);
            let command: [u64; 2] = words(at);
            if let Some(hook) = &mut self.hook {
                hook(command);
            }
            if self.kind.illegal == Some(command[0] as u8) {
                // GERROR.CMDQ_ERR; the queue stands still until it is acknowledged.
                self.gerror ^= 1;
                return;
            }
            self.obey(command);
            self.cmdq_cons = (self.cmdq_cons + 1) & position;
        }
    }

    fn obey(&mut self, [first, second]: [u64; 2]) {
        let stream = (first >> 32) as u32;
        let [vmid, asid] = [32, 48].map(|bit| (first >> bit) as u16);
        match first as u8 {
            // CMD_CFGI_STE, with what is above the entry unless Leaf is set.
            0x03 => {
                self.entries.remove(&stream);
                if second & 1 == 0 {
                    self.levels.remove(&(stream >> 8));
                }
            }
            // CMD_CFGI_ALL.
            0x04 => {
                assert_eq!(second & 0x1f, 31, "all streams");
                self.levels.clear();
                self.entries.clear();
                self.contexts.clear();
            }
            // CMD_CFGI_CD.
            0x05 => {
                self.contexts.remove(&stream);
            }
            // CMD_TLBI_NH_ASID: what is global stays.
            0x11 => {
                assert_eq!(vmid, 0, "there is no stage 2");
                self.kept
                    .retain(|kept| kept.stage != 1 || kept.tag != asid || kept.global);
            }
            // CMD_TLBI_S12_VMALL.
            0x28 => self.kept.retain(|kept| kept.stage != 2 || kept.tag != vmid),
            // CMD_TLBI_NSNH_ALL.
            0x30 => self.kept.clear(),
            // CMD_SYNC without a signal.
            0x46 => assert_eq!(field(first, 12, 2), 0),
            opcode => panic!("no command {opcode:#x}"),
        }
    }

    /// Something that waits `DELAY` reads for its turn: whether that is now.
    fn is_due(&mut self, what: usize) -> bool {
        let due = self.delays[what] == 1;
        self.delays[what] = self.delays[what].saturating_sub(1);
        due
    }

    fn read(&mut self, at: u64) -> u32 {
        match at {
            offset::IDR0 => self.kind.idr0,
            offset::IDR1 => self.kind.idr1,
            offset::IDR5 => self.kind.idr5,
            offset::CR0 => self.cr0,
            offset::CR0ACK => {
                if self.is_due(0) && self.kind.acknowledges {
                    self.cr0_acknowledged = self.cr0;
                }
                self.cr0_acknowledged
            }
            offset::GBPA => {
                if self.is_due(1) && self.kind.updates {
                    self.gbpa &= !(1 << 31);
                }
                self.gbpa
            }
            offset::GERROR => self.gerror,
            offset::CMDQ_PROD => self.cmdq_prod,
            offset::CMDQ_CONS => {
                if self.is_due(2) {
                    self.execute();
                }
                self.cmdq_cons
            }
            offset::EVENTQ_PROD => self.eventq_prod,
            offset::EVENTQ_CONS => self.eventq_cons,
            offset::GERRORN => 0,
            _ => panic!("nobody reads {at:#x}"),
        }
    }

    fn write(&mut self, at: u64, value: u64) {
        self.first_write.get_or_insert(at);
        let word = value as u32;
        let on = |bit: u32| self.cr0 & 1 << bit != 0 || self.cr0_acknowledged & 1 << bit != 0;
        let (translates, events, commands) = (on(0), on(2), on(3));
        match at {
            offset::CR0 => {
                assert_eq!(self.cr0, self.cr0_acknowledged, "one change at a time");
                assert!(word & 1 << 4 == 0 || self.has_ats(), "ATSCHK is RES0");
                self.cr0 = word;
                self.delays[0] = DELAY;
            }
            offset::CR1 => {
                assert!(!translates && !events && !commands);
                assert_eq!(word, 0b11_01_01_11_01_01, "write-back, inner shareable");
                self.cr1 = word;
            }
            offset::CR2 => {
                assert!(!translates && !events && !commands);
                self.cr2 = word;
            }
            offset::GBPA => {
                assert_eq!(self.gbpa >> 31, 0, "one update at a time");
                self.gbpa = word;
                self.delays[1] = DELAY;
            }
            offset::IRQ_CTRL => self.irq_ctrl = word,
            offset::STRTAB_BASE => {
                assert!(!translates);
                self.strtab_base = value & !(1 << 62);
            }
            offset::STRTAB_BASE_CFG => {
                assert!(!translates);
                self.strtab_base_cfg = word;
            }
            offset::CMDQ_BASE => {
                assert!(!commands);
                let most = u64::from(self.kind.idr1 >> 21 & 0x1f);
                assert!(value & 0x1f <= most, "no more than there can be");
                self.cmdq_base = value & !(1 << 62);
            }
            offset::CMDQ_PROD => {
                self.cmdq_prod = word;
                self.delays[2] = DELAY;
            }
            offset::CMDQ_CONS => {
                assert!(!commands);
                self.cmdq_cons = word;
            }
            offset::EVENTQ_BASE => {
                assert!(!events);
                let most = u64::from(self.kind.idr1 >> 16 & 0x1f);
                assert!(value & 0x1f <= most, "no more than there can be");
                self.eventq_base = value & !(1 << 62);
            }
            offset::EVENTQ_PROD => {
                assert!(!events);
                self.eventq_prod = word;
            }
            offset::EVENTQ_CONS => self.eventq_cons = word,
            _ => panic!("nobody writes {at:#x}"),
        }
    }

    /// Devices do not wait: between any two accesses of EL2's some of them try what they can. From
    /// the time when EL2 had the SMMU off, no address passes as it is.
    fn have_devices_try(&mut self) {
        let refuses = self.gbpa & (1 << 31 | 1 << 20) == 1 << 20;
        self.was_off |= refuses && self.cr0_acknowledged & 1 == 0;
        if self.was_off {
            for stream in TRYING {
                let reached = self.access(stream, TRIED, false);
                let translated = self.translated_access(stream, TRIED);
                assert!(translated.is_err(), "stream {stream:#x} has it looked at");
                assert_ne!(reached, Ok(TRIED), "stream {stream:#x} bypasses the SMMU");
            }
        }
    }
}

impl Registers for ModelSmmu {
    fn read32(&self, at: u64) -> u32 {
        let now = fake::register("cntpct_el0") + TICKS_OF_ACCESS;
        fake::set_register("cntpct_el0", now);
        let mut state = self.state();
        let value = state.read(at);
        state.have_devices_try();
        value
    }

    fn write32(&self, at: u64, value: u32) {
        let wide = matches!(
            at,
            offset::STRTAB_BASE | offset::CMDQ_BASE | offset::EVENTQ_BASE
        );
        assert!(!wide, "it has 64 bits");
        let mut state = self.state();
        state.write(at, value.into());
        state.have_devices_try();
    }

    fn write64(&self, at: u64, value: u64) {
        let wide = matches!(
            at,
            offset::STRTAB_BASE | offset::CMDQ_BASE | offset::EVENTQ_BASE
        );
        assert!(wide, "it has 32 bits");
        self.state().write(at, value);
    }
}
