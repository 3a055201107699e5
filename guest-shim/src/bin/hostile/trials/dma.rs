//! The guest's disk, told to read and write memory that the guest does not have, and its
//! configuration space, in which the guest writes what it likes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::arch::wild::{self, Size};
use guest_shim::kit::trials::Trial;
use guest_shim::optee::arena::Arena;
use guest_shim::runtime::environment::Environment;
use host_abi::memory_map::guest::{
    CLOCK, DISTRIBUTOR, PCI_CONFIGURATION_SIZE, PCI_MEMORY, RAM_BASE, UART,
};
use host_abi::memory_map::machine::{HYPERVISOR_BASE, HYPERVISOR_SIZE};

use crate::disk::{BAR_0, COMMAND, CONFIGURATION, Disk, SECTOR, Transfer};

const GETS: &str = "the disk goes on";

/// A sector for what must not leak, and one that holds what it held.
const LOOT: u64 = 8;
const SAFE: u64 = 16;

/// What the guest writes.
const PATTERN: u64 = 0x5eed_0000_d15c_0000;

/// Addresses that the guest does not have: of the machine, unless something else is said.
fn forbidden(environment: &Environment) -> Vec<(&'static str, u64)> {
    let end = environment.memory_end();
    let mut addresses = alloc::vec![
        ("nothing", 0),
        ("the secure world's memory", 0x0e10_0000),
        ("the secure world's UART", 0x0904_0000),
        ("the GIC", DISTRIBUTOR),
        ("the UART", UART),
        ("the clock", CLOCK),
        ("the SMMU", 0x0905_0000),
        ("registers of its own (IPA)", PCI_MEMORY),
        ("its configuration space (IPA)", CONFIGURATION),
        ("configuration space", 0x40_1000_0000),
        ("what precedes its memory", RAM_BASE - SECTOR),
        ("the last byte of its memory and what follows", end - 1),
        ("what follows its memory", end),
        ("the hypervisor", HYPERVISOR_BASE),
        (
            "the hypervisor's heap",
            HYPERVISOR_BASE + HYPERVISOR_SIZE / 2
        ),
        ("images of guests", HYPERVISOR_BASE + HYPERVISOR_SIZE),
        ("the end of 39 bits", (1 << 39) - SECTOR),
        ("what is beyond 39 bits", 1 << 39),
        ("its memory plus 39 bits", (1 << 39) + end - 0x1000),
        ("what is beyond 48 bits", 1 << 48),
        (
            "its memory with all upper bits",
            0xffff_0000_0000_0000 | (end - 0x1000)
        ),
        ("the last sector of all", u64::MAX - SECTOR + 1),
        ("what wraps", u64::MAX - 7),
    ];
    // Whoever has it: guests, or nobody.
    addresses.extend((end..1 << 32).step_by(64 << 20).map(|at| ("memory", at)));
    addresses
}

pub fn trials(environment: &Environment) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (what, address) in forbidden(environment) {
        for transfer in [Transfer::ToMemory, Transfer::FromMemory] {
            let direction = match transfer {
                Transfer::ToMemory => "written to",
                Transfer::FromMemory => "read from",
            };
            let does = format!("a sector {direction} {what} at {address:#x}");
            trials.push(Trial::new("dma", does, GETS, move |_, environment| {
                let arena = Arena::of(environment).part();
                let disk = Disk::find(&arena)?;
                let _ = disk.transfer(transfer, LOOT, address);
                goes_on(&disk, &arena)
            }));
        }
        let does = format!("a queue in {what} at {address:#x}");
        trials.push(Trial::new("dma", does, GETS, move |_, environment| {
            let arena = Arena::of(environment).part();
            let disk = Disk::find(&arena)?;
            disk.queue_at(address);
            goes_on(&disk, &arena)
        }));
    }
    trials.push(Trial::new(
        "dma",
        "a thousand sectors written to the hypervisor",
        GETS,
        |_, environment| {
            let arena = Arena::of(environment).part();
            let disk = Disk::find(&arena)?;
            for n in 0..1000 {
                let address = HYPERVISOR_BASE + n * SECTOR % HYPERVISOR_SIZE;
                let _ = disk.transfer(Transfer::ToMemory, LOOT, address);
            }
            goes_on(&disk, &arena)
        },
    ));
    trials.extend(configuration());
    trials
}

/// That the disk still stores what it is given, at addresses that the guest has.
fn goes_on(disk: &Disk, arena: &Arena) -> Result<String, String> {
    let data = arena.pages(1);
    data.fill(PATTERN);
    let stored = disk.transfer(Transfer::FromMemory, SAFE, data.address);
    data.fill(0);
    let loaded = disk.transfer(Transfer::ToMemory, SAFE, data.address);
    let words = SECTOR as usize / 8;
    let page = data.load(0, 2 * words);
    let (sector, rest) = page.split_at(words);
    if sector.iter().any(|&word| word != PATTERN) {
        return Err(format!(
            "a sector was stored ({stored}) and loaded ({loaded}), and holds {:#x}",
            sector[0]
        ));
    }
    if rest.iter().any(|&word| word != 0) {
        return Err(String::from("the disk wrote more than a sector"));
    }
    Ok(String::from(GETS))
}

/// What is tried in configuration space.
fn configuration() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, value) in [("ones", u64::MAX), ("zeros", 0), ("a pattern", PATTERN | 7)] {
        for size in Size::ALL {
            let does =
                format!("{name} written all over its configuration space, {size:?} by {size:?}");
            trials.push(Trial::new("pci", does, GETS, move |_, environment| {
                let bytes = match size {
                    Size::Byte => 1,
                    Size::Halfword => 2,
                    Size::Word => 4,
                    Size::Doubleword => 8,
                };
                let bars = bars();
                for offset in (0..0x1000).step_by(bytes) {
                    wild::store(CONFIGURATION + offset, size, value);
                }
                for number in 0..6 {
                    // They are where they were, whatever was written.
                    wild::store(CONFIGURATION + BAR_0 + 4 * number, Size::Word, 0);
                }
                if self::bars() != bars {
                    return Err(format!("BARs moved from {bars:x?} to {:x?}", self::bars()));
                }
                let arena = Arena::of(environment).part();
                goes_on(&Disk::find(&arena)?, &arena)
            }));
        }
    }
    trials.push(Trial::new(
        "pci",
        "every function that it does not have, read and written",
        GETS,
        |_, environment| {
            let ones = |size: Size| match size {
                Size::Byte => 0xff,
                Size::Halfword => 0xffff,
                Size::Word => 0xffff_ffff,
                Size::Doubleword => u64::MAX,
            };
            for function in (0x1000..PCI_CONFIGURATION_SIZE).step_by(0x1000) {
                for offset in [0, COMMAND, BAR_0, 0x18, 0x3c, 0xfff - 7] {
                    for size in Size::ALL {
                        let at = CONFIGURATION + function + (offset & !7);
                        wild::store(at, size, u64::MAX);
                        let value = wild::load(at, size);
                        if value != ones(size) {
                            return Err(format!("{function:#x} answers: {value:#x}"));
                        }
                    }
                }
            }
            let arena = Arena::of(environment).part();
            goes_on(&Disk::find(&arena)?, &arena)
        },
    ));
    trials.push(Trial::new(
        "pci",
        "every offset of its configuration space and its registers, read at odd places",
        GETS,
        |_, environment| {
            for size in Size::ALL {
                for offset in (0..0x1000 - 8).step_by(3) {
                    let _ = wild::load(CONFIGURATION + offset, size);
                }
                for offset in (0..0x5000 - 8).step_by(3) {
                    let _ = wild::load(PCI_MEMORY + offset, size);
                }
            }
            let arena = Arena::of(environment).part();
            goes_on(&Disk::find(&arena)?, &arena)
        },
    ));
    trials.push(Trial::new(
        "dma",
        "a sector moved with bus mastering off",
        "nothing moved",
        |_, environment| {
            let arena = Arena::of(environment).part();
            let disk = Disk::find(&arena)?;
            goes_on(&disk, &arena)?;
            let data = arena.pages(1);
            wild::store(CONFIGURATION + COMMAND, Size::Halfword, 0b010);
            let _ = disk.transfer(Transfer::ToMemory, SAFE, data.address);
            if data
                .load(0, SECTOR as usize / 8)
                .iter()
                .any(|&word| word != 0)
            {
                return Err(String::from("the disk wrote to memory"));
            }
            goes_on(&Disk::find(&arena)?, &arena)?;
            Ok(String::from("nothing moved"))
        },
    ));
    trials
}

/// What its BARs say.
fn bars() -> Vec<u64> {
    let bar = |number: u64| wild::load(CONFIGURATION + BAR_0 + 4 * number, Size::Word);
    (0..6).map(bar).collect()
}
