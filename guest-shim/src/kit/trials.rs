//! Trials: what an attacker does, and the exact answer that it must get.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::arch::uart;
use crate::optee::client::{Client, Reply};
use crate::runtime::environment::Environment;
use optee_abi::result;
use optee_abi::smc::status;

/// What is done; gives what came.
type Attempt = Box<dyn Fn(&Client, &Environment) -> Result<String, String>>;

/// One thing that an attacker does.
pub struct Trial {
    /// What is attacked.
    pub area: &'static str,
    /// What is done.
    pub does: String,
    /// The answer that must come.
    pub gets: String,
    attempt: Attempt,
}

impl Trial {
    /// That `attempt`, which `does` this, gets `gets`.
    pub fn new(
        area: &'static str,
        does: impl Into<String>,
        gets: impl Into<String>,
        attempt: impl Fn(&Client, &Environment) -> Result<String, String> + 'static,
    ) -> Self {
        Self {
            area,
            does: does.into(),
            gets: gets.into(),
            attempt: Box::new(attempt),
        }
    }
}

/// Attempts all of them, each with a driver of its own, and reports them. Returns how many got
/// another answer.
pub fn run(environment: &Environment, trials: &[Trial]) -> usize {
    if environment.settle {
        uart::enable();
    }
    crate::println!("@@trials {}", trials.len());
    let mut failed = 0;
    for trial in trials {
        let came = Client::new(environment)
            .and_then(|client| (trial.attempt)(&client, environment))
            .unwrap_or_else(|reason| format!("no answer: {reason}"));
        failed += usize::from(came != trial.gets);
        crate::println!(
            "@@trial {} | {} | {} | {}",
            trial.area,
            trial.does,
            trial.gets,
            super::cases::one_line(&came)
        );
        if environment.settle {
            // Somebody looks at what is left of it, then presses a key.
            let _ = uart::receive();
        }
    }
    crate::println!("@@tried failed={failed}");
    failed
}

/// The name of a return code.
#[must_use]
pub fn code(code: u32) -> String {
    let name = match code {
        status::OK => "OK",
        status::ETHREAD_LIMIT => "ETHREAD_LIMIT",
        status::EBUSY => "EBUSY",
        status::ERESUME => "ERESUME",
        status::EBADADDR => "EBADADDR",
        status::EBADCMD => "EBADCMD",
        status::ENOMEM => "ENOMEM",
        status::ENOTAVAIL => "ENOTAVAIL",
        status::UNKNOWN_FUNCTION => "UNKNOWN_FUNCTION",
        _ => return format!("the code {code:#x}"),
    };
    String::from(name)
}

/// The name of a result.
#[must_use]
pub fn result(result: u32) -> String {
    let name = match result {
        result::SUCCESS => "SUCCESS",
        result::GENERIC => "GENERIC",
        result::ACCESS_DENIED => "ACCESS_DENIED",
        result::BAD_PARAMETERS => "BAD_PARAMETERS",
        result::ITEM_NOT_FOUND => "ITEM_NOT_FOUND",
        result::NOT_SUPPORTED => "NOT_SUPPORTED",
        result::OUT_OF_MEMORY => "OUT_OF_MEMORY",
        result::COMMUNICATION => "COMMUNICATION",
        result::SECURITY => "SECURITY",
        _ => return format!("the result {result:#x}"),
    };
    String::from(name)
}

/// What a message came back as, of which nothing else changed.
///
/// # Errors
///
/// Something else changed.
pub fn said(reply: &Reply) -> Result<String, String> {
    if reply.status != status::OK {
        reply.is_no_message(reply.status)?;
        return Ok(code(reply.status));
    }
    let came = reply.came.result();
    reply.is(came)?;
    Ok(result(came))
}

/// All of several lists.
#[must_use]
pub fn all(lists: impl IntoIterator<Item = Vec<Trial>>) -> Vec<Trial> {
    lists.into_iter().flatten().collect()
}
