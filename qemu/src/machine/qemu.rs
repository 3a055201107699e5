//! QEMU's command line, and QEMU as a child that ends when this tool does.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, anyhow};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeProperty};
use thiserror::Error;

use crate::base::counted::counted;
use crate::description::Machine;
use crate::machine::placement::Placement;
use host_abi::memory_map::machine::HYPERVISOR_BASE;

/// The program.
pub const QEMU: &str = "qemu-system-aarch64";

/// Starts a program that the kernel kills when the thread that started it ends (util-linux, which
/// Debian always has).
const SETPRIV: &str = "setpriv";

/// What a machine starts from.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// TF-A and OP-TEE, for `-bios`.
    pub firmware: &'a Path,
    /// The hypervisor as a flat binary.
    pub hypervisor: &'a Path,
    /// The machine's device tree with the guests in it.
    pub device_tree: &'a Path,
    /// The guests' images.
    pub placement: &'a Placement,
    /// Where the secure world's console goes.
    pub secure_log: &'a Path,
}

/// The arguments that make the machine, without anything in it.
fn machine_arguments(machine: &Machine, dump: Option<&Path>) -> Vec<OsString> {
    let mut kind = OsString::from("virt,secure=on,virtualization=on,gic-version=3");
    if machine.smmu {
        kind.push(",iommu=smmuv3");
    }
    if let Some(path) = dump {
        kind.push(",dumpdtb=");
        kind.push(option_path(path));
    }
    let mut arguments: Vec<OsString> = vec!["-nodefaults".into(), "-no-user-config".into()];
    arguments.extend(["-machine".into(), kind]);
    let words = [
        ("-cpu", cpu(&machine.cpu)),
        ("-smp", machine.cpus.to_string()),
        ("-m", format!("{}M", machine.memory.to_mib())),
        ("-net", "none".to_owned()),
        ("-display", "none".to_owned()),
        ("-monitor", "none".to_owned()),
    ];
    for (option, value) in words {
        arguments.extend([option.into(), value.into()]);
    }
    if machine.icount {
        // One instruction is one nanosecond of virtual time, and idle time passes at once.
        arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    }
    arguments
}

/// QEMU's argument for a CPU model. Computing a pointer's signature by the architected algorithm,
/// QARMA, takes QEMU so long that a kernel boots at a fraction of its speed; `max` has another one.
fn cpu(model: &str) -> String {
    match model {
        "max" => "max,pauth-impdef=on".to_owned(),
        _ => model.to_owned(),
    }
}

/// The arguments of a whole run. UART0 is QEMU's standard input and output.
pub fn arguments(machine: &Machine, boot: Boot<'_>) -> Vec<OsString> {
    let mut arguments = machine_arguments(machine, None);
    // A machine that resets itself has failed; without this it would start over.
    arguments.push("-no-reboot".into());
    arguments.extend(["-bios".into(), boot.firmware.into()]);
    arguments.extend(["-dtb".into(), boot.device_tree.into()]);
    let mut secure = OsString::from("file:");
    secure.push(boot.secure_log);
    arguments.extend(["-serial".into(), "stdio".into(), "-serial".into(), secure]);
    let modules = boot
        .placement
        .modules()
        .iter()
        .map(|module| (module.path.as_path(), module.address));
    for (path, address) in std::iter::once((boot.hypervisor, HYPERVISOR_BASE)).chain(modules) {
        let mut loader = OsString::from("loader,file=");
        loader.push(option_path(path));
        loader.push(format!(",addr={address:#x},force-raw=on"));
        arguments.extend(["-device".into(), loader]);
    }
    arguments
}

/// A path as the value of one of QEMU's options, in which a comma ends the value unless it is
/// doubled.
pub(crate) fn option_path(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut bytes = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

/// Why there is no device tree of a machine.
#[derive(Debug, Error)]
pub enum MachineError {
    /// QEMU makes no such machine.
    #[error("QEMU can't make this machine ({machine}): {said}")]
    Refused {
        /// Which.
        machine: String,
        /// What QEMU says of it.
        said: String,
    },
    /// QEMU can't be asked.
    #[error("{0:#}")]
    Unknown(#[from] anyhow::Error),
}

/// The device tree of the machine, as QEMU makes it. `scratch` names a file that may be
/// overwritten.
///
/// Its seeds are not random where the machine counts instructions, so that runs repeat: OP-TEE
/// places itself by its seed, and what its calls cost depends on the place by some hundred
/// instructions.
///
/// # Errors
///
/// QEMU makes no such machine, or can't be asked.
pub fn device_tree(machine: &Machine, scratch: &Path) -> Result<Vec<u8>, MachineError> {
    let output = Command::new(QEMU)
        .args(machine_arguments(machine, Some(scratch)))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{QEMU} can't be started"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(MachineError::Refused {
            machine: format!(
                "CPU model {}, {}, {}",
                machine.cpu,
                counted(machine.cpus as usize, "CPU"),
                machine.memory
            ),
            said: said.split_whitespace().collect::<Vec<_>>().join(" "),
        });
    }
    let tree = fs::read(scratch).with_context(|| format!("{} can't be read", scratch.display()))?;
    if machine.icount {
        return Ok(with_fixed_seeds(&tree)?);
    }
    Ok(tree)
}

/// The same tree with other seeds, for the secure world and for the normal one.
fn with_fixed_seeds(tree: &[u8]) -> Result<Vec<u8>> {
    let fdt =
        Fdt::new(tree).map_err(|error| anyhow!("QEMU's device tree can't be read: {error}"))?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    for node in ["chosen", "secure-chosen"] {
        let node = tree
            .root
            .child_mut(node)
            .with_context(|| format!("QEMU's device tree has no /{node}"))?;
        for (name, bytes) in [("rng-seed", 32), ("kaslr-seed", 8)] {
            node.add_property(DeviceTreeProperty::new_unchecked(
                name,
                vec![0x5a_u8; bytes],
            ));
        }
    }
    Ok(tree.to_dtb())
}

/// QEMU's version, such as `7.2.22`.
pub fn version() -> Result<String> {
    let output = Command::new(QEMU)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{QEMU} can't be started"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    version_in(&text)
        .map(str::to_owned)
        .with_context(|| format!("{QEMU} --version says no version: {}", text.trim_end()))
}

fn version_in(text: &str) -> Option<&str> {
    text.strip_prefix("QEMU emulator version ")?
        .split_whitespace()
        .next()
}

/// A running QEMU. It is killed when this value is dropped, and by the kernel when this tool dies.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
}

impl Qemu {
    /// Starts QEMU; what it says of itself goes to `errors`. Returns what goes into UART0 and what
    /// comes out, too.
    ///
    /// The calling thread must live as long as the run: when it ends, so does QEMU.
    pub fn start(arguments: &[OsString], errors: File) -> Result<(Self, ChildStdin, ChildStdout)> {
        let mut child = Command::new(SETPRIV)
            .args(["--pdeathsig", "KILL", "--", QEMU])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            // Ctrl-C is for this tool, which then ends QEMU.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{SETPRIV}, which starts {QEMU}, can't be started"))?;
        let keyboard = child.stdin.take().context("QEMU has no standard input")?;
        let uart = child.stdout.take().context("QEMU has no standard output")?;
        Ok((Self { child }, keyboard, uart))
    }

    /// The exit status, if QEMU has ended.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends QEMU at once.
    pub fn kill(&mut self) {
        // Both fail only if QEMU has ended and was waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Description, Overrides};
    use crate::machine::placement::GuestFiles;
    use dtoolkit::model::DeviceTreeNode;
    use dtoolkit::{Node as _, Property as _};

    fn machine(overrides: &Overrides) -> Machine {
        let text = "[machine]\ncpus = 1\nmemory = \"2GiB\"\n\
                    [[guest]]\nname = \"vm1\"\nmemory = \"256MiB\"\n";
        Description::parse(Path::new("m.toml"), text, overrides)
            .unwrap()
            .machine
    }

    fn words(arguments: &[OsString]) -> String {
        let words: Vec<_> = arguments.iter().map(|a| a.to_string_lossy()).collect();
        words.join(" ")
    }

    fn whole(overrides: &Overrides) -> String {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("Image");
        let initramfs = folder.path().join("a,b.cpio");
        fs::write(&kernel, [0]).unwrap();
        fs::write(&initramfs, [0]).unwrap();
        let placement = Placement::of(&[GuestFiles {
            kernel,
            initramfs: Some(initramfs),
        }])
        .unwrap();
        let boot = Boot {
            firmware: Path::new("fw.bios"),
            hypervisor: Path::new("hv.bin"),
            device_tree: Path::new("m.dtb"),
            placement: &placement,
            secure_log: Path::new("secure.log"),
        };
        words(&arguments(&machine(overrides), boot))
    }

    #[test]
    fn the_machine_is_the_description_s() {
        let words = whole(&Overrides::default());
        for part in [
            "-machine virt,secure=on,virtualization=on,gic-version=3 ",
            "-cpu cortex-a57 -smp 1 -m 2048M",
            "-no-reboot",
            "-bios fw.bios",
            "-dtb m.dtb",
            "-serial stdio -serial file:secure.log",
            "-device loader,file=hv.bin,addr=0x60000000,force-raw=on",
            "Image,addr=0x62000000,force-raw=on",
        ] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
        assert!(!words.contains("-icount"), "{words}");
    }

    #[test]
    fn a_comma_in_a_path_is_doubled() {
        let words = whole(&Overrides::default());
        assert!(words.contains("a,,b.cpio,addr=0x62200000"), "{words}");
    }

    #[test]
    fn counting_instructions_and_another_cpu_reach_the_command_line() {
        let words = whole(&Overrides {
            icount: true,
            cpu: Some("max".to_owned()),
            ..Overrides::default()
        });
        assert!(words.contains("-icount shift=0,sleep=off"), "{words}");
        assert!(words.contains("-cpu max,pauth-impdef=on "), "{words}");
    }

    #[test]
    fn a_dump_is_of_the_same_machine() {
        let dump = machine_arguments(&machine(&Overrides::default()), Some(Path::new("x,y")));
        let run = machine_arguments(&machine(&Overrides::default()), None);
        assert_eq!(
            words(&dump),
            words(&run).replace("gic-version=3", "gic-version=3,dumpdtb=x,,y")
        );
    }

    #[test]
    fn a_machine_that_counts_instructions_has_the_same_seeds_each_time() {
        let mut tree = DeviceTree::new();
        for (name, seed) in [("chosen", 1_u8), ("secure-chosen", 2)] {
            let mut node = DeviceTreeNode::new_unchecked(name);
            node.add_property(DeviceTreeProperty::new_unchecked(
                "kaslr-seed",
                vec![seed; 8],
            ));
            tree.root.add_child(node);
        }
        let fixed = with_fixed_seeds(&tree.to_dtb()).unwrap();
        let fdt = Fdt::new(&fixed).unwrap();
        for path in ["/chosen", "/secure-chosen"] {
            let node = fdt.find_node(path).unwrap();
            assert_eq!(node.property("kaslr-seed").unwrap().value(), [0x5a; 8]);
            assert_eq!(node.property("rng-seed").unwrap().value(), [0x5a; 32]);
        }
        assert!(with_fixed_seeds(&DeviceTree::new().to_dtb()).is_err());
    }

    #[test]
    fn the_version_is_the_first_word_after_its_name() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright";
        assert_eq!(version_in(text), Some("7.2.22"));
        assert_eq!(version_in("something else"), None);
    }
}
