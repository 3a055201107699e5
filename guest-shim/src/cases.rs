//! Cases: functions that check one thing each, and register themselves.

use alloc::string::String;
#[cfg(any(test, target_os = "none"))]
use alloc::vec::Vec;

use crate::environment::Environment;

/// What a case found: nothing wrong, or what.
pub type Outcome = Result<(), String>;

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
            static CASE: $crate::cases::Case = $crate::cases::Case {
                requirement: $requirement,
                name: stringify!($function),
                run: $function,
            };
        };
    };
}

/// Fails the case unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err(alloc::format!($($reason)+));
        }
    };
}

/// Fails the case unless both are equal; the reason says what is compared.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr, $($what:tt)+) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err(alloc::format!(
                "{} is {left:#x?}, not {right:#x?}",
                core::format_args!($($what)+)
            ));
        }
    }};
}

/// Runs all cases of the payload, or those that the environment names, by requirement and name, and reports them. Returns how
/// many failed.
#[cfg(target_os = "none")]
pub fn run(environment: &Environment) -> usize {
    let mut cases = Vec::from(crate::arch::boot::cases());
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
fn one_line(reason: &str) -> String {
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
