use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::apt::{NEWEST, NEWEST_OR_OLDER};
use super::deb::tests::{package, package_with_link};
use super::kernel::tests::{image, xz};
use super::*;

const REAL_KERNEL: &str = "linux-image-6.1-arm64";

/// A machine whose apt-get and apt-cache are scripts that serve a made-up archive from a folder.
struct Machine {
    folder: TempDir,
    cache: Cache,
    host: Host,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().to_owned();
        for name in ["bin", "archive/debs", "archive/sources"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        script(
            &root.join("bin/apt-get"),
            &format!(
                r#"A='{archive}'; echo "$*" >>"$A/log"
                case " $* " in
                *' indextargets '*) echo 'http://mirror.example/debian bookworm';;
                *' update '*) [ ! -e "$A/offline" ] || {{ echo 'E: no route' >&2; exit 100; }};;
                *' download '*) for word; do case $word in *=*) cp "$A/debs/${{word%%=*}}"_* .;; esac; done
                    [ ! -e "$A/broken" ] || {{ echo 'E: connection lost' >&2; exit 100; }};;
                *' source '*) cp "$A"/sources/* .;;
                esac"#,
                archive = root.join("archive").display()
            ),
        );
        script(
            &root.join("bin/apt-cache"),
            &format!(
                "case \" $* \" in *' showsrc '*) cat '{archive}/showsrc';; *) cat '{archive}/show';; esac",
                archive = root.join("archive").display()
            ),
        );
        let host = Host {
            search_path: Some(format!("{}:/usr/bin:/bin", root.join("bin").display()).into()),
            mirror: None,
            keyring: "/keys.gpg".into(),
        };
        let cache = Cache::open(&root.join("cache")).unwrap();
        let machine = Self {
            folder,
            cache,
            host,
        };
        machine.publish("1");
        machine
    }

    fn archive(&self, name: &str) -> PathBuf {
        self.folder.path().join("archive").join(name)
    }

    /// Fills the archive with packages of a version.
    fn publish(&self, version: &str) {
        let modules = "usr/lib/modules/6.1-arm64/kernel/drivers/tee";
        let mut show = format!(
            "Package: {KERNEL_NAME}\nVersion: {version}\nArchitecture: arm64\nDepends: {REAL_KERNEL} (= {version})\n\n"
        );
        for name in wanted(REAL_KERNEL)
            .into_iter()
            .filter(|name| *name != FIRMWARE_SOURCE)
        {
            let bytes = match name {
                REAL_KERNEL => package(&[
                    ("boot/vmlinuz-6.1-arm64", &image()),
                    (&format!("{modules}/tee.ko.xz"), &xz(b"tee")),
                    (&format!("{modules}/optee/optee.ko.xz"), &xz(b"optee")),
                ]),
                OPTEE => {
                    let images = OPTEE_IMAGES.map(|image| {
                        let path = |platform| format!("usr/lib/optee/{platform}/{image}");
                        [
                            (path(PLATFORM), image.to_owned()),
                            (path(PLATFORM_ALONE), format!("alone {image}")),
                        ]
                    });
                    let files: Vec<_> = images
                        .iter()
                        .flatten()
                        .map(|(path, content)| (path.as_str(), content.as_bytes()))
                        .collect();
                    package(&files)
                }
                TA_KIT => package(&[(&format!("usr/lib/optee-os-dev/{PLATFORM}/ta/1.ta"), b"TA")]),
                "busybox-static" => package(&[
                    ("usr/bin/busybox", b"busybox"),
                    ("usr/share/doc/x", b"text"),
                ]),
                "tee-supplicant" => package(&[("usr/sbin/tee-supplicant", b"supplicant")]),
                name => package(&[(&format!("usr/lib/{name}.so"), version.as_bytes())]),
            };
            let file = format!("{name}_{version}_arm64.deb");
            show += &format!(
                "Package: {name}\nVersion: {version}\nArchitecture: arm64\nFilename: pool/{file}\nSize: {}\nSHA256: {}\n\n",
                bytes.len(),
                sha256_of_bytes(&bytes)
            );
            for old in fs::read_dir(self.archive("debs"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
            {
                if old
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with(&format!("{name}_"))
                {
                    fs::remove_file(old).unwrap();
                }
            }
            // apt writes an epoch into the name, the archive does not.
            fs::write(
                self.archive("debs")
                    .join(format!("{name}_1%3a{version}_arm64.deb")),
                bytes,
            )
            .unwrap();
        }
        fs::write(self.archive("show"), show).unwrap();
        let mut show_sources = String::new();
        for (name, file) in [(FIRMWARE_SOURCE, "tf.dsc"), (OPTEE, "optee.dsc")] {
            fs::write(self.archive("sources").join(file), version).unwrap();
            show_sources += &format!(
                "Package: {name}\nVersion: {version}\nChecksums-Sha256:\n {} {} {file}\n\n",
                sha256_of_bytes(version.as_bytes()),
                version.len()
            );
        }
        fs::write(self.archive("showsrc"), show_sources).unwrap();
    }

    /// What [`debian_parts`] does, on this machine.
    fn parts(&self) -> Result<DebianParts> {
        let progress = Progress::silent();
        let locked = self.cache.lock("test", &progress)?;
        let resolved = match cached(&locked)? {
            Some(resolved) => resolved,
            None => fetch(&locked, &self.host, &progress)?,
        };
        unpack(&locked, resolved, &progress)
    }

    /// What [`optee_source`] does, on this machine.
    fn source(&self, package: &PackageVersion) -> Result<()> {
        let progress = Progress::silent();
        let locked = self.cache.lock("test", &progress)?;
        if source::is_there(&locked, package)? {
            return Ok(());
        }
        source::fetch(&locked, &self.host, package, &progress)
    }

    /// What [`pin_newest_optee`] does, on this machine.
    fn pin(&self) -> Result<PackageVersion> {
        let progress = Progress::silent();
        let locked = self.cache.lock("test", &progress)?;
        source::pin_newest(&locked, &self.host, &self.archive("pin.json"), &progress)
    }

    /// The calls of apt-get since the last look.
    fn calls(&self) -> String {
        let calls = fs::read_to_string(self.archive("log")).unwrap_or_default();
        let _ = fs::remove_file(self.archive("log"));
        calls
    }

    fn assert_nothing_half_done(&self) {
        let left = fs::read_dir(self.cache.root().join("tmp")).unwrap().count();
        assert_eq!(left, 0);
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn parts_are_resolved_downloaded_and_unpacked() {
    let machine = Machine::new();
    let parts = machine.parts().unwrap();
    assert_eq!(fs::read(&parts.kernel_image).unwrap(), image());
    assert_eq!(parts.kernel_release, "6.1-arm64");
    for image in OPTEE_IMAGES {
        assert_eq!(
            fs::read_to_string(parts.optee_dir.join(image)).unwrap(),
            image
        );
        assert_eq!(
            fs::read_to_string(parts.optee_alone_dir.join(image)).unwrap(),
            format!("alone {image}")
        );
    }
    assert!(parts.firmware_source.join("tf.dsc").is_file());
    assert_eq!(parts.versions.len(), wanted(REAL_KERNEL).len());
    assert!(
        parts
            .versions
            .is_sorted_by_key(|package| package.name.clone())
    );

    let initramfs = fs::read(&parts.base_initramfs).unwrap();
    let text = String::from_utf8_lossy(&initramfs);
    for name in [
        "init",
        "usr/bin/busybox",
        "usr/lib/optee_armtz/1.ta",
        "usr/lib/modules/6.1-arm64/kernel/drivers/tee/tee.ko",
        "usr/lib/modules/6.1-arm64/kernel/drivers/tee/optee/optee.ko",
    ] {
        assert!(text.contains(&format!("{name}\0")), "{name}");
    }
    assert!(!text.contains("usr/share"));
}

#[test]
fn complete_cache_asks_nobody() {
    let machine = Machine::new();
    let parts = machine.parts().unwrap();
    assert!(machine.calls().contains(" update"));
    fs::write(machine.archive("offline"), "").unwrap();
    machine.publish("2");
    assert_eq!(machine.parts().unwrap(), parts);
    assert_eq!(machine.calls(), "");
}

#[test]
fn versions_are_recorded_with_their_hashes() {
    let machine = Machine::new();
    let parts = machine.parts().unwrap();
    let record = fs::read_to_string(machine.cache.root().join("versions.json")).unwrap();
    for package in parts.versions {
        assert!(record.contains(&package.sha256), "{}", package.name);
    }
}

#[test]
fn machine_without_network_gets_advice_and_a_clean_cache() {
    let machine = Machine::new();
    fs::write(machine.archive("offline"), "").unwrap();
    let error = format!("{:#}", machine.parts().unwrap_err());
    assert!(
        error.contains("E: no route") && error.contains("DEBIAN_MIRROR"),
        "{error}"
    );
    machine.assert_nothing_half_done();
    assert!(!machine.cache.root().join("versions.json").exists());
}

#[test]
fn failed_download_leaves_a_clean_cache_and_the_next_run_succeeds() {
    let machine = Machine::new();
    fs::write(machine.archive("broken"), "").unwrap();
    let error = format!("{:#}", machine.parts().unwrap_err());
    assert!(error.contains("E: connection lost"), "{error}");
    machine.assert_nothing_half_done();
    assert!(!machine.cache.root().join("packages").exists());
    assert!(!machine.cache.root().join("versions.json").exists());

    fs::remove_file(machine.archive("broken")).unwrap();
    machine.parts().unwrap();
}

#[test]
fn package_that_is_not_what_the_list_says_is_refused() {
    let machine = Machine::new();
    let path = machine.archive("debs").join("zlib1g_1%3a1_arm64.deb");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    let error = format!("{:#}", machine.parts().unwrap_err());
    assert!(
        error.contains("zlib1g_1_arm64.deb is not what the signed package list says"),
        "{error}"
    );
    assert!(!machine.cache.root().join("versions.json").exists());
}

#[test]
fn broken_package_is_downloaded_again_and_no_other() {
    let machine = Machine::new();
    let parts = machine.parts().unwrap();
    let zlib = parts
        .versions
        .iter()
        .find(|package| package.name == "zlib1g")
        .unwrap();
    let file = machine
        .cache
        .root()
        .join("packages")
        .join(zlib.key())
        .join("zlib1g_1_arm64.deb");
    fs::write(&file, "half").unwrap();
    machine.calls();
    assert_eq!(machine.parts().unwrap(), parts);
    let calls = machine.calls();
    assert!(calls.contains("download zlib1g=1\n"), "{calls}");
    assert_eq!(sha256_of_bytes(&fs::read(file).unwrap()), zlib.sha256);
}

#[test]
fn broken_parts_are_unpacked_again_without_the_network() {
    let machine = Machine::new();
    let parts = machine.parts().unwrap();
    fs::write(&parts.kernel_image, "half").unwrap();
    fs::write(&parts.base_initramfs, "half").unwrap();
    fs::remove_file(parts.optee_dir.join(OPTEE_IMAGES[1])).unwrap();
    machine.calls();
    assert_eq!(machine.parts().unwrap(), parts);
    assert_eq!(fs::read(&parts.kernel_image).unwrap(), image());
    assert!(parts.optee_dir.join(OPTEE_IMAGES[1]).is_file());
    assert_eq!(machine.calls(), "");
}

#[test]
fn damaged_or_foreign_record_is_resolved_again() {
    for content in [
        "{",
        "{}",
        r#"{"suite": "trixie", "kernel": "linux-image-6.1-arm64", "packages": []}"#,
    ] {
        let machine = Machine::new();
        let parts = machine.parts().unwrap();
        fs::write(machine.cache.root().join("versions.json"), content).unwrap();
        assert_eq!(machine.parts().unwrap(), parts, "{content}");
        assert!(!machine.calls().contains("download zlib1g=1 download"));
    }
}

#[test]
fn new_record_takes_over_a_point_release() {
    let machine = Machine::new();
    let old = machine.parts().unwrap();
    machine.publish("2");
    fs::remove_file(machine.cache.root().join("versions.json")).unwrap();
    let new = machine.parts().unwrap();
    assert!(new.versions.iter().all(|package| package.version == "2"));
    assert_ne!(new.base_initramfs, old.base_initramfs);
}

#[test]
fn private_root_uses_the_machine_mirror_and_checks_signatures() {
    let machine = Machine::new();
    let root = TempDir::new().unwrap();
    Apt::start(&machine.host, root.path(), &STABLE, &Progress::silent()).unwrap();
    assert_eq!(
        fs::read_to_string(root.path().join("sources.list")).unwrap(),
        "deb [arch=arm64 target=Packages signed-by=/keys.gpg] http://mirror.example/debian trixie main\n\
         deb-src [target=Sources signed-by=/keys.gpg] http://mirror.example/debian trixie main\n"
    );
    let calls = machine.calls();
    let update = calls
        .lines()
        .find(|call| call.ends_with(" update"))
        .unwrap();
    assert!(
        update.contains(&format!("-c {}/apt.conf", root.path().display())),
        "{update}"
    );
}

#[test]
fn named_mirror_is_used_without_asking_the_machine() {
    let mut machine = Machine::new();
    machine.host.mirror = Some("http://other.example/debian".into());
    let root = TempDir::new().unwrap();
    Apt::start(&machine.host, root.path(), &STABLE, &Progress::silent()).unwrap();
    let sources = fs::read_to_string(root.path().join("sources.list")).unwrap();
    assert!(
        sources.contains(" http://other.example/debian trixie main"),
        "{sources}"
    );
    assert!(!machine.calls().contains("indextargets"));
}

#[test]
fn private_root_for_sources_asks_for_nothing_else() {
    let machine = Machine::new();
    let root = TempDir::new().unwrap();
    Apt::start(&machine.host, root.path(), &NEWEST, &Progress::silent()).unwrap();
    assert_eq!(
        fs::read_to_string(root.path().join("sources.list")).unwrap(),
        "deb-src [target=Sources signed-by=/keys.gpg] http://mirror.example/debian sid main\n"
    );
}

#[test]
fn lists_of_past_days_are_taken_only_for_what_is_checked_otherwise() {
    for (suite, checked) in [(STABLE, true), (NEWEST, true), (NEWEST_OR_OLDER, false)] {
        let machine = Machine::new();
        let root = TempDir::new().unwrap();
        Apt::start(&machine.host, root.path(), &suite, &Progress::silent()).unwrap();
        let configuration = fs::read_to_string(root.path().join("apt.conf")).unwrap();
        let line = format!("Acquire::Check-Valid-Until \"{checked}\";\n");
        assert!(configuration.contains(&line), "{suite:?}");
    }
}

#[test]
fn optee_source_is_downloaded_once_and_then_asks_nobody() {
    let machine = Machine::new();
    let package = machine.pin().unwrap();
    assert!(package.is_source());
    machine.source(&package).unwrap();
    assert!(
        machine
            .calls()
            .contains(" source --download-only optee-os=1")
    );
    let folder = machine.cache.root().join("packages").join(package.key());
    assert_eq!(fs::read_to_string(folder.join("optee.dsc")).unwrap(), "1");
    fs::write(machine.archive("offline"), "").unwrap();
    machine.publish("2");
    machine.source(&package).unwrap();
    assert_eq!(machine.calls(), "");
}

#[test]
fn the_newest_optee_source_is_named_in_a_file() {
    let machine = Machine::new();
    machine.publish("2");
    let package = machine.pin().unwrap();
    assert_eq!(package.version, "2");
    assert_eq!(
        source::pinned(&machine.archive("pin.json")).unwrap(),
        package
    );
}

#[test]
fn the_checkout_names_an_optee_source() {
    let pin = crate::base::checkout::checkout().join("qemu/optee-source.json");
    let package = source::pinned(&pin).unwrap();
    assert_eq!(package.name, OPTEE);
    assert!(package.is_source());
    // Older ones halt for all guests when one guest's storage fails (docs/optee-versions.md).
    let numbers: Vec<u32> = upstream(&package.version)
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect();
    assert!(numbers >= vec![4, 10], "{}", package.version);
}

#[test]
fn optee_source_that_the_mirror_has_no_more_is_refused_and_told_how_to_go_on() {
    let machine = Machine::new();
    let package = machine.pin().unwrap();
    machine.publish("2");
    let error = format!("{:#}", machine.source(&package).unwrap_err());
    for part in ["optee-os=1", "optee-os=2", "DEBIAN_MIRROR", "pin-optee"] {
        assert!(error.contains(part), "{error}");
    }
    machine.assert_nothing_half_done();
}

#[test]
fn optee_source_with_another_hash_than_the_named_one_is_refused() {
    let machine = Machine::new();
    let mut package = machine.pin().unwrap();
    package.sha256 = sha256_of_bytes(b"another");
    let error = format!("{:#}", machine.source(&package).unwrap_err());
    assert!(error.contains(&package.sha256), "{error}");
}

#[test]
fn broken_optee_source_is_downloaded_again() {
    let machine = Machine::new();
    let package = machine.pin().unwrap();
    machine.source(&package).unwrap();
    let file = machine
        .cache
        .root()
        .join("packages")
        .join(package.key())
        .join("optee.dsc");
    fs::write(&file, "half").unwrap();
    machine.source(&package).unwrap();
    assert_eq!(fs::read_to_string(file).unwrap(), "1");
}

#[test]
fn machine_without_network_has_no_optee_source_and_a_clean_cache() {
    let machine = Machine::new();
    let package = machine.pin().unwrap();
    fs::write(machine.archive("offline"), "").unwrap();
    let error = format!("{:#}", machine.source(&package).unwrap_err());
    assert!(
        error.contains("Debian sid") && error.contains("DEBIAN_MIRROR"),
        "{error}"
    );
    machine.assert_nothing_half_done();
}

#[test]
fn key_of_tas_is_found_behind_its_link() {
    let folder = TempDir::new().unwrap();
    let kit = folder.path().join("kit.deb");
    let keys = format!("usr/lib/optee-os-dev/{PLATFORM}/keys");
    let key = format!("{keys}/default.pem");
    let link = format!("{keys}/default_ta.pem");
    fs::write(
        &kit,
        package_with_link((&key, b"secret"), (&link, "default.pem")),
    )
    .unwrap();
    assert_eq!(ta_sign_key(&kit).unwrap(), b"secret");
    for (name, target) in [
        (&key, "default.pem"),
        (&link, "gone.pem"),
        (&link, "default_ta.pem"),
    ] {
        fs::write(&kit, package_with_link((&key, b"secret"), (name, target))).unwrap();
        let error = ta_sign_key(&kit).unwrap_err().to_string();
        assert!(error.contains("default_ta.pem"), "{error}");
    }
}

#[test]
fn upstream_version_is_what_its_makers_call_it() {
    assert_eq!(upstream("4.5.0-2"), "4.5.0");
    assert_eq!(upstream("1:2.12.1+dfsg-1"), "2.12.1");
    assert_eq!(upstream("6"), "6");
}
