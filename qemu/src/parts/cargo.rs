//! Building packages of this checkout.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::base::checkout::checkout;

/// The target of programs for the bare machine: without the FP registers, which are the guests'.
const BARE_METAL: &str = "aarch64-unknown-none-softfloat";

/// Builds a program for the bare machine and returns the path of its ELF file.
pub(crate) fn build_bare_metal(package: &str, program: &str, options: &[&str]) -> Result<PathBuf> {
    let fixed = ["--profile", "firmware", "--target", BARE_METAL];
    let messages = build(
        package,
        &[&fixed[..], &["--bin", program], options].concat(),
    )?;
    executable(&messages, program)
        .with_context(|| format!("cargo built {program} but named no executable"))
}

/// Builds a library for the host's programs to load and returns its path.
pub(crate) fn build_plugin(package: &str) -> Result<PathBuf> {
    let messages = build(package, &["--release", "--lib"])?;
    shared_library(&messages).with_context(|| format!("cargo built {package} but named no library"))
}

/// Returns cargo's messages, one JSON object a line.
fn build(package: &str, options: &[&str]) -> Result<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(checkout())
        .args(["build", "--quiet", "--package", package])
        .args(options)
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .output()
        .context("cargo can't be started")?;
    if !output.status.success() {
        return Err(anyhow!(
            "{package} can't be built:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parsed(messages: &str) -> impl Iterator<Item = Value> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

/// The executable that cargo's messages name.
fn executable(messages: &str, program: &str) -> Option<PathBuf> {
    parsed(messages)
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

/// The shared library that cargo's messages name.
fn shared_library(messages: &str) -> Option<PathBuf> {
    parsed(messages)
        .filter(|message| message["target"]["kind"][0] == "cdylib")
        .find_map(|message| Some(PathBuf::from(message["filenames"][0].as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargo_s_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"log"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"hypervisor"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"hypervisor"},"executable":"/t/hypervisor"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "hypervisor"),
            Some(PathBuf::from("/t/hypervisor"))
        );
        assert_eq!(executable("{}", "hypervisor"), None);
    }

    #[test]
    fn a_plugin_is_found_among_cargo_s_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["proc-macro"]},"filenames":["/t/libmacro.so"]}
{"reason":"compiler-artifact","target":{"kind":["cdylib"]},"filenames":["/t/libcounter.so"]}
{"reason":"compiler-artifact","target":{"kind":["lib"]},"filenames":["/t/libother.rlib"]}"#;
        let library = Some(PathBuf::from("/t/libcounter.so"));
        assert_eq!(shared_library(messages), library);
        assert_eq!(shared_library("{}"), None);
    }
}
