use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::bail;

use super::*;

fn cache() -> (TempDir, Cache) {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(&folder.path().join("cache")).unwrap();
    (folder, cache)
}

fn fill(text: &'static str) -> impl Fn(&Path) -> Result<()> {
    move |entry| Ok(fs::write(entry.join("file"), text)?)
}

fn never(_: &Path) -> Result<()> {
    bail!("made again")
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn entry_is_made_once() {
    let (_folder, cache) = cache();
    let locked = cache.lock("test", &Progress::silent()).unwrap();
    let path = locked.get_or_make("kind", "key", fill("text")).unwrap();
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "text");
    assert_eq!(locked.get_or_make("kind", "key", never).unwrap(), path);
}

#[test]
fn failed_entry_leaves_nothing() {
    let (_folder, cache) = cache();
    let locked = cache.lock("test", &Progress::silent()).unwrap();
    let error = locked
        .get_or_make("kind", "key", |entry| {
            fs::write(entry.join("half"), "half")?;
            bail!("download failed")
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "download failed");
    assert!(!locked.path("kind", "key").exists());
    assert!(is_empty(&locked.temporary_root()));
    locked.get_or_make("kind", "key", fill("text")).unwrap();
}

#[test]
fn entry_without_files_is_refused() {
    let (_folder, cache) = cache();
    let locked = cache.lock("test", &Progress::silent()).unwrap();
    locked.get_or_make("kind", "key", |_| Ok(())).unwrap_err();
    assert!(!locked.path("kind", "key").exists());
}

/// Breaks a sound entry and expects that it is made again.
fn assert_noticed(break_entry: impl FnOnce(&Path)) {
    let (_folder, cache) = cache();
    let locked = cache.lock("test", &Progress::silent()).unwrap();
    let path = locked.get_or_make("kind", "key", fill("text")).unwrap();
    break_entry(&path);
    assert_eq!(locked.get("kind", "key").unwrap(), None);
    assert!(!path.exists());
    let path = locked.get_or_make("kind", "key", fill("text")).unwrap();
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "text");
}

#[test]
fn cut_file_is_noticed() {
    assert_noticed(|entry| fs::write(entry.join("file"), "te").unwrap());
}

#[test]
fn changed_file_of_the_same_size_is_noticed() {
    assert_noticed(|entry| {
        let path = entry.join("file");
        fs::write(&path, "TEXT").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1))
            .unwrap();
    });
}

#[test]
fn missing_file_is_noticed() {
    assert_noticed(|entry| fs::remove_file(entry.join("file")).unwrap());
}

#[test]
fn missing_record_is_noticed() {
    assert_noticed(|entry| fs::remove_file(entry.join("entry.json")).unwrap());
}

#[test]
fn cut_record_is_noticed() {
    assert_noticed(|entry| fs::write(entry.join("entry.json"), "{").unwrap());
}

#[test]
fn file_in_place_of_an_entry_is_noticed() {
    assert_noticed(|entry| {
        fs::remove_dir_all(entry).unwrap();
        fs::write(entry, "").unwrap();
    });
}

#[test]
fn touched_file_with_the_same_content_stays() {
    let (_folder, cache) = cache();
    let locked = cache.lock("test", &Progress::silent()).unwrap();
    let path = locked.get_or_make("kind", "key", fill("text")).unwrap();
    let file = File::options()
        .append(true)
        .open(path.join("file"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    locked.get_or_make("kind", "key", never).unwrap();
}

#[test]
fn what_an_interrupted_run_left_is_removed() {
    let (_folder, cache) = cache();
    let left = cache.root().join("tmp/abc");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("half"), "half").unwrap();
    let _locked = cache.lock("test", &Progress::silent()).unwrap();
    assert!(!left.exists());
}

#[test]
fn second_run_waits_for_the_first() {
    let (_folder, cache) = cache();
    let locked = cache.lock("first", &Progress::silent()).unwrap();
    let (sender, receiver) = mpsc::channel();
    let second = thread::spawn({
        let cache = cache.clone();
        move || {
            let _locked = cache.lock("second", &Progress::silent()).unwrap();
            sender.send(()).unwrap();
        }
    });
    assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err());
    let holder = fs::read_to_string(cache.root().join("lock")).unwrap();
    assert_eq!(holder, format!("process {}: first\n", std::process::id()));
    drop(locked);
    receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    second.join().unwrap();
}

#[test]
fn written_file_replaces_the_old_one() {
    let (_folder, cache) = cache();
    let locked = cache.lock("test", &Progress::silent()).unwrap();
    locked.write_file("versions.json", b"old and long").unwrap();
    locked.write_file("versions.json", b"new").unwrap();
    assert_eq!(
        fs::read(cache.root().join("versions.json")).unwrap(),
        b"new"
    );
    assert!(is_empty(&locked.temporary_root()));
}

#[test]
fn folder_that_cannot_be_made_is_named_with_the_remedy() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Cache::open(&file.path().join("cache"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("BULKHEAD_CACHE"), "{error}");
}

#[test]
fn full_disk_is_blamed_whoever_found_it() {
    let (_folder, cache) = cache();
    let locked = cache.lock("test", &Progress::silent()).unwrap();
    let own = |_: &Path| {
        Err(io::Error::from(ErrorKind::StorageFull)).context("the file can't be written")
    };
    let other = |_: &Path| bail!("cc failed\n    cc1: error: No space left on device");
    let apt = |_: &Path| bail!("apt-get failed\n    E: You don't have enough free space in /x.");
    for error in [
        locked.get_or_make("kind", "key", apt).unwrap_err(),
        locked.get_or_make("kind", "key", own).unwrap_err(),
        locked.get_or_make("kind", "key", other).unwrap_err(),
    ] {
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(error.to_string().contains("BULKHEAD_CACHE"), "{error}");
    }
    let error = locked.get_or_make("kind", "key", never).unwrap_err();
    assert_eq!(error.to_string(), "made again");
}
