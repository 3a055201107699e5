//! What users bring themselves: programs, an initramfs, and programs that never end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use end_to_end::Scenario;
use qemu::base::progress::Progress;
use qemu::parts::cache::Cache;
use qemu::parts::initramfs::archive;
use qemu::parts::initramfs::tree::{Node, Tree};
use qemu::parts::packages::debian_parts;
use qemu::run::outcome::RunResult;

fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a program lies in a folder")).expect("writable");
    fs::write(&path, text).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("writable");
}

/// Writes an initramfs as a user might: Debian's programs with a first process of the user's own.
fn own_initramfs(path: &Path) {
    let cache = Cache::from_environment().expect("the cache can be used");
    let debian = debian_parts(&cache, &Progress::silent()).expect("Debian's parts can be had");
    let mut own = Tree::new();
    let init = Node::File {
        mode: 0o755,
        content: b"#!/bin/busybox sh\necho \"my own init\"\n/bin/busybox poweroff -f\n".to_vec(),
    };
    own.insert("init", init).expect("a new tree takes any file");
    let mut bytes = fs::read(debian.base_initramfs).expect("the cache can be read");
    archive::write(&own, &mut bytes).expect("memory can be written");
    fs::write(path, bytes).expect("writable");
}

#[test]
fn the_exit_status_of_a_program_from_an_overlay_comes_out() {
    let overlay = tempfile::tempdir().expect("a temporary folder can be made");
    program(
        overlay.path(),
        "opt/mine/seven",
        "#!/bin/sh\necho \"seven in $(hostname)\"\ntest -e /dev/tee0 || exit 1\nexit 7\n",
    );
    let outcome = Scenario::of("no-tee.toml")
        .overlay("vm1", overlay.path())
        .exec("vm1", "/opt/mine/seven")
        .exec("vm2", "test ! -e /opt/mine")
        .run();
    let (vm1, vm2) = (outcome.guest("vm1"), outcome.guest("vm2"));
    outcome.assert(vm1.exit_status == Some(7), "the status of vm1 is 7");
    outcome.assert(
        vm2.exit_status == Some(0),
        "vm2 has nothing of vm1's overlay",
    );
    assert_eq!(outcome.report.result, RunResult::GuestFailed);
    assert_eq!(outcome.report.result.exit_status(), 1);
    outcome.assert(
        outcome.log("vm1").contains("seven in vm1"),
        "what the program prints is in the guest's log",
    );
}

#[test]
fn an_initramfs_of_the_user_s_own_is_used_as_it_is() {
    let scenario = Scenario::described(
        "[machine]\ncpus = 1\nmemory = \"1GiB\"\n\
         [[guest]]\nname = \"mine\"\nmemory = \"256MiB\"\ninitramfs = \"mine.cpio\"\ntee = \"none\"\n",
    );
    own_initramfs(&scenario.path("mine.cpio"));
    let outcome = scenario.run();
    outcome.assert_passed();
    let mine = outcome.guest("mine");
    assert_eq!(mine.job, None);
    assert_eq!(mine.exit_status, None);
    outcome.assert(
        outcome.log("mine").contains("my own init"),
        "the user's own init ran",
    );
}

#[test]
fn a_job_that_never_ends_meets_the_time_limit() {
    let outcome = Scenario::described(
        "[machine]\ncpus = 1\nmemory = \"1GiB\"\n\
         [[guest]]\nname = \"sleeper\"\nmemory = \"256MiB\"\ntee = \"none\"\n\
         job = \"echo going to sleep; sleep 1000\"\n",
    )
    .timeout(30)
    .run();
    let sleeper = outcome.guest("sleeper");
    assert!(!sleeper.passed);
    assert_eq!(sleeper.exit_status, None);
    assert_eq!(outcome.report.result.exit_status(), 3);
    outcome.assert(
        sleeper.last_line == "going to sleep",
        "the report has the last line that was seen",
    );
}
