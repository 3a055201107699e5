//! Guests' devices in QEMU's machine: each is behind a root port of its own, at a device number of
//! bus 0 that gives it an interrupt line of its guest's.

use std::ffi::OsString;
use std::fs::{self, File};

use anyhow::{Context as _, Result};

use crate::description::Description;
use crate::description::devices::{Devices, Disk, LINES, Network};
use crate::machine::qemu::option_path;

/// The root ports of each guest, by device number, in the order of the guest's disks, networks and
/// other devices.
pub fn root_ports(description: &Description) -> Vec<Vec<u32>> {
    let mut line = 0;
    let guests = description.guests.iter();
    guests
        .map(|guest| {
            let count = guest.devices.count();
            if count == 0 {
                return Vec::new();
            }
            // Device 0 is QEMU's host bridge.
            let first = if line == 0 { LINES } else { line };
            line += 1;
            (first..).step_by(LINES as usize).take(count).collect()
        })
        .collect()
}

/// Makes the images that are not there.
pub fn make_images(description: &Description) -> Result<()> {
    let disks = description
        .guests
        .iter()
        .flat_map(|guest| &guest.devices.disks);
    for Disk { image, size, .. } in disks {
        let (false, Some(size)) = (image.exists(), size) else {
            continue;
        };
        let make = || {
            if let Some(folder) = image.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create_new(image)?.set_len(size.to_bytes())
        };
        make().with_context(|| format!("the disk image {} can't be made", image.display()))?;
    }
    Ok(())
}

/// QEMU's arguments for all guests' devices.
pub fn arguments(description: &Description) -> Vec<OsString> {
    let mut arguments = Arguments(Vec::new());
    let mut segments = Vec::new();
    let ports = root_ports(description);
    for (number, (guest, ports)) in description.guests.iter().zip(&ports).enumerate() {
        let Devices {
            disks,
            networks,
            others,
        } = &guest.devices;
        let mut ports = ports.iter().copied();
        for (disk, port) in disks.iter().zip(&mut ports) {
            arguments.disk(disk, port);
        }
        for (index, (network, port)) in networks.iter().zip(&mut ports).enumerate() {
            let mac = format!("52:54:00:00:{number:02x}:{index:02x}");
            arguments.network(network, &mut segments, &mac, port);
        }
        for (other, port) in others.iter().zip(&mut ports) {
            arguments.device(&other.device, port);
        }
    }
    arguments.0
}

/// A virtio device whose accesses go through the IOMMU, without the interface of older drivers.
const VIRTIO: &str = "iommu_platform=on,disable-legacy=on";

struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.extend([option.into(), value.into()]);
    }

    /// A device behind a root port.
    fn device(&mut self, device: &str, port: u32) {
        self.add(
            "-device",
            format!(
                "pcie-root-port,id=port{port},bus=pcie.0,addr={port:#x},chassis={port},slot={port},hotplug=off"
            ),
        );
        self.add("-device", format!("{device},bus=port{port},addr=0"));
    }

    fn disk(&mut self, disk: &Disk, port: u32) {
        let format = disk.format.name();
        let mut drive = OsString::from(format!("if=none,id=disk{port},format={format},file="));
        drive.push(option_path(&disk.image));
        if disk.read_only {
            drive.push(",readonly=on");
        }
        self.add("-drive", drive);
        self.device(&format!("virtio-blk-pci,drive=disk{port},{VIRTIO}"), port);
    }

    fn network(&mut self, network: &Network, segments: &mut Vec<String>, mac: &str, port: u32) {
        let backend = match network {
            Network::User { forward, outside } => {
                let restrict = if *outside { "off" } else { "on" };
                let forward: String = forward
                    .iter()
                    .map(|it| format!(",hostfwd=tcp:127.0.0.1:{}-:{}", it.host, it.guest))
                    .collect();
                format!("user,id=net{port},restrict={restrict}{forward}")
            }
            Network::Segment { name, .. } => {
                let known = segments.iter().position(|segment| segment == name);
                let hub = known.unwrap_or_else(|| {
                    segments.push(name.clone());
                    segments.len() - 1
                });
                format!("hubport,id=net{port},hubid={hub}")
            }
        };
        self.add("-netdev", backend);
        let device = format!("virtio-net-pci,netdev=net{port},mac={mac},romfile=,{VIRTIO}");
        self.device(&device, port);
    }
}
