//! The TEE of a guest, and how it is called.

use serde::{Deserialize, Serialize};

/// The TEE of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tee {
    /// It has none, and sees none.
    None,
    /// OP-TEE.
    #[default]
    Optee,
}

impl Tee {
    /// The name in the description and in the device tree.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optee => "optee",
        }
    }
}

/// The instruction by which a guest calls PSCI and its TEE (SMCCC, DEN0028, section 2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conduit {
    /// SMC
    #[default]
    Smc,
    /// HVC
    Hvc,
}

impl Conduit {
    /// The name in the description and in the device tree.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smc => "smc",
            Self::Hvc => "hvc",
        }
    }
}
