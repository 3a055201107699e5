//! What a guest does once it is up, as its first process reads it.

use anyhow::{Result, ensure};

use super::tree::Tree;

/// Work for a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// A shell script; its exit status is the job's.
    pub command: String,
    /// A word that tells the lines which the guest means for the host tool from those that a
    /// program happens to write: letters and digits, another one for each run.
    pub token: String,
    /// For each disk the folder that it is mounted at, if there is one.
    pub disks: Vec<Option<String>>,
    /// For each network how the guest gets its address.
    pub networks: Vec<Addressing>,
    /// Whose holder may log in by ssh, if anybody: a public key.
    pub authorized_key: Option<String>,
    /// Whether a guest without a TEE should say so and end, rather than run the job.
    pub needs_tee: bool,
}

/// How a guest gets its address in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// By DHCP.
    Dhcp,
    /// It has this one: address and length of the prefix.
    Fixed(String),
    /// Not by the initramfs.
    None,
}

impl Job {
    /// The files that tell a guest about its job.
    pub(super) fn files(&self) -> Result<Tree> {
        ensure!(
            !self.token.is_empty() && self.token.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "the token {:?} is not of letters and digits alone",
            self.token
        );
        let mut files = Tree::new();
        files.insert_file("etc/bulkhead/job", format!("{}\n", self.command))?;
        files.insert_file("etc/bulkhead/token", format!("{}\n", self.token))?;
        // Named as Linux names them, in the order of the description.
        let disks: String = ('a'..)
            .zip(&self.disks)
            .filter_map(|(letter, mount)| Some(format!("vd{letter} {}\n", mount.as_ref()?)))
            .collect();
        let networks: String = self
            .networks
            .iter()
            .enumerate()
            .filter_map(|(number, addressing)| match addressing {
                Addressing::Dhcp => Some(format!("eth{number} dhcp\n")),
                Addressing::Fixed(address) => Some(format!("eth{number} {address}\n")),
                Addressing::None => None,
            })
            .collect();
        for (name, lines) in [("disks", disks), ("networks", networks)] {
            if !lines.is_empty() {
                files.insert_file(&format!("etc/bulkhead/{name}"), lines)?;
            }
        }
        if let Some(key) = &self.authorized_key {
            files.insert_file("root/.ssh/authorized_keys", key.as_str())?;
        }
        if self.needs_tee {
            files.insert_file("etc/bulkhead/needs-tee", "")?;
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(token: &str, needs_tee: bool) -> Job {
        Job {
            command: "echo one\nexit 3".into(),
            token: token.into(),
            disks: Vec::new(),
            networks: Vec::new(),
            authorized_key: None,
            needs_tee,
        }
    }

    #[test]
    fn job_becomes_files() {
        let files = job("a1", true).files().unwrap();
        assert_eq!(
            files.content("etc/bulkhead/job"),
            Some(&b"echo one\nexit 3\n"[..])
        );
        assert_eq!(files.content("etc/bulkhead/token"), Some(&b"a1\n"[..]));
        assert_eq!(files.content("etc/bulkhead/needs-tee"), Some(&b""[..]));
    }

    #[test]
    fn job_that_needs_no_tee_does_not_ask_for_one() {
        assert_eq!(
            job("a1", false)
                .files()
                .unwrap()
                .get("etc/bulkhead/needs-tee"),
            None
        );
    }

    #[test]
    fn token_that_could_not_be_told_from_text_is_refused() {
        for token in ["", "a b", "a\n", "@@"] {
            assert!(job(token, false).files().is_err(), "{token:?}");
        }
    }
}
