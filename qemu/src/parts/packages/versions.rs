//! Which version of each package is in use: resolved once, recorded, used until the record goes.

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::stanza::{self, Stanza};

/// The architecture of a source package.
const SOURCE: &str = "source";

/// One version of a Debian package.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PackageVersion {
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// Debian's name of the architecture, or `source`.
    pub architecture: String,
    /// SHA-256 of the `.deb` file, or of the `.dsc` file, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The files that make up the package: the `.deb` file, or the `.dsc` file and what it names.
    pub(super) files: Vec<PackageFile>,
}

/// One file of a package, as the signed package list describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackageFile {
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) sha256: String,
}

impl PackageVersion {
    /// Whether this is a source package.
    #[must_use]
    pub fn is_source(&self) -> bool {
        self.architecture == SOURCE
    }

    /// How apt takes the package and its version.
    pub(super) fn specification(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// The cache entry that holds the package's files.
    pub(super) fn key(&self) -> String {
        let digits: String = self.sha256.chars().take(16).collect();
        format!("{}-{}-{digits}", self.name, self.version)
    }

    /// The only file of a binary package.
    pub(super) fn deb(&self) -> Result<&PackageFile> {
        match self.files.as_slice() {
            [file] => Ok(file),
            _ => bail!("{} is no binary package", self.name),
        }
    }
}

/// Reads what `apt-cache show` says about binary packages: the version that apt would install of
/// each of `names`.
pub(super) fn binaries(shown: &str, names: &[&str]) -> Result<Vec<PackageVersion>> {
    let stanzas = stanza::parse(shown);
    names
        .iter()
        .map(|name| {
            let stanza = stanza_of(&stanzas, name)?;
            binary(stanza)
                .with_context(|| format!("the archive's entry for {name} is not understood"))
        })
        .collect()
}

fn stanza_of<'a>(stanzas: &'a [Stanza], name: &str) -> Result<&'a Stanza> {
    stanzas
        .iter()
        .find(|stanza| stanza.get("Package") == Some(name))
        .with_context(|| format!("the Debian archive has no package {name}"))
}

fn binary(stanza: &Stanza) -> Result<PackageVersion> {
    let path = field(stanza, "Filename")?;
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let file = package_file(field(stanza, "SHA256")?, field(stanza, "Size")?, name)?;
    Ok(PackageVersion {
        name: field(stanza, "Package")?.to_owned(),
        version: field(stanza, "Version")?.to_owned(),
        architecture: field(stanza, "Architecture")?.to_owned(),
        sha256: file.sha256.clone(),
        files: vec![file],
    })
}

/// The real package behind a package such as `linux-image-arm64`, which only depends on the current
/// one.
pub(super) fn dependency(shown: &str, name: &str, prefix: &str) -> Result<String> {
    let stanzas = stanza::parse(shown);
    let depends = stanza_of(&stanzas, name)?
        .get("Depends")
        .unwrap_or_default();
    depends
        .split(',')
        .filter_map(|clause| clause.split_whitespace().next())
        .find(|package| package.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("{name} depends on no package whose name starts with {prefix}"))
}

/// Reads what `apt-cache showsrc` says about one source package: its versions, in apt's order. At
/// least one.
pub(super) fn sources(shown: &str, name: &str) -> Result<Vec<PackageVersion>> {
    let sources: Vec<_> = stanza::parse(shown)
        .iter()
        .filter(|stanza| {
            stanza.get("Package") == Some(name) && stanza.get("Extra-Source-Only") != Some("yes")
        })
        .map(source_of)
        .collect::<Result<_>>()
        .with_context(|| {
            format!("the archive's entry for the source of {name} is not understood")
        })?;
    ensure!(
        !sources.is_empty(),
        "the Debian archive has no source package {name}"
    );
    Ok(sources)
}

/// The first of [`sources`].
pub(super) fn source(shown: &str, name: &str) -> Result<PackageVersion> {
    Ok(sources(shown, name)?.swap_remove(0))
}

fn source_of(stanza: &Stanza) -> Result<PackageVersion> {
    let mut files = Vec::new();
    for line in field(stanza, "Checksums-Sha256")?
        .lines()
        .filter(|line| !line.is_empty())
    {
        let mut words = line.split_whitespace();
        let (Some(hash), Some(size), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            bail!("a checksum line has another form: {line}");
        };
        files.push(package_file(hash, size, name)?);
    }
    let description = files
        .iter()
        .find(|file| file.name.ends_with(".dsc"))
        .context("no .dsc file is listed")?;
    Ok(PackageVersion {
        name: field(stanza, "Package")?.to_owned(),
        version: field(stanza, "Version")?.to_owned(),
        architecture: SOURCE.to_owned(),
        sha256: description.sha256.clone(),
        files,
    })
}

fn field<'a>(stanza: &'a Stanza, name: &str) -> Result<&'a str> {
    stanza
        .get(name)
        .filter(|value| !value.is_empty())
        .with_context(|| format!("{name} is missing"))
}

fn package_file(sha256: &str, size: &str, name: &str) -> Result<PackageFile> {
    ensure!(
        sha256.len() == 64
            && sha256
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{sha256} is no SHA-256"
    );
    ensure!(
        !name.is_empty() && !name.contains('/') && !name.starts_with('.'),
        "{name:?} is no file name"
    );
    let size = size.parse().with_context(|| format!("{size} is no size"))?;
    Ok(PackageFile {
        name: name.to_owned(),
        size,
        sha256: sha256.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0375179a97c0325842cbc310e6cedcfa74aff4422448cd7afd9c00db65b3a9ad";

    fn shown() -> String {
        format!(
            "Package: optee-os\nVersion: 4.5.0-2\nArchitecture: arm64\nFilename: pool/main/o/optee-os_4.5.0-2_arm64.deb\n\
             Size: 297732\nSHA256: {HASH}\n\n\
             Package: linux-image-arm64\nVersion: 6.12.107-1\nArchitecture: arm64\n\
             Depends: one-more (>= 1), linux-image-6.12.107+deb13-arm64 (= 6.12.107-1)\n\
             Filename: pool/l.deb\nSize: 1444\nSHA256: {HASH}\n"
        )
    }

    fn shown_source() -> String {
        format!(
            "Package: tf\nVersion: 2-1\nFiles:\n 0a9c 1672 tf_2-1.dsc\nChecksums-Sha256:\n {HASH} 1672 tf_2-1.dsc\n \
             {} 10 tf_2.orig.tar.xz\n",
            HASH.replace('0', "1")
        )
    }

    #[test]
    fn binary_package_is_resolved() {
        let versions = binaries(&shown(), &["optee-os"]).unwrap();
        let [package] = versions.as_slice() else {
            panic!("{versions:?}")
        };
        assert_eq!(
            (package.version.as_str(), package.architecture.as_str()),
            ("4.5.0-2", "arm64")
        );
        assert_eq!(package.specification(), "optee-os=4.5.0-2");
        assert_eq!(package.key(), "optee-os-4.5.0-2-0375179a97c03258");
        let file = package.deb().unwrap();
        assert_eq!(
            (file.name.as_str(), file.size, file.sha256.as_str()),
            ("optee-os_4.5.0-2_arm64.deb", 297_732, HASH)
        );
    }

    #[test]
    fn missing_package_is_named() {
        let error = binaries(&shown(), &["optee-os", "xtest"])
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the Debian archive has no package xtest");
    }

    #[test]
    fn real_package_behind_a_name_is_found() {
        let real = dependency(&shown(), "linux-image-arm64", "linux-image-").unwrap();
        assert_eq!(real, "linux-image-6.12.107+deb13-arm64");
        assert!(dependency(&shown(), "optee-os", "linux-image-").is_err());
    }

    #[test]
    fn entry_that_lacks_a_field_or_has_a_wrong_one_is_refused() {
        for (from, to) in [
            ("SHA256: 03", "SHA256: zz"),
            ("Size: 297732", "Size: many"),
            ("Filename: pool/main/o/", "Else: "),
        ] {
            let shown = shown().replace(from, to);
            assert!(binaries(&shown, &["optee-os"]).is_err(), "{to}");
        }
    }

    #[test]
    fn source_package_is_resolved() {
        let package = source(&shown_source(), "tf").unwrap();
        assert!(package.is_source());
        assert_eq!(package.sha256, HASH);
        assert_eq!(package.files.len(), 2);
        assert!(package.deb().is_err());
    }

    #[test]
    fn source_that_is_there_only_for_its_licence_is_passed_over() {
        let shown = format!("{}Extra-Source-Only: yes\n", shown_source());
        assert!(source(&shown, "tf").is_err());
    }

    #[test]
    fn file_name_with_a_folder_is_refused() {
        assert!(source(&shown_source().replace("tf_2.orig", "../tf_2.orig"), "tf").is_err());
    }

    #[test]
    fn record_is_read_back() {
        let package = source(&shown_source(), "tf").unwrap();
        let text = serde_json::to_string(&package).unwrap();
        assert_eq!(
            serde_json::from_str::<PackageVersion>(&text).unwrap(),
            package
        );
    }
}
