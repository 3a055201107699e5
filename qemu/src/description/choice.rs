//! Choices that a description has by the names that the device tree has for them.

use host_abi::binding::{LogLevel, TeeChoice};
use serde::Deserialize as _;
use serde::de::{Deserializer, Error as _};
use smccc::Conduit;

/// The TEE of a guest.
pub(super) fn tee<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TeeChoice, D::Error> {
    one_of(deserializer, TeeChoice::ALL, TeeChoice::name)
}

/// The instruction by which a guest calls PSCI and its TEE.
pub(super) fn conduit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Conduit, D::Error> {
    one_of(deserializer, Conduit::ALL, Conduit::name)
}

/// How much the hypervisor logs.
pub(super) fn log_level<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<LogLevel>, D::Error> {
    one_of(deserializer, LogLevel::ALL, LogLevel::name).map(Some)
}

fn one_of<'de, D: Deserializer<'de>, T: Copy, const N: usize>(
    deserializer: D,
    choices: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    choices
        .into_iter()
        .find(|&choice| name(choice) == text)
        .ok_or_else(|| {
            let names = choices
                .map(|choice| format!("`{}`", name(choice)))
                .join(", ");
            D::Error::custom(format!("`{text}` is none of {names}"))
        })
}
