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
