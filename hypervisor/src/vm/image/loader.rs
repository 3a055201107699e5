//! Filling a VM's memory with its image, a little at a time, so that the other vCPUs of the CPU
//! that does it get their interrupts and their turns.

use crate::arch::cache;
use crate::description::vm::VmDescription;
use crate::mm::boot_modules::BootModule;
use crate::mm::guest_memory::{GuestRam, NotGuestMemory};
use crate::vm::image::device_tree::{GuestSeed, GuestTree, MachineHas};
use crate::vm::image::placement;
use crate::vm::power::Entry;
use crate::vm::{clock, entropy};
use addresses::Ipa;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes that are made zeros at a time; some 2,500 instructions.
const CLEARED_AT_ONCE: u64 = 32 << 10;
/// Bytes that are copied at a time; some 3,000 instructions.
const COPIED_AT_ONCE: usize = 12 << 10;

/// The files that a VM starts with.
#[derive(Clone, Copy, Debug)]
pub struct Modules {
    /// Its kernel.
    pub kernel: BootModule,
    /// Its initial RAM disk.
    pub ramdisk: Option<BootModule>,
}

/// What a VM starts with, and where that goes.
#[derive(Debug)]
pub struct Image {
    kernel: (Ipa, &'static [u8]),
    ramdisk: Option<(Ipa, &'static [u8])>,
    tree: (Ipa, GuestTree),
}

impl Image {
    /// What `description` says, for a VM with `memory` bytes and these `modules`.
    ///
    /// # Errors
    ///
    /// A line that says why the VM can't start.
    pub fn of(description: &VmDescription, modules: Modules, memory: u64) -> Result<Self, String> {
        let kernel = modules.kernel.bytes();
        let ramdisk = modules.ramdisk.map(BootModule::bytes);
        let ramdisk_len = ramdisk.map_or(0, |bytes| bytes.len() as u64);
        let place = placement::place(kernel, ramdisk_len, memory)
            .ok_or_else(|| String::from("kernel and RAM disk do not fit into its memory"))?;
        let ramdisk = ramdisk.map(|bytes| (place.ramdisk, bytes));
        let ramdisk_range = ramdisk.map(|(at, bytes)| (at, bytes.len() as u64));
        let has = MachineHas {
            clock: clock::is_there(),
            randomness: entropy::is_there(),
        };
        let tree = GuestTree::new(description, ramdisk_range, has)
            .map_err(|error| format!("its device tree can't be made: {error}"))?;
        Ok(Self {
            kernel: (place.kernel, kernel),
            ramdisk,
            tree: (place.device_tree, tree),
        })
    }
}

/// The filling of a VM's memory, under way.
#[derive(Debug)]
pub struct Filling {
    ram: &'static GuestRam,
    /// How much of the memory is zeros; `None` when all of it is.
    cleared: Option<u64>,
    /// The tree of this life, once it is made.
    tree: Vec<u8>,
    /// Which part of the image is being copied, and how much of it is there.
    part: usize,
    copied: usize,
}

impl Filling {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(ram: &'static GuestRam) -> Self {
        Self {
            ram,
            cleared: (!ram.take_is_zero()).then_some(0),
            tree: Vec::new(),
            part: 0,
            copied: 0,
        }
    }

    /// Does the next little bit. With the last one it says where the VM starts.
    ///
    /// # Errors
    ///
    /// The image reaches beyond the memory.
    pub fn advance(&mut self, image: &Image) -> Result<Option<Entry>, NotGuestMemory> {
        if let Some(from) = self.cleared {
            self.cleared = self.ram.clear(from, CLEARED_AT_ONCE);
            return Ok(None);
        }
        if self.tree.is_empty() {
            self.tree = image.tree.1.with_seed(&seed());
            return Ok(None);
        }
        let (kernel_at, kernel) = image.kernel;
        let tree_at = image.tree.0;
        let (at, bytes) = match self.part {
            0 => (kernel_at, kernel),
            1 => (tree_at, self.tree.as_slice()),
            2 => image.ramdisk.unwrap_or((kernel_at, &[])),
            _ => {
                cache::invalidate_instruction_caches();
                return Ok(Some(Entry {
                    pc: kernel_at.0,
                    argument: tree_at.0,
                }));
            }
        };
        let rest = bytes.get(self.copied..).unwrap_or_default();
        let piece = rest.get(..COPIED_AT_ONCE).unwrap_or(rest);
        let to = at.checked_add(self.copied as u64).ok_or(NotGuestMemory)?;
        self.ram.store(to, piece)?;
        self.copied += piece.len();
        if piece.len() == rest.len() {
            self.part += 1;
            self.copied = 0;
        }
        Ok(None)
    }
}

/// Randomness for a guest that starts; zeros if there is none.
fn seed() -> GuestSeed {
    let mut seed = GuestSeed {
        generator: [0; 64],
        layout: [0; 8],
    };
    let _ = entropy::fill(&mut seed.generator) && entropy::fill(&mut seed.layout);
    seed
}
