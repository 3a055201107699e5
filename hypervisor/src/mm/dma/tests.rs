//! What devices reach by the tables that are made for them, told by an SMMU.

#![expect(unsafe_code, reason = "the memory is made up, and never touched")]

use super::*;
use crate::drivers::smmuv3::Smmu;
use crate::drivers::smmuv3::model::{Kind, ModelSmmu, Refused};
use crate::mm::frames::{Extent, Frames};
use addresses::Pa;
use std::boxed::Box;

const BASE: Ipa = Ipa(0x4000_0000);
const BLOCK: u64 = 2 << 20;
const REGISTERS: Ipa = Ipa(0x1000_0000);

const KINDS: [(Kind, Stage); 2] = [(Kind::STAGE_1, Stage::One), (Kind::STAGE_2, Stage::Two)];

const DISK: u32 = 0x100;
const NETWORK: u32 = 0x200;

const F_TRANSLATION: Result<u64, Refused> = Err(Refused::Event(0x10));

/// Memory of as many bytes, out of runs with these starts and lengths, and a page of registers.
fn memory(bytes: u64, runs: &[(u64, u64)]) -> GuestRam {
    let mut free = Frames::new();
    for &(start, len) in runs {
        free.add(Pa(start), len);
    }
    // SAFETY: nobody touches the memory.
    let ram = unsafe { GuestRam::allocate(&mut free, BASE, bytes, true) };
    let mut ram = ram.unwrap();
    let registers = Extent {
        pa: Pa(0x6_0000_0000),
        len: 0x4000,
    };
    ram.map_registers(REGISTERS, registers).unwrap();
    ram
}

fn turned_on(kind: Kind, streams: &[u32]) -> (ModelSmmu, Smmu) {
    let model = ModelSmmu::new(kind);
    let smmu = Smmu::new(Box::new(model.clone()), 0x3ff).unwrap();
    for &stream in streams {
        smmu.add(stream).unwrap();
    }
    (model, smmu)
}

/// The stream reaches the memory where the VM has it, and nothing else.
fn reaches_exactly(model: &ModelSmmu, stream: u32, ram: &GuestRam) {
    let mut at = BASE.0;
    for extent in ram.extents() {
        let offsets = [0, 8, 0xfff, 0x1000, BLOCK - 1, BLOCK, extent.len - 1];
        for offset in offsets.into_iter().filter(|&offset| offset < extent.len) {
            for write in [false, true] {
                let reached = model.dma(stream, at + offset, write);
                assert_eq!(reached, Ok(extent.pa.0 + offset));
            }
        }
        at += extent.len;
    }
    for beyond in [
        0,
        BASE.0 - 1,
        at,
        at + BLOCK,
        REGISTERS.0,
        REGISTERS.0 + 0x3fff,
        1 << 39,
        BASE.0 | 1 << 39,
        BASE.0 | 1 << 63,
        u64::MAX,
    ] {
        assert_eq!(
            model.dma(stream, beyond, true),
            F_TRANSLATION,
            "{beyond:#x}"
        );
    }
}

#[test]
fn devices_reach_the_memory_of_their_vm_where_that_has_it() {
    for (kind, stage) in KINDS {
        let (model, smmu) = turned_on(kind, &[DISK]);
        // Such that pages, blocks of 2 MiB and of 1 GiB are needed.
        for ram in [
            memory(4 * BLOCK, &[(0x8000_0000, 4 * BLOCK)]),
            memory(
                4 * BLOCK,
                &[(0x8000_0000, BLOCK), (0x1_0000_0000, 3 * BLOCK)],
            ),
            memory(2 << 30, &[(0x2_0000_0000, 2 << 30)]),
            memory(1 << 30, &[(0x2_0020_0000, 1 << 30)]),
        ] {
            let tables = DmaTables::new(stage, 1, BASE, &ram).unwrap();
            smmu.attach(DISK, &tables.translation()).unwrap();
            reaches_exactly(&model, DISK, &ram);
            reaches_exactly(&model, DISK, &ram);
            smmu.detach(DISK, 1).unwrap();
            assert_eq!(model.dma(DISK, BASE.0, false), Err(Refused::Aborted));
        }
    }
}

#[test]
fn devices_of_two_vms_reach_nothing_of_each_other() {
    // They use the same addresses, one after the other.
    for (kind, stage) in KINDS {
        let (model, smmu) = turned_on(kind, &[DISK, NETWORK]);
        let first = memory(4 * BLOCK, &[(0x8000_0000, 4 * BLOCK)]);
        let second = memory(4 * BLOCK, &[(0x9000_0000, 4 * BLOCK)]);
        let tables = [(1, &first), (2, &second)]
            .map(|(vmid, ram)| DmaTables::new(stage, vmid, BASE, ram).unwrap());
        smmu.attach(DISK, &tables[0].translation()).unwrap();
        smmu.attach(NETWORK, &tables[1].translation()).unwrap();
        for _ in 0..2 {
            reaches_exactly(&model, DISK, &first);
            reaches_exactly(&model, NETWORK, &second);
        }
        smmu.detach(DISK, 1).unwrap();
        assert!(!model.keeps_translations_of(1), "all of them are forgotten");
        reaches_exactly(&model, NETWORK, &second);
    }
}

#[test]
fn devices_of_a_vm_reach_the_same() {
    for (kind, stage) in KINDS {
        let (model, smmu) = turned_on(kind, &[DISK, NETWORK]);
        let ram = memory(4 * BLOCK, &[(0x8000_0000, 4 * BLOCK)]);
        let tables = DmaTables::new(stage, 1, BASE, &ram).unwrap();
        for stream in [DISK, NETWORK] {
            smmu.attach(stream, &tables.translation()).unwrap();
        }
        for stream in [DISK, NETWORK] {
            reaches_exactly(&model, stream, &ram);
        }
        smmu.detach(DISK, 1).unwrap();
        assert_eq!(model.dma(DISK, BASE.0, true), Err(Refused::Aborted));
        reaches_exactly(&model, NETWORK, &ram);
    }
}
