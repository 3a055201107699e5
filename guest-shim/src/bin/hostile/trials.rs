//! All that an attacker tries in one go: each a trial of its own.

use alloc::vec::Vec;

use guest_shim::kit::trials::{Trial, all};
use guest_shim::runtime::environment::Environment;

mod addresses;
mod devices;
mod dma;
mod functions;
mod invoke;
mod memory;
mod names;
mod returns;
mod rewriting;
mod states;
mod storms;

pub fn trials(environment: &Environment) -> Vec<Trial> {
    all([
        addresses::trials(environment),
        memory::trials(),
        names::trials(),
        returns::trials(),
        states::trials(),
        rewriting::trials(environment),
        functions::trials(),
        devices::trials(environment),
        dma::trials(environment),
        storms::trials(environment),
    ])
}
