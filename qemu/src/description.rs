//! Machine descriptions: what a user writes in TOML, checked.
//!
//! [`Description::load`] refuses everything that can be known to be wrong before anything is
//! downloaded, built or booted. What depends on the size of Debian's images is checked by
//! [`check_guest_memory`] as soon as they are there.

mod check;
mod choice;
pub mod devices;
mod error;
mod file;
mod hypervisor;
pub mod kernel_image;
mod limits;
mod memory_check;
mod model;
mod optee;
pub mod optee_build;
mod payload;
mod size;
mod smc;
mod tas;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::ConfigError;
pub(crate) use error::Refusals;
pub use hypervisor::Mediator;
pub use limits::Limits;
pub use memory_check::check_guest_memory;
pub use model::{
    Description, Guest, GuestCommand, GuestForward, Machine, Optee, Overlay, Overrides, Work,
};
pub use size::{Size, SizeError};
pub use smc::SmcPolicy;
pub use tas::{TaAccess, Uuid};

impl Description {
    /// Reads and checks the description in `file`. Paths in it are relative to its folder.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let refuse = Refusals { file };
        let text = std::fs::read_to_string(file).map_err(|error| {
            refuse.at(
                "the file",
                format!("cannot be read: {error}"),
                "Give the path of a machine description, such as qemu/configs/two-guests.toml.",
            )
        })?;
        Self::parse(file, &text, overrides)
    }

    /// Checks the description `text` as if it had been read from `file`.
    pub fn parse(file: &Path, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let form: file::File = toml::from_str(text).map_err(|error| {
            let place = match error.span() {
                Some(span) => format!("line {}", line_of(text, span.start)),
                None => "the file".to_owned(),
            };
            Refusals { file }.at(
                place,
                error.message(),
                "docs/configuration.md lists every field, its form and an example.",
            )
        })?;
        check::check(file, form, overrides)
    }

    /// Refuses images that can't be started in the guest's memory.
    pub fn check_images(
        &self,
        guest: &Guest,
        kernel: &Path,
        initramfs: Option<&Path>,
    ) -> Result<(), ConfigError> {
        let refuse = Refusals { file: &self.file };
        check::check_images(refuse, &guest.name, guest.memory, Some(kernel), initramfs)
    }
}

/// The number, from 1, of the line with the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        .saturating_add(1)
}
