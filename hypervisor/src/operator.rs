//! The person at the machine's console.

pub mod commands;
pub mod prompt;
pub mod report;
