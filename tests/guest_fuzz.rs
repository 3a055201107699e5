//! A guest that does at random what a guest can do holds up no neighbour. `make guest-fuzz` does
//! the same for as long as one likes.

use qemu::base::progress::Progress;
use qemu::commands::guest_fuzz::{self, GuestFuzzOptions};

/// Seconds on both machines together.
const SECONDS: u64 = 40;

#[test]
fn a_neighbour_of_a_guest_that_does_anything_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut options = GuestFuzzOptions::new();
    options.seconds = SECONDS;
    options.suite.logs = folder.path().to_owned();
    let report = guest_fuzz::run(&options, &Progress::silent()).expect("the machines can be run");
    eprintln!("{report}");
    assert!(report.passed(), "the witness and the machines went on");
    for machine in &report.machines {
        for (kind, count) in &machine.executions {
            assert!(
                *count > 0 || kind == "stray",
                "{}: {kind} is done",
                machine.machine
            );
        }
        assert!(machine.executions.len() > 10, "{machine:?}");
    }
}
