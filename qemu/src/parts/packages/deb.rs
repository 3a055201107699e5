//! Debian binary packages: an `ar` archive with the files in a compressed `tar` archive (deb(5)).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use liblzma::read::XzDecoder;
use tar::EntryType;

use crate::parts::initramfs::tree::{Node, Tree, normal};

/// Permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;

/// Reads the files of a package for whose path, relative to the root, `wanted` says yes. Folders
/// come with what they hold, so that none stays empty.
///
/// # Errors
///
/// The package can't be read or is damaged, or holds a file that no file system tree can have.
pub(super) fn read(package: &Path, wanted: impl Fn(&str) -> bool) -> Result<Tree> {
    let context = || format!("the package {} can't be unpacked", package.display());
    let file = File::open(package).with_context(context)?;
    let mut archive = ar::Archive::new(BufReader::new(file));
    while let Some(entry) = archive.next_entry() {
        let entry = entry.with_context(context)?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        match name.as_str() {
            "data.tar" => return read_tar(entry, wanted).with_context(context),
            "data.tar.xz" => {
                return read_tar(XzDecoder::new_parallel(entry), wanted).with_context(context);
            }
            name if name.starts_with("data.tar") => {
                bail!(
                    "the package {} is compressed in a way not known here: {name}",
                    package.display()
                )
            }
            _ => {}
        }
    }
    bail!("the package {} holds no files", package.display())
}

fn read_tar(reader: impl Read, wanted: impl Fn(&str) -> bool) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = text(&entry.path_bytes())?;
        let path = normal(&path)?;
        if !wanted(&path) {
            continue;
        }
        let mode = entry.header().mode()? & PERMISSIONS;
        match entry.header().entry_type() {
            EntryType::Directory => {}
            EntryType::Regular => {
                let mut content = Vec::new();
                entry
                    .read_to_end(&mut content)
                    .with_context(|| format!("{path} is damaged"))?;
                tree.insert(&path, Node::File { mode, content })?;
            }
            EntryType::Symlink => {
                let target = entry
                    .link_name_bytes()
                    .with_context(|| format!("the link {path} points nowhere"))?;
                tree.insert(
                    &path,
                    Node::Symlink {
                        target: text(&target)?,
                    },
                )?;
            }
            EntryType::Link => {
                let target = entry
                    .link_name_bytes()
                    .with_context(|| format!("the link {path} points nowhere"))?;
                let target = normal(&text(&target)?)?;
                let Some(node) = tree.get(&target).cloned() else {
                    bail!("{path} is a hard link to {target}, which does not stand before it");
                };
                tree.insert(&path, node)?;
            }
            other => bail!("{path} is of a type ({other:?}) that is not known here"),
        }
    }
    // The archive ends before its compressed form does, whose end has the checksums.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(tree)
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec())
        .with_context(|| format!("{} is not UTF-8", String::from_utf8_lossy(bytes)))
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::io::Write as _;

    use liblzma::write::XzEncoder;
    use tempfile::TempDir;

    use super::*;

    enum Entry<'a> {
        Folder(&'a str),
        File(&'a str, u32, &'a [u8]),
        Symlink(&'a str, &'a str),
        Hard(&'a str, &'a str),
        Pipe(&'a str),
    }

    fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            let (path, kind, mode, content, link): (&str, _, _, &[u8], _) = match entry {
                Entry::Folder(path) => (path, EntryType::Directory, 0o755, &[], None),
                Entry::File(path, mode, content) => {
                    (path, EntryType::Regular, *mode, content, None)
                }
                Entry::Symlink(path, target) => {
                    (path, EntryType::Symlink, 0o777, &[], Some(target))
                }
                Entry::Hard(path, target) => (path, EntryType::Link, 0o644, &[], Some(target)),
                Entry::Pipe(path) => (path, EntryType::Fifo, 0o644, &[], None),
            };
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            if let Some(target) = link {
                header.set_link_name(target).unwrap();
            }
            // The builder refuses what a hostile package may hold, so the name goes in past it.
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, content) in members {
            let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// A package with these regular files.
    pub(in crate::parts::packages) fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
        let names: Vec<_> = files
            .iter()
            .map(|(path, content)| (format!("./{path}"), *content))
            .collect();
        let entries: Vec<_> = names
            .iter()
            .map(|(path, content)| Entry::File(path, 0o755, content))
            .collect();
        deb(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", b""),
            ("data.tar.xz", &xz(&tar_of(&entries))),
        ])
    }

    /// A package with one regular file and one symbolic link, each a path and what it holds.
    pub(in crate::parts::packages) fn package_with_link(
        (file, content): (&str, &[u8]),
        (link, target): (&str, &str),
    ) -> Vec<u8> {
        let (file, link) = (format!("./{file}"), format!("./{link}"));
        let entries = [
            Entry::File(&file, 0o644, content),
            Entry::Symlink(&link, target),
        ];
        deb(&[("data.tar.xz", &xz(&tar_of(&entries)))])
    }

    fn read_bytes(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Tree> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("p.deb");
        fs::write(&path, bytes).unwrap();
        read(&path, wanted)
    }

    fn read_entries(entries: &[Entry<'_>]) -> Result<Tree> {
        read_bytes(&deb(&[("data.tar.xz", &xz(&tar_of(entries)))]), |_| true)
    }

    #[test]
    fn wanted_files_and_links_come_out() {
        let entries = [
            Entry::Folder("./"),
            Entry::Folder("./usr/"),
            Entry::File("./usr/tool", 0o4755, b"program"),
            Entry::File("./usr/doc", 0o644, b"text"),
            Entry::Symlink("./usr/alias", "tool"),
            Entry::Hard("./usr/twin", "./usr/tool"),
        ];
        let tree = read_bytes(&deb(&[("data.tar.xz", &xz(&tar_of(&entries)))]), |path| {
            path != "usr/doc"
        })
        .unwrap();
        let tool = Node::File {
            mode: 0o4755,
            content: b"program".to_vec(),
        };
        assert_eq!(tree.get("usr/tool"), Some(&tool));
        assert_eq!(tree.get("usr/twin"), Some(&tool));
        assert_eq!(
            tree.get("usr/alias"),
            Some(&Node::Symlink {
                target: "tool".into()
            })
        );
        assert_eq!(tree.get("usr/doc"), None);
    }

    #[test]
    fn uncompressed_files_come_out() {
        let tar = tar_of(&[Entry::File("./a", 0o644, b"x")]);
        let tree = read_bytes(
            &deb(&[("debian-binary", b"2.0\n"), ("data.tar", &tar)]),
            |_| true,
        )
        .unwrap();
        assert_eq!(tree.content("a"), Some(&b"x"[..]));
    }

    #[test]
    fn path_out_of_the_root_is_refused() {
        assert!(read_entries(&[Entry::File("../etc/passwd", 0o644, b"")]).is_err());
    }

    #[test]
    fn hard_link_to_nothing_is_refused() {
        assert!(read_entries(&[Entry::Hard("./a", "./b")]).is_err());
    }

    #[test]
    fn pipe_is_refused() {
        assert!(read_entries(&[Entry::Pipe("./a")]).is_err());
    }

    #[test]
    fn cut_package_is_refused() {
        let whole = package(&[("a", &[7; 5000])]);
        assert!(read_bytes(&whole[..whole.len() - 20], |_| true).is_err());
    }

    #[test]
    fn unknown_compression_is_named() {
        let error = read_bytes(&deb(&[("data.tar.zst", b"")]), |_| true)
            .unwrap_err()
            .to_string();
        assert!(error.contains("data.tar.zst"), "{error}");
    }

    #[test]
    fn package_without_files_is_refused() {
        assert!(read_bytes(&deb(&[("debian-binary", b"2.0\n")]), |_| true).is_err());
        assert!(read_bytes(b"no archive", |_| true).is_err());
    }
}
