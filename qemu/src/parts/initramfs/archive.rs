//! Trees as cpio archives, in the `newc` format that Linux unpacks (Linux,
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::io::{Read, Write};

use anyhow::{Context as _, Result, ensure};
use cpio::newc::{self, ModeFileType};

use super::tree::{Node, Tree, normal};

/// What every archive in this format starts with.
pub(crate) const MAGIC: &[u8] = b"070701";

/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// File type bits of a mode.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// Longest link target that is believed: Linux's `PATH_MAX`.
const TARGET_MAX: u64 = 4096;

/// Writes a tree as one archive. The same tree gives the same bytes: sorted, owned by root, without
/// times.
///
/// # Errors
///
/// The writer fails, or a file has 4 GiB or more, which the format has no room for.
pub fn write(tree: &Tree, mut writer: impl Write) -> Result<()> {
    for (inode, (path, node)) in (1..).zip(tree.iter()) {
        ensure!(
            path != TRAILER,
            "no file of an initramfs can be named {TRAILER}"
        );
        let (kind, mode, content): (_, _, &[u8]) = match node {
            Node::Folder { mode } => (ModeFileType::Directory, *mode, &[]),
            Node::File { mode, content } => (ModeFileType::Regular, *mode, content),
            Node::Symlink { target } => (ModeFileType::Symlink, 0o777, target.as_bytes()),
        };
        let size =
            u32::try_from(content.len()).with_context(|| format!("{path} has 4 GiB or more"))?;
        let mut entry = newc::Builder::new(path)
            .ino(inode)
            .mode(mode)
            .set_mode_file_type(kind)
            .write(writer, size);
        entry
            .write_all(content)
            .with_context(|| format!("{path} can't be written"))?;
        writer = entry.finish()?;
    }
    newc::trailer(writer)?;
    Ok(())
}

/// What kind of file an archive has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outline {
    /// A folder.
    Folder,
    /// A symbolic link and where it points.
    Symlink(String),
}

/// Reads where an archive's folders and symbolic links are. Stops at the end of the first archive:
/// what may follow it can be compressed.
///
/// # Errors
///
/// The archive is damaged.
pub fn outline(mut reader: impl Read) -> Result<Vec<(String, Outline)>> {
    let mut found = Vec::new();
    loop {
        let mut entry = newc::Reader::new(reader).context("the cpio archive is damaged")?;
        if entry.entry().is_trailer() {
            return Ok(found);
        }
        let path = normal(entry.entry().name())?;
        match entry.entry().mode() & TYPE_MASK {
            TYPE_FOLDER => found.push((path, Outline::Folder)),
            TYPE_SYMLINK => {
                let mut target = String::new();
                entry
                    .by_ref()
                    .take(TARGET_MAX)
                    .read_to_string(&mut target)
                    .with_context(|| format!("link {path}"))?;
                found.push((path, Outline::Symlink(target)));
            }
            _ => {}
        }
        reader = entry.finish().context("the cpio archive is cut short")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut tree = Tree::new();
        tree.insert("usr/bin", Node::Folder { mode: 0o700 })
            .unwrap();
        tree.insert(
            "bin",
            Node::Symlink {
                target: "usr/bin".into(),
            },
        )
        .unwrap();
        tree.insert(
            "usr/bin/tool",
            Node::File {
                mode: 0o4755,
                content: b"12345".to_vec(),
            },
        )
        .unwrap();
        tree
    }

    fn bytes(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(tree, &mut bytes).unwrap();
        bytes
    }

    /// Name, mode, owner, time and content of each entry.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, u32, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let mut reader = newc::Reader::new(bytes).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let entry = reader.entry();
            let (name, mode, owner, time) = (
                entry.name().to_owned(),
                entry.mode(),
                entry.uid() + entry.gid(),
                entry.mtime(),
            );
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            found.push((name, mode, owner, time, content));
            bytes = reader.finish().unwrap();
        }
    }

    #[test]
    fn archive_holds_types_modes_and_content() {
        assert_eq!(
            entries(&bytes(&sample())),
            [
                ("bin".to_owned(), 0o120_777, 0, 0, b"usr/bin".to_vec()),
                ("usr".to_owned(), 0o040_755, 0, 0, vec![]),
                ("usr/bin".to_owned(), 0o040_700, 0, 0, vec![]),
                (
                    "usr/bin/tool".to_owned(),
                    0o104_755,
                    0,
                    0,
                    b"12345".to_vec()
                ),
            ]
        );
    }

    #[test]
    fn same_tree_gives_same_bytes() {
        let mut other = Tree::new();
        other
            .insert(
                "usr/bin/tool",
                Node::File {
                    mode: 0o4755,
                    content: b"12345".to_vec(),
                },
            )
            .unwrap();
        other
            .insert(
                "bin",
                Node::Symlink {
                    target: "usr/bin".into(),
                },
            )
            .unwrap();
        other
            .insert("usr/bin", Node::Folder { mode: 0o700 })
            .unwrap();
        assert_eq!(bytes(&sample()), bytes(&other));
        assert!(bytes(&sample()).starts_with(MAGIC));
    }

    #[test]
    fn outline_finds_folders_and_links() {
        let outline = outline(&bytes(&sample())[..]).unwrap();
        assert_eq!(
            outline,
            [
                ("bin".to_owned(), Outline::Symlink("usr/bin".to_owned())),
                ("usr".to_owned(), Outline::Folder),
                ("usr/bin".to_owned(), Outline::Folder),
            ]
        );
    }

    #[test]
    fn file_that_would_end_the_archive_is_refused() {
        let mut tree = Tree::new();
        tree.insert_file("TRAILER!!!", "").unwrap();
        assert!(write(&tree, Vec::new()).is_err());
    }

    #[test]
    fn cut_archive_is_refused() {
        let bytes = bytes(&sample());
        assert!(outline(&bytes[..bytes.len() / 2]).is_err());
        assert!(outline(&b"not an archive"[..]).is_err());
    }
}
