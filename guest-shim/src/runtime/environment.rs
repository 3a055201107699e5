//! What a guest is told of itself, in its device tree and on its command line.
//!
//! The words of the command line that concern payloads, all written by the host tool or a machine
//! description:
//!
//! | Word | What it says |
//! |---|---|
//! | `bulkhead.name=NAME` | the guest's name |
//! | `bulkhead.forward=ID,ID…` | calls that its policy forwards to the firmware |
//! | `bulkhead.deny=ID,ID…` | calls that its policy denies |
//! | `bulkhead.trespass=ADDRESS` | where a payload is to touch what its guest has not |
//! | `bulkhead.only=CASE,CASE…` | the cases to run, instead of all |
//! | `bulkhead.seed=0xNUMBER` | where a payload's random numbers start |
//! | `bulkhead.settle=yes` | after each trial a key is waited for |

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};

use smccc::Conduit;

/// What the guest has, as far as payloads care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The guest's name; empty if the command line does not say.
    pub name: String,
    /// The start and the length of its memory in bytes.
    pub memory: (u64, u64),
    /// MPIDR_EL1's affinity of each vCPU, in the order of the tree.
    pub vcpus: Vec<u64>,
    /// How PSCI is to be called.
    pub conduit: Conduit,
    /// How OP-TEE is to be called, if there is one.
    pub tee: Option<Conduit>,
    /// The INTID by which OP-TEE notifies, if it does.
    pub tee_interrupt: Option<u32>,
    /// Function identifiers that are forwarded to the firmware.
    pub forwarded: Vec<u32>,
    /// Function identifiers that are denied.
    pub denied: Vec<u32>,
    /// An address outside of memory, to be touched.
    pub trespass: Option<u64>,
    /// The names of the cases to run; all, if there is none.
    pub only: Vec<String>,
    /// Where random numbers start.
    pub seed: Option<u64>,
    /// Whether somebody looks at what is left after each trial, and then presses a key.
    pub settle: bool,
}

/// What a tree lacks, by path.
pub type Missing = &'static str;

impl Environment {
    /// Reads a flattened tree.
    ///
    /// # Errors
    ///
    /// Names what is missing or malformed.
    pub fn read(tree: &[u8]) -> Result<Self, Missing> {
        let fdt = Fdt::new(tree).map_err(|_| "a device tree")?;
        let arguments = text(&fdt, "/chosen", "bootargs").unwrap_or_default();
        let word = |name: &str| {
            let mut words = arguments.split(' ');
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let identifiers = |name| {
            word(name)
                .unwrap_or_default()
                .split(',')
                .filter_map(parse_identifier)
                .collect()
        };
        Ok(Self {
            name: word("bulkhead.name").unwrap_or_default().to_string(),
            memory: memory(&fdt).ok_or("/memory")?,
            vcpus: vcpus(&fdt).ok_or("/cpus")?,
            conduit: method(&fdt, "/psci").ok_or("/psci: method")?,
            tee: match fdt.find_node("/firmware/optee") {
                Some(_) => Some(method(&fdt, "/firmware/optee").ok_or("/firmware/optee: method")?),
                None => None,
            },
            tee_interrupt: interrupt(&fdt, "/firmware/optee"),
            forwarded: identifiers("bulkhead.forward"),
            denied: identifiers("bulkhead.deny"),
            trespass: word("bulkhead.trespass").and_then(parse_hexadecimal),
            seed: word("bulkhead.seed").and_then(parse_hexadecimal),
            settle: word("bulkhead.settle") == Some("yes"),
            only: word("bulkhead.only").map_or_else(Vec::new, |names| {
                names.split(',').map(String::from).collect()
            }),
        })
    }

    /// The first address behind the memory.
    #[must_use]
    pub fn memory_end(&self) -> u64 {
        let (start, len) = self.memory;
        start.saturating_add(len)
    }
}

fn text<'a>(fdt: &Fdt<'a>, path: &str, name: &str) -> Option<&'a str> {
    fdt.find_node(path)?.property(name)?.value_as().ok()
}

fn method(fdt: &Fdt<'_>, path: &str) -> Option<Conduit> {
    match text(fdt, path, "method")? {
        "smc" => Some(Conduit::Smc),
        "hvc" => Some(Conduit::Hvc),
        _ => None,
    }
}

/// The shared peripheral interrupt of a node, by the binding of the GIC: type 0, number from 32 on,
/// and flags.
fn interrupt(fdt: &Fdt<'_>, path: &str) -> Option<u32> {
    let [0, number, _] = fdt
        .find_node(path)?
        .property("interrupts")?
        .value_as::<[u32; 3]>()
        .ok()?
    else {
        return None;
    };
    number.checked_add(32)
}

/// The first bank; addresses and sizes have two cells in the trees that the hypervisor makes.
fn memory(fdt: &Fdt<'_>) -> Option<(u64, u64)> {
    let root = fdt.root();
    let node = root
        .children()
        .find(|node| node.name_without_address() == "memory")?;
    let [start_high, start_low, len_high, len_low] =
        node.property("reg")?.value_as::<[u32; 4]>().ok()?;
    let join = |high, low| u64::from(high) << 32 | u64::from(low);
    Some((join(start_high, start_low), join(len_high, len_low)))
}

fn vcpus(fdt: &Fdt<'_>) -> Option<Vec<u64>> {
    let affinities: Vec<u64> = fdt
        .find_node("/cpus")?
        .children()
        .filter(|node| node.name_without_address() == "cpu")
        .map(|node| node.property("reg")?.value_as::<u32>().ok().map(u64::from))
        .collect::<Option<_>>()?;
    (!affinities.is_empty()).then_some(affinities)
}

fn parse_hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn parse_identifier(text: &str) -> Option<u32> {
    parse_hexadecimal(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use dtoolkit::ToPropertyValue;
    use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

    fn node(name: &str) -> DeviceTreeNode {
        DeviceTreeNode::new_unchecked(name)
    }

    fn set(node: &mut DeviceTreeNode, name: &str, value: impl ToPropertyValue) {
        node.add_property(DeviceTreeProperty::new_unchecked(name, value));
    }

    fn tree(bootargs: &str, tee: Option<&str>) -> DeviceTree {
        let mut tree = DeviceTree::new();
        let mut chosen = node("chosen");
        set(&mut chosen, "bootargs", bootargs);
        tree.root.add_child(chosen);
        let mut memory = node("memory@40000000");
        let reg = [0x4000_0000_u64, 0x400_0000].map(u64::to_be_bytes);
        set(&mut memory, "reg", reg.as_flattened());
        tree.root.add_child(memory);
        let mut cpus = node("cpus");
        for n in 0..2u32 {
            let mut cpu = node(if n == 0 { "cpu@0" } else { "cpu@1" });
            set(&mut cpu, "reg", n);
            cpus.add_child(cpu);
        }
        tree.root.add_child(cpus);
        let mut psci = node("psci");
        set(&mut psci, "method", "hvc");
        tree.root.add_child(psci);
        if let Some(method) = tee {
            let mut optee = node("optee");
            set(&mut optee, "method", method);
            let interrupt = [0, 187, 1].map(u32::to_be_bytes);
            set(&mut optee, "interrupts", interrupt.as_flattened());
            let mut firmware = node("firmware");
            firmware.add_child(optee);
            tree.root.add_child(firmware);
        }
        tree
    }

    #[test]
    fn everything_is_found() {
        let arguments = "quiet bulkhead.name=vm7 bulkhead.forward=0x8400ff01,0x8400ff03 bulkhead.deny=0x8600ff00 \
                         bulkhead.trespass=0x100000000 bulkhead.only=one,two bulkhead.seed=0x77 \
                         bulkhead.settle=yes";
        let environment = Environment::read(&tree(arguments, Some("smc")).to_dtb()).unwrap();
        assert_eq!(environment.name, "vm7");
        assert_eq!(environment.memory, (0x4000_0000, 0x400_0000));
        assert_eq!(environment.memory_end(), 0x4400_0000);
        assert_eq!(environment.vcpus, [0, 1]);
        assert_eq!(environment.conduit, Conduit::Hvc);
        assert_eq!(environment.tee, Some(Conduit::Smc));
        assert_eq!(environment.tee_interrupt, Some(219));
        assert_eq!(environment.forwarded, [0x8400_ff01, 0x8400_ff03]);
        assert_eq!(environment.denied, [0x8600_ff00]);
        assert_eq!(environment.trespass, Some(1 << 32));
        assert_eq!(environment.only, ["one", "two"]);
        assert_eq!(environment.seed, Some(0x77));
        assert!(environment.settle);
    }

    #[test]
    fn what_is_optional_may_be_missing() {
        let environment = Environment::read(&tree("", None).to_dtb()).unwrap();
        assert_eq!(environment.name, "");
        assert_eq!(environment.tee, None);
        assert_eq!(environment.tee_interrupt, None);
        assert_eq!(environment.forwarded, vec![0; 0]);
        assert_eq!(environment.trespass, None);
        assert!(environment.only.is_empty());
        assert_eq!(environment.seed, None);
        assert!(!environment.settle);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(Environment::read(&[]), Err("a device tree"));
        assert_eq!(
            Environment::read(&tree("", Some("pigeon")).to_dtb()),
            Err("/firmware/optee: method")
        );
        for (path, name) in [
            ("memory@40000000", "/memory"),
            ("cpus", "/cpus"),
            ("psci", "/psci: method"),
        ] {
            let mut tree = tree("", None);
            tree.root.remove_child(path).unwrap();
            assert_eq!(Environment::read(&tree.to_dtb()), Err(name));
        }
    }
}
