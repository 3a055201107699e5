use std::cell::Cell;
use std::rc::Rc;

use aarch64_paging::descriptor::{PhysicalAddress, Stage2Attributes};
use aarch64_paging::paging::{Constraints, MemoryRegion, RootTable, Stage2 as Stage2Regime};
use aarch64_paging::target::TargetAllocator;
use proptest::prelude::*;

use super::*;
use crate::mm::stage2::{MEMORY, REGISTERS};

const BASE: u64 = 0x10_0000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Tables in a vector; `live` counts those not given back.
struct Memory {
    tables: Vec<[u64; ENTRIES]>,
    limit: usize,
    live: Rc<Cell<usize>>,
}

impl Memory {
    fn new(limit: usize) -> Self {
        Self {
            tables: Vec::new(),
            limit,
            live: Rc::default(),
        }
    }
}

/// One of them, by its place in the vector.
struct Table {
    number: usize,
    live: Rc<Cell<usize>>,
}

impl Drop for Table {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

impl TableMemory for Memory {
    type Table = Table;

    fn allocate_table(&mut self) -> Option<Table> {
        let number = self.tables.len();
        if number == self.limit {
            return None;
        }
        self.tables.push([0; ENTRIES]);
        self.live.set(self.live.get() + 1);
        Some(Table {
            number,
            live: Rc::clone(&self.live),
        })
    }

    fn address(&self, table: &Table) -> Pa {
        Pa(BASE + PAGE_SIZE * table.number as u64)
    }

    fn read(&self, table: &Table, index: usize) -> u64 {
        self.tables[table.number][index]
    }

    fn write(&mut self, table: &mut Table, index: usize, descriptor: u64) {
        self.tables[table.number][index] = descriptor;
    }
}

fn tables() -> Tables<Memory> {
    Tables::new(Memory::new(1000)).unwrap()
}

/// The same mappings made by aarch64-paging, as the bytes of all its tables.
fn oracle(mappings: &[(u64, u64, u64)]) -> Vec<u8> {
    let mut root = RootTable::new(TargetAllocator::new(BASE), 1, Stage2Regime);
    let flags = Stage2Attributes::VALID
        | Stage2Attributes::MEMATTR_NORMAL_OUTER_WB
        | Stage2Attributes::MEMATTR_NORMAL_INNER_WB
        | Stage2Attributes::S2AP_ACCESS_RW
        | Stage2Attributes::SH_INNER
        | Stage2Attributes::ACCESS_FLAG;
    for &(ipa, pa, len) in mappings {
        let region = MemoryRegion::new(ipa as usize, (ipa + len) as usize);
        let pa = PhysicalAddress(pa as usize);
        root.map_range(&region, pa, flags, Constraints::empty())
            .unwrap();
    }
    root.translation().as_bytes()
}

fn bytes(tables: &Tables<Memory>) -> Vec<u8> {
    let descriptors = tables.memory.tables.iter().flatten();
    descriptors
        .flat_map(|descriptor| descriptor.to_le_bytes())
        .collect()
}

#[test]
fn tables_are_those_of_aarch64_paging() {
    let mappings = [
        (GIB, 0x8000_0000, GIB + 6 * MIB),
        (3 * GIB, 0x4_0020_0000, 2 * GIB),
        (0x3000, 0x5000_7000, 5 * PAGE_SIZE),
        (511 * GIB, 255 * GIB, GIB),
    ];
    let mut tables = tables();
    for (ipa, pa, len) in mappings {
        tables.map(Ipa(ipa), Pa(pa), len, MEMORY).unwrap();
    }
    assert_eq!(bytes(&tables), oracle(&mappings));
}

#[test]
fn a_run_is_the_block_or_page() {
    let mut tables = tables();
    tables
        .map(Ipa(GIB), Pa(2 * GIB), GIB + 2 * MIB + PAGE_SIZE, MEMORY)
        .unwrap();
    let run = |ipa| tables.run(Ipa(ipa), MEMORY);
    let whole = Run {
        ipa: Ipa(GIB),
        pa: Pa(2 * GIB),
        len: GIB,
    };
    assert_eq!(run(GIB), Some(whole));
    assert_eq!(run(2 * GIB - 1), Some(whole));
    let block = Run {
        ipa: Ipa(2 * GIB),
        pa: Pa(3 * GIB),
        len: 2 * MIB,
    };
    assert_eq!(run(2 * GIB + 0x1234), Some(block));
    let page = Run {
        ipa: Ipa(2 * GIB + 2 * MIB),
        pa: Pa(3 * GIB + 2 * MIB),
        len: PAGE_SIZE,
    };
    assert_eq!(run(2 * GIB + 2 * MIB + 8), Some(page));
}

#[test]
fn what_is_not_mapped_has_no_run() {
    let mut tables = tables();
    tables
        .map(Ipa(GIB + PAGE_SIZE), Pa(GIB), PAGE_SIZE, MEMORY)
        .unwrap();
    for ipa in [
        0,
        GIB,
        GIB + 2 * PAGE_SIZE,
        GIB + 2 * MIB,
        1 << IPA_BITS,
        (1 << IPA_BITS) + GIB + PAGE_SIZE,
        u64::MAX,
    ] {
        assert_eq!(tables.run(Ipa(ipa), MEMORY), None, "{ipa:#x}");
    }
}

#[test]
fn misaligned_ranges_are_refused() {
    let mut tables = tables();
    for (ipa, pa, len) in [
        (1, 0, PAGE_SIZE),
        (0, 0x800, PAGE_SIZE),
        (0, 0, PAGE_SIZE + 1),
        (0, 0, 0),
    ] {
        assert_eq!(
            tables.map(Ipa(ipa), Pa(pa), len, MEMORY),
            Err(MapError::Misaligned)
        );
    }
}

#[test]
fn ranges_beyond_the_address_sizes_are_refused() {
    let mut tables = tables();
    let huge = !(PAGE_SIZE - 1);
    for (ipa, pa, len) in [
        (1 << IPA_BITS, 0, PAGE_SIZE),
        (511 * GIB, 0, GIB + PAGE_SIZE),
        (0, PA_END - PAGE_SIZE, 2 * PAGE_SIZE),
        (PAGE_SIZE, 0, huge),
        (huge, 0, PAGE_SIZE),
        (0, huge, 2 * PAGE_SIZE),
    ] {
        assert_eq!(
            tables.map(Ipa(ipa), Pa(pa), len, MEMORY),
            Err(MapError::OutOfRange),
            "{ipa:#x}"
        );
    }
}

#[test]
fn overlaps_are_refused_and_change_nothing() {
    let mut tables = tables();
    tables.map(Ipa(GIB), Pa(GIB), GIB, MEMORY).unwrap();
    tables.map(Ipa(4 * GIB), Pa(GIB), 2 * MIB, MEMORY).unwrap();
    tables
        .map(Ipa(5 * GIB + MIB), Pa(GIB), PAGE_SIZE, MEMORY)
        .unwrap();
    let before = bytes(&tables);
    for (ipa, len) in [
        (GIB + 5 * MIB, PAGE_SIZE),
        (GIB - PAGE_SIZE, 2 * PAGE_SIZE),
        (3 * GIB, GIB + PAGE_SIZE),
        (4 * GIB + MIB, 2 * MIB),
        (5 * GIB, 2 * MIB),
        (0, 511 * GIB),
    ] {
        assert_eq!(
            tables.map(Ipa(ipa), Pa(0), len, MEMORY),
            Err(MapError::Overlap),
            "{ipa:#x}"
        );
    }
    assert_eq!(bytes(&tables), before);
}

#[test]
fn want_of_tables_is_reported() {
    assert_eq!(Tables::new(Memory::new(0)).err(), Some(OutOfTables));
    let mut tables = Tables::new(Memory::new(2)).unwrap();
    assert_eq!(
        tables.map(Ipa(0), Pa(0), PAGE_SIZE, MEMORY),
        Err(MapError::OutOfTables)
    );
    assert_eq!(tables.map(Ipa(4 * MIB), Pa(0), 2 * MIB, MEMORY), Ok(()));
}

#[test]
fn dropping_gives_all_tables_back() {
    let memory = Memory::new(1000);
    let live = memory.live.clone();
    let mut tables = Tables::new(memory).unwrap();
    tables
        .map(
            Ipa(GIB - PAGE_SIZE),
            Pa(2 * GIB - PAGE_SIZE),
            3 * GIB,
            MEMORY,
        )
        .unwrap();
    assert!(live.get() > 4);
    drop(tables);
    assert_eq!(live.get(), 0);
}

#[test]
fn a_run_is_of_the_kind_that_is_asked_for() {
    let mut tables = tables();
    tables.map(Ipa(0), Pa(GIB), PAGE_SIZE, MEMORY).unwrap();
    tables
        .map(Ipa(PAGE_SIZE), Pa(GIB), PAGE_SIZE, REGISTERS)
        .unwrap();
    for (ipa, is_memory) in [(0, true), (PAGE_SIZE, false)] {
        assert_eq!(tables.run(Ipa(ipa), MEMORY).is_some(), is_memory);
        assert_eq!(tables.run(Ipa(ipa), REGISTERS).is_some(), !is_memory);
    }
}

proptest! {
    #[test]
    fn any_page_translates_as_mapped(start in 0u64..0x4_0000, skew in 0u64..0x400, pages in 1u64..0x8000, probe in 0u64..0x5_0000) {
        let mut tables = tables();
        let (ipa, pa) = (start * PAGE_SIZE, (start + skew) * PAGE_SIZE);
        tables.map(Ipa(ipa), Pa(pa), pages * PAGE_SIZE, MEMORY).unwrap();
        let address = Ipa(probe * PAGE_SIZE + 0x123);
        let translated = tables.run(address, MEMORY).and_then(|run| run.translate(address));
        let expected = (start..start + pages).contains(&probe).then(|| Pa(address.0 - ipa + pa));
        prop_assert_eq!(translated, expected);
        prop_assert_eq!(bytes(&tables), oracle(&[(ipa, pa, pages * PAGE_SIZE)]));
    }
}
