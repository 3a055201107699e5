//! Cases: functions that check one thing each, and register themselves.

#[cfg(any(test, target_os = "none"))]
use alloc::string::String;
#[cfg(any(test, target_os = "none"))]
use alloc::vec::Vec;

use crate::runtime::check::Outcome;
use crate::runtime::environment::Environment;

/// A case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The requirement on the hypervisor that it checks, 0 to 9 (docs/testing.md).
    pub requirement: u8,
    /// Its name, with underscores for spaces.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&Environment) -> Outcome,
}

/// Registers functions as cases: `case!(3, psci_version_is_1_1);`.
#[macro_export]
macro_rules! case {
    ($requirement:literal, $function:ident) => {
        const _: () = {
            assert!($requirement <= 9, "requirements have the numbers 0 to 9");
            #[expect(unsafe_code, reason = "the section holds cases and nothing else")]
            #[used]
            #[unsafe(link_section = ".cases")]
            static CASE: $crate::kit::cases::Case = $crate::kit::cases::Case {
                requirement: $requirement,
                name: stringify!($function),
                run: $function,
            };
        };
    };
}

/// The cases that were linked in.
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the linker script says where the cases lie")]
fn registered() -> &'static [Case] {
    unsafe extern "C" {
        static cases_start: u8;
        static cases_end: u8;
    }
    let start = (&raw const cases_start).cast::<Case>();
    let end = (&raw const cases_end).cast::<Case>();
    // SAFETY: the linker script puts the statics of `case!` and nothing else between the two
    // symbols.
    unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}

/// Runs all cases of the payload, or those that the environment names, by requirement and name, and
/// reports them. Returns how many failed.
#[cfg(target_os = "none")]
pub fn run(environment: &Environment) -> usize {
    let mut cases = Vec::from(registered());
    if !environment.only.is_empty() {
        cases.retain(|case| environment.only.iter().any(|name| name == case.name));
    }
    cases.sort_by_key(|case| (case.requirement, case.name));
    crate::println!("@@plan {}", cases.len());
    let mut failed = 0;
    for case in &cases {
        let (requirement, name) = (case.requirement, case.name);
        crate::println!("@@run {requirement} {name}");
        match (case.run)(environment) {
            Ok(()) => crate::println!("@@case {requirement} {name} pass"),
            Err(reason) => {
                failed += 1;
                crate::println!("@@case {requirement} {name} fail {}", one_line(&reason));
            }
        }
    }
    crate::println!("@@done passed={} failed={failed}", cases.len() - failed);
    failed
}

/// A reason as one line of the console.
#[cfg(any(test, target_os = "none"))]
pub(super) fn one_line(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stays_on_its_line() {
        assert_eq!(one_line("[\n    0x1,\n]\n@@done"), "[ 0x1, ] @@done");
    }
}
