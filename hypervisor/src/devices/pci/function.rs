//! A function of a VM's, in its configuration space (PCI Local Bus Specification 3.0, chapter 6).

use addresses::Ipa;
use alloc::sync::Arc;
use spin::Mutex;

/// Words of the configuration space that every function has.
const WORDS: usize = 64;
/// BARs of an endpoint.
pub const BARS: usize = 6;

/// Words, by number.
const COMMAND_STATUS: usize = 1;
const CLASS: usize = 2;
const HEADER: usize = 3;
const BAR_0: usize = 4;
const SUBSYSTEM: usize = 11;
const CAPABILITIES: usize = 13;
const INTERRUPT: usize = 15;

/// Command register: what the guest sets and the function is told.
const MEMORY: u32 = 1 << 1;
const BUS_MASTER: u32 = 1 << 2;
const INTERRUPT_DISABLE: u32 = 1 << 10;
/// What it may set besides, which changes nothing.
const PARITY_AND_SERR: u32 = 1 << 6 | 1 << 8;
/// Status register, in the upper half of the word.
const INTERRUPT_STATUS: u32 = 1 << (16 + 3);
const HAS_CAPABILITIES: u32 = 1 << (16 + 4);
/// A BAR of memory: bits that are not the address, those that say how long it is, and that of
/// 64-bit ones.
const BAR_KIND: u32 = 0xf;
const BAR_TYPE: u32 = 0b11 << 1;
const BAR_WIDE: u32 = 0b10 << 1;

/// The identifier of a vendor's own capability, the only kind that guests see.
const VENDOR_SPECIFIC: u8 = 0x09;
/// Capabilities begin here, after the header.
const FIRST_CAPABILITY: u8 = 0x40;
/// More do not fit behind the header, at multiples of 4.
const CAPABILITIES_MAX: usize = WORDS - 16;

/// The function itself.
pub trait FunctionControl: Send + Sync {
    /// Sets whether it accesses memory and whether it raises its line.
    fn set_command(&self, bus_master: bool, line: bool);

    /// Whether it has an interrupt, whatever becomes of it.
    fn has_interrupt(&self) -> bool;
}

/// A BAR of memory, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualBar {
    /// Its number; one of 64 bits has the number after it, too.
    pub number: usize,
    /// Where it is, for good.
    pub ipa: Ipa,
    /// Bytes in it, a power of two.
    pub size: u64,
    /// Its lower bits, which say what it is.
    pub kind: u32,
}

/// A register of a BAR: 32 of its bits.
#[derive(Clone, Copy, Debug, Default)]
struct BarRegister {
    /// What it holds.
    address: u32,
    /// The bits that can be written.
    mask: u32,
    kind: u32,
}

/// What guests change.
#[derive(Debug, Default)]
struct State {
    command: u32,
    /// Interrupt line and cache line size, which mean nothing.
    interrupt_line: u8,
    cache_line: u8,
    /// BARs that read as their size, a bit each.
    sizing: u8,
}

/// A function in the configuration space of a VM.
pub struct VirtualFunction {
    control: Arc<dyn FunctionControl>,
    words: [u32; WORDS],
    bars: [BarRegister; BARS],
    state: Mutex<State>,
}

impl VirtualFunction {
    /// The function behind `control`, in whose configuration space `found` was found, with its
    /// BARs of memory.
    #[must_use]
    pub fn new(
        control: Arc<dyn FunctionControl>,
        found: &[u32; WORDS],
        bars: &[VirtualBar],
    ) -> Self {
        let mut registers = [BarRegister::default(); BARS];
        for bar in bars {
            let mask = !(bar.size - 1);
            let halves = [
                (bar.ipa.0 as u32, mask as u32, bar.kind & BAR_KIND),
                ((bar.ipa.0 >> 32) as u32, (mask >> 32) as u32, 0),
            ];
            let count = if bar.kind & BAR_TYPE == BAR_WIDE {
                2
            } else {
                1
            };
            for (n, (address, mask, kind)) in halves.into_iter().take(count).enumerate() {
                if let Some(register) = registers.get_mut(bar.number + n) {
                    *register = BarRegister {
                        address,
                        mask,
                        kind,
                    };
                }
            }
        }
        Self {
            control,
            words: visible(found),
            bars: registers,
            state: Mutex::default(),
        }
    }

    /// Another life of the VM finds it as after power-on.
    pub fn reset(&self) {
        *self.state.lock() = State::default();
    }

    /// A word, at an offset that is a multiple of 4.
    pub(super) fn read(&self, offset: u64) -> u32 {
        let number = (offset / 4) as usize;
        let Some(&word) = self.words.get(number) else {
            // No extended capabilities.
            return 0;
        };
        let state = self.state.lock();
        match number {
            COMMAND_STATUS => {
                let interrupt = if self.control.has_interrupt() {
                    INTERRUPT_STATUS
                } else {
                    0
                };
                word | interrupt | state.command
            }
            HEADER => u32::from(state.cache_line),
            INTERRUPT => word | u32::from(state.interrupt_line),
            _ => match self.bar(number) {
                Some((n, bar)) if state.sizing & 1 << n != 0 => bar.mask | bar.kind,
                Some((_, bar)) => bar.address | bar.kind,
                None => word,
            },
        }
    }

    /// Writes the lower `bytes` bytes of `value` at `offset`.
    pub(super) fn write(&self, offset: u64, bytes: usize, value: u32) {
        let number = (offset / 4) as usize;
        let shift = 8 * (offset % 4);
        let written = (u32::MAX >> (32 - 8 * bytes.clamp(1, 4) as u32)) << shift;
        let value = value << shift;
        let mut state = self.state.lock();
        let merge = |old: u32| old & !written | value & written;
        match number {
            COMMAND_STATUS => {
                let allowed = MEMORY | BUS_MASTER | INTERRUPT_DISABLE | PARITY_AND_SERR;
                state.command = merge(state.command) & allowed;
                let has = |bit| state.command & bit != 0;
                self.control
                    .set_command(has(BUS_MASTER), !has(INTERRUPT_DISABLE));
            }
            HEADER => state.cache_line = merge(u32::from(state.cache_line)) as u8,
            INTERRUPT => state.interrupt_line = merge(u32::from(state.interrupt_line)) as u8,
            _ => {
                if let Some((n, bar)) = self.bar(number) {
                    // It is where it is: what else is written is as good as that.
                    let sizes = merge(bar.address) & bar.mask == bar.mask && bar.mask != 0;
                    state.sizing = state.sizing & !(1 << n) | u8::from(sizes) << n;
                }
            }
        }
    }

    fn bar(&self, number: usize) -> Option<(usize, &BarRegister)> {
        let n = number.checked_sub(BAR_0)?;
        self.bars.get(n).map(|bar| (n, bar))
    }
}

/// Of what was found in a function, what a guest sees and does not change: who made it, its class,
/// its line, and its vendor's own capabilities.
fn visible(found: &[u32; WORDS]) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    for number in [0, CLASS, SUBSYSTEM] {
        words[number] = found[number];
    }
    words[INTERRUPT] = found[INTERRUPT] & 0xff00;
    let byte = |at: usize| (found[at / 4 % WORDS] >> (8 * (at % 4))) as u8;
    let set = |words: &mut [u32; WORDS], at: usize, value: u8| {
        let (word, shift) = (&mut words[at / 4 % WORDS], 8 * (at % 4));
        *word = *word & !(0xff << shift) | u32::from(value) << shift;
    };
    if found[COMMAND_STATUS] & HAS_CAPABILITIES == 0 {
        return words;
    }
    let mut seen = 0_u64;
    let mut at = byte(4 * CAPABILITIES) & !3;
    let mut starts = heapless::Vec::<u8, CAPABILITIES_MAX>::new();
    // What was seen before ends the list, too.
    while at >= FIRST_CAPABILITY && seen & 1 << (at / 4) == 0 {
        seen |= 1 << (at / 4);
        let start = usize::from(at);
        if byte(start) == VENDOR_SPECIFIC {
            let end = (start + usize::from(byte(start + 2)).max(4)).min(4 * WORDS);
            for copied in start..end {
                set(&mut words, copied, byte(copied));
            }
            // There are no more places than there is room for.
            let _ = starts.push(at);
        }
        at = byte(start + 1) & !3;
    }
    // Links come last: what was copied may cover some.
    let mut link = 4 * CAPABILITIES;
    for &at in &starts {
        words[COMMAND_STATUS] |= HAS_CAPABILITIES;
        set(&mut words, link, at);
        link = usize::from(at) + 1;
        set(&mut words, link, 0);
    }
    words
}
