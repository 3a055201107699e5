//! The guest's devices, at every offset, in every size.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::arch::wild::{self, Size};
use guest_shim::kit::trials::Trial;
use guest_shim::runtime::environment::Environment;
use host_abi::memory_map::guest::{
    CLOCK, DISTRIBUTOR, DISTRIBUTOR_SIZE, REDISTRIBUTOR_STRIDE, REDISTRIBUTORS, UART,
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
        ("the clock", CLOCK, 0x1000, 0),
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
    for (name, address) in [
        ("the UART's flags", UART + 0x18),
        ("the UART's identity", UART + 0xfe0),
        ("a gap of the UART", UART + 0x200),
        ("the clock's time", CLOCK + 0x8),
        ("GICD_TYPER", DISTRIBUTOR + 0x4),
        ("GICD_PIDR2", DISTRIBUTOR + 0xffe8),
        ("a gap of the distributor", DISTRIBUTOR + 0x5000),
    ] {
        for size in Size::ALL {
            trials.push(Trial::new(
                "devices",
                format!("a {size:?} written to {name}"),
                GETS,
                move |_, _| {
                    wild::store(address, size, u64::MAX);
                    Ok(String::from(GETS))
                },
            ));
        }
    }
    trials
}
