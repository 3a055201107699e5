//! The device tree that a guest gets, and the machine that it describes.
//!
//! Bindings: Devicetree Specification 0.4; for the rest Linux 6.12,
//! Documentation/devicetree/bindings (arm/psci.yaml, arm/firmware/linaro,optee-tz.yaml,
//! interrupt-controller/arm,gic-v3.yaml, pci/host-generic-pci.yaml, rtc/arm,pl031.yaml,
//! serial/pl011.yaml, timer/arm,arch_timer.yaml).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use addresses::{Ipa, PAGE_SIZE};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node as _, Property as _, ToPropertyValue};

use crate::description::vm::VmDescription;
use crate::devices::gicv3::layout::FIRST_SPI;
use crate::mm::tables::IPA_BITS;
use host_abi::binding::TeeChoice;
use host_abi::memory_map::guest::{self, DISTRIBUTOR_SIZE, REDISTRIBUTOR_STRIDE};

/// Where things are for a guest. All guests see the same machine, apart from its size.
#[derive(Clone, Copy, Debug)]
pub struct GuestLayout;

impl GuestLayout {
    /// The virtual GICv3's distributor.
    pub const DISTRIBUTOR: Ipa = Ipa(guest::DISTRIBUTOR);
    /// Its redistributors, one after the other.
    pub const REDISTRIBUTORS: Ipa = Ipa(guest::REDISTRIBUTORS);
    /// The emulated PL011: a page.
    pub const UART: Ipa = Ipa(guest::UART);
    /// The PL011's interrupt, which is level-sensitive.
    pub const UART_INTID: u32 = FIRST_SPI + guest::UART_SPI;
    /// The emulated PL031: a page.
    pub const CLOCK: Ipa = Ipa(guest::CLOCK);
    /// The interrupt by which a TEE says that a notification waits; edge-triggered.
    pub const TEE_INTID: u32 = FIRST_SPI + guest::TEE_SPI;
    /// Configuration space of the PCIe host bridge, where there is one.
    pub const PCI_CONFIGURATION: Ipa = Ipa(guest::PCI_CONFIGURATION);
    /// Registers of PCIe functions.
    pub const PCI_MEMORY: Ipa = Ipa(guest::PCI_MEMORY);
    /// The first interrupt of PCIe functions; they are level-sensitive.
    pub const PCI_INTID: u32 = FIRST_SPI + guest::PCI_SPI;
    /// The start of RAM.
    pub const RAM: Ipa = Ipa(guest::RAM_BASE);
}

const UART_CLOCK_HZ: u32 = 24_000_000;

/// The first cell of an interrupt: SPI or PPI.
const SPI: u32 = 0;
const PPI: u32 = 1;
/// The third cell of an interrupt: edge-triggered, rising; level-sensitive, active high.
const EDGE_RISING: u32 = 1;
const LEVEL_HIGH: u32 = 4;

/// The architected timer's PPIs: secure, non-secure, virtual, hypervisor.
const TIMER_PPIS: [u32; 4] = [13, 14, 11, 10];

/// The value of a property that only has to be there.
const PRESENT: [u8; 0] = [];

const GIC_PHANDLE: u32 = 1;
const CLOCK_PHANDLE: u32 = 2;

/// Why there is no device tree for a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestTreeError {
    /// Its memory reaches beyond the addresses that it can use.
    TooMuchMemory,
    /// The RAM disk is not, or not as a whole, in its memory.
    RamdiskOutsideMemory,
}

impl fmt::Display for GuestTreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMuchMemory => "the memory reaches beyond what a guest can address",
            Self::RamdiskOutsideMemory => "the RAM disk does not lie in the memory",
        })
    }
}

impl core::error::Error for GuestTreeError {}

/// What a machine has for its guests, or lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineHas {
    /// A real-time clock.
    pub clock: bool,
    /// Random numbers.
    pub randomness: bool,
}

/// Randomness for one start of a guest.
#[derive(Clone, Copy, Debug)]
pub struct GuestSeed {
    /// What the guest's own generator starts with.
    pub generator: [u8; 64],
    /// Where its kernel goes in its address space.
    pub layout: [u8; 8],
}

/// A guest's flattened tree, made once. For each start it gets other randomness.
#[derive(Clone, Debug)]
pub struct GuestTree {
    bytes: Vec<u8>,
    /// Where the seeds are, if there are any.
    seeds: Option<SeedOffsets>,
}

#[derive(Clone, Copy, Debug)]
struct SeedOffsets {
    generator: usize,
    layout: usize,
}

impl GuestTree {
    /// The tree for `vm`, whose RAM disk lies at an address and has a length in bytes, with what
    /// the machine `has` for its guests.
    ///
    /// # Errors
    ///
    /// See [`GuestTreeError`].
    pub fn new(
        vm: &VmDescription,
        ramdisk: Option<(Ipa, u64)>,
        has: MachineHas,
    ) -> Result<Self, GuestTreeError> {
        let no_seed = GuestSeed {
            generator: [0; 64],
            layout: [0; 8],
        };
        let bytes = build(vm, ramdisk, has.clock, has.randomness.then_some(&no_seed))?;
        let offset = |name: &str| {
            let chosen = Fdt::new(&bytes).ok()?.find_node("/chosen")?;
            let property = chosen.property(name)?;
            let value = property.value();
            (value.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)
        };
        let seeds = match (offset("rng-seed"), offset("kaslr-seed")) {
            (Some(generator), Some(layout)) => Some(SeedOffsets { generator, layout }),
            _ => None,
        };
        Ok(Self { bytes, seeds })
    }

    /// The tree's bytes, with the randomness of one start where there is room for it.
    #[must_use]
    pub fn with_seed(&self, seed: &GuestSeed) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(SeedOffsets { generator, layout }) = self.seeds {
            for (offset, seed) in [(generator, &seed.generator[..]), (layout, &seed.layout)] {
                if let Some(place) = bytes.get_mut(offset..offset + seed.len()) {
                    place.copy_from_slice(seed);
                }
            }
        }
        bytes
    }
}

/// The flattened tree for `vm`, whose RAM disk lies at an address and has a length in bytes.
///
/// # Errors
///
/// See [`GuestTreeError`].
fn build(
    vm: &VmDescription,
    ramdisk: Option<(Ipa, u64)>,
    clock: bool,
    seed: Option<&GuestSeed>,
) -> Result<Vec<u8>, GuestTreeError> {
    let memory_end = GuestLayout::RAM
        .checked_add(vm.memory)
        .filter(|end| end.0 <= 1 << IPA_BITS)
        .ok_or(GuestTreeError::TooMuchMemory)?;
    let ramdisk = match ramdisk {
        Some((start, len)) => {
            let end = start
                .checked_add(len)
                .filter(|&end| start >= GuestLayout::RAM && end <= memory_end)
                .ok_or(GuestTreeError::RamdiskOutsideMemory)?;
            Some((start, end))
        }
        None => None,
    };
    let method = vm.conduit.name();
    let mut tree = DeviceTree::new();
    let root = &mut tree.root;
    set(root, "#address-cells", 2u32);
    set(root, "#size-cells", 2u32);
    set(root, "interrupt-parent", GIC_PHANDLE);
    set(root, "compatible", "bulkhead,vm");
    set(root, "model", "Bulkhead VM");
    root.add_child(chosen(vm, ramdisk, seed));
    root.add_child(memory(vm.memory));
    root.add_child(cpus(vm.vcpu_cpus.len()));
    root.add_child(psci(method));
    root.add_child(timer());
    root.add_child(interrupt_controller(vm.vcpu_cpus.len()));
    root.add_child(clock_signal());
    root.add_child(uart());
    if clock {
        root.add_child(real_time_clock());
    }
    if !vm.pci.is_empty() {
        root.add_child(host_bridge(vm));
    }
    match vm.tee {
        TeeChoice::None => {}
        TeeChoice::Optee => root.add_child(firmware(method)),
    }
    Ok(tree.to_dtb())
}

fn chosen(
    vm: &VmDescription,
    ramdisk: Option<(Ipa, Ipa)>,
    seed: Option<&GuestSeed>,
) -> DeviceTreeNode {
    let mut chosen = node("chosen");
    set(&mut chosen, "bootargs", vm.bootargs.as_str());
    let uart = format!("/{}", at("pl011", GuestLayout::UART));
    set(&mut chosen, "stdout-path", uart);
    if !vm.pci.is_empty() {
        // BARs are where they are.
        set(&mut chosen, "linux,pci-probe-only", 1u32);
    }
    if let Some((start, end)) = ramdisk {
        set(&mut chosen, "linux,initrd-start", start.0);
        set(&mut chosen, "linux,initrd-end", end.0);
    }
    if let Some(seed) = seed {
        set(&mut chosen, "rng-seed", seed.generator);
        set(&mut chosen, "kaslr-seed", seed.layout);
    }
    chosen
}

fn memory(len: u64) -> DeviceTreeNode {
    let mut memory = node(&at("memory", GuestLayout::RAM));
    set(&mut memory, "device_type", "memory");
    set(&mut memory, "reg", reg(&[(GuestLayout::RAM, len)]));
    memory
}

/// The affinity of vCPU n is n (see [`crate::devices::gicv3`]).
fn cpus(vcpus: usize) -> DeviceTreeNode {
    let mut cpus = node("cpus");
    set(&mut cpus, "#address-cells", 1u32);
    set(&mut cpus, "#size-cells", 0u32);
    for n in 0..vcpus {
        let mut cpu = node(&format!("cpu@{n:x}"));
        set(&mut cpu, "device_type", "cpu");
        set(&mut cpu, "compatible", "arm,armv8");
        set(&mut cpu, "reg", n as u32);
        set(&mut cpu, "enable-method", "psci");
        cpus.add_child(cpu);
    }
    cpus
}

fn psci(method: &str) -> DeviceTreeNode {
    let mut psci = node("psci");
    let compatible = ["arm,psci-1.0", "arm,psci-0.2"].as_slice();
    set(&mut psci, "compatible", compatible);
    set(&mut psci, "method", method);
    psci
}

fn timer() -> DeviceTreeNode {
    let mut timer = node("timer");
    set(&mut timer, "compatible", "arm,armv8-timer");
    let interrupts = TIMER_PPIS.map(|ppi| [PPI, ppi, LEVEL_HIGH]);
    set(&mut timer, "interrupts", interrupts.as_flattened());
    set(&mut timer, "always-on", PRESENT);
    timer
}

fn interrupt_controller(vcpus: usize) -> DeviceTreeNode {
    let mut gic = node(&at("interrupt-controller", GuestLayout::DISTRIBUTOR));
    set(&mut gic, "compatible", "arm,gic-v3");
    set(&mut gic, "#interrupt-cells", 3u32);
    set(&mut gic, "#address-cells", 0u32);
    set(&mut gic, "interrupt-controller", PRESENT);
    let redistributors = REDISTRIBUTOR_STRIDE * vcpus as u64;
    let frames = [
        (GuestLayout::DISTRIBUTOR, DISTRIBUTOR_SIZE),
        (GuestLayout::REDISTRIBUTORS, redistributors),
    ];
    set(&mut gic, "reg", reg(&frames));
    set(&mut gic, "phandle", GIC_PHANDLE);
    gic
}

fn clock_signal() -> DeviceTreeNode {
    let mut clock = node("apb-pclk");
    set(&mut clock, "compatible", "fixed-clock");
    set(&mut clock, "#clock-cells", 0u32);
    set(&mut clock, "clock-frequency", UART_CLOCK_HZ);
    set(&mut clock, "clock-output-names", "clk24mhz");
    set(&mut clock, "phandle", CLOCK_PHANDLE);
    clock
}

fn uart() -> DeviceTreeNode {
    let mut uart = primecell("pl011", GuestLayout::UART);
    set(&mut uart, "interrupts", [SPI, guest::UART_SPI, LEVEL_HIGH]);
    set(&mut uart, "clocks", [CLOCK_PHANDLE, CLOCK_PHANDLE]);
    set(&mut uart, "clock-names", ["uartclk", "apb_pclk"].as_slice());
    uart
}

/// Without an interrupt: nobody is woken up by it.
fn real_time_clock() -> DeviceTreeNode {
    let mut clock = primecell("pl031", GuestLayout::CLOCK);
    set(&mut clock, "clocks", CLOCK_PHANDLE);
    set(&mut clock, "clock-names", "apb_pclk");
    clock
}

/// Function 0 of device n is the VM's n-th function, which interrupts by INTA.
fn host_bridge(vm: &VmDescription) -> DeviceTreeNode {
    /// The space of a PCI address: 32-bit memory.
    const MEMORY_32: u32 = 0x0200_0000;
    const DEVICE_SHIFT: u32 = 11;
    const DEVICE_MASK: u32 = 0x1f << DEVICE_SHIFT;
    const PIN_MASK: u32 = 7;
    const PIN_A: u32 = 1;
    let mut bridge = node(&at("pcie", GuestLayout::PCI_CONFIGURATION));
    set(&mut bridge, "compatible", "pci-host-ecam-generic");
    set(&mut bridge, "device_type", "pci");
    set(&mut bridge, "#address-cells", 3u32);
    set(&mut bridge, "#size-cells", 2u32);
    set(&mut bridge, "bus-range", [0u32, 0]);
    let configuration = (
        GuestLayout::PCI_CONFIGURATION,
        guest::PCI_CONFIGURATION_SIZE,
    );
    set(&mut bridge, "reg", reg(&[configuration]));
    let memory = guest::PCI_MEMORY as u32;
    let size = guest::PCI_MEMORY_SIZE as u32;
    let window = [MEMORY_32, 0, memory, 0, memory, 0, size];
    set(&mut bridge, "ranges", window);
    set(&mut bridge, "dma-coherent", PRESENT);
    set(&mut bridge, "#interrupt-cells", 1u32);
    set(
        &mut bridge,
        "interrupt-map-mask",
        [DEVICE_MASK, 0, 0, PIN_MASK],
    );
    let lines = vm.pci_lines();
    let map = (0..).zip(&vm.pci).map(|(device, function)| {
        let line = (0..).zip(&lines).find(|(_, line)| **line == function.line);
        let spi = guest::PCI_SPI + line.map_or(0, |(number, _)| number);
        [
            device << DEVICE_SHIFT,
            0,
            0,
            PIN_A,
            GIC_PHANDLE,
            SPI,
            spi,
            LEVEL_HIGH,
        ]
    });
    let map: Vec<u32> = map.flatten().collect();
    set(&mut bridge, "interrupt-map", map.as_slice());
    bridge
}

fn firmware(method: &str) -> DeviceTreeNode {
    let mut optee = node("optee");
    set(&mut optee, "compatible", "linaro,optee-tz");
    set(&mut optee, "method", method);
    set(&mut optee, "interrupts", [SPI, guest::TEE_SPI, EDGE_RISING]);
    let mut firmware = node("firmware");
    firmware.add_child(optee);
    firmware
}

/// One of Arm's peripherals, with a page of registers.
fn primecell(name: &str, address: Ipa) -> DeviceTreeNode {
    let mut device = node(&at(name, address));
    let kind = format!("arm,{name}");
    set(
        &mut device,
        "compatible",
        [kind.as_str(), "arm,primecell"].as_slice(),
    );
    set(&mut device, "reg", reg(&[(address, PAGE_SIZE)]));
    device
}

/// A node; the names stand here and are well-formed.
fn node(name: &str) -> DeviceTreeNode {
    DeviceTreeNode::new_unchecked(name)
}

/// The name of a node with its unit address.
fn at(name: &str, address: Ipa) -> String {
    format!("{name}@{:x}", address.0)
}

fn set(node: &mut DeviceTreeNode, name: &str, value: impl ToPropertyValue) {
    node.add_property(DeviceTreeProperty::new_unchecked(name, value));
}

/// Addresses and sizes of two cells each.
fn reg(ranges: &[(Ipa, u64)]) -> Vec<u8> {
    let numbers = ranges.iter().flat_map(|&(start, len)| [start.0, len]);
    numbers.flat_map(u64::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec;

    use dtoolkit::fdt::{Fdt, FdtNode};
    use dtoolkit::standard::NodeStandard;
    use dtoolkit::{FromPropertyValue, Node, Property};

    use super::*;
    use crate::description::policy::CallPolicy;
    use crate::description::vm::{Module, PciFunction, ShmLimits};
    use addresses::Pa;
    use mediator::ta_access::TaAccess;
    use smccc::Conduit;

    fn vm() -> VmDescription {
        VmDescription {
            name: "vm1".into(),
            memory: 512 << 20,
            vcpu_cpus: vec![0, 1, 0],
            kernel: Module {
                pa: Pa(0x6200_0000),
                len: 0x240_0000,
            },
            ramdisk: None,
            bootargs: "console=ttyAMA0 quiet".into(),
            tee: TeeChoice::Optee,
            conduit: Conduit::Smc,
            ta_access: TaAccess::All,
            ta_instances_max: None,
            tee_calls_per_second: None,
            shm_limits: ShmLimits::default(),
            policy: CallPolicy::default(),
            pci: Vec::new(),
        }
    }

    fn get<'a, T: FromPropertyValue<'a>>(node: &FdtNode<'a>, name: &str) -> T {
        let property = node
            .property(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        property.value_as().unwrap()
    }

    fn find<'a>(fdt: &Fdt<'a>, path: &str) -> FdtNode<'a> {
        fdt.find_node(path)
            .unwrap_or_else(|| panic!("{path} is missing"))
    }

    fn regs(node: FdtNode<'_>) -> Vec<(u64, u64)> {
        let reg = node.reg().unwrap().unwrap();
        reg.map(|reg| (reg.address().unwrap(), reg.size().unwrap()))
            .collect()
    }

    #[test]
    fn linux_finds_its_memory_and_command_line() {
        let dtb = build(&vm(), Some((Ipa(0x4400_0000), 0x123)), true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        assert_eq!(
            regs(find(&fdt, "/memory@40000000")),
            [(0x4000_0000, 512 << 20)]
        );
        let chosen = find(&fdt, "/chosen");
        assert_eq!(get::<&str>(&chosen, "bootargs"), "console=ttyAMA0 quiet");
        assert_eq!(get::<u64>(&chosen, "linux,initrd-start"), 0x4400_0000);
        assert_eq!(get::<u64>(&chosen, "linux,initrd-end"), 0x4400_0123);
        let stdout = find(&fdt, get(&chosen, "stdout-path"));
        assert!(stdout.is_compatible("arm,pl011"));
        assert_eq!(regs(stdout), [(0x900_0000, 0x1000)]);
        assert_eq!(
            get::<[u32; 3]>(&stdout, "interrupts"),
            [0, GuestLayout::UART_INTID - 32, 4]
        );
        assert_eq!(get::<&str>(&fdt.root(), "compatible"), "bulkhead,vm");
    }

    #[test]
    fn without_a_ramdisk_there_is_no_word_of_it() {
        let dtb = build(&vm(), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        let chosen = find(&fdt, "/chosen");
        assert!(chosen.property("linux,initrd-start").is_none());
        assert!(chosen.property("linux,initrd-end").is_none());
    }

    fn has(randomness: bool) -> MachineHas {
        MachineHas {
            clock: true,
            randomness,
        }
    }

    #[test]
    fn a_clock_is_there_if_the_machine_has_one() {
        for clock in [true, false] {
            let dtb = build(&vm(), None, clock, None).unwrap();
            let fdt = Fdt::new(&dtb).unwrap();
            let node = fdt.find_node("/pl031@9010000");
            assert_eq!(node.is_some(), clock);
            if let Some(node) = node {
                assert_eq!(get::<&str>(&node, "clock-names"), "apb_pclk");
                assert!(node.property("interrupts").is_none());
            }
        }
    }

    #[test]
    fn each_start_gets_other_seeds_in_the_same_tree() {
        let seed = |byte| GuestSeed {
            generator: [byte; 64],
            layout: [byte; 8],
        };
        let tree = GuestTree::new(&vm(), None, has(true)).unwrap();
        for byte in [3, 9] {
            let dtb = tree.with_seed(&seed(byte));
            assert_eq!(dtb, build(&vm(), None, true, Some(&seed(byte))).unwrap());
        }
        let tree = GuestTree::new(&vm(), None, has(false)).unwrap();
        assert_eq!(
            tree.with_seed(&seed(3)),
            build(&vm(), None, true, None).unwrap()
        );
    }

    #[test]
    fn seeds_are_there_when_there_is_randomness() {
        let seed = GuestSeed {
            generator: [7; 64],
            layout: [1, 2, 3, 4, 5, 6, 7, 8],
        };
        let dtb = build(&vm(), None, true, Some(&seed)).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        let chosen = find(&fdt, "/chosen");
        assert_eq!(get::<[u8; 64]>(&chosen, "rng-seed"), [7; 64]);
        assert_eq!(get::<u64>(&chosen, "kaslr-seed"), 0x0102_0304_0506_0708);
        let dtb = build(&vm(), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        assert!(find(&fdt, "/chosen").property("rng-seed").is_none());
    }

    #[test]
    fn each_vcpu_has_a_node_and_a_redistributor() {
        let dtb = build(&vm(), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        let cpus = fdt.cpus().unwrap();
        let ids: Vec<u32> = cpus.cpus().map(|cpu| get(&cpu, "reg")).collect();
        assert_eq!(ids, [0, 1, 2]);
        assert!(
            cpus.cpus()
                .all(|cpu| get::<&str>(&cpu, "enable-method") == "psci")
        );
        let gic = find(&fdt, "/interrupt-controller@8000000");
        assert!(gic.is_compatible("arm,gic-v3"));
        assert_eq!(regs(gic), [(0x800_0000, 0x1_0000), (0x80a_0000, 0x6_0000)]);
        assert_eq!(
            get::<u32>(&fdt.root(), "interrupt-parent"),
            get::<u32>(&gic, "phandle")
        );
    }

    #[test]
    fn the_timer_has_its_four_ppis() {
        let dtb = build(&vm(), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        let interrupts: [u32; 12] = get(&find(&fdt, "/timer"), "interrupts");
        assert_eq!(interrupts, [1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4]);
    }

    #[test]
    fn the_uart_has_its_clocks() {
        let dtb = build(&vm(), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        let clock = find(&fdt, "/apb-pclk");
        assert_eq!(get::<u32>(&clock, "clock-frequency"), 24_000_000);
        let phandle = get::<u32>(&clock, "phandle");
        let uart = find(&fdt, "/pl011@9000000");
        assert_eq!(get::<[u32; 2]>(&uart, "clocks"), [phandle; 2]);
        assert_eq!(get::<&[u8]>(&uart, "clock-names"), b"uartclk\0apb_pclk\0");
    }

    #[test]
    fn the_conduit_is_that_of_psci_and_tee() {
        for conduit in [Conduit::Smc, Conduit::Hvc] {
            let dtb = build(&VmDescription { conduit, ..vm() }, None, true, None).unwrap();
            let fdt = Fdt::new(&dtb).unwrap();
            let psci = find(&fdt, "/psci");
            assert!(psci.is_compatible("arm,psci-1.0") && psci.is_compatible("arm,psci-0.2"));
            let optee = find(&fdt, "/firmware/optee");
            assert!(optee.is_compatible("linaro,optee-tz"));
            for node in [psci, optee] {
                assert_eq!(get::<String>(&node, "method"), conduit.name());
            }
            let notification = GuestLayout::TEE_INTID - 32;
            assert_eq!(get::<[u32; 3]>(&optee, "interrupts"), [0, notification, 1]);
        }
    }

    /// With functions behind root ports of the machine, by their lines.
    fn vm_with_functions(lines: &[u32]) -> VmDescription {
        let functions = (1..).zip(lines);
        VmDescription {
            pci: functions
                .map(|(port, &line)| PciFunction { port, line })
                .collect(),
            ..vm()
        }
    }

    #[test]
    fn linux_finds_its_functions_behind_a_host_bridge_of_their_own() {
        let dtb = build(&vm_with_functions(&[37]), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        let bridge = find(&fdt, "/pcie@30000000");
        assert!(bridge.is_compatible("pci-host-ecam-generic"));
        assert_eq!(get::<&str>(&bridge, "device_type"), "pci");
        assert_eq!(regs(bridge), [(0x3000_0000, 0x10_0000)], "bus 0");
        assert_eq!(get::<[u32; 2]>(&bridge, "bus-range"), [0, 0]);
        assert_eq!(get::<u32>(&bridge, "#address-cells"), 3);
        assert_eq!(get::<u32>(&bridge, "#size-cells"), 2);
        // 32-bit memory, which is for functions where it is for CPUs.
        assert_eq!(
            get::<[u32; 7]>(&bridge, "ranges"),
            [0x0200_0000, 0, 0x1000_0000, 0, 0x1000_0000, 0, 0x1000_0000]
        );
        assert!(bridge.property("dma-coherent").is_some());
        assert!(bridge.property("iommu-map").is_none());
        assert!(bridge.property("msi-map").is_none());
        let chosen = find(&fdt, "/chosen");
        assert_eq!(get::<u32>(&chosen, "linux,pci-probe-only"), 1);
    }

    /// The interrupt of pin `pin` of the function at this device number, as Linux looks it up.
    fn interrupt_of(fdt: &Fdt<'_>, device: u32, pin: u32) -> Option<[u32; 3]> {
        let bridge = find(fdt, "/pcie@30000000");
        assert_eq!(get::<u32>(&bridge, "#interrupt-cells"), 1);
        let gic = find(fdt, "/interrupt-controller@8000000");
        assert_eq!(get::<u32>(&gic, "#address-cells"), 0);
        assert_eq!(get::<u32>(&gic, "#interrupt-cells"), 3);
        let mask: [u32; 4] = get(&bridge, "interrupt-map-mask");
        let map: Vec<u32> = get(&bridge, "interrupt-map");
        let (entries, rest) = map.as_chunks::<8>();
        assert!(rest.is_empty());
        let asked = [device << 11, 0, 0, pin];
        let masked = |n: usize, cells: &[u32]| cells[n] & mask[n];
        let is = |entry: &&[u32; 8]| (0..4).all(|n| masked(n, *entry) == masked(n, &asked));
        entries.iter().find(is).map(|entry| {
            assert_eq!(entry[4], get::<u32>(&gic, "phandle"));
            [entry[5], entry[6], entry[7]]
        })
    }

    #[test]
    fn functions_with_the_same_line_have_the_same_interrupt() {
        let dtb = build(&vm_with_functions(&[37, 40, 37, 36]), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        let first = GuestLayout::PCI_INTID - 32;
        for (device, number) in [(0, 0), (1, 1), (2, 0), (3, 2)] {
            let level_sensitive_spi = [0, first + number, 4];
            assert_eq!(interrupt_of(&fdt, device, 1), Some(level_sensitive_spi));
            assert_eq!(interrupt_of(&fdt, device, 2), None);
        }
        assert_eq!(interrupt_of(&fdt, 4, 1), None);
    }

    #[test]
    fn interrupts_of_functions_are_nobody_elses() {
        let functions = GuestLayout::PCI_INTID..GuestLayout::PCI_INTID + guest::PCI_SPIS;
        assert!(!functions.contains(&GuestLayout::UART_INTID));
        assert!(!functions.contains(&GuestLayout::TEE_INTID));
    }

    #[test]
    fn without_functions_there_is_no_host_bridge() {
        let dtb = build(&vm(), None, true, None).unwrap();
        let fdt = Fdt::new(&dtb).unwrap();
        assert!(fdt.find_node("/pcie@30000000").is_none());
        let chosen = find(&fdt, "/chosen");
        assert!(chosen.property("linux,pci-probe-only").is_none());
    }

    #[test]
    fn without_a_tee_there_is_no_firmware_node() {
        let dtb = build(
            &VmDescription {
                tee: TeeChoice::None,
                ..vm()
            },
            None,
            true,
            None,
        )
        .unwrap();
        assert!(Fdt::new(&dtb).unwrap().find_node("/firmware").is_none());
    }

    #[test]
    fn memory_beyond_the_addresses_is_refused() {
        let build = |memory| build(&VmDescription { memory, ..vm() }, None, true, None);
        let most = (1 << IPA_BITS) - GuestLayout::RAM.0;
        assert!(build(most).is_ok());
        assert_eq!(build(most + 1), Err(GuestTreeError::TooMuchMemory));
        assert_eq!(build(u64::MAX), Err(GuestTreeError::TooMuchMemory));
    }

    #[test]
    fn a_ramdisk_outside_of_memory_is_refused() {
        for outside in [
            (0x3fff_ffff, 1),
            (0x5fff_ffff, 2),
            (u64::MAX, 2),
            (0, 1 << 40),
        ] {
            let ramdisk = Some((Ipa(outside.0), outside.1));
            assert_eq!(
                build(&vm(), ramdisk, true, None),
                Err(GuestTreeError::RamdiskOutsideMemory),
                "{outside:x?}"
            );
        }
        assert!(build(&vm(), Some((Ipa(0x5fff_ffff), 1)), true, None).is_ok());
    }
}
