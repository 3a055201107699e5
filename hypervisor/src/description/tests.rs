mod accepted;
mod guest_refused;
mod machine_refused;
mod pci;

use std::string::{String, ToString};

use crate::description::policy::{CallPolicy, Verdict};
use smccc::{Conduit, FunctionId};
use std::vec::Vec;

use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

use super::*;
use crate::description::vm::{Module, ShmLimits};
use core::num::NonZeroU32;
use host_abi::binding::TeeChoice;
use mediator::ta_access::TaAccess;

const HYPERVISOR: Range = Range {
    start: Pa(0x6000_0000),
    len: 32 << 20,
};

fn property(name: &str, value: Vec<u8>) -> DeviceTreeProperty {
    DeviceTreeProperty::new_unchecked(name, value)
}

fn cells(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

fn longs(values: &[u64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), b"\0"].concat()
}

fn node(name: &str, properties: &[(&str, Vec<u8>)]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new_unchecked(name);
    for (name, value) in properties {
        node.add_property(property(name, value.clone()));
    }
    node
}

fn module(kind: &str, pa: u64, len: u64) -> DeviceTreeNode {
    let compatible = std::format!("multiboot,{kind}\0multiboot,module\0");
    let mut module = node(
        &std::format!("module@{pa:x}"),
        &[
            ("compatible", compatible.into_bytes()),
            ("reg", longs(&[pa, len])),
        ],
    );
    if kind == "kernel" {
        module.add_property(property("bootargs", text("console=ttyAMA0")));
    }
    module
}

fn domain(name: &str, vcpu_cpus: &[u32]) -> DeviceTreeNode {
    let mut domain = node(
        name,
        &[
            ("compatible", text("xen,domain")),
            ("#address-cells", cells(&[2])),
            ("#size-cells", cells(&[2])),
            ("memory", longs(&[0x8_0000])),
            ("cpus", cells(&[vcpu_cpus.len() as u32])),
            ("vpl011", Vec::new()),
            ("bulkhead,vcpu-cpus", cells(vcpu_cpus)),
            ("bulkhead,tee", text("optee")),
        ],
    );
    domain.add_child(module("kernel", 0x6200_0000, 0x240_0123));
    domain.add_child(module("ramdisk", 0x6500_0000, 0x180_0000));
    domain
}

/// The machine as QEMU describes it, as far as it matters, with two guests.
fn machine() -> DeviceTree {
    let mut tree = DeviceTree::new();
    tree.root = node(
        "",
        &[
            ("#address-cells", cells(&[2])),
            ("#size-cells", cells(&[2])),
        ],
    );
    let memory = text("memory");
    tree.root.add_child(node(
        "memory@40000000",
        &[
            ("device_type", memory.clone()),
            ("reg", longs(&[0x4000_0000, 0xc000_0000])),
        ],
    ));
    tree.root.add_child(node(
        "secram@e000000",
        &[
            ("device_type", memory),
            ("reg", longs(&[0xe00_0000, 0x100_0000])),
            ("status", text("disabled")),
            ("secure-status", text("okay")),
        ],
    ));
    let mut cpus = node(
        "cpus",
        &[
            ("#address-cells", cells(&[1])),
            ("#size-cells", cells(&[0])),
        ],
    );
    cpus.add_child(node("cpu-map", &[]));
    for n in 0..2 {
        cpus.add_child(node(&std::format!("cpu@{n}"), &[("reg", cells(&[n]))]));
    }
    tree.root.add_child(cpus);
    tree.root.add_child(node(
        "intc@8000000",
        &[
            ("compatible", text("arm,gic-v3")),
            ("#redistributor-regions", cells(&[1])),
            ("reg", longs(&[0x800_0000, 0x1_0000, 0x80a_0000, 0xf6_0000])),
        ],
    ));
    for (address, secure) in [(0x904_0000, true), (0x900_0000, false), (0x905_0000, false)] {
        let mut uart = node(
            &std::format!("pl011@{address:x}"),
            &[
                ("compatible", b"arm,pl011\0arm,primecell\0".to_vec()),
                ("reg", longs(&[address, 0x1000])),
            ],
        );
        if secure {
            uart.add_property(property("secure-status", text("okay")));
        }
        tree.root.add_child(uart);
    }
    let mut chosen = node(
        "chosen",
        &[
            ("stdout-path", text("/pl011@9000000")),
            ("#address-cells", cells(&[2])),
            ("#size-cells", cells(&[2])),
        ],
    );
    chosen.add_child(domain("vm1", &[0, 1]));
    chosen.add_child(domain("vm2", &[1]));
    tree.root.add_child(chosen);
    tree
}

fn parsed(tree: &DeviceTree) -> Result<Machine, DescriptionError> {
    parse(&tree.to_dtb(), HYPERVISOR)
}

/// The error that comes when the node at `path` is changed.
fn refusal(path: &str, change: impl FnOnce(&mut DeviceTreeNode)) -> String {
    let mut tree = machine();
    change(tree.find_node_mut(path).unwrap());
    let error = parsed(&tree).unwrap_err();
    error.to_string()
}

fn set(name: &'static str, value: Vec<u8>) -> impl FnOnce(&mut DeviceTreeNode) {
    move |node| {
        node.remove_property(name);
        node.add_property(property(name, value));
    }
}

fn without(name: &'static str) -> impl FnOnce(&mut DeviceTreeNode) {
    move |node| {
        let removed = node.remove_property(name).is_some() || node.remove_child(name).is_some();
        assert!(removed, "{name} is there");
    }
}
