//! A tree of files in memory: what becomes an initramfs.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Permissions of a folder that nothing else says anything about.
const FOLDER_MODE: u32 = 0o755;

/// One file of a tree. Everything belongs to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder with its permissions.
    Folder {
        /// Permission bits, without the file type.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permission bits, without the file type.
        mode: u32,
        /// Its content.
        content: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as it stands in the link.
        target: String,
    },
}

/// Files by path. Paths are relative to the root, with `/` between names and neither `.` nor `..`
/// in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a node at a path, in place of what was there, and the folders above it if they are
    /// missing. The path may start with `/` or `./`.
    ///
    /// # Errors
    ///
    /// The path leads out of the tree, names the root, or goes through something that is no folder.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        let path = normal(path)?;
        if path.is_empty() {
            bail!("the root of a tree can't be replaced");
        }
        for (end, _) in path.match_indices('/') {
            let (parent, _) = path.split_at(end);
            let above = self
                .nodes
                .entry(parent.to_owned())
                .or_insert(Node::Folder { mode: FOLDER_MODE });
            if !matches!(above, Node::Folder { .. }) {
                bail!("{path}: {parent} is no folder");
            }
        }
        if !matches!(node, Node::Folder { .. }) {
            let inside = format!("{path}/");
            self.nodes.retain(|other, _| !other.starts_with(&inside));
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Puts a file that all may read and root may write.
    ///
    /// # Errors
    ///
    /// As [`Tree::insert`].
    pub fn insert_file(&mut self, path: &str, content: impl Into<Vec<u8>>) -> Result<()> {
        self.insert(
            path,
            Node::File {
                mode: 0o644,
                content: content.into(),
            },
        )
    }

    /// Puts everything of another tree on top of this one.
    ///
    /// # Errors
    ///
    /// As [`Tree::insert`].
    pub fn merge(&mut self, other: Self) -> Result<()> {
        other
            .nodes
            .into_iter()
            .try_for_each(|(path, node)| self.insert(&path, node))
    }

    /// Takes out every node for which `keep` says no. What lies in a folder that goes stays.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Node) -> bool) {
        self.nodes.retain(|path, node| keep(path, node));
    }

    /// What lies at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The content of a regular file.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        match self.nodes.get(path)? {
            Node::File { content, .. } => Some(content),
            Node::Folder { .. } | Node::Symlink { .. } => None,
        }
    }

    /// All nodes with their paths, sorted: a folder comes before what it holds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }
}

/// A path as trees keep it; empty for the root.
pub(crate) fn normal(path: &str) -> Result<String> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => bail!("the path {path} leads upwards"),
            name => names.push(name),
        }
    }
    Ok(names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn folders_above_are_added_once() {
        let mut tree = Tree::new();
        tree.insert("usr", Node::Folder { mode: 0o700 }).unwrap();
        tree.insert_file("./usr//bin/tool", "x").unwrap();
        assert_eq!(paths(&tree), ["usr", "usr/bin", "usr/bin/tool"]);
        assert_eq!(tree.get("usr"), Some(&Node::Folder { mode: 0o700 }));
        assert_eq!(tree.content("usr/bin/tool"), Some(&b"x"[..]));
    }

    #[test]
    fn path_that_leads_upwards_is_refused() {
        assert!(Tree::new().insert_file("usr/../../etc/passwd", "").is_err());
    }

    #[test]
    fn root_is_refused() {
        assert!(Tree::new().insert_file("./", "").is_err());
    }

    #[test]
    fn path_through_a_link_is_refused() {
        let mut tree = Tree::new();
        tree.insert(
            "bin",
            Node::Symlink {
                target: "usr/bin".into(),
            },
        )
        .unwrap();
        let error = tree.insert_file("bin/tool", "").unwrap_err();
        assert_eq!(error.to_string(), "bin/tool: bin is no folder");
    }

    #[test]
    fn file_replaces_a_folder_and_what_it_held() {
        let mut tree = Tree::new();
        tree.insert_file("a/b/c", "").unwrap();
        tree.insert_file("a/bc", "").unwrap();
        tree.insert_file("a/b", "").unwrap();
        assert_eq!(paths(&tree), ["a", "a/b", "a/bc"]);
    }

    #[test]
    fn merged_tree_wins() {
        let mut tree = Tree::new();
        tree.insert_file("a", "old").unwrap();
        tree.insert_file("b", "kept").unwrap();
        let mut other = Tree::new();
        other.insert_file("a", "new").unwrap();
        tree.merge(other).unwrap();
        assert_eq!(
            (tree.content("a"), tree.content("b")),
            (Some(&b"new"[..]), Some(&b"kept"[..]))
        );
    }
}
