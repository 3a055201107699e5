//! Trials of the trusted application on the real TEE: what it decrypts is what software says, and
//! what it refuses it refuses with the right error and without output.

mod attempt;
mod refusals;
mod samples;

pub use attempt::Trial;

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Trial> {
    samples::TRIALS.iter().chain(refusals::TRIALS)
}
