//! QEMU's plugin that counts the instructions of each CPU (`instruction-counter/`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::base::progress::Progress;
use crate::machine::qemu::option_path;
use crate::parts::cargo::build_plugin;

/// Its package.
const PACKAGE: &str = "instruction-counter";

/// Builds it and returns its path.
pub(crate) fn build(progress: &Progress) -> Result<PathBuf> {
    let step = progress.step("Building the plugin that counts instructions");
    let plugin = build_plugin(PACKAGE)?;
    step.done();
    Ok(plugin)
}

/// Has QEMU load the plugin, which writes to `log`.
pub(crate) fn qemu_arguments(plugin: &Path, log: &Path) -> Vec<OsString> {
    let mut argument = OsString::from("file=");
    argument.push(option_path(plugin));
    argument.push(",log=");
    argument.push(option_path(log));
    vec!["-plugin".into(), argument]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_reach_the_plugin() {
        let arguments = qemu_arguments(Path::new("/a,b/counter.so"), Path::new("/l"));
        assert_eq!(arguments, ["-plugin", "file=/a,,b/counter.so,log=/l"]);
    }
}
