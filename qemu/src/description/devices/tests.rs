//! What the host tool refuses of a guest's devices.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::description::{Description, GuestForward, Overrides};

/// A folder with a disk image, an initramfs and a description that refers to them.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.img"), [0; 4096]).unwrap();
        fs::write(folder.path().join("initramfs"), "an initramfs").unwrap();
        Self(folder)
    }

    fn with(&self, guests: &[&str], overrides: &Overrides) -> Result<Description, ConfigError> {
        let guests = guests.iter().enumerate();
        let text: String = guests
            .map(|(n, fields)| {
                format!("[[guest]]\nname = \"vm{n}\"\nmemory = \"512MiB\"\n{fields}\n")
            })
            .collect();
        Description::parse(&self.0.path().join("machine.toml"), &text, overrides)
    }

    fn parse(&self, guests: &[&str]) -> Result<Description, ConfigError> {
        self.with(guests, &Overrides::default())
    }
}

#[track_caller]
fn refused(result: Result<Description, ConfigError>, place: &str, problem: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.place, place, "{error}");
    assert!(error.problem.contains(problem), "{error}");
    assert!(!error.remedy.is_empty(), "{error}");
}

fn with_pci(device: &str) -> Result<Description, ConfigError> {
    let folder = Folder::new();
    folder.parse(&[&format!("[[guest.pci]]\ndevice = '{device}'")])
}

const PCI: &str = "guest vm0: pci 1: device";

#[test]
fn a_virtio_device_that_goes_around_the_smmu_is_refused() {
    for device in [
        "virtio-rng-pci",
        "virtio-rng-pci,disable-legacy=on",
        "virtio-rng-pci,iommu_platform=off,disable-legacy=on",
        "virtio-rng-pci,iommu_platform=on,disable-legacy=on,iommu_platform=off",
        "virtio-rng-pci,iommu_platform=on,iommu_platform,disable-legacy=on",
        "virtio-net,disable-legacy=on",
        "virtio-vga,disable-legacy=on",
        "virtio-net-pci-non-transitional",
        "vhost-vsock-pci,guest-cid=3,disable-legacy=on",
        "vhost-user-blk-pci,chardev=c",
    ] {
        refused(with_pci(device), PCI, "goes around the SMMU");
    }
    for device in [
        "virtio-rng-pci,iommu_platform=on",
        "virtio-rng-pci,iommu_platform=on,disable-legacy=off",
        "virtio-rng-pci,iommu_platform=on,disable-legacy=on,disable-legacy=auto",
    ] {
        refused(with_pci(device), PCI, "older drivers");
    }
    let confined = "virtio-rng-pci,disable-legacy=on,rng=r,iommu_platform=on";
    let description = with_pci(confined).unwrap();
    assert_eq!(description.guests[0].devices.others[0].device, confined);
}

#[test]
fn a_device_that_the_smmu_does_not_confine_is_refused() {
    for (device, reason) in [
        ("vfio-pci,host=01:00.0", "host's IOMMU"),
        ("vfio-pci-nohotplug,host=01:00.0", "host's IOMMU"),
        ("vfio-user-pci,socket=s", "host's IOMMU"),
        ("pcie-root-port", "another bus"),
        ("ioh3420", "another bus"),
        ("x3130-upstream", "another bus"),
        ("xio3130-downstream", "another bus"),
        ("pcie-pci-bridge", "another bus"),
        ("pxb-pcie", "another bus"),
        ("ivshmem-plain,memdev=m", "shared"),
        ("ivshmem-doorbell,chardev=c", "shared"),
        ("virtio-iommu-pci", "hypervisor's"),
        (
            "arm-smmuv3,iommu_platform=on,disable-legacy=on",
            "hypervisor's",
        ),
    ] {
        refused(with_pci(device), PCI, reason);
    }
    for device in ["qemu-xhci", "nvme,drive=d,serial=1", "edu"] {
        assert!(with_pci(device).is_ok(), "{device}");
    }
}

#[test]
fn a_device_whose_name_is_hidden_is_refused() {
    for device in [
        "nvme,driver=virtio-rng-pci",
        "driver=vfio-pci",
        "{\"driver\":\"virtio-rng-pci\"}",
        "virtio-rng-pci,rng=a,,iommu_platform=on,disable-legacy=on",
        "nvme,multifunction=on",
        "nvme,addr=0.1",
        "nvme,bus=pcie.0",
        "nvme -device virtio-rng-pci",
    ] {
        refused(with_pci(device), PCI, "can't be given to QEMU");
    }
}

#[test]
fn what_nobody_would_mount_or_give_an_address_is_refused() {
    let mounted = "[[guest.disk]]\nimage = \"a.img\"\nmount = \"/data\"";
    let addressed =
        "[[guest.network]]\n[[guest.network]]\nsegment = \"s\"\naddress = \"10.0.0.1/24\"";
    let folder = Folder::new();
    for (runs, reason) in [
        ("initramfs = \"initramfs\"", "initramfs of its own"),
        ("payload = \"conformance\"", "payload"),
    ] {
        let guest = |devices: &str| folder.parse(&[&format!("{runs}\n{devices}")]);
        refused(guest(mounted), "guest vm0: disk 1: mount", reason);
        refused(guest(addressed), "guest vm0: network 2: address", reason);
        let bare = "[[guest.disk]]\nimage = \"a.img\"\n[[guest.network]]\nsegment = \"s\"";
        assert!(guest(bare).is_ok(), "it may use them by itself");
    }
    for devices in [mounted, addressed] {
        assert!(folder.parse(&[devices]).is_ok(), "Debian's initramfs does");
    }
}

#[test]
fn an_image_that_one_writes_is_nobody_elses_whatever_its_name() {
    let folder = Folder::new();
    symlink("a.img", folder.0.path().join("link.img")).unwrap();
    fs::hard_link(
        folder.0.path().join("a.img"),
        folder.0.path().join("hard.img"),
    )
    .unwrap();
    let disk = |image: &str, rest: &str| format!("[[guest.disk]]\nimage = \"{image}\"\n{rest}");
    let (size, read_only) = ("size = \"1MiB\"", "read-only = true");
    for (first, second) in [
        (disk("a.img", ""), disk("a.img", "")),
        (disk("a.img", ""), disk("./a.img", "")),
        (disk("a.img", ""), disk("link.img", "")),
        (disk("a.img", ""), disk("hard.img", "")),
        (disk("a.img", ""), disk("a.img", read_only)),
        (disk("a.img", read_only), disk("a.img", "")),
        (disk("new/b.img", size), disk("./new/b.img", size)),
    ] {
        let both = folder.parse(&[&first, &second]);
        refused(both, "guest vm1: disk", "another disk's image");
    }
    let shared = disk("a.img", read_only);
    assert!(folder.parse(&[&shared, &shared]).is_ok());
}

#[test]
fn a_forwarded_port_is_no_way_to_more_devices_than_there_are_ports() {
    let folder = Folder::new();
    let full = "[[guest.pci]]\ndevice = \"edu\"\n".repeat(DEVICES_MAX);
    assert!(folder.parse(&[&full]).is_ok());
    let forward = Overrides {
        forwards: vec![GuestForward {
            guest: "vm0".to_owned(),
            forward: "2222:22".parse().unwrap(),
        }],
        ..Overrides::default()
    };
    refused(
        folder.with(&[&full], &forward),
        "guest vm0",
        "more than a guest can have",
    );
}
