//! A command to OP-TEE's tests.

use alloc::string::String;

use guest_shim::kit::trials::said;
use guest_shim::optee::TESTS;
use guest_shim::optee::client::{Client, Flavour};
use guest_shim::optee::words::Words;
use optee_abi::message::{Parameter, command};

/// `PTA_INVOKE_TESTS_CMD_PARAMS` of [`TESTS`]: adds values, or the bytes of a buffer.
pub const PARAMS: u32 = 1;

/// Has OP-TEE's tests look at these parameters, in a session of its own; gives what came.
pub fn invokes(client: &Client, parameters: &[Parameter]) -> Result<String, String> {
    let session = client.open(Flavour::RpcArgument, TESTS)?;
    let words = Words::new(command::INVOKE_COMMAND, parameters).to(session, PARAMS);
    let came = said(&client.ask(&words)?)?;
    client.close(Flavour::RpcArgument, session)?;
    Ok(came)
}
