//! The lines by which a guest's first process (`qemu/guest/init`) tells the host tool how its job
//! goes.
//!
//! ```text
//! @@TOKEN start kernel=RELEASE optee=REVISION
//! @@TOKEN exit=STATUS seconds=S.SS kernel=RELEASE optee=REVISION [failed=WHERE: WHY]
//! ```
//!
//! The token is random, made for one run and one guest, so that nothing a job prints is taken for
//! such a line.

use std::fs::File;
use std::io::{self, Read as _};

/// What a guest's first process said.
#[derive(Clone, Debug, PartialEq)]
pub enum Marker {
    /// The job starts.
    Start(Sight),
    /// The job ended, or could not be run.
    Exit {
        /// The exit status of the job's shell; 125 when the job could not be run.
        status: i32,
        /// What the job took by the guest's clock.
        seconds: f64,
        /// What the guest saw.
        sight: Sight,
        /// Why the job could not be run.
        failed: Option<String>,
    },
}

/// What a guest sees of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The release of its kernel.
    pub kernel: String,
    /// The revision of OP-TEE that its driver read; `None` without a TEE.
    pub optee: Option<String>,
}

impl Marker {
    /// Reads a line of a guest's console. `None` is any other line.
    pub fn parse(line: &str, token: &str) -> Option<Self> {
        let rest = line.strip_prefix("@@")?.strip_prefix(token)?;
        let rest = rest.strip_prefix(' ')?.trim_end();
        let (rest, failed) = match rest.split_once(" failed=") {
            Some((rest, why)) => (rest, Some(why.to_owned())),
            None => (rest, None),
        };
        let field = |name: &str| {
            rest.split(' ')
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let sight = Sight {
            kernel: field("kernel")?.to_owned(),
            optee: field("optee")
                .filter(|revision| *revision != "none")
                .map(str::to_owned),
        };
        if rest.starts_with("start ") {
            return Some(Self::Start(sight));
        }
        Some(Self::Exit {
            status: field("exit")?.parse().ok()?,
            seconds: field("seconds")?.parse().ok()?,
            sight,
            failed,
        })
    }
}

/// Whether a line looks like the start of a job, whatever the token.
pub fn is_start(line: &str) -> bool {
    let token = line
        .strip_prefix("@@")
        .and_then(|rest| rest.split(' ').next());
    token.is_some_and(|token| matches!(Marker::parse(line, token), Some(Marker::Start(_))))
}

/// A word that no job can guess.
pub fn random_token() -> io::Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(optee: Option<&str>) -> Sight {
        Sight {
            kernel: "6.12.1".to_owned(),
            optee: optee.map(str::to_owned),
        }
    }

    #[test]
    fn a_start_says_what_the_guest_sees() {
        assert_eq!(
            Marker::parse("@@abc start kernel=6.12.1 optee=4.5", "abc"),
            Some(Marker::Start(sight(Some("4.5"))))
        );
        assert!(is_start("@@abc start kernel=6.12.1 optee=4.5"));
        assert!(!is_start(
            "@@abc exit=0 seconds=1.0 kernel=6.12.1 optee=4.5"
        ));
        assert!(!is_start("abc start kernel=6.12.1 optee=4.5"));
        assert_eq!(
            Marker::parse("@@abc start kernel=6.12.1 optee=none", "abc"),
            Some(Marker::Start(sight(None)))
        );
    }

    #[test]
    fn an_exit_has_the_status_and_the_seconds() {
        assert_eq!(
            Marker::parse("@@abc exit=7 seconds=1.25 kernel=6.12.1 optee=4.5", "abc"),
            Some(Marker::Exit {
                status: 7,
                seconds: 1.25,
                sight: sight(Some("4.5")),
                failed: None,
            })
        );
    }

    #[test]
    fn a_job_that_could_not_be_run_says_why() {
        let line = "@@abc exit=125 seconds=0.00 kernel=6.12.1 optee=none failed=tee: no /dev/tee0";
        assert_eq!(
            Marker::parse(line, "abc"),
            Some(Marker::Exit {
                status: 125,
                seconds: 0.0,
                sight: sight(None),
                failed: Some("tee: no /dev/tee0".to_owned()),
            })
        );
    }

    #[test]
    fn another_token_or_form_is_no_marker() {
        for line in [
            "@@abd exit=0 seconds=1.00 kernel=6.12.1 optee=4.5",
            "@@abcd exit=0 seconds=1.00 kernel=6.12.1 optee=4.5",
            "@@ exit=0 seconds=1.00 kernel=6.12.1 optee=4.5",
            " @@abc exit=0 seconds=1.00 kernel=6.12.1 optee=4.5",
            "@@abc exit=x seconds=1.00 kernel=6.12.1 optee=4.5",
            "@@abc exit=0 kernel=6.12.1 optee=4.5",
            "@@abc exit=0 seconds=1.00",
            "@@abc",
            "",
        ] {
            assert_eq!(Marker::parse(line, "abc"), None, "{line}");
        }
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(random_token().unwrap(), random_token().unwrap());
    }
}
