//! The guest's disk, driven by hand: a virtio block device (Virtual I/O Device 1.2, §4.1 and §5.2)
//! that is told to read or write memory at any address.

use alloc::string::String;

use guest_shim::arch::timer;
use guest_shim::arch::wild::{self, Size};
use guest_shim::optee::arena::{Area, Arena};
use host_abi::memory_map::guest::PCI_CONFIGURATION;

/// Bytes that a request moves.
pub const SECTOR: u64 = 512;

/// Configuration space of the first function.
pub const CONFIGURATION: u64 = PCI_CONFIGURATION;
/// Its command register, its first BAR and the pointer to its capabilities.
pub const COMMAND: u64 = 0x4;
pub const BAR_0: u64 = 0x10;
const CAPABILITIES: u64 = 0x34;
/// Memory and bus master.
const MEMORY_AND_BUS_MASTER: u64 = 0b110;

/// Capabilities of the kind that virtio has: common configuration and notifications.
const VENDOR: u64 = 0x09;
const COMMON: u64 = 1;
const NOTIFY: u64 = 2;

/// Common configuration.
const DRIVER_FEATURE_SELECT: u64 = 0x08;
const DRIVER_FEATURE: u64 = 0x0c;
const STATUS: u64 = 0x14;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
const QUEUE_ENABLE: u64 = 0x1c;
const QUEUE_NOTIFY: u64 = 0x1e;
const QUEUE_DESCRIPTORS: u64 = 0x20;
const QUEUE_AVAILABLE: u64 = 0x28;
const QUEUE_USED: u64 = 0x30;
/// ACKNOWLEDGE and DRIVER, FEATURES_OK, DRIVER_OK, DEVICE_NEEDS_RESET.
const ACKNOWLEDGE_DRIVER: u64 = 0b11;
const FEATURES_OK: u64 = 1 << 3;
const DRIVER_OK: u64 = 1 << 2;
const NEEDS_RESET: u64 = 1 << 6;
/// VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM, in the second word of the features.
const VERSION_1_ACCESS_PLATFORM: u64 = 0b11;

/// Descriptors of a request, and flags of one.
const DESCRIPTORS: u64 = 4;
const NEXT: u64 = 1;
const DEVICE_WRITES: u64 = 2;

/// What a request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The disk writes to memory what a sector holds.
    ToMemory,
    /// The disk reads memory and stores it in a sector.
    FromMemory,
}

/// Where the parts of the interface are.
pub struct Disk {
    common: u64,
    notify: u64,
    memory: Area,
}

/// Where the parts of a queue are in a page of the disk's memory.
const TABLE: u64 = 0x000;
const AVAILABLE: u64 = 0x100;
const USED: u64 = 0x200;
const HEADER: u64 = 0x300;
const RESULT: u64 = 0x400;

impl Disk {
    /// The disk, with memory of its own in `arena`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn find(arena: &Arena) -> Result<Self, String> {
        let part = |kind| {
            let (bar, offset, _) = capability(kind)?;
            Some(bar_address(bar) + offset)
        };
        let common = part(COMMON).ok_or("there is no virtio device")?;
        let (bar, offset, place) = capability(NOTIFY).ok_or("it has no notifications")?;
        let multiplier = wild::load(CONFIGURATION + place + 16, Size::Word);
        wild::store(
            CONFIGURATION + COMMAND,
            Size::Halfword,
            MEMORY_AND_BUS_MASTER,
        );
        let queue = wild::load(common + QUEUE_NOTIFY, Size::Halfword);
        Ok(Self {
            common,
            notify: bar_address(bar) + offset + multiplier * queue,
            memory: arena.pages(1),
        })
    }

    /// Resets it, and has it use a queue, whose parts it looks for at `table`, `available` and
    /// `used`.
    fn set_up(&self, table: u64, available: u64, used: u64) {
        let set = |offset, size, value| wild::store(self.common + offset, size, value);
        let add_status = |status| {
            let before = wild::load(self.common + STATUS, Size::Byte);
            set(STATUS, Size::Byte, before | status);
        };
        set(STATUS, Size::Byte, 0);
        while wild::load(self.common + STATUS, Size::Byte) != 0 {}
        add_status(ACKNOWLEDGE_DRIVER);
        set(DRIVER_FEATURE_SELECT, Size::Word, 1);
        set(DRIVER_FEATURE, Size::Word, VERSION_1_ACCESS_PLATFORM);
        add_status(FEATURES_OK);
        set(QUEUE_SELECT, Size::Halfword, 0);
        set(QUEUE_SIZE, Size::Halfword, DESCRIPTORS);
        for (offset, address) in [
            (QUEUE_DESCRIPTORS, table),
            (QUEUE_AVAILABLE, available),
            (QUEUE_USED, used),
        ] {
            set(offset, Size::Word, address & 0xffff_ffff);
            set(offset + 4, Size::Word, address >> 32);
        }
        set(QUEUE_ENABLE, Size::Halfword, 1);
        add_status(DRIVER_OK);
    }

    /// Has it move a sector to or from the memory at `address`, and waits until it says that it is
    /// done, or that it can't go on, or half a second has gone by.
    pub fn transfer(&self, transfer: Transfer, sector: u64, address: u64) -> String {
        let page = self.memory.address;
        self.memory.fill(0);
        let (kind, data) = match transfer {
            Transfer::ToMemory => (0, NEXT | DEVICE_WRITES),
            Transfer::FromMemory => (1, NEXT),
        };
        self.memory.store(HEADER, &[kind, sector]);
        // Address; length, flags and next.
        let descriptor =
            |address, len: u64, flags: u64, next: u64| [address, len | flags << 32 | next << 48];
        let chain = [
            descriptor(page + HEADER, 16, NEXT, 1),
            descriptor(address, SECTOR, data, 2),
            descriptor(page + RESULT, 1, DEVICE_WRITES, 0),
        ];
        self.memory.store(TABLE, chain.as_flattened());
        // Flags 0, index 1, and the first descriptor of the chain.
        self.memory.write(AVAILABLE, 1 << 16);
        self.set_up(page + TABLE, page + AVAILABLE, page + USED);
        self.ring();
        self.await_result(|| self.memory.read(USED) >> 16 & 0xffff == 1)
    }

    /// Has it use a queue whose parts all lie at `address`.
    pub fn queue_at(&self, address: u64) {
        self.set_up(address, address, address);
        self.ring();
    }

    fn ring(&self) {
        wild::store(self.notify, Size::Halfword, 0);
    }

    fn await_result(&self, done: impl Fn() -> bool) -> String {
        let end = timer::now() + timer::milliseconds(500);
        while timer::now() < end {
            if done() {
                return String::from("done");
            }
            if wild::load(self.common + STATUS, Size::Byte) & NEEDS_RESET != 0 {
                return String::from("it needs a reset");
            }
        }
        String::from("nothing in half a second")
    }
}

/// BAR, offset in it and place of virtio's capability of a kind.
fn capability(kind: u64) -> Option<(u64, u64, u64)> {
    let byte = |offset| wild::load(CONFIGURATION + offset, Size::Byte);
    let mut place = byte(CAPABILITIES);
    for _ in 0..48 {
        if place == 0 {
            return None;
        }
        if byte(place) == VENDOR && byte(place + 3) == kind {
            let offset = wild::load(CONFIGURATION + place + 8, Size::Word);
            return Some((byte(place + 4), offset, place));
        }
        place = byte(place + 1);
    }
    None
}

/// Where a BAR is.
fn bar_address(bar: u64) -> u64 {
    wild::load(CONFIGURATION + BAR_0 + 4 * bar, Size::Word) & !0xf
}
