//! Devices of guests: disks, networks and anything else on PCI that QEMU emulates.

use std::collections::HashSet;
use std::net::Ipv4Addr;
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
    let devices = Devices {
        disks: disks.collect::<Result<_, _>>()?,
        networks: networks.collect::<Result<_, _>>()?,
        others: others.collect::<Result<_, _>>()?,
    };
    if devices.count() > DEVICES_MAX {
        return Err(refuse.at(
            format!("guest {guest}"),
            format!("{} devices are more than a guest can have", devices.count()),
            format!("Give it {DEVICES_MAX} at most: all of them share an interrupt line."),
        ));
    }
    Ok(devices)
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
    let own = ["bus=", "addr=", "id="];
    let unfit = device.is_empty()
        || device.contains(|c: char| c.is_whitespace() || c.is_control())
        || device
            .split(',')
            .any(|part| own.iter().any(|name| part.starts_with(name)));
    if unfit {
        return Err(refuse.at(
            format!("{place}: device"),
            format!("{device:?} can't be given to QEMU"),
            "Write what stands behind QEMU's -device, such as \"nvme,drive=d,serial=1\", without bus, addr and id.",
        ));
    }
    Ok(PciDevice { device })
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
    let (mut images, mut ports) = (HashSet::new(), HashSet::new());
    for (guest, devices) in guests {
        for disk in &devices.disks {
            if !images.insert(disk.image.clone()) && !disk.read_only {
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
