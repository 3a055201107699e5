//! DRM playback on the real stack.

use end_to_end::Scenario;
use qemu::drm;
use qemu::progress::Progress;

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
