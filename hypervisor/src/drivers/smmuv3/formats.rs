//! What the SMMU reads from memory: stream table entries, context descriptors and commands
//! (IHI0070F.b, chapters 4 and 5).

use addresses::Pa;

/// The stage of translation that devices' accesses go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Stage 1 alone, for an SMMU without stage 2.
    One,
    /// Stage 2 alone.
    Two,
}

/// Tables of 4 KiB granules whose walks begin at level 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The root table.
    pub root: Pa,
    /// Bits of the addresses that devices use.
    pub ipa_bits: u32,
    /// Tells translations of one set of tables from those of another one: ASID or VMID, not 0.
    pub tag: u16,
}

/// 64 bytes: a stream table entry.
pub(super) type StreamEntry = [u64; 8];

/// An entry with V set and Config 0b000: what the stream does is aborted, without an event.
pub(super) const ABORT: StreamEntry = [1, 0, 0, 0, 0, 0, 0, 0];

/// Fields of walks that stage 1's descriptor and stage 2's entry have at the same bits: inner and
/// outer write-back, inner shareable.
const WALKS_WRITE_BACK_INNER: u64 = 0b01 << 8 | 0b01 << 10 | 0b11 << 12;

impl Translation {
    const fn t0sz(&self) -> u64 {
        64 - self.ipa_bits as u64
    }

    /// The context descriptor of stage 1, for output addresses of the size that `oas` encodes.
    pub(super) fn context(&self, oas: u64) -> [u64; 8] {
        /// EPD1: no walks by TTB1. V.
        const NO_TTB1: u64 = 1 << 30;
        const VALID: u64 = 1 << 31;
        /// AA64, R (faults are recorded), A (and aborted, without S: nothing waits for EL2), ASET
        /// (broadcast invalidations of CPUs do not matter).
        const AARCH64: u64 = 1 << 41;
        const RECORD_AND_ABORT: u64 = 1 << 45 | 1 << 46;
        const ASET: u64 = 1 << 47;
        /// Attribute 0: normal memory, write-back, in both domains.
        const MAIR: u64 = 0xff;
        let mut words = [0; 8];
        words[0] = self.t0sz()
            | WALKS_WRITE_BACK_INNER
            | NO_TTB1
            | VALID
            | oas << 32
            | AARCH64
            | RECORD_AND_ABORT
            | ASET
            | u64::from(self.tag) << 48;
        words[1] = self.root.0;
        words[3] = MAIR;
        words
    }

    /// The stream table entry: by the context descriptor at `context` where there is one, else by
    /// stage 2 with output addresses of the size that `oas` encodes.
    pub(super) fn entry(&self, context: Option<Pa>, oas: u64) -> StreamEntry {
        /// V, and Config of stage 1 or of stage 2 alone.
        const STAGE_1: u64 = 1 | 0b101 << 1;
        const STAGE_2: u64 = 1 | 0b110 << 1;
        /// S1CIR, S1COR, S1CSH: the descriptor is write-back, inner shareable.
        const CONTEXT_WRITE_BACK_INNER: u64 = 0b01 << 2 | 0b01 << 4 | 0b11 << 6;
        /// SHCFG: shareability as the device says.
        const INCOMING: u64 = 0b01 << 44;
        /// S2SL0 1: walks begin at level 1. S2AA64, and S2R: faults are recorded.
        const LEVEL_1: u64 = 1 << 6;
        const AARCH64: u64 = 1 << 51;
        const RECORD: u64 = 1 << 58;
        let mut words = [0; 8];
        if let Some(context) = context {
            words[0] = STAGE_1 | context.0;
            words[1] = CONTEXT_WRITE_BACK_INNER | INCOMING;
        } else {
            words[0] = STAGE_2;
            words[1] = INCOMING;
            let walk = self.t0sz() | LEVEL_1 | WALKS_WRITE_BACK_INNER | oas << 16;
            words[2] = u64::from(self.tag) | walk << 32 | AARCH64 | RECORD;
            words[3] = self.root.0;
        }
        words
    }
}

/// A command.
pub(super) type Command = [u64; 2];

/// CMD_CFGI_STE: what is known of a stream's entry.
pub(super) fn invalidate_stream(stream: u32) -> Command {
    /// Leaf: the levels above did not change.
    const LEAF: u64 = 1;
    [0x03 | u64::from(stream) << 32, LEAF]
}

/// CMD_CFGI_CD: what is known of a stream's context descriptor.
pub(super) fn invalidate_context(stream: u32) -> Command {
    const LEAF: u64 = 1;
    [0x05 | u64::from(stream) << 32, LEAF]
}

/// CMD_CFGI_ALL: what is known of any stream.
pub(super) const INVALIDATE_CONFIGURATION: Command = [0x04, 31];

/// CMD_TLBI_NSNH_ALL: all translations of the normal world's EL1.
pub(super) const INVALIDATE_TRANSLATIONS: Command = [0x30, 0];

/// CMD_TLBI_NH_ASID or CMD_TLBI_S12_VMALL: translations by tables that are tagged so.
pub(super) fn invalidate_translations(stage: Stage, tag: u16) -> Command {
    match stage {
        Stage::One => [0x11 | u64::from(tag) << 48, 0],
        Stage::Two => [0x28 | u64::from(tag) << 32, 0],
    }
}

/// CMD_SYNC without a signal: complete when what came before it is.
pub(super) const SYNCHRONIZE: Command = [0x46, 0];
