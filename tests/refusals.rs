//! What only QEMU knows to be wrong is refused like the rest of a description, before anything is
//! built.

use std::path::PathBuf;

use qemu::base::progress::Progress;
use qemu::run::{self, RunError, RunOptions};

#[test]
fn a_cpu_model_that_makes_no_machine_is_refused() {
    let config = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../qemu/configs/two-guests.toml");
    for model in ["no-such-model", "cortex-m3"] {
        let logs = tempfile::tempdir().unwrap();
        let mut options = RunOptions::new(&config);
        options.overrides.cpu = Some(model.to_owned());
        options.logs = Some(logs.path().to_owned());
        match run::run(&options, &Progress::silent()) {
            Err(RunError::Config(error)) => {
                assert_eq!(error.place, "machine: cpu");
                assert!(error.problem.contains(model), "{error}");
            }
            other => panic!("{model}: {other:?}"),
        }
        let made = logs.path().join("machine/hypervisor.bin");
        assert!(!made.exists(), "{model}: a hypervisor was built");
    }
}
