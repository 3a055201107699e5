//! The machine's device tree with the guests' nodes in it (docs/device-tree.md, "The machine's
//! device tree").

use std::path::Path;

use dtoolkit::Node as _;
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use thiserror::Error;

use crate::description::{Description, Guest};
use crate::machine::devices;
use crate::machine::placement::{GuestFiles, Module, Placement};
use host_abi::binding::{self, property};
use host_abi::memory_map::machine::DEVICE_TREE_SIZE_MAX;

/// What the firmware adds at boot must fit beside the tree: PSCI and the CPUs' enable methods, and
/// some to spare.
const FIRMWARE_ROOM: u64 = 64 << 10;

/// Why no tree can be made.
#[derive(Debug, Error)]
pub enum DeviceTreeError {
    /// QEMU's tree can't be read.
    #[error("QEMU's device tree can't be read: {0}")]
    Machine(String),
    /// A guest's files were not placed.
    #[error("the images of guest {0} have no place in memory")]
    NotPlaced(String),
    /// The tree is larger than its place.
    #[error("the device tree has {0} bytes, more than its place in memory")]
    TooLarge(usize),
}

/// Adds the guests, whose files are `files` in the same order, to the machine's tree.
pub fn compose(
    machine: &[u8],
    description: &Description,
    files: &[GuestFiles],
    placement: &Placement,
) -> Result<Vec<u8>, DeviceTreeError> {
    let fdt = Fdt::new(machine).map_err(|error| DeviceTreeError::Machine(error.to_string()))?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    if tree.root.child("chosen").is_none() {
        tree.root.add_child(node("chosen"));
    }
    let chosen = tree
        .root
        .child_mut("chosen")
        .ok_or_else(|| DeviceTreeError::Machine("it has no /chosen".to_owned()))?;
    chosen.add_property(cells("#address-cells", &[2]));
    chosen.add_property(cells("#size-cells", &[2]));
    // QEMU's memory starts as zeros, and the firmware writes to what it reserves alone.
    chosen.add_property(bytes(property::MEMORY_IS_ZERO, Vec::new()));
    if let Some(level) = description.machine.log_level {
        chosen.add_property(text(property::LOG_LEVEL, level.name()));
    }
    let ports = devices::root_ports(description);
    for ((guest, files), ports) in description.guests.iter().zip(files).zip(&ports) {
        let placed = |path: &Path| {
            placement
                .module(path)
                .ok_or_else(|| DeviceTreeError::NotPlaced(guest.name.clone()))
        };
        chosen.add_child(domain(
            guest,
            ports,
            placed(&files.kernel)?,
            files.initramfs.as_deref().map(placed).transpose()?,
        ));
    }
    let dtb = tree.to_dtb();
    if dtb.len() as u64 > DEVICE_TREE_SIZE_MAX - FIRMWARE_ROOM {
        return Err(DeviceTreeError::TooLarge(dtb.len()));
    }
    Ok(dtb)
}

/// A guest's node.
fn domain(
    guest: &Guest,
    root_ports: &[u32],
    kernel: &Module,
    ramdisk: Option<&Module>,
) -> DeviceTreeNode {
    let mut domain = node(&guest.name);
    domain.add_property(text("compatible", binding::GUEST));
    domain.add_property(cells("#address-cells", &[2]));
    domain.add_property(cells("#size-cells", &[2]));
    domain.add_property(number(property::MEMORY, guest.memory.to_kib()));
    let vcpus = u32::try_from(guest.vcpu_cpus.len()).unwrap_or(u32::MAX);
    domain.add_property(cells(property::CPUS, &[vcpus]));
    domain.add_property(bytes(property::VPL011, Vec::new()));
    domain.add_property(cells(property::VCPU_CPUS, &guest.vcpu_cpus));
    domain.add_property(text(property::TEE, guest.tee.name()));
    domain.add_property(text(property::TEE_CONDUIT, guest.tee_conduit.name()));
    if let Some(size) = guest.limits.shm_buffer_max {
        domain.add_property(number(property::SHM_BUFFER_MAX, size.to_bytes()));
    }
    if let Some(count) = guest.limits.shm_buffers_max {
        domain.add_property(cells(property::SHM_BUFFERS_MAX, &[count]));
    }
    if let Some(size) = guest.limits.shm_total_max {
        domain.add_property(number(property::SHM_TOTAL_MAX, size.to_bytes()));
    }
    if let Some(calls) = guest.limits.tee_calls_per_second {
        domain.add_property(cells(property::TEE_CALLS_PER_SECOND, &[calls.get()]));
    }
    if let Some(count) = guest.limits.ta_instances_max {
        domain.add_property(cells(property::TA_INSTANCES_MAX, &[count.get()]));
    }
    for (name, list) in [
        (property::TA_ALLOW, &guest.tas.allow),
        (property::TA_DENY, &guest.tas.deny),
    ] {
        if let Some(list) = list {
            let octets = list.iter().flat_map(|uuid| uuid.0).collect();
            domain.add_property(bytes(name, octets));
        }
    }
    for (name, ranges) in [
        (property::SMC_FORWARD, &guest.smc.forward),
        (property::SMC_DENY, &guest.smc.deny),
    ] {
        if !ranges.is_empty() {
            let ends: Vec<u32> = ranges
                .iter()
                .flat_map(|range| [range.first, range.last])
                .collect();
            domain.add_property(cells(name, &ends));
        }
    }
    if !root_ports.is_empty() {
        domain.add_property(cells(property::PCI_ROOT_PORTS, root_ports));
    }
    let mut kernel = module(kernel, binding::KERNEL);
    kernel.add_property(text(property::BOOTARGS, &guest.command_line));
    domain.add_child(kernel);
    if let Some(ramdisk) = ramdisk {
        domain.add_child(module(ramdisk, binding::RAMDISK));
    }
    domain
}

fn module(module: &Module, kind: &str) -> DeviceTreeNode {
    let mut node = node(&format!("module@{:x}", module.address));
    node.add_property(bytes(
        "compatible",
        format!("{kind}\0{}\0", binding::MODULE).into_bytes(),
    ));
    let reg = [module.address, module.size];
    node.add_property(bytes(
        "reg",
        reg.iter().flat_map(|n| n.to_be_bytes()).collect(),
    ));
    node
}

/// A node whose name is known to be well-formed: the description's names are checked, the others
/// stand here.
fn node(name: &str) -> DeviceTreeNode {
    DeviceTreeNode::new_unchecked(name)
}

fn bytes(name: &str, value: Vec<u8>) -> DeviceTreeProperty {
    DeviceTreeProperty::new_unchecked(name, value)
}

fn text(name: &str, value: &str) -> DeviceTreeProperty {
    bytes(name, [value.as_bytes(), b"\0"].concat())
}

fn cells(name: &str, values: &[u32]) -> DeviceTreeProperty {
    bytes(name, values.iter().flat_map(|n| n.to_be_bytes()).collect())
}

fn number(name: &str, value: u64) -> DeviceTreeProperty {
    bytes(name, value.to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use dtoolkit::Property as _;

    use super::*;
    use crate::description::Overrides;

    const DESCRIPTION: &str = r#"
        [machine]
        log-level = "debug"

        [[guest]]
        name = "vm1"
        memory = "512MiB"
        vcpus = 2
        cpus = [1, 0]
        command-line = "console=ttyAMA0"
        tee-conduit = "hvc"
        [guest.limits]
        shm-buffer-max = "1MiB"
        shm-buffers-max = 7
        shm-total-max = "8GiB"
        tee-calls-per-second = 300
        ta-instances-max = 9

        [[guest]]
        name = "vm2"
        memory = "256MiB"
        tee = "none"
    "#;

    /// A machine's tree with what a real one has in its /chosen.
    fn machine() -> Vec<u8> {
        let mut tree = DeviceTree::new();
        tree.root.add_child(node("cpus"));
        let mut chosen = node("chosen");
        chosen.add_property(text("stdout-path", "/pl011@9000000"));
        chosen.add_property(number("kaslr-seed", 1));
        tree.root.add_child(chosen);
        tree.to_dtb()
    }

    struct Composed {
        tree: DeviceTree,
        placement: Placement,
        files: Vec<GuestFiles>,
        _folder: tempfile::TempDir,
    }

    fn compose_text(text: &str) -> Composed {
        let description =
            Description::parse(Path::new("m.toml"), text, &Overrides::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, size| {
            let path = folder.path().join(name);
            std::fs::write(&path, vec![0; size]).unwrap();
            path
        };
        let kernel: PathBuf = file("Image", 5000);
        let files: Vec<_> = description
            .guests
            .iter()
            .map(|guest| GuestFiles {
                kernel: kernel.clone(),
                initramfs: (guest.work.payload().is_none())
                    .then(|| file(&format!("{}.cpio", guest.name), 600)),
            })
            .collect();
        let placement = Placement::of(&files).unwrap();
        let dtb = compose(&machine(), &description, &files, &placement).unwrap();
        let tree = DeviceTree::from_fdt(&Fdt::new(&dtb).unwrap());
        Composed {
            tree,
            placement,
            files,
            _folder: folder,
        }
    }

    fn value(tree: &DeviceTree, path: &str, property: &str) -> Option<Vec<u8>> {
        let node = tree.find_node(path)?;
        let property = node.property(property)?;
        Some(property.value().to_vec())
    }

    #[test]
    fn a_guest_s_node_has_what_the_binding_says() {
        let composed = compose_text(DESCRIPTION);
        let get = |property| value(&composed.tree, "/chosen/vm1", property);
        let some = |value: &[u8]| Some(value.to_vec());
        assert_eq!(get("compatible"), some(b"xen,domain\0"));
        assert_eq!(get("#address-cells"), some(&[0, 0, 0, 2]));
        assert_eq!(get("#size-cells"), some(&[0, 0, 0, 2]));
        assert_eq!(get("memory"), some(&0x8_0000u64.to_be_bytes()));
        assert_eq!(get("cpus"), some(&[0, 0, 0, 2]));
        assert_eq!(get("vpl011"), some(b""));
        assert_eq!(get("bulkhead,vcpu-cpus"), some(&[0, 0, 0, 1, 0, 0, 0, 0]));
        assert_eq!(get("bulkhead,tee"), some(b"optee\0"));
        assert_eq!(get("bulkhead,tee-conduit"), some(b"hvc\0"));
        assert_eq!(
            get("bulkhead,shm-buffer-max"),
            some(&0x10_0000u64.to_be_bytes())
        );
        assert_eq!(get("bulkhead,shm-buffers-max"), some(&[0, 0, 0, 7]));
        assert_eq!(
            get("bulkhead,shm-total-max"),
            some(&(8u64 << 30).to_be_bytes())
        );
        assert_eq!(
            get("bulkhead,tee-calls-per-second"),
            some(&300u32.to_be_bytes())
        );
        assert_eq!(get("bulkhead,ta-instances-max"), some(&9u32.to_be_bytes()));
    }

    #[test]
    fn what_is_left_out_is_not_in_the_tree() {
        let composed = compose_text(DESCRIPTION);
        for property in [
            "bulkhead,shm-buffer-max",
            "bulkhead,shm-buffers-max",
            "bulkhead,shm-total-max",
            "bulkhead,tee-calls-per-second",
            "bulkhead,ta-instances-max",
            "bulkhead,ta-allow",
            "bulkhead,ta-deny",
            "bulkhead,smc-forward",
            "bulkhead,smc-deny",
        ] {
            assert_eq!(value(&composed.tree, "/chosen/vm2", property), None);
        }
        let tee = value(&composed.tree, "/chosen/vm2", "bulkhead,tee");
        assert_eq!(tee, Some(b"none\0".to_vec()));
    }

    #[test]
    fn lists_of_applications_are_octets_in_the_order_of_the_text() {
        let text = |list: &str| {
            format!("[[guest]]\nname = \"vm1\"\nmemory = \"512MiB\"\n[guest.tas]\n{list}\n")
        };
        let name = "\"00112233-4455-6677-8899-aabbccddeeff\"";
        let octets: Vec<u8> = (0..16).map(|index| index * 0x11).collect();
        for (field, property) in [("allow", "bulkhead,ta-allow"), ("deny", "bulkhead,ta-deny")] {
            let composed = compose_text(&text(&format!("{field} = [{name}]")));
            let get = |property| value(&composed.tree, "/chosen/vm1", property);
            assert_eq!(get(property), Some(octets.clone()));
            let composed = compose_text(&text(&format!("{field} = []")));
            let get = |property| value(&composed.tree, "/chosen/vm1", property);
            assert_eq!(get(property), Some(Vec::new()), "an empty list is a list");
        }
    }

    #[test]
    fn lists_of_calls_are_pairs_of_identifiers() {
        let composed = compose_text(
            r#"
            [[guest]]
            name = "vm1"
            memory = "512MiB"
            [guest.smc]
            forward = ["0x8400ff01", "0xc2000000-0xc200ffff"]
            deny = ["0x84000000"]
        "#,
        );
        let get = |property| value(&composed.tree, "/chosen/vm1", property).unwrap();
        let pairs: [u32; 4] = [0x8400_ff01, 0x8400_ff01, 0xc200_0000, 0xc200_ffff];
        assert_eq!(
            get("bulkhead,smc-forward"),
            pairs.map(u32::to_be_bytes).as_flattened()
        );
        let pair: [u32; 2] = [0x8400_0000; 2];
        assert_eq!(
            get("bulkhead,smc-deny"),
            pair.map(u32::to_be_bytes).as_flattened()
        );
    }

    #[test]
    fn a_payload_has_no_ramdisk() {
        let composed = compose_text(
            "[[guest]]\nname = \"vm1\"\nmemory = \"16MiB\"\npayload = \"conformance\"\n",
        );
        let node = composed.tree.find_node("/chosen/vm1").unwrap();
        assert_eq!(node.children().count(), 1);
    }

    #[test]
    fn modules_stand_where_they_were_placed() {
        let composed = compose_text(DESCRIPTION);
        for (guest, files) in ["vm1", "vm2"].iter().zip(&composed.files) {
            let kernel = composed.placement.module(&files.kernel).unwrap();
            let initramfs = files.initramfs.as_ref().unwrap();
            let ramdisk = composed.placement.module(initramfs).unwrap();
            for (module, kind) in [(kernel, "kernel"), (ramdisk, "ramdisk")] {
                let path = format!("/chosen/{guest}/module@{:x}", module.address);
                let reg = [module.address.to_be_bytes(), module.size.to_be_bytes()].concat();
                assert_eq!(value(&composed.tree, &path, "reg"), Some(reg));
                let compatible = format!("multiboot,{kind}\0multiboot,module\0").into_bytes();
                assert_eq!(value(&composed.tree, &path, "compatible"), Some(compatible));
            }
        }
        assert_eq!(
            value(&composed.tree, "/chosen/vm1/module@62000000", "bootargs"),
            Some(b"console=ttyAMA0\0".to_vec())
        );
    }

    #[test]
    fn the_machine_s_own_nodes_stay() {
        let composed = compose_text(DESCRIPTION);
        assert!(composed.tree.find_node("/cpus").is_some());
        let get = |property| value(&composed.tree, "/chosen", property);
        assert_eq!(get("stdout-path"), Some(b"/pl011@9000000\0".to_vec()));
        assert_eq!(get("kaslr-seed"), Some(1u64.to_be_bytes().to_vec()));
        assert_eq!(get("#address-cells"), Some(vec![0, 0, 0, 2]));
        assert_eq!(get("bulkhead,log-level"), Some(b"debug\0".to_vec()));
        assert_eq!(get("bulkhead,memory-is-zero"), Some(Vec::new()));
    }

    #[test]
    fn a_tree_of_qemu_s_that_is_none_is_refused() {
        let description =
            Description::parse(Path::new("m.toml"), DESCRIPTION, &Overrides::default()).unwrap();
        let result = compose(b"nonsense", &description, &[], &Placement::default());
        assert!(matches!(result, Err(DeviceTreeError::Machine(_))));
    }

    #[test]
    fn images_without_a_place_are_refused() {
        let description =
            Description::parse(Path::new("m.toml"), DESCRIPTION, &Overrides::default()).unwrap();
        let files = GuestFiles {
            kernel: "k".into(),
            initramfs: Some("i".into()),
        };
        let result = compose(&machine(), &description, &[files], &Placement::default());
        assert!(matches!(result, Err(DeviceTreeError::NotPlaced(name)) if name == "vm1"));
    }

    #[test]
    fn a_tree_that_outgrows_its_place_is_refused() {
        let description =
            Description::parse(Path::new("m.toml"), DESCRIPTION, &Overrides::default()).unwrap();
        let mut tree = DeviceTree::new();
        tree.root.add_property(bytes("filler", vec![0; 1 << 20]));
        let result = compose(&tree.to_dtb(), &description, &[], &Placement::default());
        assert!(matches!(result, Err(DeviceTreeError::TooLarge(_))));
    }
}
