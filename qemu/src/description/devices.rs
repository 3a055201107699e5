//! Devices of guests: disks, networks and anything else on PCI that QEMU emulates.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::{ConfigError, Refusals, Size};
use crate::base::checkout::checkout;
use host_abi::binding::PCI_DEVICES;

/// Interrupt lines of the machine's host bridge: device n of bus 0 has line n mod 4. All devices of
/// a guest have the same one.
pub const LINES: u32 = 4;
/// Devices of one guest: those of a line, less QEMU's own host bridge.
const DEVICES_MAX: usize = (PCI_DEVICES / LINES - 1) as usize;
/// The least size of a disk: a file system and some room.
const DISK_MIN: Size = Size::mib(1);

/// What a guest has beside its memory, its console and its TEE.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    /// `/dev/vda` and so on, in this order.
    pub disks: Vec<Disk>,
    /// `eth0` and so on, in this order.
    pub networks: Vec<Network>,
    /// Whatever else.
    pub others: Vec<PciDevice>,
}

impl Devices {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.disks.len() + self.networks.len() + self.others.len()
    }

    /// Has a port of the host lead into the guest, by a network of its own that it may have for
    /// that.
    pub(super) fn forward(&mut self, added: Forward) {
        let mut networks = self.networks.iter_mut();
        let own = networks.find_map(|network| match network {
            Network::User { forward, .. } => Some(forward),
            Network::Segment { .. } => None,
        });
        match own {
            Some(forward) => forward.push(added),
            None => self.networks.push(Network::User {
                forward: vec![added],
                outside: false,
            }),
        }
    }

    /// The port of the host that leads to this one of the guest, if there is one.
    pub fn forwarded(&self, guest: u16) -> Option<u16> {
        let forward = self.forwards().find(|forward| forward.guest == guest)?;
        Some(forward.host)
    }

    /// The ports of the host that lead into the guest.
    pub fn forwards(&self) -> impl Iterator<Item = Forward> {
        let networks = self.networks.iter();
        let forwards = networks.flat_map(|network| match network {
            Network::User { forward, .. } => forward.as_slice(),
            Network::Segment { .. } => &[],
        });
        forwards.copied()
    }
}

/// `[[guest.disk]]`
#[derive(Clone, Debug)]
pub struct Disk {
    /// The image.
    pub image: PathBuf,
    /// Its form.
    pub format: DiskFormat,
    /// How large it becomes where it is not there.
    pub size: Option<Size>,
    /// The guest only reads it.
    pub read_only: bool,
    /// Where Debian's initramfs mounts it; it makes a file system on an empty one.
    pub mount: Option<String>,
}

/// The form of a disk's image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// The disk's bytes.
    #[default]
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl DiskFormat {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// `[[guest.network]]`
#[derive(Clone, Debug)]
pub enum Network {
    /// A network of the guest's own, behind QEMU.
    User {
        /// Ports of the host that lead into the guest.
        forward: Vec<Forward>,
        /// Whether the guest reaches the host, and through it what the host reaches.
        outside: bool,
    },
    /// A segment that guests share.
    Segment {
        /// Its name.
        name: String,
        /// The guest's address in it, which Debian's initramfs sets.
        address: Option<InterfaceAddress>,
    },
}

/// A TCP port of the host, at its loopback address, that leads to one of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Forward {
    /// The host's.
    pub host: u16,
    /// The guest's.
    pub guest: u16,
}

impl TryFrom<String> for Forward {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse().ok().filter(|&port: &u16| port != 0);
        text.split_once(':')
            .and_then(|(host, guest)| {
                Some(Self {
                    host: port(host)?,
                    guest: port(guest)?,
                })
            })
            .ok_or_else(|| {
                format!("`{text}` is no forwarded port: write HOST:GUEST, such as 2222:22")
            })
    }
}

/// An IPv4 address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of the prefix.
    pub prefix: u8,
}

impl TryFrom<String> for InterfaceAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.split_once('/')
            .and_then(|(address, prefix)| {
                Some(Self {
                    address: address.parse().ok()?,
                    prefix: prefix.parse().ok().filter(|&bits: &u8| bits <= 30)?,
                })
            })
            .ok_or_else(|| format!("`{text}` is no address: write, say, 10.0.0.1/24"))
    }
}

/// `[[guest.pci]]`
#[derive(Clone, Debug)]
pub struct PciDevice {
    /// What QEMU's `-device` says, without `bus`, `addr` and `id`.
    pub device: String,
}

/// `[[guest.disk]]`, as it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DiskTable {
    image: Option<PathBuf>,
    #[serde(default)]
    format: DiskFormat,
    size: Option<Size>,
    #[serde(default)]
    read_only: bool,
    mount: Option<String>,
}

/// `[[guest.network]]`, as it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NetworkTable {
    segment: Option<String>,
    address: Option<InterfaceAddress>,
    forward: Option<Vec<Forward>>,
    outside: Option<bool>,
}

/// `[[guest.pci]]`, as it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PciTable {
    device: String,
}

/// Where images are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folders<'a> {
    /// Those that the description names are relative to this.
    pub(super) named: &'a Path,
    /// Those that it does not name are here.
    pub(super) unnamed: &'a Path,
}

/// Where images of a machine are that its description does not name, unless it is said.
pub(super) fn images_of(file: &Path) -> PathBuf {
    let machine = file.file_stem().unwrap_or("machine".as_ref());
    checkout().join("target/disks").join(machine)
}

/// The devices of a guest's table.
pub(super) fn of_guest(
    refuse: Refusals<'_>,
    folders: Folders<'_>,
    guest: &str,
    disks: Vec<DiskTable>,
    networks: Vec<NetworkTable>,
    others: Vec<PciTable>,
) -> Result<Devices, ConfigError> {
    let place = |kind: &str, n: usize| format!("guest {guest}: {kind} {}", n + 1);
    let disks = disks.into_iter().enumerate();
    let disks = disks.map(|(n, table)| disk(refuse, folders, guest, n, &place("disk", n), table));
    let networks = networks.into_iter().enumerate();
    let networks = networks.map(|(n, table)| network(refuse, &place("network", n), table));
    let others = others.into_iter().enumerate();
    let others = others.map(|(n, table)| other(refuse, &place("pci", n), table));
    Ok(Devices {
        disks: disks.collect::<Result<_, _>>()?,
        networks: networks.collect::<Result<_, _>>()?,
        others: others.collect::<Result<_, _>>()?,
    })
}

fn disk(
    refuse: Refusals<'_>,
    folders: Folders<'_>,
    guest: &str,
    number: usize,
    place: &str,
    table: DiskTable,
) -> Result<Disk, ConfigError> {
    let image = table.image.map_or_else(
        || {
            let name = format!("{guest}-{}.{}", number + 1, table.format.name());
            folders.unnamed.join(name)
        },
        |image| folders.named.join(image),
    );
    if !image.is_file() {
        let Some(size) = table.size else {
            return Err(refuse.at(
                format!("{place}: image"),
                format!("there is no file {}", image.display()),
                "Name an image that there is, or write a `size`, such as \"64MiB\", to have it made.",
            ));
        };
        if size < DISK_MIN || !size.is_multiple_of(4096) {
            return Err(refuse.at(
                format!("{place}: size"),
                format!("{size} is less than {DISK_MIN} or no multiple of 4 KiB"),
                "Write, say, `size = \"64MiB\"`.",
            ));
        }
        if table.format != DiskFormat::Raw {
            return Err(refuse.at(
                format!("{place}: image"),
                format!(
                    "there is no file {}, and only raw images are made",
                    image.display()
                ),
                "Make it with `qemu-img create -f qcow2`, or write `format = \"raw\"`.",
            ));
        }
        if table.read_only {
            return Err(refuse.at(
                format!("{place}: read-only"),
                format!(
                    "there is no file {}, and an empty disk is of no use",
                    image.display()
                ),
                "Name an image that there is.",
            ));
        }
    }
    if let Some(mount) = &table.mount {
        let plain = mount.len() > 1
            && mount.starts_with('/')
            && mount
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"/-_.".contains(&c))
            && !mount.contains("..");
        if !plain {
            return Err(refuse.at(
                format!("{place}: mount"),
                format!("{mount:?} is no folder to mount a disk at"),
                "Write a path from / on, of letters, digits and - _ . such as /var/lib/tee.",
            ));
        }
    }
    Ok(Disk {
        image,
        format: table.format,
        size: table.size,
        read_only: table.read_only,
        mount: table.mount,
    })
}

fn network(refuse: Refusals<'_>, place: &str, table: NetworkTable) -> Result<Network, ConfigError> {
    let NetworkTable {
        segment,
        address,
        forward,
        outside,
    } = table;
    let Some(name) = segment else {
        if address.is_some() {
            return Err(refuse.at(
                format!("{place}: address"),
                "a network without `segment` gives the guest its address",
                "Leave out `address`, or name a `segment`.",
            ));
        }
        return Ok(Network::User {
            forward: forward.unwrap_or_default(),
            outside: outside.unwrap_or(false),
        });
    };
    if forward.is_some() || outside.is_some() {
        return Err(refuse.at(
            format!("{place}: segment"),
            "a segment leads to the guests in it and nowhere else",
            "Leave out `forward` and `outside`, or add another [[guest.network]] for them.",
        ));
    }
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Err(refuse.at(
            format!("{place}: segment"),
            format!("{name:?} is no name for a segment"),
            "Use letters, digits and `-`.",
        ));
    }
    Ok(Network::Segment { name, address })
}

fn other(refuse: Refusals<'_>, place: &str, table: PciTable) -> Result<PciDevice, ConfigError> {
    let device = table.device;
    let place = format!("{place}: device");
    let own = ["bus=", "addr=", "id=", "driver=", "multifunction="];
    // The driver's name comes first, and `,,` would be a comma in a value.
    let unfit = device.is_empty()
        || device.starts_with('{')
        || device.contains(",,")
        || device.contains(|c: char| c.is_whitespace() || c.is_control())
        || device
            .split(',')
            .any(|part| own.iter().any(|name| part.starts_with(name)));
    if unfit {
        return Err(refuse.at(
            place,
            format!("{device:?} can't be given to QEMU"),
            "Write what stands behind QEMU's -device, such as \"nvme,drive=d,serial=1\", without bus, addr, id, driver and multifunction.",
        ));
    }
    let mut parts = device.split(',');
    let driver = parts.next().unwrap_or_default();
    let refusal = UNFIT_DRIVERS.iter().find(|(names, _)| {
        let mut names = names.iter();
        names.any(|name| driver.contains(name))
    });
    if let Some((_, reason)) = refusal {
        return Err(refuse.at(
            place,
            format!("{driver} can't be a guest's: {reason}"),
            "Give the guest a device with one function that QEMU itself emulates, such as nvme.",
        ));
    }
    let is_virtio = VIRTIO_DRIVERS.iter().any(|name| driver.starts_with(name));
    let settings: Vec<_> = parts.collect();
    let is_set = |setting: &str| {
        let (name, _) = setting.split_once('=').unwrap_or((setting, ""));
        let mut said = settings.iter().filter(|part| {
            let (other, _) = part.split_once('=').unwrap_or((part, ""));
            other == name
        });
        // QEMU goes by the last one of several.
        said.next() == Some(&setting) && said.next().is_none()
    };
    let mut needed = VIRTIO_SETTINGS.iter();
    if is_virtio && let Some((setting, reason)) = needed.find(|(setting, _)| !is_set(setting)) {
        return Err(refuse.at(
            place,
            format!("{driver} without {setting} {reason}"),
            "Write, say, \"virtio-rng-pci,iommu_platform=on,disable-legacy=on\".",
        ));
    }
    Ok(PciDevice { device })
}

/// What is in the names of QEMU's devices that can't be a guest's, and why not.
const UNFIT_DRIVERS: [(&[&str], &str); 4] = [
    (
        &["vfio"],
        "a device of the host reaches memory by the host's IOMMU, not by the machine's SMMU",
    ),
    (
        &[
            "bridge",
            "root-port",
            "upstream",
            "downstream",
            "ioh3420",
            "dec-21154",
            "pxb",
            "cxl-rp",
        ],
        "it leads to another bus, and a guest has functions alone",
    ),
    (
        &["ivshmem"],
        "its memory is shared with whoever else has it, on the host and in other guests",
    ),
    (
        &["iommu", "smmu"],
        "what stands before devices is the hypervisor's",
    ),
];

/// What the names of QEMU's virtio devices begin with, whoever is behind them.
const VIRTIO_DRIVERS: [&str; 2] = ["virtio-", "vhost-"];

/// What a virtio device needs to be behind the SMMU, and what it does else.
const VIRTIO_SETTINGS: [(&str, &str); 2] = [
    (
        "iommu_platform=on",
        "goes around the SMMU and reaches the memory of the whole machine",
    ),
    (
        "disable-legacy=on",
        "has the interface of older drivers, which know nothing of an SMMU",
    ),
];

/// Refuses what nobody does in a guest that does not run Debian's initramfs: mounting its disks and
/// giving its networks addresses.
pub(super) fn check_unattended(
    refuse: Refusals<'_>,
    guest: &str,
    devices: &Devices,
    runs: &str,
) -> Result<(), ConfigError> {
    let refusal = |kind: &str, n: usize, what: &str| {
        Err(refuse.at(
            format!("guest {guest}: {kind} {}: {what}", n + 1),
            format!("the guest runs {runs}, which does not look at it"),
            format!("Leave out `{what}`; what the guest runs has to do that by itself."),
        ))
    };
    let mut disks = devices.disks.iter();
    if let Some(n) = disks.position(|disk| disk.mount.is_some()) {
        return refusal("disk", n, "mount");
    }
    let mut networks = devices.networks.iter();
    let has_address = |network: &Network| match network {
        Network::User { .. } => false,
        Network::Segment { address, .. } => address.is_some(),
    };
    if let Some(n) = networks.position(has_address) {
        return refusal("network", n, "address");
    }
    Ok(())
}

/// Refuses what only several guests together do wrong.
pub(super) fn check_together<'a>(
    refuse: Refusals<'_>,
    guests: impl Iterator<Item = (&'a str, &'a Devices)> + Clone,
) -> Result<(), ConfigError> {
    let with_devices = guests.clone().filter(|(_, devices)| devices.count() > 0);
    if with_devices.count() > LINES as usize {
        return Err(refuse.at(
            "[[guest]]",
            format!("more than {LINES} guests have devices"),
            format!(
                "QEMU's host bridge has {LINES} interrupt lines, and two guests can't share one."
            ),
        ));
    }
    let (mut images, mut ports) = (HashMap::new(), HashSet::new());
    for (guest, devices) in guests {
        // With the networks that were added for forwarded ports.
        let count = devices.count();
        if count > DEVICES_MAX {
            return Err(refuse.at(
                format!("guest {guest}"),
                format!("{count} devices are more than a guest can have"),
                format!("Give it {DEVICES_MAX} at most: all of them share an interrupt line."),
            ));
        }
        for disk in &devices.disks {
            let known = images.insert(identity(&disk.image), disk.read_only);
            if known.is_some_and(|read_only| !read_only || !disk.read_only) {
                return Err(refuse.at(
                    format!("guest {guest}: disk"),
                    format!("{} is another disk's image, too", disk.image.display()),
                    "Give each disk an image of its own; those that are only read may share one.",
                ));
            }
        }
        let networks = devices.networks.iter();
        let forwards = networks.filter_map(|network| match network {
            Network::User { forward, .. } => Some(forward),
            Network::Segment { .. } => None,
        });
        for forward in forwards.flatten() {
            if !ports.insert(forward.host) {
                return Err(refuse.at(
                    format!("guest {guest}: network: forward"),
                    format!("port {} of the host is forwarded twice", forward.host),
                    "Choose another port of the host.",
                ));
            }
        }
    }
    Ok(())
}

/// What an image is known by, whatever path leads to it.
fn identity(image: &Path) -> Result<(u64, u64), PathBuf> {
    if let Ok(found) = std::fs::metadata(image) {
        return Ok((found.dev(), found.ino()));
    }
    // It is made, and so is its folder.
    let folders = image.ancestors().skip(1);
    let mut known = folders.filter_map(|folder| {
        let rest = image.strip_prefix(folder).ok()?;
        Some(folder.canonicalize().ok()?.join(rest))
    });
    Err(known.next().unwrap_or_else(|| image.to_owned()))
}

#[cfg(test)]
mod tests;
