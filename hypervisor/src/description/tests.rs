use std::string::{String, ToString};
use std::vec::Vec;

use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

use super::*;

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

mod accepted {
    use super::*;

    #[test]
    fn the_machine_and_its_guests_are_read() {
        let machine = parsed(&machine()).unwrap();
        let ram = Range {
            start: Pa(0x4000_0000),
            len: 0xc000_0000,
        };
        assert_eq!(machine.memory, [ram], "without the secure memory");
        assert_eq!(machine.reserved, []);
        assert_eq!(machine.cpus, [0, 1]);
        assert_eq!(machine.gicd, Pa(0x800_0000));
        assert_eq!(
            machine.gicr,
            Range {
                start: Pa(0x80a_0000),
                len: 0xf6_0000
            }
        );
        assert_eq!(machine.uart, Pa(0x900_0000));
        assert_eq!(machine.log_level, LevelFilter::Info);
        let vm1 = VmDescription {
            name: "vm1".into(),
            memory: 512 << 20,
            vcpu_cpus: std::vec![0, 1],
            kernel: Module {
                pa: Pa(0x6200_0000),
                len: 0x240_0123,
            },
            ramdisk: Some(Module {
                pa: Pa(0x6500_0000),
                len: 0x180_0000,
            }),
            bootargs: "console=ttyAMA0".into(),
            tee: TeeChoice::Optee,
            conduit: Conduit::Smc,
            shm_limits: ShmLimits {
                buffer_bytes_max: 64 << 20,
                buffers_max: 1024,
                total_bytes_max: 256 << 20,
            },
        };
        let vm2 = VmDescription {
            name: "vm2".into(),
            vcpu_cpus: std::vec![1],
            ..vm1.clone()
        };
        assert_eq!(machine.guests, [vm1, vm2]);
    }

    #[test]
    fn bytes_after_the_tree_are_not_looked_at() {
        let mut dtb = machine().to_dtb();
        dtb.resize(1 << 20, 0xa5);
        assert!(parse(&dtb, HYPERVISOR).is_ok());
        assert_eq!(console(&dtb), Some(Pa(0x900_0000)));
    }

    #[test]
    fn choices_are_read() {
        let mut tree = machine();
        set("bulkhead,log-level", text("debug"))(tree.find_node_mut("/chosen").unwrap());
        let vm1 = tree.find_node_mut("/chosen/vm1").unwrap();
        set("bulkhead,tee", text("none"))(vm1);
        set("bulkhead,tee-conduit", text("hvc"))(vm1);
        set("bulkhead,shm-buffer-max", longs(&[0x1000]))(vm1);
        set("bulkhead,shm-buffers-max", cells(&[7]))(vm1);
        set("bulkhead,shm-total-max", longs(&[0x4000]))(vm1);
        without("module@65000000")(vm1);
        without("bootargs")(tree.find_node_mut("/chosen/vm1/module@62000000").unwrap());
        let machine = parsed(&tree).unwrap();
        assert_eq!(machine.log_level, LevelFilter::Debug);
        let vm1 = &machine.guests[0];
        assert_eq!((vm1.tee, vm1.conduit), (TeeChoice::None, Conduit::Hvc));
        let limits = ShmLimits {
            buffer_bytes_max: 0x1000,
            buffers_max: 7,
            total_bytes_max: 0x4000,
        };
        assert_eq!(vm1.shm_limits, limits);
        assert_eq!(vm1.ramdisk, None);
        assert_eq!(vm1.bootargs, "");
    }

    #[test]
    fn the_console_is_the_one_named_else_the_first_of_the_non_secure_world() {
        let console_with = |change: &dyn Fn(&mut DeviceTree)| {
            let mut tree = machine();
            change(&mut tree);
            console(&tree.to_dtb())
        };
        let stdout = |path: &'static str| {
            console_with(&|tree| {
                let chosen = tree.find_node_mut("/chosen").unwrap();
                set("stdout-path", text(path))(chosen);
                let aliases = node("aliases", &[("serial0", text("/pl011@9050000"))]);
                tree.root.add_child(aliases);
            })
        };
        assert_eq!(stdout("/pl011@9050000"), Some(Pa(0x905_0000)));
        assert_eq!(stdout("serial0:115200n8"), Some(Pa(0x905_0000)));
        assert_eq!(stdout("/intc@8000000"), Some(Pa(0x900_0000)));
        assert_eq!(stdout("/nowhere"), Some(Pa(0x900_0000)));
        assert_eq!(
            stdout("/pl011@9040000"),
            Some(Pa(0x900_0000)),
            "not the secure one"
        );
        let without_chosen = console_with(&|tree| without("chosen")(&mut tree.root));
        assert_eq!(without_chosen, Some(Pa(0x900_0000)));
        assert_eq!(console(b"nothing"), None);
    }

    #[test]
    fn what_the_firmware_keeps_is_known() {
        let mut tree = machine();
        let space = [
            ("#address-cells", cells(&[2])),
            ("#size-cells", cells(&[2])),
        ];
        let mut reserved = node("reserved-memory", &space);
        reserved.add_child(node(
            "fixed@7f000000",
            &[("reg", longs(&[0x7f00_0000, 0x10_0000]))],
        ));
        reserved.add_child(node("anywhere", &[("size", longs(&[0x10_0000]))]));
        tree.root.add_child(reserved);
        let machine = parsed(&tree).unwrap();
        assert_eq!(
            machine.reserved,
            [Range {
                start: Pa(0x7f00_0000),
                len: 0x10_0000
            }]
        );
    }

    #[test]
    fn disabled_cpus_do_not_count() {
        let mut tree = machine();
        let cpus = tree.find_node_mut("/cpus").unwrap();
        let properties = [("reg", cells(&[0x100])), ("status", text("disabled"))];
        cpus.add_child(node("cpu@100", &properties));
        assert_eq!(parsed(&tree).unwrap().cpus, [0, 1]);
    }
}

mod machine_refused {
    use super::*;

    #[test]
    fn what_is_no_tree() {
        let error = parse(&[0; 64], HYPERVISOR).unwrap_err();
        assert!(matches!(error.problem, Problem::NoTree(_)), "{error}");
        let mut dtb = machine().to_dtb();
        dtb.truncate(100);
        assert!(parse(&dtb, HYPERVISOR).is_err());
        assert!(parse(&[], HYPERVISOR).is_err());
    }

    #[test]
    fn missing_parts() {
        assert_eq!(
            refusal("/", without("chosen")),
            "/: it does not have chosen"
        );
        assert_eq!(refusal("/", without("cpus")), "/: it does not have cpus");
        assert_eq!(
            refusal("/", without("memory@40000000")),
            "/: it does not have memory"
        );
        assert_eq!(
            refusal("/", without("intc@8000000")),
            "/: it does not have an arm,gic-v3"
        );
        let no_uart = |root: &mut DeviceTreeNode| {
            without("pl011@9000000")(root);
            without("pl011@9050000")(root);
        };
        assert_eq!(
            refusal("/", no_uart),
            "/: it does not have an enabled arm,pl011"
        );
        let no_cpu = |cpus: &mut DeviceTreeNode| {
            without("cpu@0")(cpus);
            without("cpu@1")(cpus);
        };
        assert_eq!(refusal("/cpus", no_cpu), "/cpus: it does not have a CPU");
        let no_guest = |chosen: &mut DeviceTreeNode| {
            without("vm1")(chosen);
            without("vm2")(chosen);
        };
        assert_eq!(
            refusal("/chosen", no_guest),
            "/chosen: it does not have a guest"
        );
    }

    #[test]
    fn malformed_memory() {
        let path = "/memory@40000000";
        assert_eq!(
            refusal(path, without("reg")),
            "/memory@40000000: reg: it is missing"
        );
        for reg in [
            longs(&[0x4000_0000]),
            longs(&[0x4000_0000, 0]),
            longs(&[u64::MAX, 2]),
            cells(&[1]),
        ] {
            assert_eq!(
                refusal(path, set("reg", reg)),
                "/memory@40000000: reg: it is malformed"
            );
        }
    }

    #[test]
    fn malformed_cpus() {
        assert_eq!(
            refusal("/cpus/cpu@1", without("reg")),
            "/cpus/cpu@1: reg: it is missing"
        );
        assert_eq!(
            refusal("/cpus/cpu@1", set("reg", Vec::new())),
            "/cpus/cpu@1: reg: it is malformed"
        );
        assert_eq!(
            refusal("/cpus/cpu@1", set("reg", cells(&[0]))),
            "/cpus/cpu@1: reg: another one has the same"
        );
    }

    #[test]
    fn a_gic_that_does_not_serve() {
        let path = "/intc@8000000";
        assert_eq!(
            refusal(path, set("reg", longs(&[0x800_0000, 0x1_0000]))),
            "/intc@8000000: reg: it is malformed"
        );
        assert_eq!(
            refusal(
                path,
                set("reg", longs(&[0x800_0000, 0x1_0000, 0x80a_0000, 0x2_0000]))
            ),
            "/intc@8000000: reg: there are not enough redistributors for 2 CPUs"
        );
        assert_eq!(
            refusal(path, set("#redistributor-regions", cells(&[2]))),
            "/intc@8000000: #redistributor-regions: only one region of redistributors is supported"
        );
    }

    #[test]
    fn an_unknown_log_level() {
        assert_eq!(
            refusal("/chosen", set("bulkhead,log-level", text("loud"))),
            "/chosen: bulkhead,log-level: \"loud\" is not known"
        );
    }
}

mod guest_refused {
    use super::*;

    const VM1: &str = "/chosen/vm1";
    const KERNEL: &str = "/chosen/vm1/module@62000000";

    #[test]
    fn missing_properties() {
        for name in [
            "memory",
            "cpus",
            "vpl011",
            "bulkhead,vcpu-cpus",
            "bulkhead,tee",
        ] {
            assert_eq!(
                refusal(VM1, without(name)),
                std::format!("/chosen/vm1: {name}: it is missing")
            );
        }
    }

    #[test]
    fn malformed_properties() {
        for name in [
            "memory",
            "cpus",
            "bulkhead,vcpu-cpus",
            "bulkhead,tee",
            "bulkhead,tee-conduit",
            "bulkhead,shm-buffer-max",
            "bulkhead,shm-buffers-max",
            "bulkhead,shm-total-max",
        ] {
            assert_eq!(
                refusal(VM1, set(name, std::vec![1, 2, 3])),
                std::format!("/chosen/vm1: {name}: it is malformed")
            );
        }
    }

    #[test]
    fn names_that_are_none() {
        for name in ["VM", "1vm", "vm_1", "vm@1", "bulkhead"] {
            let error = refusal("/chosen", |chosen| chosen.add_child(domain(name, &[0])));
            assert_eq!(
                error,
                std::format!("/chosen/{name}: this is no name for a guest")
            );
        }
    }

    #[test]
    fn a_name_that_another_guest_has() {
        let mut dtb = machine().to_dtb();
        let at = dtb.windows(4).position(|bytes| bytes == b"vm2\0").unwrap();
        dtb[at + 2] = b'1';
        let error = parse(&dtb, HYPERVISOR).unwrap_err();
        assert_eq!(error.to_string(), "/chosen/vm1: another one has the same");
    }

    #[test]
    fn memory_that_can_not_be() {
        let refused = |kib: u64| refusal(VM1, set("memory", longs(&[kib])));
        for kib in [0, 2047, 3072, u64::MAX] {
            assert_eq!(
                refused(kib),
                std::format!("/chosen/vm1: memory: {kib} KiB is not a positive multiple of 2 MiB")
            );
        }
        assert_eq!(
            refused(4 << 20),
            "/chosen/vm1: memory: 4194304 KiB is more than the machine has"
        );
        assert_eq!(
            refused(60 << 10),
            "/chosen/vm1: memory: kernel and RAM disk are larger than the guest's memory"
        );
    }

    #[test]
    fn vcpus_that_can_not_be() {
        for count in [0, 9, u32::MAX] {
            assert_eq!(
                refusal(VM1, set("cpus", cells(&[count]))),
                std::format!("/chosen/vm1: cpus: {count} is not in 1 to 8")
            );
        }
        assert_eq!(
            refusal(VM1, set("cpus", cells(&[3]))),
            "/chosen/vm1: bulkhead,vcpu-cpus: it names 2 CPUs for 3 vCPUs"
        );
        assert_eq!(
            refusal(VM1, set("bulkhead,vcpu-cpus", cells(&[1, 2]))),
            "/chosen/vm1: bulkhead,vcpu-cpus: there is no CPU 2"
        );
    }

    #[test]
    fn more_vcpus_than_a_cpu_takes() {
        let error = refusal("/chosen", |chosen| {
            for name in ["vm3", "vm4"] {
                chosen.add_child(domain(name, &[1; 8]));
            }
        });
        assert_eq!(
            error,
            "/chosen/vm4: bulkhead,vcpu-cpus: too many vCPUs run on CPU 1"
        );
    }

    #[test]
    fn choices_that_are_not_known() {
        assert_eq!(
            refusal(VM1, set("bulkhead,tee", text("other"))),
            "/chosen/vm1: bulkhead,tee: \"other\" is not known"
        );
        assert_eq!(
            refusal(VM1, set("bulkhead,tee-conduit", text("svc"))),
            "/chosen/vm1: bulkhead,tee-conduit: \"svc\" is not known"
        );
    }

    #[test]
    fn limits_that_make_no_sense() {
        let error = refusal(VM1, set("bulkhead,shm-buffer-max", longs(&[4095])));
        assert!(
            error.starts_with("/chosen/vm1: bulkhead,shm-buffer-max: 4095 is not in 4096"),
            "{error}"
        );
        let error = refusal(VM1, set("bulkhead,shm-total-max", longs(&[u64::MAX])));
        assert!(
            error
                .starts_with("/chosen/vm1: bulkhead,shm-total-max: 18446744073709551615 is not in"),
            "{error}"
        );
        for count in [0, 65537] {
            let error = refusal(VM1, set("bulkhead,shm-buffers-max", cells(&[count])));
            assert_eq!(
                error,
                std::format!("/chosen/vm1: bulkhead,shm-buffers-max: {count} is not in 1 to 65536")
            );
        }
        assert_eq!(
            refusal(VM1, set("bulkhead,shm-total-max", longs(&[32 << 20]))),
            "/chosen/vm1: bulkhead,shm-buffer-max: it is more than bulkhead,shm-total-max allows"
        );
    }

    #[test]
    fn modules_that_are_wrong() {
        assert_eq!(
            refusal(VM1, without("module@62000000")),
            "/chosen/vm1: it does not have a kernel"
        );
        for kind in ["kernel", "ramdisk"] {
            let error = refusal(VM1, |node| node.add_child(module(kind, 0x7000_0000, 1)));
            assert_eq!(
                error,
                std::format!("/chosen/vm1/module@70000000: a second module is a {kind}")
            );
        }
        assert_eq!(
            refusal(KERNEL, set("compatible", text("multiboot,module"))),
            "/chosen/vm1/module@62000000: compatible: it is malformed"
        );
        assert_eq!(
            refusal(KERNEL, set("bootargs", b"no end".to_vec())),
            "/chosen/vm1/module@62000000: bootargs: it is malformed"
        );
    }

    #[test]
    fn modules_in_the_wrong_place() {
        let refused = |reg: &[u64]| refusal(KERNEL, set("reg", longs(reg)));
        let reg = "/chosen/vm1/module@62000000: reg: ";
        assert_eq!(
            refused(&[0x6200_0800, 1]),
            std::format!("{reg}the address is not a multiple of 4 KiB")
        );
        for outside in [
            [0x3fff_f000, 0x2000],
            [0xffff_f000, 0x2000],
            [0xe00_0000, 0x1000],
        ] {
            assert_eq!(
                refused(&outside),
                std::format!("{reg}it does not lie in memory")
            );
        }
        for overlapping in [
            [0x6000_0000, 1],
            [0x5fff_f000, 0x1001],
            [0x61ff_f000, 0x1000],
            [0x5000_0000, 0x2000_0000],
        ] {
            assert_eq!(
                refused(&overlapping),
                std::format!("{reg}it overlaps the hypervisor")
            );
        }
        for malformed in [
            [0x6200_0000, 0].as_slice(),
            &[0x6200_0000],
            &[0x6200_0000, 1, 0x6300_0000, 1],
            &[u64::MAX - 0xfff, 0x1001],
        ] {
            assert_eq!(refused(malformed), std::format!("{reg}it is malformed"));
        }
    }
}
