//! What a machine is made of, by version.

use std::fmt;

use serde::Serialize;

use crate::base::table::{Last, table};

/// What the machine was made of.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Versions {
    /// This tool's and the hypervisor's version.
    pub bulkhead: String,
    /// QEMU's version.
    pub qemu: String,
    /// OP-TEE; `None` when it is in a firmware of the user's own.
    pub optee: Option<OpteeVersion>,
    /// Debian's packages; empty when none was needed.
    pub packages: Vec<PackageVersion>,
}

/// Which OP-TEE a machine has.
#[derive(Clone, Debug, Serialize)]
pub struct OpteeVersion {
    /// Where it comes from, as in a description: `debian`, `source`, or `folder` for one of the
    /// user's own.
    pub from: &'static str,
    /// Its version, such as `4.5.0`; `None` for one of the user's own.
    pub version: Option<String>,
    /// How it was built, where that was done here.
    pub options: Vec<String>,
}

/// A Debian package.
#[derive(Clone, Debug, Serialize)]
pub struct PackageVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `source`.
    pub architecture: String,
    /// The SHA-256 of its file.
    pub sha256: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["package", "version", "architecture", "SHA-256"].map(str::to_owned)];
        for package in &self.packages {
            rows.push([
                package.name.clone(),
                package.version.clone(),
                package.architecture.clone(),
                package.sha256.clone(),
            ]);
        }
        writeln!(formatter, "bulkhead {}, QEMU {}", self.bulkhead, self.qemu)?;
        table(formatter, &rows, Last::Text)
    }
}
