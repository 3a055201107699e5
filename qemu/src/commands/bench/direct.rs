//! Machines with one Linux guest and no hypervisor, or next to none: what the hypervisor is
//! measured against.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use dtoolkit::Node as _;
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

use crate::base::interrupt::Interrupt;
use crate::base::progress::Progress;
use crate::base::run_folder::RunFolder;
use crate::description::kernel_image::KernelImage;
use crate::description::{Machine, Size};
use crate::machine::placement::{GuestFiles, Module, Placement};
use crate::machine::qemu::{self, Boot, Qemu};
use crate::parts::cargo::build_bare_metal;
use crate::parts::image::flat_image;
use crate::parts::initramfs::{Job, guest_initramfs};
use crate::run::marker::{Marker, random_token};
use host_abi::memory_map::BLOCK_SIZE;
use host_abi::memory_map::machine::{MEMORY_BASE, MODULES_BASE};

/// What stands at EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Linux itself, with an OP-TEE without virtualization.
    Bare,
    /// The program of `floor/`.
    Floor,
}

/// What OP-TEE notifies Linux by: SPI 187, edge-triggered (OP-TEE 4.5,
/// `core/arch/arm/plat-vexpress/conf.mk`, `CFG_CORE_ASYNC_NOTIF_GIC_INTID`).
const NOTIFICATION: [u32; 3] = [0, 187, 1];

/// The nodes of QEMU's tree that stay, without their addresses: what a guest of the hypervisor has,
/// too, and the seed that OP-TEE places itself by. The secure world's devices are among the others.
const NODES: [&str; 8] = [
    "apb-pclk",
    "chosen",
    "cpus",
    "intc",
    "pl011",
    "psci",
    "secure-chosen",
    "timer",
];
/// But not this one, the secure world's UART.
const SECURE_UART: &str = "pl011@9040000";

/// A machine to run.
#[derive(Debug)]
pub(super) struct DirectMachine<'a> {
    /// What stands at EL2.
    pub(super) base: Base,
    /// CPUs, memory and the way of counting.
    pub(super) machine: &'a Machine,
    /// What Linux has of the memory: as much as a guest of the hypervisor.
    pub(super) memory: Size,
    /// TF-A and OP-TEE.
    pub(super) firmware: &'a Path,
    /// The kernel.
    pub(super) kernel: &'a Path,
    /// Debian's part of the initramfs.
    pub(super) initramfs: &'a Path,
    /// What goes on top of it.
    pub(super) overlays: &'a [PathBuf],
    /// The guest's kernel's command line.
    pub(super) command_line: &'a str,
    /// What the guest is to do.
    pub(super) job: &'a str,
    /// How long it may take.
    pub(super) limit: Duration,
}

impl DirectMachine<'_> {
    /// Runs the machine and returns what its guest's console said.
    ///
    /// # Errors
    ///
    /// The machine can't be composed, or the guest's job did not end with status 0 in time.
    pub(super) fn run(
        &self,
        folder: &Path,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> Result<String> {
        let folder = RunFolder::take(folder)?;
        let token = random_token().context("no random numbers can be had")?;
        let initramfs = folder.machine_file("guest.cpio");
        let job = Job {
            command: self.job.to_owned(),
            token: token.clone(),
            disks: Vec::new(),
            networks: Vec::new(),
            authorized_key: None,
            needs_tee: true,
        };
        guest_initramfs(&initramfs, self.initramfs, self.overlays, Some(&job))?;
        // With room for what the kernel clears for itself: the next module lies right behind the
        // file.
        let kernel = folder.machine_file("Image");
        fs::copy(self.kernel, &kernel)
            .with_context(|| format!("{} can't be copied", self.kernel.display()))?;
        let size = KernelImage::read(&kernel)?.footprint();
        File::options().write(true).open(&kernel)?.set_len(size)?;
        let placement = Placement::of(&[GuestFiles {
            kernel,
            initramfs: Some(initramfs.clone()),
        }])?;
        let ramdisk = placement
            .module(&initramfs)
            .context("the initramfs has no place in memory")?;

        let tree_file = folder.machine_file("machine.dtb");
        let tree = qemu::device_tree(self.machine, &tree_file)?;
        fs::write(&tree_file, self.tree(&tree, ramdisk)?)?;
        let first = folder.machine_file("first.bin");
        fs::write(&first, self.first_program(progress)?)?;
        let arguments = qemu::arguments(
            self.machine,
            Boot {
                firmware: self.firmware,
                hypervisor: &first,
                device_tree: &tree_file,
                placement: &placement,
                secure_log: &folder.secure_log(),
            },
        );
        let errors = File::create(folder.qemu_log()).context("QEMU's log can't be written")?;
        let step = progress.step(&format!("Running the machine ({:?})", self.base));
        let watch = interrupt.watch();
        let (mut qemu, _input, uart) = Qemu::start(&arguments, errors)?;
        let log = folder.guest_log("guest");
        let followed = follow(uart, &log, self.limit, interrupt);
        qemu.kill();
        drop(watch);
        let (text, ended) =
            followed.with_context(|| format!("{} can't be written", log.display()))?;
        let status = text
            .lines()
            .find_map(|line| match Marker::parse(line, &token) {
                Some(Marker::Exit { status, .. }) => Some(status),
                _ => None,
            });
        match status {
            Some(0) => {}
            Some(status) => bail!(
                "the job ended with status {status}; its console is {}",
                log.display()
            ),
            None if ended => bail!("the job did not end; its console is {}", log.display()),
            None => bail!(
                "the job did not end within {} s; its console is {}",
                self.limit.as_secs(),
                log.display()
            ),
        }
        step.done();
        Ok(text)
    }

    /// What the firmware enters.
    fn first_program(&self, progress: &Progress) -> Result<Vec<u8>> {
        match self.base {
            Base::Bare => Ok(jump_to_kernel()),
            Base::Floor => {
                let step = progress.step("Building the floor");
                let image = flat_image(&build_bare_metal("floor", "floor", &[])?)?;
                step.done();
                Ok(image)
            }
        }
    }

    /// The machine's tree as Linux wants it, with OP-TEE in it and without what no guest has.
    fn tree(&self, machine: &[u8], ramdisk: &Module) -> Result<Vec<u8>> {
        let fdt = Fdt::new(machine)
            .map_err(|error| anyhow::anyhow!("QEMU's device tree can't be read: {error}"))?;
        let mut tree = DeviceTree::from_fdt(&fdt);
        let root = &mut tree.root;
        let unwanted: Vec<String> = root
            .children()
            .map(|node| node.name().to_owned())
            .filter(|name| {
                let kind = name.split('@').next().unwrap_or(name);
                name == SECURE_UART || !NODES.contains(&kind)
            })
            .collect();
        for name in unwanted {
            root.remove_child(&name);
        }
        root.add_child(reserved(self.machine.memory, self.memory));

        let mut optee = node("optee");
        optee.add_property(text("compatible", "linaro,optee-tz"));
        optee.add_property(text("method", "smc"));
        optee.add_property(property(
            "interrupts",
            NOTIFICATION.iter().flat_map(|n| n.to_be_bytes()).collect(),
        ));
        let mut firmware = node("firmware");
        firmware.add_child(optee);
        root.add_child(firmware);

        let chosen = root
            .child_mut("chosen")
            .context("QEMU's device tree has no /chosen")?;
        chosen.add_property(text("bootargs", self.command_line));
        chosen.add_property(numbers("linux,initrd-start", &[ramdisk.address]));
        chosen.add_property(numbers(
            "linux,initrd-end",
            &[ramdisk.address + ramdisk.size],
        ));
        Ok(tree.to_dtb())
    }
}

/// A program that goes on to the kernel, where the first module lies, with x0 as the firmware left
/// it.
fn jump_to_kernel() -> Vec<u8> {
    /// MOVZ x4, #imm, LSL #16 (DDI0487, C6.2.254)
    const MOVZ_X4_LSL_16: u32 = 0xd2a0_0004;
    /// BR x4 (DDI0487, C6.2.41)
    const BR_X4: u32 = 0xd61f_0080;
    const _: () = assert!(MODULES_BASE.trailing_zeros() >= 16 && MODULES_BASE >> 32 == 0);
    let upper_half = (MODULES_BASE >> 16) as u32;
    [MOVZ_X4_LSL_16 | upper_half << 5, BR_X4]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// Takes what comes out of the UART until QEMU closes it, and writes it to `log`. The second value
/// `true` if that happened in time.
fn follow(
    mut uart: ChildStdout,
    log: &Path,
    limit: Duration,
    interrupt: &Interrupt,
) -> io::Result<(String, bool)> {
    /// How often the limit is looked at while the console is silent.
    const TICK: Duration = Duration::from_millis(100);
    let mut log = File::create(log)?;
    let (sender, pieces) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = uart.read(&mut buffer) {
            let piece = buffer.get(..count).unwrap_or_default().to_vec();
            if sender.send(piece).is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    let mut console = Vec::new();
    let mut ended = false;
    while !ended && began.elapsed() < limit && !interrupt.requested() {
        match pieces.recv_timeout(TICK) {
            Ok(piece) => {
                log.write_all(&piece)?;
                console.extend(piece);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => ended = true,
        }
    }
    Ok((String::from_utf8_lossy(&console).into_owned(), ended))
}

/// Keeps Linux away from all of the machine's memory but the block with the device tree and `guest`
/// from its kernel on. QEMU itself says in the tree how much memory there is.
fn reserved(machine: Size, guest: Size) -> DeviceTreeNode {
    let mut reserved = node("reserved-memory");
    for name in ["#address-cells", "#size-cells"] {
        reserved.add_property(property(name, 2u32.to_be_bytes().to_vec()));
    }
    reserved.add_property(property("ranges", Vec::new()));
    for (start, end) in [
        (MEMORY_BASE + BLOCK_SIZE, MODULES_BASE),
        (
            MODULES_BASE + guest.to_bytes(),
            MEMORY_BASE + machine.to_bytes(),
        ),
    ] {
        if start < end {
            let mut place = node(&format!("unused@{start:x}"));
            place.add_property(numbers("reg", &[start, end - start]));
            place.add_property(property("no-map", Vec::new()));
            reserved.add_child(place);
        }
    }
    reserved
}

fn node(name: &str) -> DeviceTreeNode {
    DeviceTreeNode::new_unchecked(name)
}

fn property(name: &str, value: Vec<u8>) -> DeviceTreeProperty {
    DeviceTreeProperty::new_unchecked(name, value)
}

fn text(name: &str, value: &str) -> DeviceTreeProperty {
    property(name, [value.as_bytes(), b"\0"].concat())
}

fn numbers(name: &str, values: &[u64]) -> DeviceTreeProperty {
    property(name, values.iter().flat_map(|n| n.to_be_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtoolkit::Property as _;

    #[test]
    fn linux_has_the_memory_of_a_guest_and_the_block_with_the_device_tree() {
        let reserved = reserved(Size::mib(2048), Size::mib(512));
        let ranges: Vec<Vec<u8>> = reserved
            .children()
            .filter_map(|place| Some(place.property("reg")?.value().to_vec()))
            .collect();
        let bytes = |numbers: [u64; 2]| numbers.map(u64::to_be_bytes).concat();
        assert_eq!(
            ranges,
            [
                bytes([0x4020_0000, 0x21e0_0000]),
                bytes([0x8200_0000, 0x3e00_0000])
            ]
        );
    }

    #[test]
    fn the_jump_is_to_the_first_module() {
        // As a disassembler reads it: movz x4, #0x6200, lsl #16; br x4.
        assert_eq!(
            jump_to_kernel(),
            [0x04, 0x40, 0xac, 0xd2, 0x80, 0x00, 0x1f, 0xd6]
        );
    }
}
