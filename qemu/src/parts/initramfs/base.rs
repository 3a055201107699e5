//! The part of every guest's initramfs that is Debian's, with the first process that uses it.

use anyhow::{Result, bail};

use super::tree::{Node, Tree};

/// Goes into the key of what is composed here: another number for another composition of the same
/// packages.
pub(crate) const RECIPE: &[&str] = &["1", INIT, PASSWD, GROUP, HOSTS, DHCP];

const INIT: &str = include_str!("../../../guest/init");
const PASSWD: &str = include_str!("../../../guest/etc/passwd");
const GROUP: &str = include_str!("../../../guest/etc/group");
const HOSTS: &str = include_str!("../../../guest/etc/hosts");
const DHCP: &str = include_str!("../../../guest/etc/dhcp");

/// What a program does not need to run.
const LEFT_OUT: &[&str] = &[
    "usr/share/",
    "usr/lib/systemd/",
    "usr/lib/aarch64-linux-gnu/gconv/",
];

/// Debian's merged /usr.
const LINKS: &[(&str, &str)] = &[("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")];

/// What the first process can't do without; a package that lost one of these fails here rather than
/// in a guest.
const NEEDED: &[&str] = &["usr/bin/busybox", "usr/sbin/tee-supplicant"];

/// Whether a file of a package belongs into a guest.
pub(crate) fn keeps(path: &str) -> bool {
    !LEFT_OUT.iter().any(|folder| path.starts_with(folder))
}

/// Puts the files of packages, kernel modules and TAs together and adds what the project brings.
pub(crate) fn compose(parts: impl IntoIterator<Item = Tree>) -> Result<Tree> {
    let mut tree = Tree::new();
    for part in parts {
        tree.merge(part)?;
    }
    for needed in NEEDED {
        if tree.content(needed).is_none() {
            bail!("no Debian package brought {needed}");
        }
    }
    for (link, target) in LINKS {
        tree.insert(
            link,
            Node::Symlink {
                target: (*target).to_owned(),
            },
        )?;
    }
    tree.insert(
        "init",
        Node::File {
            mode: 0o755,
            content: INIT.into(),
        },
    )?;
    tree.insert_file("etc/passwd", PASSWD)?;
    tree.insert_file("etc/group", GROUP)?;
    tree.insert_file("etc/hosts", HOSTS)?;
    tree.insert(
        "etc/bulkhead/dhcp",
        Node::File {
            mode: 0o755,
            content: DHCP.into(),
        },
    )?;
    tree.insert("root", Node::Folder { mode: 0o700 })?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> Tree {
        let mut tree = Tree::new();
        for needed in NEEDED {
            tree.insert_file(needed, "program").unwrap();
        }
        tree
    }

    #[test]
    fn base_has_the_first_process_and_merged_usr() {
        let tree = compose([packages()]).unwrap();
        assert!(
            matches!(tree.get("init"), Some(Node::File { mode: 0o755, content }) if content.starts_with(b"#!/bin/busybox sh"))
        );
        assert_eq!(
            tree.get("bin"),
            Some(&Node::Symlink {
                target: "usr/bin".into()
            })
        );
    }

    #[test]
    fn missing_program_is_named() {
        let error = compose([Tree::new()]).unwrap_err().to_string();
        assert_eq!(error, "no Debian package brought usr/bin/busybox");
    }

    #[test]
    fn documentation_is_left_out() {
        assert!(!keeps("usr/share/doc/busybox-static/copyright"));
        assert!(keeps(
            "usr/lib/optee_armtz/f04a0fe7-1f5d-4b9b-abf7-619b85b4ce8c.ta"
        ));
    }
}
