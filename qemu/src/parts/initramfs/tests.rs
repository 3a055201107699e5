use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::archive::{Outline, outline};
use super::tree::Node;
use super::*;

fn job() -> Job {
    Job {
        command: "tool".into(),
        token: "a1".into(),
        disks: Vec::new(),
        networks: Vec::new(),
        authorized_key: None,
        needs_tee: true,
    }
}

/// A folder with an archive of a merged /usr in the file `base`, of an odd length.
fn folder_with_base() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let mut tree = Tree::new();
    tree.insert(
        "bin",
        Node::Symlink {
            target: "usr/bin".into(),
        },
    )
    .unwrap();
    tree.insert("etc", Node::Folder { mode: 0o755 }).unwrap();
    tree.insert("usr/bin", Node::Folder { mode: 0o755 })
        .unwrap();
    let mut bytes = Vec::new();
    archive::write(&tree, &mut bytes).unwrap();
    bytes.push(0);
    let base = folder.path().join("base");
    fs::write(&base, bytes).unwrap();
    (folder, base)
}

/// The second archive of what was written, as text of names; checks that the first is the base.
fn added(out: &Path, base: &Path) -> String {
    let (out, base) = (fs::read(out).unwrap(), fs::read(base).unwrap());
    let start = base.len().next_multiple_of(4);
    assert!(out.starts_with(&base));
    assert!(out[base.len()..start].iter().all(|byte| *byte == 0));
    assert!(out[start..].starts_with(archive::MAGIC));
    String::from_utf8_lossy(&out[start..]).into_owned()
}

#[test]
fn job_and_overlay_follow_the_base() {
    let (folder, base) = folder_with_base();
    let overlay = folder.path().join("overlay");
    fs::create_dir_all(overlay.join("bin")).unwrap();
    fs::write(overlay.join("bin/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(overlay.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("tool", overlay.join("bin/alias")).unwrap();

    let out = folder.path().join("out");
    guest_initramfs(&out, &base, &[overlay], Some(&job())).unwrap();
    let text = added(&out, &base);
    for name in [
        "usr/bin/tool",
        "usr/bin/alias",
        "etc/bulkhead/job",
        "etc/bulkhead/token",
        "etc/bulkhead/needs-tee",
    ] {
        assert!(text.contains(&format!("{name}\0")), "{name}");
    }
    let bytes = text.as_bytes();
    assert_eq!(
        outline(bytes).unwrap(),
        [
            ("etc/bulkhead".to_owned(), Outline::Folder),
            (
                "usr/bin/alias".to_owned(),
                Outline::Symlink("tool".to_owned())
            ),
        ]
    );
}

#[test]
fn later_overlay_wins() {
    let (folder, base) = folder_with_base();
    let overlays = ["one", "two"].map(|name| {
        let overlay = folder.path().join(name);
        fs::create_dir(&overlay).unwrap();
        fs::write(overlay.join("file"), format!("from {name}")).unwrap();
        overlay
    });
    let out = folder.path().join("out");
    guest_initramfs(&out, &base, &overlays, Some(&job())).unwrap();
    let text = added(&out, &base);
    assert!(text.contains("from two") && !text.contains("from one"));
}

#[test]
fn same_parts_give_the_same_file() {
    let (folder, base) = folder_with_base();
    let outs = ["a", "b"].map(|name| {
        let out = folder.path().join(name);
        guest_initramfs(&out, &base, &[], Some(&job())).unwrap();
        fs::read(out).unwrap()
    });
    assert_eq!(outs[0], outs[1]);
}

#[test]
fn compressed_base_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let base = folder.path().join("base");
    fs::write(&base, b"\x1f\x8bcompressed").unwrap();
    let out = folder.path().join("out");
    guest_initramfs(&out, &base, &[], Some(&job())).unwrap();
    assert!(added(&out, &base).contains("etc/bulkhead/job\0"));
}

#[test]
fn damaged_base_is_named() {
    let (folder, base) = folder_with_base();
    let bytes = fs::read(&base).unwrap();
    fs::write(&base, &bytes[..150]).unwrap();
    let error = guest_initramfs(&folder.path().join("out"), &base, &[], Some(&job()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("base is damaged"), "{error}");
}

#[test]
fn missing_base_is_named() {
    let folder = TempDir::new().unwrap();
    let base = folder.path().join("nothing");
    let error = guest_initramfs(&folder.path().join("out"), &base, &[], Some(&job()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing can't be read"), "{error}");
}

#[test]
fn overlay_without_a_job_brings_no_job() {
    let (folder, base) = folder_with_base();
    let overlay = folder.path().join("overlay");
    fs::create_dir(&overlay).unwrap();
    fs::write(overlay.join("file"), "text").unwrap();
    let out = folder.path().join("out");
    guest_initramfs(&out, &base, &[overlay], None).unwrap();
    let text = added(&out, &base);
    assert!(text.contains("file\0") && !text.contains("bulkhead"));
}
