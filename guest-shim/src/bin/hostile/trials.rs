//! All that an attacker tries in one go: each a trial of its own.

use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::kit::trials::{Trial, all, said};
use guest_shim::optee::TESTS;
use guest_shim::optee::client::{Client, Flavour};
use guest_shim::optee::words::Words;
use guest_shim::runtime::environment::Environment;
use optee_abi::message::{Parameter, command};

mod addresses;
mod devices;
mod functions;
mod memory;
mod names;
mod returns;
mod rewriting;
mod states;
mod storms;

/// `PTA_INVOKE_TESTS_CMD_PARAMS` of [`TESTS`]: adds values, or the bytes of a buffer.
const PARAMS: u32 = 1;

/// Has OP-TEE's tests look at these parameters, in a session of its own; gives what came.
fn invokes(client: &Client, parameters: &[Parameter]) -> Result<String, String> {
    let session = client.open(Flavour::RpcArgument, TESTS)?;
    let words = Words::new(command::INVOKE_COMMAND, parameters).to(session, PARAMS);
    let came = said(&client.ask(&words)?)?;
    client.close(Flavour::RpcArgument, session)?;
    Ok(came)
}

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
        storms::trials(environment),
    ])
}
