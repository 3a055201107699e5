//! The guest's devices, at every offset, in every size.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::arch::wild::{self, Size};
use guest_shim::kit::trials::Trial;
use guest_shim::runtime::environment::Environment;
use host_abi::memory_map::guest::{
    DISTRIBUTOR, DISTRIBUTOR_SIZE, REDISTRIBUTOR_STRIDE, REDISTRIBUTORS, UART,
};

const GETS: &str = "the guest goes on";

/// Registers lie this far apart, at odd places between.
const STEP: usize = 3;

pub fn trials(environment: &Environment) -> Vec<Trial> {
    let redistributors = REDISTRIBUTOR_STRIDE * environment.vcpus.len() as u64;
    let mut trials = Vec::new();
    for (name, base, length, first) in [
        ("the distributor", DISTRIBUTOR, DISTRIBUTOR_SIZE, 0),
        ("the redistributors", REDISTRIBUTORS, redistributors, 0),
        ("the UART", UART, 0x1000, 4),
    ] {
        for size in Size::ALL {
            trials.push(Trial::new(
                "devices",
                format!("a {size:?} read at every third offset of {name}"),
                GETS,
                move |_, _| {
                    for offset in (first..length - 8).step_by(STEP) {
                        let _ = wild::load(base + offset, size);
                    }
                    Ok(String::from(GETS))
                },
            ));
        }
    }
    for (name, offset) in [
        ("its flags", 0x18),
        ("its identity", 0xfe0),
        ("a gap", 0x200),
    ] {
        for size in Size::ALL {
            trials.push(Trial::new(
                "devices",
                format!("a {size:?} written to the UART, at {name}"),
                GETS,
                move |_, _| {
                    wild::store(UART + offset, size, u64::MAX);
                    Ok(String::from(GETS))
                },
            ));
        }
    }
    for (name, offset) in [
        ("GICD_TYPER", 0x4),
        ("GICD_PIDR2", 0xffe8),
        ("a gap", 0x5000),
    ] {
        for size in Size::ALL {
            trials.push(Trial::new(
                "devices",
                format!("a {size:?} written to the distributor, at {name}"),
                GETS,
                move |_, _| {
                    wild::store(DISTRIBUTOR + offset, size, u64::MAX);
                    Ok(String::from(GETS))
                },
            ));
        }
    }
    trials
}
