//! What came of a run, for people and for programs (docs/configuration.md, "The JSON report").

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::base::table::{Last, table};
use crate::description::{Description, Work};
use crate::parts::versions::Versions;
use crate::run::outcome::{GuestTrace, RunResult};

/// Columns of a job in the table.
const JOB_WIDTH: usize = 48;

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What came of it all.
    #[serde(serialize_with = "result_name")]
    pub result: RunResult,
    /// The result in a sentence.
    pub summary: String,
    /// What the run took from QEMU's start to its end, by the host's clock.
    pub seconds: f64,
    /// The guests, in the order of the description.
    pub guests: Vec<GuestReport>,
    /// What the machine was.
    pub machine: MachineReport,
    /// What it was made of.
    pub versions: Versions,
    /// What the hypervisor warned of that is about no single guest.
    pub warnings: Vec<String>,
    /// The folder of the logs.
    pub logs: PathBuf,
    /// The last line seen on each console that is no guest's, by its name.
    pub last_seen: Vec<LastSeen>,
}

/// One guest.
#[derive(Debug, Serialize)]
pub struct GuestReport {
    /// Its name.
    pub name: String,
    /// `passed`, or what went wrong.
    pub result: String,
    /// Whether it passed.
    pub passed: bool,
    /// The exit status of its job; null if there is none, or it did not end.
    pub exit_status: Option<i32>,
    /// What its job took by the host's clock; for a guest without a job, from its start until it
    /// powered off.
    pub seconds: Option<f64>,
    /// What its job took by the guest's own clock.
    pub guest_seconds: Option<f64>,
    /// When its job started, in seconds since 1970 by the host's clock.
    pub started: Option<f64>,
    /// When its job ended, likewise.
    pub ended: Option<f64>,
    /// Its console.
    pub log: PathBuf,
    /// The release of its kernel.
    pub kernel: Option<String>,
    /// The revision of OP-TEE that it saw.
    pub optee: Option<String>,
    /// What it ran; null for an initramfs of the user's own.
    pub job: Option<String>,
    /// How often it reset itself.
    pub resets: u32,
    /// The last line on its console.
    pub last_line: String,
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct MachineReport {
    /// The machine description.
    pub config: PathBuf,
    /// The CPU model.
    pub cpu: String,
    /// Physical CPUs.
    pub cpus: u32,
    /// Physical memory in bytes.
    pub memory: u64,
    /// Whether instructions were counted instead of time.
    pub icount: bool,
}

/// The last line of a console.
#[derive(Clone, Debug, Serialize)]
pub struct LastSeen {
    /// The console.
    pub console: String,
    /// The line.
    pub line: String,
}

fn result_name<S: Serializer>(result: &RunResult, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(result.name())
}

impl GuestReport {
    /// From what the guest showed in a run that began at `origin`.
    pub(crate) fn new(trace: &GuestTrace, work: &Work, log: PathBuf, origin: SystemTime) -> Self {
        let unix = |at: Option<Duration>| {
            let since = (origin + at?).duration_since(UNIX_EPOCH).ok()?;
            Some(since.as_secs_f64())
        };
        let verdict = trace.verdict();
        Self {
            name: trace.name.clone(),
            result: verdict.text(),
            passed: trace.passed(),
            exit_status: trace.exit_status,
            seconds: trace.seconds(),
            guest_seconds: trace.guest_seconds,
            started: unix(trace.started),
            ended: unix(trace.ended),
            log,
            kernel: Some(trace.sight.kernel.clone()).filter(|kernel| !kernel.is_empty()),
            optee: trace.sight.optee.clone(),
            job: match work {
                Work::Job(command) => Some(command.clone()),
                Work::Shell => Some("a shell".to_owned()),
                Work::OwnInitramfs => None,
                Work::Payload(name) => Some(name.clone()),
            },
            resets: trace.resets,
            last_line: trace.last_line.clone(),
        }
    }
}

impl MachineReport {
    /// From the description.
    pub(crate) fn new(description: &Description) -> Self {
        let machine = &description.machine;
        Self {
            config: description.file.clone(),
            cpu: machine.cpu.clone(),
            cpus: machine.cpus,
            memory: machine.memory.to_bytes(),
            icount: machine.icount,
        }
    }
}

impl Report {
    /// The report of the guest of that name.
    pub fn guest(&self, name: &str) -> Option<&GuestReport> {
        self.guests.iter().find(|guest| guest.name == name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows =
            vec![["guest", "kernel", "OP-TEE", "ran", "result", "seconds"].map(str::to_owned)];
        for guest in &self.guests {
            rows.push([
                guest.name.clone(),
                guest.kernel.clone().unwrap_or_else(|| "-".to_owned()),
                guest.optee.clone().unwrap_or_else(|| "none".to_owned()),
                cut(guest.job.as_deref().unwrap_or("its own initramfs")),
                guest.result.clone(),
                guest
                    .seconds
                    .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}")),
            ]);
        }
        table(formatter, &rows, Last::Number)?;
        writeln!(formatter)?;
        for warning in &self.warnings {
            writeln!(formatter, "warning: {warning}")?;
        }
        self.last_lines(formatter)?;
        writeln!(
            formatter,
            "{} ({:.1} s; logs in {})",
            self.summary,
            self.seconds,
            self.logs.display()
        )
    }
}

impl Report {
    /// Where to look first after a failure: at the guests if they are to blame, else at everything.
    fn last_lines(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = match self.result {
            RunResult::Passed => return Ok(()),
            RunResult::GuestFailed => false,
            _ => true,
        };
        let consoles = self
            .last_seen
            .iter()
            .filter(|_| all)
            .map(|seen| (&seen.console, &seen.line));
        let guests = self
            .guests
            .iter()
            .filter(|guest| all || !guest.passed)
            .map(|guest| (&guest.name, &guest.last_line));
        writeln!(formatter, "last seen:")?;
        for (console, line) in consoles.chain(guests) {
            let line = if line.is_empty() { "(nothing)" } else { line };
            writeln!(formatter, "  {console}: {line}")?;
        }
        writeln!(formatter)
    }
}

/// A job in one line that is not too long for a table.
fn cut(job: &str) -> String {
    let line = job.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= JOB_WIDTH {
        return line;
    }
    let start: String = line.chars().take(JOB_WIDTH - 3).collect();
    format!("{start}...")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::base::json::write_json;
    use crate::parts::versions::{OpteeVersion, PackageVersion};

    fn guest(name: &str, exit_status: Option<i32>) -> GuestReport {
        let trace = GuestTrace {
            name: name.to_owned(),
            token: Some("abc".to_owned()),
            started: Some(Duration::from_secs(3)),
            ended: exit_status.map(|_| Duration::from_millis(15_500)),
            exit_status,
            off: exit_status.is_some(),
            last_line: "the last line".to_owned(),
            ..GuestTrace::default()
        };
        let work = Work::Job("xtest 1001".to_owned());
        let origin = UNIX_EPOCH + Duration::from_secs(1000);
        GuestReport::new(
            &trace,
            &work,
            PathBuf::from(format!("logs/{name}.log")),
            origin,
        )
    }

    impl GuestReport {
        /// For tests of what is made of reports.
        pub(crate) fn of_test(name: &str, passed: bool) -> Self {
            guest(name, Some(if passed { 0 } else { 7 }))
        }
    }

    fn report(result: RunResult, guests: Vec<GuestReport>) -> Report {
        Report {
            summary: result.text(),
            result,
            seconds: 20.25,
            guests,
            machine: MachineReport {
                config: PathBuf::from("m.toml"),
                cpu: "cortex-a57".to_owned(),
                cpus: 2,
                memory: 2 << 30,
                icount: false,
            },
            versions: Versions {
                bulkhead: "0.1.0".to_owned(),
                qemu: "7.2.22".to_owned(),
                optee: Some(OpteeVersion {
                    from: "source",
                    version: Some("4.10.0".to_owned()),
                    options: vec!["CFG_VIRT_GUEST_COUNT=4".to_owned()],
                }),
                packages: vec![PackageVersion {
                    name: "optee-os".to_owned(),
                    version: "4.5.0-2".to_owned(),
                    architecture: "arm64".to_owned(),
                    sha256: "00".to_owned(),
                }],
            },
            warnings: Vec::new(),
            logs: PathBuf::from("logs"),
            last_seen: vec![LastSeen {
                console: "bulkhead".to_owned(),
                line: "vm1: off".to_owned(),
            }],
        }
    }

    #[test]
    fn json_has_what_programs_ask_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let report = report(
            RunResult::GuestFailed,
            vec![guest("vm1", Some(7)), guest("vm2", None)],
        );
        write_json(&report, &path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["result"], "guest-failed");
        assert_eq!(json["machine"]["cpus"], 2);
        assert_eq!(json["versions"]["packages"][0]["name"], "optee-os");
        let optee = &json["versions"]["optee"];
        assert_eq!(optee["from"], "source");
        assert_eq!(optee["version"], "4.10.0");
        assert_eq!(optee["options"][0], "CFG_VIRT_GUEST_COUNT=4");
        let vm1 = &json["guests"][0];
        assert_eq!(vm1["name"], "vm1");
        assert_eq!(vm1["exit_status"], 7);
        assert_eq!(vm1["seconds"], 12.5);
        assert_eq!(vm1["started"], 1003.0);
        assert_eq!(vm1["ended"], 1015.5);
        assert_eq!(vm1["log"], "logs/vm1.log");
        assert_eq!(vm1["job"], "xtest 1001");
        assert!(vm1["optee"].is_null());
        let vm2 = &json["guests"][1];
        assert!(vm2["exit_status"].is_null());
        assert!(vm2["seconds"].is_null());
        assert_eq!(vm2["passed"], false);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_table_says_which_guest_failed_and_how() {
        let text = report(
            RunResult::GuestFailed,
            vec![guest("vm1", Some(7)), guest("vm2", Some(0))],
        )
        .to_string();
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row("vm1").contains("exit status 7"), "{text}");
        assert!(row("vm2").contains("passed"), "{text}");
        assert!(row("vm2").ends_with("12.5"), "{text}");
        assert!(text.contains("  vm1: the last line"), "{text}");
        assert!(!text.contains("  vm2: the last line"), "{text}");
        assert!(!text.contains("  bulkhead: vm1: off"), "{text}");
        assert!(text.contains("not every guest did its job"), "{text}");
    }

    #[test]
    fn a_failure_of_the_machine_shows_every_console() {
        let text = report(RunResult::Interrupted, vec![guest("vm1", Some(0))]).to_string();
        assert!(text.contains("  vm1: the last line"), "{text}");
        assert!(text.contains("  bulkhead: vm1: off"), "{text}");
    }

    #[test]
    fn a_success_needs_no_last_lines() {
        let text = report(RunResult::Passed, vec![guest("vm1", Some(0))]).to_string();
        assert!(!text.contains("last seen"), "{text}");
    }

    #[test]
    fn a_long_job_is_cut_to_one_line() {
        assert_eq!(cut("a\n  b"), "a b");
        let long = cut(&"é".repeat(100));
        assert_eq!(long.chars().count(), JOB_WIDTH);
        assert!(long.ends_with("..."));
    }
}
