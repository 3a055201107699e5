//! A person types at a guest's console.

use std::fs::{File, OpenOptions};
use std::io::{Write as _, pipe};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qemu::base::interrupt::Interrupt;
use qemu::base::progress::Progress;
use qemu::commands::shell::{self, Ended, ShellOptions};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

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

/// A shell of the guest with OP-TEE beside the one without.
fn options(logs: &Path) -> ShellOptions {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../qemu/configs/no-tee.toml");
    let mut options = ShellOptions::new(config, "vm1");
    options.machine.logs = Some(logs.to_owned());
    options
}

/// Types `keys` at a shell.
fn shell(keys: &str) -> (Ended, String) {
    let logs = tempfile::tempdir().expect("a temporary folder can be made");
    let options = options(logs.path());
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

/// A terminal of this many rows and columns: the end where a person types, and the program's.
fn terminal(rows: u16, columns: u16) -> (File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be made");
    grantpt(&person).expect("it is ours");
    unlockpt(&person).expect("it is ours");
    let name = ptsname(&person, Vec::new()).expect("it has a name");
    let name = name.to_str().expect("the name is text");
    let program = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OpenptFlags::NOCTTY.bits().cast_signed())
        .open(name);
    let program = program.expect("the other end can be opened");
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&program, size).expect("a terminal has a size");
    (File::from(person), program)
}

/// Waits until `text` is on the screen.
fn see(screen: &Screen, text: &str) {
    let end = Instant::now() + Duration::from_secs(120);
    while !screen.text().contains(text) {
        assert!(Instant::now() < end, "{text} is not in:\n{}", screen.text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends a run when it is dropped, so that a test that fails does not wait for it.
struct Dismissal(Interrupt);

impl Drop for Dismissal {
    fn drop(&mut self) {
        self.0.request();
    }
}

#[test]
fn at_a_terminal_every_key_goes_to_the_guest() {
    let logs = tempfile::tempdir().expect("a temporary folder can be made");
    let options = options(logs.path());
    let (mut person, program) = terminal(33, 99);
    let before = tcgetattr(&program).expect("it is a terminal").local_modes;
    let screen = Screen::default();
    let ended = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let input = program.try_clone().expect("a terminal can have two users");
            shell::run(&options, &Progress::silent(), input, screen.clone())
        });
        let _dismissal = Dismissal(options.machine.interrupt.clone());
        let mut keys = |keys: &str| {
            let typed = person.write_all(keys.as_bytes());
            typed.expect("it can be typed at");
        };
        keys("stty size; echo waiting-$((6 * 7)); sleep 1000\r");
        see(&screen, "\n33 99");
        see(&screen, "waiting-42");
        let raw = tcgetattr(&program).expect("it is a terminal").local_modes;
        assert!(!raw.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        // Control-C is for what runs in the guest. The sleep may have to start yet.
        std::thread::sleep(Duration::from_secs(3));
        keys("\x03");
        keys("echo status-$?\r");
        see(&screen, "status-130");
        keys("exit\r");
        run.join().expect("no thread panicked")
    });
    let text = screen.text();
    assert_eq!(ended.expect("the machine can be run"), Ended::Off, "{text}");
    let after = tcgetattr(&program).expect("it is a terminal").local_modes;
    assert_eq!(after, before);
}
