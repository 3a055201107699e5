//! Disks and networks of guests.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::{Outcome, Scenario};
use qemu::base::progress::Progress;
use qemu::parts::workloads;
use qemu::run::operator::Operator;
use tempfile::TempDir;

/// For what takes a moment.
const LIMIT: Duration = Duration::from_secs(120);

/// Where tee-supplicant keeps what OP-TEE stores.
const STORAGE: &str = "/var/lib/optee-client/data/tee";

/// A guest's program.
fn program(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    workloads::overlay(&[name], folder.path(), &Progress::silent()).expect("the program is built");
    folder
}

/// Two guests with a CPU each; what follows their tables is `vm1` and `vm2`.
fn machine(vm1: &str, vm2: &str) -> String {
    let guest = |number: u32, more: &str| {
        let cpu = number - 1;
        format!("[[guest]]\nname = \"vm{number}\"\nmemory = \"512MiB\"\ncpus = [{cpu}]\n{more}\n")
    };
    let (vm1, vm2) = (guest(1, vm1), guest(2, vm2));
    format!("[machine]\ncpus = 2\nmemory = \"2GiB\"\n{vm1}{vm2}")
}

/// A disk for OP-TEE's storage.
fn storage(image: &Path) -> String {
    format!(
        "[[guest.disk]]\nimage = {:?}\nsize = \"32MiB\"\nmount = {STORAGE:?}\n",
        image.display()
    )
}

/// That the file system in an image needs no repair.
fn is_clean(image: &Path) -> bool {
    let check = Command::new("e2fsck").arg("-fn").arg(image).output();
    check.expect("e2fsck is there").status.success()
}

#[test]
fn a_key_that_was_made_in_one_run_signs_in_the_next_one() {
    let images = tempfile::tempdir().expect("a temporary folder can be made");
    let image = |name: &str| images.path().join(name);
    let program = program("kept-key");
    let run = || {
        let text = machine(&storage(&image("1")), &storage(&image("2")));
        let outcome = Scenario::described(&text)
            .overlay("vm1", program.path())
            .overlay("vm2", program.path())
            .exec("vm1", "kept-key")
            .exec("vm2", "xtest 6001 && kept-key")
            .run();
        outcome.assert_passed();
        outcome
    };
    let said = |outcome: &Outcome, what: &str| {
        for guest in ["vm1", "vm2"] {
            let line = format!("@@key {what}");
            outcome.assert(
                outcome.log(guest).contains(&line),
                &format!("{guest} says {line}"),
            );
        }
    };
    said(&run(), "made");
    said(&run(), "found");
    for name in ["1", "2"] {
        assert!(is_clean(&image(name)), "the disk {name} needs no repair");
    }
}

/// A port of the host that nobody listens at.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports");
    let address = listener.local_addr().expect("it has an address");
    address.port()
}

/// What a web server at a port of the host says.
fn page(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

#[test]
fn guests_reach_what_their_networks_lead_to_and_nothing_else() {
    let port = free_port();
    let forbidden = TcpListener::bind("0.0.0.0:0").expect("there are ports");
    forbidden.set_nonblocking(true).expect("it need not wait");
    let forbidden_port = forbidden.local_addr().expect("it has an address").port();
    let segment = |address: &str| {
        format!("[[guest.network]]\nsegment = \"lan\"\naddress = \"{address}/24\"\n")
    };
    let vm1 = format!(
        "[[guest.network]]\nforward = [\"{port}:80\"]\n{}",
        segment("10.9.0.1")
    );
    let serves = format!(
        "echo a page of vm1 >/root/page; httpd -p 80 -h /root; echo @@serves; \
         wget -q -T 5 -O - http://10.0.2.2:{forbidden_port}/ && exit 1; read -r -t 120 told"
    );
    // 10.0.2.2 is the host in networks of the other kind.
    let asks = "until wget -q -T 5 -O - http://10.9.0.1/page; do sleep 1; done | grep vm1 && \
                ping -c 3 10.9.0.1 && ! ping -c 1 -W 2 10.0.2.2";
    let scenario = Scenario::described(&machine(&vm1, &segment("10.9.0.2")))
        .exec("vm1", &serves)
        .exec("vm2", asks);
    let (outcome, said) = scenario.attend(|mut operator| {
        operator.wait_for("vm1", LIMIT, |line| line == "@@serves")?;
        let said = page(port)?;
        operator.wait_for("bulkhead", LIMIT, |line| line == "vm2: off")?;
        operator.tell("vm1", b"enough\r")?;
        Ok(said)
    });
    outcome.assert_passed();
    outcome.assert(
        said.contains("a page of vm1"),
        &format!("the host reads vm1's page: {said:?}"),
    );
    let reached = forbidden.accept().is_ok();
    outcome.assert(!reached, "no guest reaches the host");
}

/// Names how often a guest with devices is restarted.
const RESTARTS: &str = "RESTARTS";

/// How often it is otherwise.
const RESTARTS_USUALLY: u32 = 4;

/// For a start of Debian's kernel, on a host that has other things to do, too.
const SECONDS_A_RESTART: u64 = 30;

/// Tells what the disk held, adds to it, and keeps disk and network busy.
const LIFE: &str = "cd /data; lives=$(cat lives 2>/dev/null); echo \"@@found ${lives:-0}\"; \
                    echo $((lives + 1)) >lives; sync; echo \"@@synced $((lives + 1))\"; \
                    ping -i 0.05 10.9.0.2 >/dev/null & \
                    while :; do dd if=/dev/urandom of=junk bs=64k count=64 2>/dev/null; sync; rm junk; done";

/// Uses a disk of its own and the TEE until it is told that it is enough.
const BESIDE: &str = "while :; do xtest 1004 6001 || exit 1; dd if=/dev/urandom of=/data/file bs=64k count=16 2>/dev/null; \
                      sync; md5sum /data/file >/data/sum; md5sum -c -s /data/sum || exit 1; \
                      read -r -t 1 what && exit 0; done";

fn said_number(operator: &mut Operator, what: &str) -> Result<u32> {
    let line = operator.wait_for("vm1", LIMIT, |line| line.starts_with(what))?;
    let number = line
        .strip_prefix(what)
        .and_then(|rest| rest.trim().parse().ok());
    number.with_context(|| line.clone())
}

#[test]
fn a_guest_that_is_restarted_while_its_devices_are_busy_loses_nothing_and_disturbs_nobody() {
    let named = std::env::var(RESTARTS).map(|restarts| restarts.parse());
    let restarts: u32 = named.map_or(RESTARTS_USUALLY, |restarts| {
        restarts.expect("RESTARTS is a number")
    });
    let images = tempfile::tempdir().expect("a temporary folder can be made");
    let devices = |number: u32| {
        let image = images.path().join(number.to_string());
        format!(
            "[[guest.disk]]\nimage = {:?}\nsize = \"64MiB\"\nmount = \"/data\"\n\
             [[guest.network]]\nsegment = \"lan\"\naddress = \"10.9.0.{number}/24\"\n",
            image.display()
        )
    };
    let scenario = Scenario::described(&machine(&devices(1), &devices(2)))
        .exec("vm1", LIFE)
        .exec("vm2", BESIDE)
        .may_restart("vm1")
        .timeout(60 + u64::from(restarts) * SECONDS_A_RESTART);
    let (outcome, ()) = scenario.attend(|mut operator| {
        for life in 0..=restarts {
            let found = said_number(&mut operator, "@@found ")?;
            ensure!(found == life, "in life {life} the disk holds {found}");
            said_number(&mut operator, "@@synced ")?;
            if life == 0 {
                operator.wait_for("vm2", LIMIT, |line| line.contains("regression_6001 OK"))?;
            }
            std::thread::sleep(Duration::from_millis(u64::from(life) * 37 % 400));
            if life < restarts {
                operator.command("restart vm1")?;
            }
        }
        operator.ask("destroy vm1", LIMIT, |line| line == "vm1: off")?;
        operator.tell("vm2", b"enough\r")
    });
    outcome.assert(outcome.guest("vm2").resets == 0, "vm2 goes on");
    let log = outcome.log("bulkhead");
    outcome.assert(
        !log.contains("held up"),
        "no device reached beyond its guest",
    );
    outcome.assert(
        outcome.log("vm2").contains("regression_6001 OK"),
        "xtest passes in vm2",
    );
    assert!(
        is_clean(&images.path().join("2")),
        "vm2's disk needs no repair"
    );
}
