//! What comes back from a call for the moment.

use alloc::format;
use alloc::string::String;

use optee_abi::smc::RpcFunction;

/// What came of a call for the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is over, with this return code.
    Done(u32),
    /// The guest is asked for something.
    Asks(Asked),
}

/// What a guest is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub function: RpcFunction,
    /// a1 and a2, joined.
    pub value: u64,
    /// a1
    pub upper: u64,
    /// The thread ID to return with.
    pub thread: u64,
}

impl Answer {
    /// What is asked for.
    ///
    /// # Errors
    ///
    /// The call is over.
    pub fn asked(self) -> Result<Asked, String> {
        match self {
            Self::Asks(asked) => Ok(asked),
            Self::Done(code) => Err(format!("the call is over, with {code:#x}")),
        }
    }

    /// The return code.
    ///
    /// # Errors
    ///
    /// The call is not over.
    pub fn done(self) -> Result<u32, String> {
        match self {
            Self::Done(code) => Ok(code),
            Self::Asks(asked) => Err(format!("the call asks for {asked:x?}")),
        }
    }
}
