//! A machine that runs, reached from another terminal.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use end_to_end::Scenario;
use qemu::commands::running::{self, Ending};
use qemu::run::operator::Heard;
use qemu::run::socket;

/// For a start of Debian's kernel.
const LIMIT: Duration = Duration::from_secs(120);

/// Two guests with a shell each.
const MACHINE: &str = r#"
    [machine]
    cpus = 2
    memory = "1GiB"
    mediators = []

    [[guest]]
    name = "vm1"
    memory = "256MiB"
    cpus = [0]
    tee = "none"

    [[guest]]
    name = "vm2"
    memory = "256MiB"
    cpus = [1]
    tee = "none"
"#;

#[test]
fn another_terminal_lists_attaches_restarts_and_destroys_guests() {
    let mut scenario = Scenario::described(MACHINE).may_restart("vm2");
    scenario.options.overrides.shells = true;
    let folder = scenario.options.logs.clone().expect("a scenario has logs");
    let (outcome, typed) = scenario.attend(|mut operator| {
        let mut started = 0;
        while started < 2 {
            if let Heard::Line(said) = operator.hear(LIMIT)? {
                started += usize::from(said.text.contains("start kernel="));
            }
        }
        let list = running::ask(&folder, "list")?;
        anyhow::ensure!(
            list.len() == 2 && list.iter().all(|line| line.contains(": running")),
            "{list:?}"
        );

        // One terminal at a time.
        let (guests, first) = socket::connect(&folder)?;
        anyhow::ensure!(guests == ["vm1", "vm2"], "{guests:?}");
        let refusal =
            running::ask(&folder, "list").map_or_else(|error| error.to_string(), |_| String::new());
        anyhow::ensure!(refusal.contains("another terminal"), "{refusal}");
        drop(first);

        // What is typed goes to the guest, and Control-] leads back.
        let (mut keys, input) = UnixStream::pair()?;
        keys.write_all(b"echo $((6 * 7))-typed\r")?;
        let typist = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(3));
            keys.write_all(b"\x1d")
        });
        let mut shown = Vec::new();
        running::attach(&folder, "vm1", input, &mut shown)?;
        typist.join().expect("the typist is done")?;

        let unknown = running::end(&folder, "vm9", Ending::Destroy);
        anyhow::ensure!(
            unknown.is_err_and(|error| error.to_string().contains("no such guest")),
            "there is no vm9"
        );
        running::end(&folder, "vm2", Ending::Restart)?;
        let gone = running::end(&folder, "vm1", Ending::Destroy)?;
        anyhow::ensure!(gone == "vm1: off", "{gone}");
        // Until it has started again.
        while !running::ask(&folder, "list")?
            .iter()
            .any(|line| line.starts_with("vm2: running"))
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        running::end(&folder, "vm2", Ending::Destroy)?;
        Ok(String::from_utf8_lossy(&shown).into_owned())
    });
    outcome.assert(
        typed.contains("42-typed"),
        &format!("the guest did what was typed: {typed:?}"),
    );
    let after = socket::connect(&outcome.report.logs);
    assert!(after.is_err(), "a machine that is off is reached by nobody");
}
