//! Which mirror of Debian's archive to use: no file of the project names one.

use anyhow::{Result, bail, ensure};

/// What a machine without a Debian mirror needs.
pub(super) const ADVICE: &str = "Set DEBIAN_MIRROR to the URL of a mirror of Debian's archive, the folder that holds dists/ and pool/";

/// The mirrors to try, best first: the one that the user names, or those in the machine's apt
/// sources.
///
/// `targets` is what `apt-get indextargets` says in [`FORMAT`].
pub(super) fn candidates(named: Option<&str>, targets: &str) -> Result<Vec<String>> {
    if let Some(named) = named {
        let named = named.trim().trim_end_matches('/');
        ensure!(
            named.contains(':')
                && !named.contains(|char: char| char.is_whitespace() || "[]#".contains(char)),
            "DEBIAN_MIRROR is {named:?}, which is no URL. {ADVICE}"
        );
        return Ok(vec![named.to_owned()]);
    }
    let mut sites: Vec<String> = Vec::new();
    for line in targets.lines() {
        // Security updates lie in an archive of their own, which has no whole suite.
        let Some((site, release)) = line.split_once(' ') else {
            continue;
        };
        if !release.contains("security") && !sites.iter().any(|other| other == site) {
            sites.push(site.to_owned());
        }
    }
    if sites.is_empty() {
        bail!("apt's sources on this machine name no mirror. {ADVICE}");
    }
    Ok(sites)
}

/// What [`candidates`] reads: one line an index that apt would fetch.
pub(super) const FORMAT: &str = "$(SITE) $(RELEASE)";

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "http://one.example/debian bookworm\n\
                           http://one.example/debian bookworm-updates\n\
                           http://one.example/debian-security bookworm-security\n\
                           mirror+file:/etc/apt/mirrors/debian.list bookworm\n";

    #[test]
    fn machine_sites_are_taken_once_and_without_security() {
        assert_eq!(
            candidates(None, TARGETS).unwrap(),
            [
                "http://one.example/debian",
                "mirror+file:/etc/apt/mirrors/debian.list"
            ]
        );
    }

    #[test]
    fn named_mirror_overrides() {
        assert_eq!(
            candidates(Some(" https://two.example/debian/ "), TARGETS).unwrap(),
            ["https://two.example/debian"]
        );
    }

    #[test]
    fn machine_without_mirror_gets_advice() {
        for targets in [
            "",
            "http://one.example/debian-security bookworm-security\n",
            "\n",
        ] {
            let error = candidates(None, targets).unwrap_err().to_string();
            assert!(error.contains("DEBIAN_MIRROR"), "{error}");
        }
    }

    #[test]
    fn named_mirror_that_is_no_url_is_refused() {
        for named in [
            "one.example",
            "http://one.example/a b",
            "http://x [trusted=yes]",
        ] {
            let error = candidates(Some(named), TARGETS).unwrap_err().to_string();
            assert!(error.contains("no URL"), "{error}");
        }
    }
}
