//! A person types at a guest's console.

use std::io::{Write as _, pipe};
use std::path::Path;
use std::sync::{Arc, Mutex};

use qemu::progress::Progress;
use qemu::shell::{self, Ended, ShellOptions};

/// What a person sees.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panicked")).into_owned()
    }
}

impl std::io::Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panicked").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Types `keys` at a shell of the guest with OP-TEE beside the one without.
fn shell(keys: &str) -> (Ended, String) {
    let logs = tempfile::tempdir().expect("a temporary folder can be made");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../qemu/configs/no-tee.toml");
    let mut options = ShellOptions::new(config, "vm1");
    options.logs = Some(logs.path().to_owned());
    let screen = Screen::default();
    let (input, mut keyboard) = pipe().expect("a pipe can be made");
    keyboard
        .write_all(keys.as_bytes())
        .expect("a pipe takes a line");
    drop(keyboard);
    let ended = shell::run(&options, &Progress::silent(), input, screen.clone());
    let text = screen.text();
    eprintln!("{text}");
    (ended.expect("the machine can be run"), text)
}

#[test]
fn what_is_typed_runs_in_the_guest_and_its_text_alone_is_shown() {
    let (ended, text) = shell("echo $((6 * 7)) in $(hostname); ls /dev/tee0; exit\r");
    assert_eq!(ended, Ended::Off);
    assert!(text.contains("42 in vm1"), "{text}");
    assert!(text.contains("\n/dev/tee0"), "{text}");
    for other in ["vm1|", "vm2", "bulkhead|", "hypervisor", "NOTICE"] {
        assert!(!text.contains(other), "{other} is in:\n{text}");
    }
}

#[test]
fn control_bracket_ends_it() {
    let (ended, _) = shell("\x1d");
    assert_eq!(ended, Ended::Left);
}
