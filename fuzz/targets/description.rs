//! The device tree that the hypervisor is given: any bytes, or a tree of two guests with some of
//! its bytes changed. It is refused, or what is read holds together.

#![no_main]

use addresses::Pa;
use arbitrary::{Result, Unstructured};
use hypervisor::description::range::Range;
use hypervisor::description::vm::{Module, VmDescription};
use hypervisor::description::{Machine, console, parse};
use libfuzzer_sys::fuzz_target;

/// The tree of a machine with two guests (`qemu/configs/conformance.toml`).
const TREE: &[u8] = include_bytes!("../trees/two-guests.dtb");
const HYPERVISOR: Range = Range {
    start: Pa(0x6000_0000),
    len: 32 << 20,
};

/// The tree, with some of its bytes changed.
fn changed(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut tree = TREE.to_vec();
    while !input.is_empty() {
        let at = input.int_in_range(0..=tree.len() - 1)?;
        let length = input.int_in_range(1..=8)?;
        for (byte, new) in tree[at..].iter_mut().zip(input.bytes(length)?) {
            *byte = *new;
        }
    }
    Ok(tree)
}

fn check_module(machine: &Machine, module: &Module) {
    let range = Range {
        start: module.pa,
        len: module.len,
    };
    assert!(machine.memory.iter().any(|memory| memory.contains(range)));
    assert!(!range.overlaps(HYPERVISOR));
    assert!(module.pa.0.is_multiple_of(4096));
}

fn check_guest(machine: &Machine, guest: &VmDescription) {
    let named = machine
        .guests
        .iter()
        .filter(|other| other.name == guest.name);
    assert_eq!(named.count(), 1, "names are unique");
    assert!(guest.memory != 0 && guest.memory.is_multiple_of(2 << 20));
    assert!((1..=8).contains(&guest.vcpu_cpus.len()));
    assert!(guest.vcpu_cpus.iter().all(|&cpu| cpu < machine.cpus.len()));
    let limits = guest.shm_limits;
    assert!(limits.total_bytes_max >= limits.buffer_bytes_max);
    check_module(machine, &guest.kernel);
    if let Some(ramdisk) = &guest.ramdisk {
        check_module(machine, ramdisk);
    }
}

fn check(tree: &[u8]) {
    let _ = console(tree);
    match parse(tree, HYPERVISOR) {
        Ok(machine) => {
            assert!(!machine.guests.is_empty());
            machine
                .guests
                .iter()
                .for_each(|guest| check_guest(&machine, guest));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((first, rest)) if first % 4 == 0 => check(rest),
        Some((_, rest)) => {
            if let Ok(tree) = changed(&mut Unstructured::new(rest)) {
                check(&tree);
            }
        }
        None => {}
    }
});
