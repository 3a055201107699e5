//! What a case or a part of it found, and macros that find it.

use alloc::string::String;

/// What a case found: nothing wrong, or what.
pub type Outcome = Result<(), String>;

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
