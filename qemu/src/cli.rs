//! The command line.

mod shared;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{drm, guest_fuzz};
use crate::description::{GuestCommand, GuestForward, Overlay, Overrides};
use crate::run::logs_of;

pub use shared::{MachineArguments, SuiteArguments, set};
use shared::{guest_command, guest_forward, overlay, seconds, stream};

/// Runs several unmodified Linux guests on the Bulkhead hypervisor under QEMU, with one real OP-TEE
/// between them.
///
/// Exit status: 0 when every guest did its job, with status 0, and powered off; 1 when a guest
/// failed; 2 when the command line or the machine description is refused; 3 when the time limit was
/// reached; 4 when the firmware, the hypervisor or QEMU failed; 5 when a part can't be downloaded
/// or built; 130 when interrupted.
#[derive(Debug, Parser)]
#[command(name = "qemu", version, bin_name = "cargo run --release -p qemu --")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a machine to its end and say what came of each guest.
    Run(RunArguments),
    /// Download and build Debian's part of a machine, so that later runs need no network.
    Fetch(FetchArguments),
    /// Check a machine description and say what it describes; nothing is downloaded or booted.
    Check(CheckArguments),
    /// Run the conformance kit: what guests are owed when they issue SMCs and HVCs, case by case.
    Conformance(SuiteArguments),
    /// Have a guest do at random what a guest can do, beside a witness that must go on.
    GuestFuzz(GuestFuzzArguments),
    /// Attack OP-TEE from a guest, each trial with the answer that it must get, beside a guest that
    /// goes on.
    Hostile(SuiteArguments),
    /// Run the whole of xtest in every guest with a TEE, at the same time.
    Xtest(XtestArguments),
    /// Play protected streams in every guest with a TEE, at the same time.
    Drm(DrmArguments),
    /// Measure what calls to the TEE cost: without a hypervisor, on the floor and on the
    /// hypervisor.
    Bench(BenchArguments),
    /// Boot a machine with a shell in one guest, at this terminal, until Control-] or the shell's
    /// end.
    Shell(ShellArguments),
    /// List the guests of a machine that runs.
    List(RunningArguments),
    /// Say what a running machine's guests did so far.
    Stats(RunningArguments),
    /// Show all consoles of a running machine, until it goes off or Control-C.
    Console(RunningArguments),
    /// Type at a guest's console of a running machine, until Control-].
    Attach(GuestArguments),
    /// A shell in a guest of a running machine, or a command, by ssh; what does not run is started
    /// and left running. `ssh vm1 'cat >film' <film` copies a file in, `ssh vm1 cat film >film`
    /// out.
    Ssh(SshArguments),
    /// End a guest of a running machine at once; it stays off.
    Destroy(GuestArguments),
    /// End a guest of a running machine at once, if it runs, and start it again.
    Restart(GuestArguments),
    /// Have machines built with the newest OP-TEE of Debian's from now on: write its version and
    /// hashes to qemu/optee-source.json.
    PinOptee,
    /// List what the machines are made of: QEMU and Debian's packages with their versions and
    /// hashes.
    Versions,
}

/// Which running machine.
#[derive(Debug, Args)]
pub struct RunningArguments {
    /// The machine description that it runs
    #[arg(
        long,
        value_name = "FILE",
        default_value = "qemu/configs/two-guests.toml"
    )]
    pub config: PathBuf,

    /// The folder of its logs, if it is another one than that of the description
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
}

impl RunningArguments {
    /// The folder of its logs.
    pub fn folder(&self) -> PathBuf {
        let logs = self.logs.clone();
        logs.unwrap_or_else(|| logs_of(&self.config))
    }
}

/// A guest of a running machine.
#[derive(Debug, Args)]
pub struct GuestArguments {
    /// The guest
    pub guest: String,

    /// The machine.
    #[command(flatten)]
    pub machine: RunningArguments,
}

/// Of `ssh`.
#[derive(Debug, Args)]
pub struct SshArguments {
    /// The guest.
    #[command(flatten)]
    pub guest: GuestArguments,

    /// What the guest runs; its exit status is this command's. Without it, a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

/// Of `fetch`.
#[derive(Debug, Args)]
pub struct FetchArguments {
    /// The machine description; without it, get what a machine needs that names no part of its own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Of `guest-fuzz`.
#[derive(Debug, Args)]
pub struct GuestFuzzArguments {
    /// Fuzz for this many seconds, half of them on each of two machines
    #[arg(long, value_name = "S", default_value_t = guest_fuzz::DEFAULT_SECONDS, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,

    /// Where what comes of it goes.
    #[command(flatten)]
    pub suite: SuiteArguments,
}

/// Of `xtest`.
#[derive(Debug, Args)]
pub struct XtestArguments {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArguments,

    /// Give up after this many seconds, counted from QEMU's start [default: 3600]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<Duration>,

    /// The folder for the reports xtest.json and xtest.xml [default: target/report]
    #[arg(long, value_name = "DIR")]
    pub reports: Option<PathBuf>,
}

/// Of `drm`.
#[derive(Debug, Args)]
pub struct DrmArguments {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArguments,

    /// Play each stream for this many seconds
    #[arg(long, value_name = "S", default_value_t = drm::DEFAULT_SECONDS, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,

    /// Play this stream, such as 1080p30 or 100Mbit60+per-frame, and no others
    #[arg(long, value_name = "STREAM", value_parser = stream)]
    pub stream: Vec<String>,

    /// Give up after this many seconds, counted from QEMU's start [default: 900]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<Duration>,

    /// Count instructions: one is one nanosecond of the machine's time. For machines with one CPU
    #[arg(long)]
    pub icount: bool,

    /// Write the report to this file [default: target/report/drm.json]
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Of `bench`.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// Download and build everything, so that later runs need no network, and measure nothing
    #[arg(long)]
    pub fetch: bool,
    /// Where what comes of it goes.
    #[command(flatten)]
    pub suite: SuiteArguments,

    /// Draw the plot to this file [default: target/report/bench.svg]
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// Of `shell`.
#[derive(Debug, Args)]
pub struct ShellArguments {
    /// The guest
    pub guest: String,

    /// The machine.
    #[command(flatten)]
    pub machine: MachineArguments,

    /// Add a folder's files to the initramfs of one guest, or of all that run the one made of
    /// Debian's packages
    #[arg(long, value_name = "[GUEST=]DIR", value_parser = overlay)]
    pub overlay: Vec<Overlay>,
}

/// Of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The machine description
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArguments,

    /// Run this shell command in a guest instead of its configured job; its exit status is the
    /// guest's result
    #[arg(long, value_name = "GUEST=COMMAND", value_parser = guest_command)]
    pub exec: Vec<GuestCommand>,

    /// Add a folder's files to the initramfs of one guest, or of all that run the one made of
    /// Debian's packages
    #[arg(long, value_name = "[GUEST=]DIR", value_parser = overlay)]
    pub overlay: Vec<Overlay>,

    /// Give up after this many seconds, counted from QEMU's start [default: 600]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<Duration>,

    /// Count instructions: one is one nanosecond of the machine's time. For machines with one CPU
    #[arg(long)]
    pub icount: bool,

    /// Write the report to this file as well
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Have a TCP port of the host, at its loopback address, lead to one of a guest
    #[arg(long, value_name = "GUEST=HOST:GUEST", value_parser = guest_forward)]
    pub forward: Vec<GuestForward>,

    /// Where disk images are that the description does not name [default:
    /// target/disks/NAME-OF-THE-DESCRIPTION]
    #[arg(long, value_name = "DIR")]
    pub disks: Option<PathBuf>,

    /// Guests with Debian's initramfs have a shell at their console instead of their job, and the
    /// machine runs until all guests are off, without a time limit
    #[arg(long, conflicts_with = "exec")]
    pub stay: bool,

    /// Return as soon as all guests have started, and leave the machine running
    #[arg(long)]
    pub detach: bool,
}

impl RunArguments {
    /// What they change in the description.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            cpu: self.machine.cpu.clone(),
            exec: self.exec.clone(),
            overlays: self.overlay.clone(),
            icount: self.icount,
            forwards: self.forward.clone(),
            shells: self.stay,
            disks: self.disks.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::commands::xtest;
    use crate::run::DEFAULT_TIMEOUT;

    fn run(arguments: &[&str]) -> Result<RunArguments, clap::Error> {
        let all = ["qemu", "run", "--config", "m.toml"]
            .iter()
            .chain(arguments);
        match Cli::try_parse_from(all)?.command {
            Command::Run(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_of_a_run_arrives() {
        let arguments = run(&[
            "--exec",
            "vm1=echo a=b",
            "--exec",
            "vm2=true",
            "--overlay",
            "vm2=some/dir",
            "--overlay",
            "./x=y",
            "--timeout",
            "5",
            "--icount",
            "--cpu",
            "max",
            "--json",
            "r.json",
            "--logs",
            "l",
        ])
        .unwrap();
        assert_eq!(arguments.timeout, Some(Duration::from_secs(5)));
        assert_eq!(arguments.json, Some(PathBuf::from("r.json")));
        assert_eq!(arguments.machine.logs, Some(PathBuf::from("l")));
        let overrides = arguments.overrides();
        assert_eq!(overrides.cpu.as_deref(), Some("max"));
        assert!(overrides.icount);
        assert_eq!(overrides.exec[0].guest, "vm1");
        assert_eq!(overrides.exec[0].command, "echo a=b");
        assert_eq!(overrides.exec[1].guest, "vm2");
        assert_eq!(overrides.overlays[0].guest.as_deref(), Some("vm2"));
        assert_eq!(overrides.overlays[0].folder, PathBuf::from("some/dir"));
        assert_eq!(overrides.overlays[1].guest, None);
        assert_eq!(overrides.overlays[1].folder, PathBuf::from("./x=y"));
    }

    #[test]
    fn a_fetch_may_be_for_one_machine() {
        for (arguments, config) in [
            (&["qemu", "fetch"][..], None),
            (
                &["qemu", "fetch", "--config", "m.toml"],
                Some(PathBuf::from("m.toml")),
            ),
        ] {
            match Cli::try_parse_from(arguments).unwrap().command {
                Command::Fetch(arguments) => assert_eq!(arguments.config, config),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_run_needs_a_description() {
        let error = Cli::try_parse_from(["qemu", "run"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn what_has_not_its_form_is_refused() {
        for arguments in [
            ["--exec", "vm1"],
            ["--exec", "=true"],
            ["--exec", "VM1=true"],
            ["--overlay", ""],
            ["--overlay", "vm1="],
            ["--timeout", "0"],
            ["--timeout", "soon"],
        ] {
            let error = run(&arguments).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{arguments:?}");
        }
    }

    #[test]
    fn streams_that_the_player_has_are_taken_and_others_refused() {
        let parse =
            |stream| Cli::try_parse_from(["qemu", "drm", "--config", "m.toml", "--stream", stream]);
        for stream in ["1080p30", "100Mbit60-cbcs", "100Mbit60+per-frame"] {
            assert!(parse(stream).is_ok(), "{stream}");
        }
        for stream in ["", "1080p31", "1080p30+", "+per-frame", "1080p30 2160p60"] {
            let error = parse(stream).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{stream}");
            assert!(error.to_string().contains("2160p60"), "{error}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let error = run(&["--speed", "9"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownArgument);
    }

    #[test]
    fn the_help_says_the_time_limits_that_hold() {
        for (command, limit) in [
            ("run", DEFAULT_TIMEOUT),
            ("xtest", xtest::DEFAULT_TIMEOUT),
            ("drm", drm::DEFAULT_TIMEOUT),
        ] {
            let help = Cli::try_parse_from(["qemu", command, "--help"])
                .unwrap_err()
                .to_string();
            let default = format!("from QEMU's start [default: {}]", limit.as_secs());
            assert!(help.contains(&default), "{command}: {help}");
        }
    }
}
