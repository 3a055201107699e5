//! The pseudo-TAs whose commands the cases invoke (`pta_invoke_tests.h` and
//! `core/pta/tests/invoke.c`; `pta_stats.h` and `core/pta/stats.c`; `pta_device.h` and
//! `core/pta/device.c`; OP-TEE 4.5.0).

use alloc::string::String;

use guest_shim::optee::TESTS;
use guest_shim::optee::client::{Client, Flavour, Reply};
use guest_shim::optee::words::Words;
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::result;

/// `PTA_INVOKE_TESTS_CMD_PARAMS`: adds values; or adds the bytes of a buffer and puts the sum into
/// its first byte.
pub const PARAMS: u32 = 1;
/// `PTA_INVOKE_TEST_CMD_AES_PERF`: encrypts one buffer into another.
pub const AES: u32 = 9;
/// `PTA_INVOKE_TESTS_CMD_MEMREF_NULL`: succeeds for a null reference of no bytes.
pub const MEMREF_NULL: u32 = 10;

/// `STATS_UUID`: d96a5b40-e2c7-b1af-8794-1002a5d5c61b.
pub const STATS: [u8; 16] = [
    0xd9, 0x6a, 0x5b, 0x40, 0xe2, 0xc7, 0xb1, 0xaf, 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b,
];
/// `STATS_CMD_GET_TIME`: asks the guest for its time.
pub const GET_TIME: u32 = 4;

/// `PTA_CMD_GET_DEVICES`: fills a buffer with UUIDs.
pub const GET_DEVICES: u32 = 0;

/// A trusted application that nobody has.
pub const NOBODY: [u8; 16] = *b"nobody-has-this!";

/// `TEE_ERROR_SHORT_BUFFER`
pub const SHORT_BUFFER: u32 = 0xffff_0010;
/// `TEE_ERROR_ITEM_NOT_FOUND`
pub const ITEM_NOT_FOUND: u32 = 0xffff_0008;

/// A session, closed by [`Session::close`].
#[derive(Debug)]
pub struct Session<'a> {
    pub client: &'a Client,
    pub number: u32,
}

impl<'a> Session<'a> {
    /// One with OP-TEE's tests.
    pub fn tests(client: &'a Client) -> Result<Self, String> {
        Self::with(client, TESTS)
    }

    /// One with the pseudo-TA of this UUID.
    pub fn with(client: &'a Client, application: [u8; 16]) -> Result<Self, String> {
        let number = client.open(Flavour::RpcArgument, application)?;
        Ok(Self { client, number })
    }

    /// The message that invokes `function` with these parameters.
    pub fn invocation(&self, function: u32, parameters: &[Parameter]) -> Words {
        Words::new(command::INVOKE_COMMAND, parameters).to(self.number, function)
    }

    /// Invokes `function` with these parameters.
    pub fn invoke(&self, function: u32, parameters: &[Parameter]) -> Result<Reply, String> {
        self.client.ask(&self.invocation(function, parameters))
    }

    /// Has the bytes of the memory added that `parameter` refers to: the reply, and the sum that is
    /// expected.
    pub fn add_bytes(&self, parameter: Parameter) -> Result<(), String> {
        self.invoke(PARAMS, &[parameter])?.is(result::SUCCESS)
    }

    pub fn close(self) -> Result<(), String> {
        self.client.close(Flavour::RpcArgument, self.number)
    }
}

/// A value of three words.
pub fn value(direction: Direction, words: [u64; 3]) -> Parameter {
    Parameter::Value {
        direction,
        meta: false,
        words,
    }
}

/// What brings the time: the guest's and OP-TEE's.
pub const TIMES: [Parameter; 2] = [Parameter::Value {
    direction: Direction::Output,
    meta: false,
    words: [0, 0, 0],
}; 2];
