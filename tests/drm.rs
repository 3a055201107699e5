//! DRM playback on the real stack.

use std::path::Path;

use end_to_end::Scenario;
use qemu::base::progress::Progress;
use qemu::commands::drm::{self, DrmOptions};

#[test]
fn samples_are_decrypted_and_flaws_refused() {
    let overlay = tempfile::tempdir().expect("a temporary folder can be made");
    drm::overlay(overlay.path(), &Progress::silent()).expect("player and application are built");
    let outcome = Scenario::of("one-guest.toml")
        .overlay("vm1", overlay.path())
        .exec(
            "vm1",
            "drm-playback trials && drm-playback play 1 1080p30 2160p60+per-frame",
        )
        .timeout(300)
        .run();
    let log = outcome.log("vm1");
    for failure in log
        .lines()
        .filter(|line| line.starts_with("drm trial failed") || line.starts_with("drm error"))
    {
        eprintln!("{failure}");
    }
    outcome.assert_passed();
    let passed = log
        .lines()
        .filter(|line| line.starts_with("drm trial passed"));
    outcome.assert(passed.count() > 20, "the trials were made");
    let played: Vec<_> = log
        .lines()
        .filter(|line| line.starts_with("drm result"))
        .collect();
    outcome.assert(
        played.len() == 2
            && played
                .iter()
                .all(|line| line.contains(" wrong=0 errors=0 ")),
        "both streams were played, and every frame came out right",
    );
}

#[test]
fn two_guests_play_at_the_same_time() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../qemu/configs");
    let mut options = DrmOptions::new(configs.join("two-guests.toml"));
    options.seconds = 2;
    options.titles = vec!["1080p30".to_owned(), "2160p60+per-frame".to_owned()];
    options.machine.logs = Some(folder.path().join("logs"));
    let report = drm::run(&options, &Progress::silent()).expect("the machine can be run");
    eprintln!("{report}");
    assert!(report.passed, "every frame came out right in both guests");
    assert_eq!(report.guests.len(), 2);
    for guest in &report.guests {
        let [reused, per_frame] = guest.streams.as_slice() else {
            panic!("{} played two streams", guest.name);
        };
        // Interrupts that OP-TEE sees add returns to it, the more the slower the host is.
        for (stream, calls) in [(reused, 1.0), (per_frame, 3.0)] {
            let smcs = stream.smcs_per_frame.expect("SMCs are counted");
            assert!((calls..calls + 10.0).contains(&smcs), "{stream:?}");
            let rpcs = stream.rpcs_per_frame.expect("RPCs are counted");
            assert!(rpcs < 0.1, "a frame needs none: {stream:?}");
        }
    }
}
