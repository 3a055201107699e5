//! A private apt root: another suite and architecture than the machine's, from the same mirror,
//! with signatures checked and nothing of the machine's apt touched.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::mirror;
use super::versions::PackageVersion;
use crate::base::host_tools::{self, apt_percent};
use crate::base::process;
use crate::base::progress::{Progress, Step};

/// A release of Debian, and what of it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    /// Debian's name of it.
    pub(super) name: &'static str,
    /// Whether binary packages are asked for beside source packages.
    binaries: bool,
    /// Whether lists are taken that their makers call out of date. What they list has to be checked
    /// against something else.
    stale_lists: bool,
}

/// The release that the guests' parts come from.
pub(super) const STABLE: Suite = Suite {
    name: "trixie",
    binaries: true,
    stale_lists: false,
};
/// The release that has the newest source packages.
pub(super) const NEWEST: Suite = Suite {
    name: "sid",
    binaries: false,
    stale_lists: false,
};
/// The same as of any day, for packages of which the hash is known.
pub(super) const NEWEST_OR_OLDER: Suite = Suite {
    stale_lists: true,
    ..NEWEST
};
/// Debian's name of the guests' architecture.
const ARCHITECTURE: &str = "arm64";

/// What of the machine matters for getting packages.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Where programs are looked for; `None` is where this process looks.
    pub(super) search_path: Option<OsString>,
    /// The mirror that the user names.
    pub(super) mirror: Option<String>,
    /// Where the archive's keys lie.
    pub(super) keyring: PathBuf,
}

impl Host {
    pub(super) fn from_environment() -> Self {
        Self {
            search_path: None,
            mirror: std::env::var("DEBIAN_MIRROR")
                .ok()
                .filter(|value| !value.trim().is_empty()),
            keyring: host_tools::KEYRING.into(),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // What apt says is read here, so it must not be in the user's language.
        command.env("LC_ALL", "C.UTF-8");
        if let Some(path) = &self.search_path {
            command.env("PATH", path);
        }
        command
    }
}

/// A private apt root with fresh package lists.
#[derive(Debug)]
pub(super) struct Apt<'a> {
    host: &'a Host,
    configuration: PathBuf,
}

impl<'a> Apt<'a> {
    /// Sets a root up in the empty folder `root` and fetches the package lists.
    pub(super) fn start(
        host: &'a Host,
        root: &Path,
        suite: &Suite,
        progress: &Progress,
    ) -> Result<Self> {
        let targets = match host.mirror {
            Some(_) => String::new(),
            None => process::output(host.command("apt-get").args([
                "indextargets",
                "--format",
                mirror::FORMAT,
                "Created-By: Packages",
            ]))
            .context("apt's sources on this machine can't be read")?,
        };
        let sites = mirror::candidates(host.mirror.as_deref(), &targets)?;

        let apt = Self {
            host,
            configuration: root.join("apt.conf"),
        };
        for folder in ["state", "lists/partial", "cache/archives/partial"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("{} can't be made", folder.display()))?;
        }
        write(&root.join("status"), "")?;
        write(&apt.configuration, &configuration(root, suite)?)?;

        let mut failures = Vec::new();
        for site in &sites {
            let step = progress.step(&format!("Fetching package lists of Debian {}", suite.name));
            write(
                &root.join("sources.list"),
                &sources(site, suite, &host.keyring),
            )?;
            match apt.get(&["update"], root, &step) {
                Ok(()) => {
                    step.done();
                    return Ok(apt);
                }
                Err(error) => failures.push(format!("{site}: {error:#}")),
            }
        }
        bail!(
            "no package lists of Debian {} to be had. {}\n{}",
            suite.name,
            mirror::ADVICE,
            failures.join("\n")
        );
    }

    /// The lists' entries for binary packages.
    pub(super) fn show(&self, names: &[&str]) -> Result<String> {
        process::output(self.cache().args(["show", "--no-all-versions"]).args(names))
    }

    /// The lists' entries for a source package.
    pub(super) fn show_source(&self, name: &str) -> Result<String> {
        process::output(self.cache().args(["showsrc", "--only-source", name]))
    }

    /// Downloads packages, either all binary or all source, into a folder. apt checks each against
    /// the signed lists.
    pub(super) fn download(
        &self,
        packages: &[&PackageVersion],
        folder: &Path,
        progress: &Progress,
    ) -> Result<()> {
        let (verb, what): (&[&str], _) = match packages.first() {
            None => return Ok(()),
            Some(package) if package.is_source() => {
                (&["source", "--download-only"], "source packages")
            }
            Some(_) => (&["download"], "packages"),
        };
        let size: u64 = packages
            .iter()
            .flat_map(|package| &package.files)
            .map(|file| file.size)
            .sum();
        let step = progress.step(&format!(
            "Downloading Debian {what}, {} MiB",
            size.div_ceil(1 << 20)
        ));
        let specifications: Vec<_> = packages
            .iter()
            .map(|package| package.specification())
            .collect();
        let arguments: Vec<_> = verb
            .iter()
            .copied()
            .chain(specifications.iter().map(String::as_str))
            .collect();
        self.get(&arguments, folder, &step)
            .with_context(|| format!("Debian {what} can't be downloaded"))?;
        step.done();
        Ok(())
    }

    fn get(&self, arguments: &[&str], folder: &Path, step: &Step) -> Result<()> {
        process::run(
            self.host
                .command("apt-get")
                .current_dir(folder)
                .arg("-c")
                .arg(&self.configuration)
                .args(["-q", "-o", "APT::Status-Fd=1"])
                .args(arguments),
            |line| {
                if let Some(percent) = apt_percent(line) {
                    step.percent(percent);
                }
            },
        )
    }

    fn cache(&self) -> Command {
        let mut command = self.host.command("apt-cache");
        command.arg("-c").arg(&self.configuration).arg("-q");
        command
    }
}

/// apt.conf(5). It is read last, over the machine's configuration, of which proxies and credentials
/// stay in force.
fn configuration(root: &Path, suite: &Suite) -> Result<String> {
    let are_dates_checked = !suite.stale_lists;
    let root = root
        .to_str()
        .filter(|root| !root.contains(['"', '\n', '\\']))
        .with_context(|| {
            format!(
                "{} holds characters that apt can't take in its configuration",
                root.display()
            )
        })?;
    Ok(format!(
        r#"Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{root}/state";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Log "{root}/state";
APT::Architecture "{ARCHITECTURE}";
#clear APT::Architectures;
APT::Architectures {{ "{ARCHITECTURE}"; }};
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Check-Valid-Until "{are_dates_checked}";
Acquire::Retries "3";
"#
    ))
}

/// sources.list(5). Only package lists are fetched, none of the further indexes that a desktop's
/// apt asks for.
fn sources(site: &str, suite: &Suite, keyring: &Path) -> String {
    let keyring = keyring.display();
    let name = suite.name;
    let sources = format!("deb-src [target=Sources signed-by={keyring}] {site} {name} main\n");
    if !suite.binaries {
        return sources;
    }
    format!(
        "deb [arch={ARCHITECTURE} target=Packages signed-by={keyring}] {site} {name} main\n{sources}"
    )
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("{} can't be written", path.display()))
}

/// Checks the downloaded files of a package and moves them to their place.
pub(super) fn take(package: &PackageVersion, downloads: &Path, place: &Path) -> Result<()> {
    for file in &package.files {
        let downloaded = find(package, &file.name, downloads)?;
        let size = fs::metadata(&downloaded)
            .with_context(|| format!("{} can't be read", downloaded.display()))?
            .len();
        let sha256 = crate::parts::cache::sha256_of_file(&downloaded)?;
        ensure!(
            (size, &sha256) == (file.size, &file.sha256),
            "{} is not what the signed package list says: {size} bytes with SHA-256 {sha256} rather than {} bytes with \
             {}",
            file.name,
            file.size,
            file.sha256
        );
        let target = place.join(&file.name);
        fs::rename(&downloaded, &target)
            .with_context(|| format!("{} can't be put in place", target.display()))?;
    }
    Ok(())
}

/// A downloaded file. apt writes the version into the name of a binary package in a way of its own
/// (an epoch's colon becomes `%3a`), which the archive's file names leave out.
fn find(package: &PackageVersion, name: &str, downloads: &Path) -> Result<PathBuf> {
    let exact = downloads.join(name);
    if exact.is_file() {
        return Ok(exact);
    }
    let prefix = format!("{}_", package.name);
    fs::read_dir(downloads)
        .with_context(|| format!("{} can't be read", downloads.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            !package.is_source() && name.starts_with(&prefix) && name.ends_with(".deb")
        })
        .with_context(|| format!("apt-get ended well but did not leave {name}"))
}
