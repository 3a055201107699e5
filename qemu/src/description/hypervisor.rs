//! What a machine chooses of the hypervisor.

use serde::Deserialize;

/// A mediator, by its feature of the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mediator {
    /// That for OP-TEE.
    Optee,
}

impl Mediator {
    /// The name in the description, which is the feature's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Optee => "optee",
        }
    }
}

/// How much the hypervisor logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stops it.
    Error,
    /// What should not happen.
    Warn,
    /// What becomes of guests.
    Info,
    /// What it decides.
    Debug,
    /// What it does.
    Trace,
}

impl LogLevel {
    /// The name in the description and in the device tree.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
