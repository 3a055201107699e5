//! What is said when a machine description is refused.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A refusal: where, what is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{}: {place}: {problem}\n  {remedy}", .file.display())]
pub struct ConfigError {
    /// The machine description.
    pub file: PathBuf,
    /// The field or the option, such as `guest vm1: memory`.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// Makes the refusals of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusals<'a> {
    pub(crate) file: &'a Path,
}

impl Refusals<'_> {
    /// Refuses what stands at `place`.
    pub(crate) fn at(
        self,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
