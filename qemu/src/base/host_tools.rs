//! Programs and files of the host that the work needs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::base::process;
use crate::base::progress::Progress;

/// Something that a Debian package of the host brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// A program's name, looked up in `PATH`, or an absolute path.
    pub file: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// What running a machine needs.
pub const MACHINE: &[Tool] = &[Tool {
    file: "qemu-system-aarch64",
    package: "qemu-system-arm",
}];

/// What getting Debian packages needs.
pub const PACKAGES: &[Tool] = &[
    Tool {
        file: "apt-get",
        package: "apt",
    },
    Tool {
        file: "apt-cache",
        package: "apt",
    },
    Tool {
        file: KEYRING,
        package: "debian-archive-keyring",
    },
];

/// What building TF-A needs: the cross compiler for the firmware, the host's own compiler for
/// TF-A's image tool.
pub const FIRMWARE: &[Tool] = &[
    Tool {
        file: "aarch64-linux-gnu-gcc",
        package: "gcc-aarch64-linux-gnu",
    },
    Tool {
        file: "dpkg-source",
        package: "dpkg-dev",
    },
    Tool {
        file: "gcc",
        package: "gcc",
    },
    // The image tool includes OpenSSL's headers, also where it is built without the library.
    Tool {
        file: "/usr/include/openssl/sha.h",
        package: "libssl-dev",
    },
    Tool {
        file: "make",
        package: "make",
    },
    Tool {
        file: "/usr/include/stdio.h",
        package: "libc6-dev",
    },
];

/// What building OP-TEE needs: the cross compiler, the Python modules that its scripts use, and the
/// compiler of device trees for the one that OP-TEE's own tests have in the image.
pub const OPTEE: &[Tool] = &[
    Tool {
        file: "aarch64-linux-gnu-gcc",
        package: "gcc-aarch64-linux-gnu",
    },
    Tool {
        file: "dpkg-source",
        package: "dpkg-dev",
    },
    Tool {
        file: "dtc",
        package: "device-tree-compiler",
    },
    Tool {
        file: "make",
        package: "make",
    },
    Tool {
        file: PYTHON,
        package: "python3",
    },
    Tool {
        file: "/usr/lib/python3/dist-packages/cryptography/__init__.py",
        package: "python3-cryptography",
    },
    Tool {
        file: "/usr/lib/python3/dist-packages/elftools/__init__.py",
        package: "python3-pyelftools",
    },
];

/// What building programs for the guests needs.
pub const WORKLOADS: &[Tool] = &[
    Tool {
        file: "aarch64-linux-gnu-gcc",
        package: "gcc-aarch64-linux-gnu",
    },
    Tool {
        file: "/usr/aarch64-linux-gnu/lib/libc.so",
        package: "libc6-dev-arm64-cross",
    },
];

/// What logging in to guests needs.
pub const SSH: &[Tool] = &[Tool {
    file: "ssh",
    package: "openssh-client",
}];

/// Debian's Python: another one that stands first in `PATH` does not see the modules that Debian's
/// packages bring.
pub const PYTHON: &str = "/usr/bin/python3";

/// Seconds to wait while another apt works, such as a fresh machine's own.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=300";

/// Runs a program with its status on our output and its own output with its errors. A package's
/// scripts must not have their output on the descriptor that apt gives dpkg for the status: they
/// can't write to it.
const STATUS_APART: &str = r#"exec "$0" "$@" 3>&1 1>&2"#;

/// The keys that sign Debian's archive.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Sees to it that the host has all of `tools`: as root by installing what is missing.
///
/// # Errors
///
/// Something is missing and can't be installed. The message has the command that installs it.
pub fn ensure(tools: &[Tool], progress: &Progress) -> Result<()> {
    let host = Host {
        path: &std::env::var_os("PATH").unwrap_or_default(),
        apt_get: OsStr::new("apt-get"),
        is_root: rustix::process::geteuid().is_root(),
    };
    ensure_on(&host, tools, progress)
}

/// What of the host decides whether something is missing and can be installed.
struct Host<'a> {
    /// The search path for programs.
    path: &'a OsStr,
    apt_get: &'a OsStr,
    is_root: bool,
}

fn ensure_on(host: &Host<'_>, tools: &[Tool], progress: &Progress) -> Result<()> {
    let packages = missing(tools, host.path);
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    let by_hand = format!("apt-get update && apt-get install --no-install-recommends {names}");
    if !host.is_root {
        bail!("this machine lacks {names}. As root, run:\n    {by_hand}");
    }
    install(&packages, host.apt_get, progress).with_context(|| {
        format!("{names} can't be installed. To try by hand, run:\n    {by_hand}")
    })?;
    let still = missing(tools, host.path);
    if !still.is_empty() {
        bail!(
            "{} was installed, and still something of it is missing",
            still.join(" ")
        );
    }
    Ok(())
}

/// The packages that bring what is missing, sorted, each once.
fn missing(tools: &[Tool], path: &OsStr) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools
        .iter()
        .filter(|tool| !is_there(tool.file, path))
        .map(|tool| tool.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn is_there(file: &str, path: &OsStr) -> bool {
    let file = Path::new(file);
    // Joining an absolute path gives that path.
    file.is_absolute() && file.is_file()
        || std::env::split_paths(path).any(|folder| folder.join(file).is_file())
}

fn install(packages: &[&str], apt_get: &OsStr, progress: &Progress) -> Result<()> {
    let step = progress.step(&format!("Installing {}", packages.join(" ")));
    let run = |arguments: &[&str]| {
        process::run(
            Command::new("sh")
                .args(["-c", STATUS_APART])
                .arg(apt_get)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args([
                    "-q",
                    "-y",
                    "-o",
                    "APT::Status-Fd=3",
                    "-o",
                    "Dpkg::Use-Pty=0",
                    "-o",
                    LOCK_TIMEOUT,
                ])
                .args(arguments),
            |line| {
                if let Some(percent) = apt_percent(line) {
                    step.percent(percent);
                }
            },
        )
    };
    let install = [&["install", "--no-install-recommends"], packages].concat();
    // A fresh machine has no package lists and an old one has stale ones; others need no update.
    if run(&install).is_err() {
        run(&["update"])?;
        run(&install)?;
    }
    step.done();
    Ok(())
}

/// How far apt is, from a line that it writes to its status descriptor (apt,
/// `README.progress-reporting`): `dlstatus:ITEM:PERCENT:TEXT` or `pmstatus:PACKAGE:PERCENT:TEXT`.
pub(crate) fn apt_percent(line: &str) -> Option<u64> {
    let mut fields = line.split(':');
    if !matches!(fields.next(), Some("dlstatus" | "pmstatus")) {
        return None;
    }
    // A package's name may have its architecture behind a further colon.
    let percent = fields
        .skip(1)
        .take(2)
        .find_map(|field| field.parse::<f64>().ok())?;
    (0.0..=100.0).contains(&percent).then_some(percent as u64)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    const TOOLS: &[Tool] = &[
        Tool {
            file: "one",
            package: "p-one",
        },
        Tool {
            file: "two",
            package: "p-both",
        },
        Tool {
            file: "three",
            package: "p-both",
        },
    ];

    fn program(folder: &TempDir, name: &str, script: &str) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn packages_of_missing_programs_are_named_once() {
        let folder = TempDir::new().unwrap();
        assert_eq!(
            missing(TOOLS, folder.path().as_os_str()),
            ["p-both", "p-one"]
        );
        program(&folder, "one", "");
        assert_eq!(missing(TOOLS, folder.path().as_os_str()), ["p-both"]);
    }

    #[test]
    fn absolute_path_needs_no_search_path() {
        let folder = TempDir::new().unwrap();
        assert!(is_there("/bin/sh", folder.path().as_os_str()));
        assert!(!is_there("/no/such/file", folder.path().as_os_str()));
    }

    #[test]
    fn host_that_has_all_is_left_alone() {
        ensure(
            &[Tool {
                file: "sh",
                package: "dash",
            }],
            &Progress::silent(),
        )
        .unwrap();
    }

    #[test]
    fn ordinary_user_is_told_the_command() {
        let folder = TempDir::new().unwrap();
        let host = Host {
            path: folder.path().as_os_str(),
            apt_get: OsStr::new("/no/apt-get"),
            is_root: false,
        };
        let error = ensure_on(&host, TOOLS, &Progress::silent())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("apt-get install --no-install-recommends p-both p-one"),
            "{error}"
        );
    }

    #[test]
    fn root_gets_what_is_missing() {
        let folder = TempDir::new().unwrap();
        let bin = folder.path().display();
        let apt = program(
            &folder,
            "apt-get",
            &format!("for tool in one two three; do >{bin}/$tool; done"),
        );
        let host = Host {
            path: folder.path().as_os_str(),
            apt_get: apt.as_os_str(),
            is_root: true,
        };
        ensure_on(&host, TOOLS, &Progress::silent()).unwrap();
    }

    #[test]
    fn scripts_of_packages_do_not_write_to_the_status() {
        let folder = TempDir::new().unwrap();
        let bin = folder.path().display();
        // As libgstreamer's does, which QEMU comes with: it fails where it can't say what it did.
        let script = format!(
            r#"echo pmstatus:p:50.0:configuring >&3
               [ "$(readlink /proc/$$/fd/1)" != "$(readlink /proc/$$/fd/3)" ] || exit 1
               echo done && for tool in one two three; do >{bin}/$tool; done"#
        );
        let apt = program(&folder, "apt-get", &script);
        let host = Host {
            path: folder.path().as_os_str(),
            apt_get: apt.as_os_str(),
            is_root: true,
        };
        ensure_on(&host, TOOLS, &Progress::silent()).unwrap();
    }

    #[test]
    fn package_that_does_not_bring_the_tool_is_noticed() {
        let folder = TempDir::new().unwrap();
        let apt = program(&folder, "apt-get", "");
        let host = Host {
            path: folder.path().as_os_str(),
            apt_get: apt.as_os_str(),
            is_root: true,
        };
        let error = ensure_on(&host, TOOLS, &Progress::silent())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("p-both p-one was installed"), "{error}");
    }

    #[test]
    fn lists_are_updated_only_if_installing_fails() {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("log");
        let apt = program(
            &folder,
            "apt-get",
            &format!(
                "case \" $* \" in *' update '*) echo update >>{log}; touch {log}.lists;; \
                 *) echo install >>{log}; [ -e {log}.lists ];; esac",
                log = log.display()
            ),
        );
        install(&["p"], apt.as_os_str(), &Progress::silent()).unwrap();
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            "install\nupdate\ninstall\n"
        );
        install(&["p"], apt.as_os_str(), &Progress::silent()).unwrap();
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            "install\nupdate\ninstall\ninstall\n"
        );
    }

    #[test]
    fn failed_installation_says_why() {
        let folder = TempDir::new().unwrap();
        let apt = program(&folder, "apt-get", "echo 'E: no network' >&2; exit 100");
        let error = install(&["p"], apt.as_os_str(), &Progress::silent())
            .unwrap_err()
            .to_string();
        assert!(error.contains("E: no network"), "{error}");
    }

    #[test]
    fn percent_is_read_from_status_lines() {
        assert_eq!(
            apt_percent("dlstatus:2:12.1929:Retrieving file 2 of 2"),
            Some(12)
        );
        assert_eq!(apt_percent("pmstatus:libc6:amd64:40.0:Unpacking"), Some(40));
        assert_eq!(apt_percent("Get:1 some file"), None);
        assert_eq!(apt_percent("dlstatus:1:nan:x"), None);
        assert_eq!(apt_percent("dlstatus"), None);
    }
}
