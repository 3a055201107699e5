//! PCIe functions of guests: the host bridge and the SMMU as QEMU describes them.

use super::*;
use crate::description::vm::PciFunction;
use crate::drivers::pcie::Window;
use proptest::prelude::*;

const PORTS: &str = "bulkhead,pci-root-ports";
const BRIDGE: &str = "/pcie@10000000";
const SMMU: &str = "/smmuv3@9060000";
const GIC_PHANDLE: u32 = 0x8005;
const SMMU_PHANDLE: u32 = 0x8006;

/// The interrupts of four devices, which the others share: pin p of device d has SPI
/// 3 + (d + p − 1) mod 4.
fn interrupt_map() -> Vec<u32> {
    let pins = (0..4).flat_map(|device| (1..=4).map(move |pin| (device, pin)));
    let entries = pins.map(|(device, pin)| {
        let spi = 3 + (device + pin - 1) % 4;
        [device << 11, 0, 0, pin, GIC_PHANDLE, 0, 0, 0, spi, 4]
    });
    entries.flatten().collect()
}

/// Ports I/O, 32-bit memory, 64-bit memory: where for functions, where for CPUs, how much.
const RANGES: [[u32; 7]; 3] = [
    [0x0100_0000, 0, 0, 0, 0x3eff_0000, 0, 0x1_0000],
    [0x0200_0000, 0, 0x1000_0000, 0, 0x1000_0000, 0, 0x2eff_0000],
    [0x0300_0000, 0x80, 0, 0x80, 0, 0x80, 0],
];

/// The machine with PCIe, of which vm1 has what is behind ports 1 and 2 and vm2 has port 3's.
fn pci_machine() -> DeviceTree {
    let mut tree = machine();
    let gic = tree.find_node_mut("/intc@8000000").unwrap();
    gic.add_property(property("phandle", cells(&[GIC_PHANDLE])));
    gic.add_property(property("#address-cells", cells(&[2])));
    tree.root.add_child(node(
        "pcie@10000000",
        &[
            ("compatible", text("pci-host-ecam-generic")),
            ("device_type", text("pci")),
            ("#address-cells", cells(&[3])),
            ("#size-cells", cells(&[2])),
            ("bus-range", cells(&[0, 0xff])),
            ("reg", longs(&[0x40_1000_0000, 0x1000_0000])),
            ("ranges", cells(RANGES.as_flattened())),
            ("#interrupt-cells", cells(&[1])),
            ("interrupt-map-mask", cells(&[0x1800, 0, 0, 7])),
            ("interrupt-map", cells(&interrupt_map())),
            ("iommu-map", cells(&[0, SMMU_PHANDLE, 0, 0x1_0000])),
            ("dma-coherent", Vec::new()),
        ],
    ));
    let interrupts = [[0, 74, 1], [0, 75, 1], [0, 76, 1], [0, 77, 1]];
    tree.root.add_child(node(
        "smmuv3@9060000",
        &[
            ("compatible", text("arm,smmu-v3")),
            ("reg", longs(&[0x906_0000, 0x2_0000])),
            ("interrupts", cells(interrupts.as_flattened())),
            (
                "interrupt-names",
                b"eventq\0priq\0cmdq-sync\0gerror\0".to_vec(),
            ),
            ("#iommu-cells", cells(&[1])),
            ("phandle", cells(&[SMMU_PHANDLE])),
        ],
    ));
    set(PORTS, cells(&[1, 2]))(tree.find_node_mut("/chosen/vm1").unwrap());
    set(PORTS, cells(&[3]))(tree.find_node_mut("/chosen/vm2").unwrap());
    tree
}

fn with(path: &str, change: impl FnOnce(&mut DeviceTreeNode)) -> Result<Machine, DescriptionError> {
    let mut tree = pci_machine();
    change(tree.find_node_mut(path).unwrap());
    parsed(&tree)
}

fn accepted(path: &str, change: impl FnOnce(&mut DeviceTreeNode)) -> PciHost {
    let machine = with(path, change).unwrap_or_else(|error| panic!("{error}"));
    machine.pci.expect("a host bridge")
}

fn refused(path: &str, change: impl FnOnce(&mut DeviceTreeNode)) -> String {
    with(path, change).unwrap_err().to_string()
}

fn malformed(property: &'static str, value: &[u32]) {
    let error = refused(BRIDGE, set(property, cells(value)));
    let expected = std::format!("{BRIDGE}: {property}: it is malformed");
    assert_eq!(error, expected, "{value:x?}");
}

#[test]
fn the_host_bridge_and_its_smmu_are_read() {
    let machine = parsed(&pci_machine()).unwrap();
    let host = machine.pci.unwrap();
    let configuration = Range {
        start: Pa(0x40_1000_0000),
        len: 0x1000_0000,
    };
    assert_eq!(host.configuration, configuration);
    let window = Window {
        pa: 0x1000_0000,
        bus_address: 0x1000_0000,
        len: 0x2eff_0000,
    };
    assert_eq!(host.window, window);
    assert_eq!(host.smmu, Pa(0x906_0000));
    assert_eq!(host.smmu_interrupt, Some(32 + 74));
    for requester in [0, 0x8, 0x100, 0xffff] {
        assert_eq!(host.stream(requester), Some(requester));
    }
    assert_eq!(host.stream(0x1_0000), None);
    assert_eq!(host.stream(u32::MAX), None);
}

#[test]
fn functions_have_the_lines_of_their_ports() {
    let machine = parsed(&pci_machine()).unwrap();
    let [vm1, vm2] = machine.guests.as_slice() else {
        panic!("two guests");
    };
    let function = |port, spi: u32| PciFunction {
        port,
        line: 32 + spi,
    };
    assert_eq!(vm1.pci, [function(1, 4), function(2, 5)]);
    assert_eq!(vm2.pci, [function(3, 6)]);
    assert_eq!(vm1.pci_lines(), [36, 37]);
    let host = machine.pci.unwrap();
    // As the PCI-to-PCI Bridge Architecture swizzles them.
    for device in 0..32 {
        for pin in 1..=4 {
            let expected = 32 + 3 + (u32::from(device) + pin - 1) % 4;
            assert_eq!(host.line(device, pin), Some(expected));
        }
        assert_eq!(host.line(device, 0), None);
        assert_eq!(host.line(device, 5), None);
    }
}

#[test]
fn functions_of_a_guest_may_share_a_line() {
    let mut tree = pci_machine();
    set(PORTS, cells(&[1, 5, 2, 9]))(tree.find_node_mut("/chosen/vm1").unwrap());
    let machine = parsed(&tree).unwrap();
    let lines = machine.guests[0].pci.iter().map(|function| function.line);
    assert_eq!(lines.collect::<Vec<_>>(), [36, 36, 37, 36]);
    assert_eq!(machine.guests[0].pci_lines(), [36, 37]);
}

#[test]
fn without_functions_nobody_looks_for_a_host_bridge() {
    let mut tree = pci_machine();
    for guest in ["/chosen/vm1", "/chosen/vm2"] {
        without(PORTS)(tree.find_node_mut(guest).unwrap());
    }
    without("interrupt-map")(tree.find_node_mut(BRIDGE).unwrap());
    assert_eq!(parsed(&tree).unwrap().pci, None);
}

#[test]
fn a_host_bridge_without_an_smmu_is_refused() {
    let error = |path: &str| {
        std::format!(
            "{path}: no SMMUv3 stands between its devices and memory, so that guests can't have them"
        )
    };
    assert_eq!(refused(BRIDGE, without("iommu-map")), error(BRIDGE));
    assert_eq!(refused("/", without("smmuv3@9060000")), error(BRIDGE));
    assert_eq!(refused(SMMU, without("phandle")), error(BRIDGE));
    for (name, value) in [
        ("compatible", text("arm,mmu-500")),
        ("status", text("disabled")),
        ("secure-status", text("okay")),
    ] {
        assert_eq!(refused(SMMU, set(name, value)), error(BRIDGE));
    }
    let elsewhere = cells(&[0, GIC_PHANDLE, 0, 0x1_0000]);
    assert_eq!(refused(BRIDGE, set("iommu-map", elsewhere)), error(BRIDGE));
}

#[test]
fn streams_can_be_numbered_otherwise() {
    let maps = [
        [0, SMMU_PHANDLE, 0x1_0000, 0x200],
        [0x200, SMMU_PHANDLE, 0, 0xfe00],
    ];
    let host = accepted(BRIDGE, set("iommu-map", cells(maps.as_flattened())));
    assert_eq!(host.stream(0x100), Some(0x1_0100));
    assert_eq!(host.stream(0x1ff), Some(0x1_01ff));
    assert_eq!(
        host.stream(0x200),
        None,
        "what is not behind the first range"
    );
    let last = [0, SMMU_PHANDLE, u32::MAX, u32::MAX];
    let host = accepted(BRIDGE, set("iommu-map", cells(&last)));
    assert_eq!(host.stream(0), Some(u32::MAX));
    assert_eq!(host.stream(1), None, "it wraps");
}

#[test]
fn the_interrupt_of_the_smmu_may_be_one_for_all_or_none() {
    let interrupts = |names: &[u8], interrupts: &[u32]| {
        let (names, interrupts) = (names.to_vec(), cells(interrupts));
        let host = accepted(SMMU, |smmu| {
            set("interrupt-names", names)(smmu);
            set("interrupts", interrupts)(smmu);
        });
        host.smmu_interrupt
    };
    assert_eq!(interrupts(b"combined\0", &[0, 80, 1]), Some(112));
    assert_eq!(
        interrupts(b"gerror\0eventq\0", &[0, 80, 1, 0, 81, 1]),
        Some(113)
    );
    assert_eq!(interrupts(b"gerror\0", &[0, 80, 1]), None);
    assert_eq!(interrupts(b"gerror\0eventq\0", &[0, 80, 1]), None);
    assert_eq!(interrupts(b"gerror\0eventq\0", &[0, 80, 1, 0]), None);
    assert_eq!(interrupts(b"eventq\0", &[1, 13, 1]), None, "a PPI");
    assert_eq!(
        interrupts(b"eventq\0", &[0, 988, 1]),
        None,
        "beyond all SPIs"
    );
    assert_eq!(interrupts(b"eventq\0", &[0, u32::MAX, 1]), None);
    assert_eq!(accepted(SMMU, without("interrupts")).smmu_interrupt, None);
    let unnamed = accepted(SMMU, without("interrupt-names"));
    assert_eq!(unnamed.smmu_interrupt, None);
    assert_eq!(
        refused(SMMU, without("reg")),
        std::format!("{SMMU}: reg: it is missing")
    );
}

#[test]
fn ports_that_can_not_be_given_away() {
    let refused = |ports: &[u32]| refused("/chosen/vm1", set(PORTS, cells(ports)));
    let error = |what: &str| std::format!("/chosen/vm1: {PORTS}: {what}");
    assert_eq!(refused(&[32]), error("32 is not in 0 to 31"));
    assert_eq!(refused(&[u32::MAX]), error("4294967295 is not in 0 to 31"));
    assert_eq!(refused(&[1, 1]), error("root port 1 is given away already"));
    let many: Vec<u32> = (0..32).chain([0]).collect();
    let max = host_abi::binding::PCI_FUNCTIONS_MAX;
    assert_eq!(
        refused(&many),
        error(&std::format!("33 is not in 0 to {max}"))
    );
}

#[test]
fn a_port_or_a_line_is_one_guests() {
    let refused = |ports: &[u32]| refused("/chosen/vm2", set(PORTS, cells(ports)));
    let error = |what: &str| std::format!("/chosen/vm2: {PORTS}: {what}");
    for ports in [&[1][..], &[2], &[3, 2]] {
        let taken = ports.last().unwrap();
        let what = std::format!("root port {taken} is given away already");
        assert_eq!(refused(ports), error(&what));
    }
    assert_eq!(
        refused(&[3, 6]),
        error("what is behind root port 6 interrupts by line 37, as another guest's device does")
    );
}

#[test]
fn a_port_without_a_line_is_refused() {
    let error =
        |port: u32| std::format!("/chosen/vm1: {PORTS}: root port {port} has no interrupt line");
    let map = interrupt_map();
    let entries = map.as_chunks::<10>().0;
    let without = |is: &dyn Fn(&[u32; 10]) -> bool| {
        let left = entries.iter().filter(|&entry| !is(entry));
        let left: Vec<u32> = left.flatten().copied().collect();
        refused(BRIDGE, set("interrupt-map", cells(&left)))
    };
    assert_eq!(without(&|_| true), error(1));
    assert_eq!(without(&|entry| entry[0] == 2 << 11), error(2));
    assert_eq!(without(&|entry| entry[..4] == [1 << 11, 0, 0, 1]), error(1));
    // A PPI, and an interrupt beyond all SPIs, are none.
    for (kind, number) in [(1, 4), (0, 988), (0, u32::MAX)] {
        let mut map = interrupt_map();
        let entry = map.chunks_mut(10).find(|it| it[..4] == [1 << 11, 0, 0, 1]);
        entry.unwrap()[7..9].copy_from_slice(&[kind, number]);
        assert_eq!(refused(BRIDGE, set("interrupt-map", cells(&map))), error(1));
    }
    // The last SPI is one.
    let mut map = interrupt_map();
    let entry = map.chunks_mut(10).find(|it| it[..4] == [1 << 11, 0, 0, 1]);
    entry.unwrap()[8] = 987;
    let host = accepted(BRIDGE, set("interrupt-map", cells(&map)));
    assert_eq!(host.line(1, 1), Some(1019));
}

#[test]
fn a_map_can_name_each_device_and_a_parent_without_addresses() {
    let mut tree = pci_machine();
    set("#address-cells", cells(&[0]))(tree.find_node_mut("/intc@8000000").unwrap());
    let bridge = tree.find_node_mut(BRIDGE).unwrap();
    set("interrupt-map-mask", cells(&[0xf800, 0, 0, 7]))(bridge);
    let entries = [1, 2, 3].map(|device| [device << 11, 0, 0, 1, GIC_PHANDLE, 0, device + 60, 4]);
    set("interrupt-map", cells(entries.as_flattened()))(bridge);
    let host = parsed(&tree).unwrap().pci.unwrap();
    assert_eq!(
        [1, 2, 3].map(|n| host.line(n, 1)),
        [Some(93), Some(94), Some(95)]
    );
    for (device, pin) in [(4, 1), (5, 1), (9, 1), (1, 2)] {
        assert_eq!(host.line(device, pin), None);
    }
}

#[test]
fn a_map_that_says_nothing_of_devices_is_for_all() {
    let mut tree = pci_machine();
    without(PORTS)(tree.find_node_mut("/chosen/vm2").unwrap());
    let bridge = tree.find_node_mut(BRIDGE).unwrap();
    set("interrupt-map-mask", cells(&[0, 0, 0, 7]))(bridge);
    let entry = [0x1234_0800, 0, 0, 9, GIC_PHANDLE, 0, 0, 0, 9, 4];
    set("interrupt-map", cells(&entry))(bridge);
    let machine = parsed(&tree).unwrap();
    assert_eq!(machine.guests[0].pci_lines(), [41]);
    let host = machine.pci.unwrap();
    assert_eq!([0, 31].map(|device| host.line(device, 1)), [Some(41); 2]);
}

#[test]
fn a_window_of_32_bit_memory_is_needed() {
    let error = "/pcie@10000000: ranges: it does not have a window of 32-bit memory";
    let [io, memory, long] = RANGES;
    let refused =
        |ranges: &[[u32; 7]]| refused(BRIDGE, set("ranges", cells(ranges.as_flattened())));
    assert_eq!(refused(&[]), error);
    assert_eq!(refused(&[io, long]), error);
    let prefetchable = [memory[0] | 0x4000_0000, 0, 0, 0, 0, 0, 0x1000];
    assert_eq!(refused(&[prefetchable]), error);
    // Beyond 32 bits for functions, and beyond all addresses for CPUs.
    assert_eq!(
        refused(&[[memory[0], 0, 0xffff_0000, 0, 0, 0, 0x1_0001]]),
        error
    );
    assert_eq!(refused(&[[memory[0], 1, 0, 0, 0, 0, 0x1000]]), error);
    assert_eq!(refused(&[[memory[0], !0, !0, 0, 0, 0, 2]]), error);
    assert_eq!(refused(&[[memory[0], 0, 0, !0, !0, 0, 2]]), error);
    let last = [memory[0], 0, 0xffff_0000, 0x50, 0, 0, 0x1_0000];
    let host = accepted(BRIDGE, set("ranges", cells([io, last].as_flattened())));
    assert_eq!(host.window.pa, 0x50_0000_0000);
    let relocatable = [
        memory[0] | 0x8000_0000,
        0,
        0x1000_0000,
        0,
        0x1000_0000,
        0,
        0x1000,
    ];
    let host = accepted(BRIDGE, set("ranges", cells(&relocatable)));
    assert_eq!(host.window.len, 0x1000);
}

#[test]
fn a_bridge_that_is_none_or_has_no_place() {
    let none = "/: it does not have a pci-host-ecam-generic";
    assert_eq!(refused("/", without("pcie@10000000")), none);
    assert_eq!(
        refused(BRIDGE, set("compatible", text("pci-host-cam-generic"))),
        none
    );
    assert_eq!(refused(BRIDGE, set("status", text("disabled"))), none);
    for (reg, what) in [
        (longs(&[0x40_1000_0000]), "it is malformed"),
        (longs(&[0, 0x1000, 0x2000, 0x1000]), "it is malformed"),
        (longs(&[0x1000, 0]), "it is malformed"),
    ] {
        let error = refused(BRIDGE, set("reg", reg));
        assert_eq!(error, std::format!("{BRIDGE}: reg: {what}"));
    }
}

#[test]
fn properties_that_are_missing() {
    for name in ["reg", "ranges", "interrupt-map", "interrupt-map-mask"] {
        let error = refused(BRIDGE, without(name));
        assert_eq!(error, std::format!("{BRIDGE}: {name}: it is missing"));
    }
}

#[test]
fn properties_that_are_not_cells() {
    for name in ["ranges", "interrupt-map", "interrupt-map-mask", "iommu-map"] {
        let error = refused(BRIDGE, set(name, std::vec![0; 41]));
        assert_eq!(error, std::format!("{BRIDGE}: {name}: it is malformed"));
    }
    let error = refused("/chosen/vm1", set(PORTS, std::vec![0, 1]));
    assert_eq!(error, std::format!("/chosen/vm1: {PORTS}: it is malformed"));
    for name in ["phandle", "#address-cells"] {
        let error = refused("/intc@8000000", set(name, std::vec![1, 2, 3]));
        assert_eq!(
            error,
            std::format!("/intc@8000000: {name}: it is malformed")
        );
    }
    let error = refused(SMMU, set("interrupts", std::vec![1, 2, 3]));
    assert_eq!(error, std::format!("{SMMU}: interrupts: it is malformed"));
}

#[test]
fn maps_that_end_early() {
    let map = interrupt_map();
    for len in (1..map.len()).filter(|len| len % 10 != 0) {
        malformed("interrupt-map", &map[..len]);
    }
    for len in (0..4).chain(5..8) {
        malformed("interrupt-map-mask", &[0xf800, 0, 0, 7, 0, 0, 0, 0][..len]);
        malformed(
            "iommu-map",
            &[0, SMMU_PHANDLE, 0, 0x1_0000, 0x1_0000, 0, 0, 0][..len],
        );
    }
    let ranges = RANGES.as_flattened();
    for len in (0..ranges.len()).filter(|len| len % 7 != 0) {
        malformed("ranges", &ranges[..len]);
    }
}

#[test]
fn maps_that_name_nothing_or_too_much() {
    let mut map = interrupt_map();
    map[4] = 0x1234;
    malformed("interrupt-map", &map);
    // Bus 0 is not behind it.
    malformed("iommu-map", &[1, SMMU_PHANDLE, 0, 0x1_0000]);
    for address_cells in [6, 0x1000, u32::MAX] {
        let cells = cells(&[address_cells]);
        let error = refused("/intc@8000000", set("#address-cells", cells));
        // The node's own registers are read by its parent's cells; the map's by these.
        assert_eq!(
            error,
            std::format!("{BRIDGE}: interrupt-map: it is malformed")
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_cells_say_there_is_an_answer(
        name in prop::sample::select(std::vec!["ranges", "interrupt-map", "interrupt-map-mask", "iommu-map"]),
        values in prop::collection::vec(
            prop_oneof![Just(0_u32), Just(GIC_PHANDLE), Just(SMMU_PHANDLE), Just(0x0200_0000), any::<u32>()],
            0..40,
        ),
    ) {
        let _ = with(BRIDGE, set(name, cells(&values)));
    }
}
