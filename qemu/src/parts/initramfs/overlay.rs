//! Folders of the host that go on top of a guest's file system.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::archive::Outline;
use super::tree::{Node, Tree};

/// Permission bits of a mode, with set-user-ID, set-group-ID and sticky.
const PERMISSIONS: u32 = 0o7777;

/// Links followed for one path before they are taken for a loop, as Linux does (`MAXSYMLINKS`).
const LINKS_MAX: u32 = 40;

/// Reads a folder of the host with everything in it: files, folders, links and their permissions.
pub(super) fn read(folder: &Path) -> Result<Tree> {
    let metadata =
        fs::metadata(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    if !metadata.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    let mut tree = Tree::new();
    read_into(&mut tree, folder, "")?;
    Ok(tree)
}

fn read_into(tree: &mut Tree, folder: &Path, prefix: &str) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    for entry in entries {
        let file = entry
            .with_context(|| format!("{} can't be read", folder.display()))?
            .path();
        let context = || format!("{} can't be read", file.display());
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
            bail!("{} has a name that is not UTF-8", file.display());
        };
        let path = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}/{name}")
        };
        let metadata = fs::symlink_metadata(&file).with_context(context)?;
        let mode = metadata.permissions().mode() & PERMISSIONS;
        if metadata.is_dir() {
            tree.insert(&path, Node::Folder { mode })?;
            read_into(tree, &file, &path)?;
        } else if metadata.is_file() {
            tree.insert(
                &path,
                Node::File {
                    mode,
                    content: fs::read(&file).with_context(context)?,
                },
            )?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&file).with_context(context)?;
            let Some(target) = target.to_str() else {
                bail!("{} points to a name that is not UTF-8", file.display());
            };
            tree.insert(
                &path,
                Node::Symlink {
                    target: target.to_owned(),
                },
            )?;
        } else {
            bail!(
                "{} is neither a file, a folder nor a symbolic link",
                file.display()
            );
        }
    }
    Ok(())
}

/// The folders and links of the file system that an overlay goes on.
#[derive(Debug, Default)]
pub(super) struct Ground {
    folders: BTreeSet<String>,
    links: BTreeMap<String, String>,
}

impl Ground {
    pub(super) fn new(outline: Vec<(String, Outline)>) -> Self {
        let mut ground = Self::default();
        for (path, outline) in outline {
            match outline {
                Outline::Folder => drop(ground.folders.insert(path)),
                Outline::Symlink(target) => drop(ground.links.insert(path, target)),
            }
        }
        ground
    }

    /// What must be unpacked over the ground so that it shows `wanted`. Folders that are there stay
    /// as they are: Linux would replace a link to a folder by the folder, and with it all that is
    /// found through the link, and take over the permissions that the folder happens to have on the
    /// host.
    pub(super) fn place(&self, wanted: Tree) -> Result<Tree> {
        let mut placed = Tree::new();
        for (path, node) in wanted.iter() {
            let is_folder = matches!(node, Node::Folder { .. });
            let place = self.resolve(path, is_folder)?;
            // A link that points to the root resolves to an empty path.
            if !(is_folder && place.is_empty()) {
                placed
                    .insert(&place, node.clone())
                    .with_context(|| format!("{path} finds no place"))?;
            }
        }
        placed.retain(|path, node| {
            !(matches!(node, Node::Folder { .. }) && self.folders.contains(path))
        });
        Ok(placed)
    }

    /// Follows the ground's links in a path; in its last name only if `through_last`.
    fn resolve(&self, path: &str, through_last: bool) -> Result<String> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            let prefixes = path
                .match_indices('/')
                .map(|(end, _)| end)
                .chain(through_last.then_some(path.len()));
            let link = prefixes
                .map(|end| path.split_at(end))
                .find_map(|(link, rest)| Some((link, self.links.get(link)?, rest)));
            let Some((link, target, rest)) = link else {
                return Ok(path);
            };
            let parent = if target.starts_with('/') {
                ""
            } else {
                link.rsplit_once('/').map_or("", |(parent, _)| parent)
            };
            path = clean(&format!("{parent}/{target}{rest}"));
        }
        bail!("{path} leads through a loop of links");
    }
}

/// A path below the root without `.` and `..`; as on Linux, the root is its own parent.
fn clean(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    fn ground(links: &[(&str, &str)], folders: &[&str]) -> Ground {
        let links = links
            .iter()
            .map(|(path, target)| ((*path).to_owned(), Outline::Symlink((*target).to_owned())));
        let folders = folders
            .iter()
            .map(|path| ((*path).to_owned(), Outline::Folder));
        Ground::new(links.chain(folders).collect())
    }

    fn placed(ground: &Ground, path: &str) -> Vec<String> {
        let mut tree = Tree::new();
        tree.insert_file(path, "x").unwrap();
        ground
            .place(tree)
            .unwrap()
            .iter()
            .map(|(path, _)| path.to_owned())
            .collect()
    }

    #[test]
    fn files_modes_and_links_are_kept() {
        let folder = TempDir::new().unwrap();
        let tool = folder.path().join("usr/bin/tool");
        fs::create_dir_all(tool.parent().unwrap()).unwrap();
        fs::write(&tool, "text").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(folder.path().join("usr"), fs::Permissions::from_mode(0o711)).unwrap();
        symlink("/nowhere/at/all", folder.path().join("link")).unwrap();

        let tree = read(folder.path()).unwrap();
        assert_eq!(
            tree.get("usr/bin/tool"),
            Some(&Node::File {
                mode: 0o4750,
                content: b"text".to_vec()
            })
        );
        assert_eq!(tree.get("usr"), Some(&Node::Folder { mode: 0o711 }));
        assert_eq!(
            tree.get("link"),
            Some(&Node::Symlink {
                target: "/nowhere/at/all".into()
            })
        );
    }

    #[test]
    fn socket_is_refused_by_name() {
        let folder = TempDir::new().unwrap();
        let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("/socket is neither"), "{error}");
    }

    #[test]
    fn missing_folder_is_refused_by_name() {
        let error = read(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder"), "{error}");
    }

    #[test]
    fn file_is_no_overlay() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(
            read(file.path())
                .unwrap_err()
                .to_string()
                .contains("is no folder")
        );
    }

    #[test]
    fn folder_that_is_a_link_on_the_ground_leads_where_it_points() {
        let ground = ground(&[("bin", "usr/bin")], &["usr", "usr/bin"]);
        assert_eq!(placed(&ground, "bin/tool"), ["usr/bin/tool"]);
    }

    #[test]
    fn links_to_links_absolute_and_upward_targets_are_followed() {
        let ground = ground(&[("a", "/b/c"), ("b/c", "../d"), ("d", "./e")], &[]);
        assert_eq!(placed(&ground, "a/tool"), ["e", "e/tool"]);
    }

    #[test]
    fn loop_of_links_is_refused() {
        let ground = ground(&[("a", "b"), ("b", "a")], &[]);
        let mut tree = Tree::new();
        tree.insert_file("a/tool", "").unwrap();
        assert!(ground.place(tree).unwrap_err().to_string().contains("loop"));
    }

    #[test]
    fn file_replaces_a_link_of_the_ground() {
        let ground = ground(&[("etc/mtab", "/proc/mounts")], &["etc"]);
        assert_eq!(placed(&ground, "etc/mtab"), ["etc/mtab"]);
    }

    #[test]
    fn folder_of_the_ground_keeps_its_permissions() {
        let ground = ground(&[], &["root"]);
        let mut tree = Tree::new();
        tree.insert("root", Node::Folder { mode: 0o777 }).unwrap();
        tree.insert("new", Node::Folder { mode: 0o750 }).unwrap();
        let placed = ground.place(tree).unwrap();
        assert_eq!(placed.get("root"), None);
        assert_eq!(placed.get("new"), Some(&Node::Folder { mode: 0o750 }));
    }
}
