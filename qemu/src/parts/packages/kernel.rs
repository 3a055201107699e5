//! What is taken out of Debian's kernel package.

use std::io::Read;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use liblzma::read::XzDecoder;

use crate::parts::initramfs::tree::{Node, Tree};

const IMAGE_PREFIX: &str = "boot/vmlinuz-";

/// The TEE subsystem and OP-TEE's driver, below the modules of a kernel.
const MODULES: &[&str] = &[
    "kernel/drivers/tee/tee.ko",
    "kernel/drivers/tee/optee/optee.ko",
];

/// Drivers of disks and networks, and a file system, as far as they are modules: each after those
/// that it depends on.
const DEVICE_MODULES: &[&str] = &[
    "kernel/drivers/block/virtio_blk.ko",
    "kernel/net/core/failover.ko",
    "kernel/drivers/net/net_failover.ko",
    "kernel/drivers/net/virtio_net.ko",
    "kernel/crypto/crc32c_generic.ko",
    "kernel/lib/crc16.ko",
    "kernel/fs/mbcache.ko",
    "kernel/fs/jbd2/jbd2.ko",
    "kernel/fs/ext4/ext4.ko",
];

/// A kernel with the modules that a guest needs.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What `uname -r` will say.
    pub(super) release: String,
    /// The raw image (Linux, `Documentation/arch/arm64/booting.rst`).
    pub(super) image: Vec<u8>,
    /// Its modules, not compressed.
    pub(super) modules: Tree,
}

/// Whether a file of the package is needed: the others are several hundred megabytes.
pub(super) fn wanted(path: &str) -> bool {
    path.starts_with(IMAGE_PREFIX)
        || MODULES
            .iter()
            .chain(DEVICE_MODULES)
            .any(|module| path.trim_end_matches(".xz").ends_with(module))
}

/// Takes the kernel out of the package's files.
pub(super) fn unpack(package: &Tree) -> Result<Kernel> {
    let (release, image) = package
        .iter()
        .find_map(|(path, node)| match node {
            Node::File { content, .. } => Some((path.strip_prefix(IMAGE_PREFIX)?, content)),
            Node::Folder { .. } | Node::Symlink { .. } => None,
        })
        .context("the kernel package holds no /boot/vmlinuz")?;
    let image = raw_image(image)?;
    let mut modules = Tree::new();
    for module in MODULES.iter().chain(DEVICE_MODULES) {
        let path = format!("usr/lib/modules/{release}/{module}");
        let content = match (
            package.content(&path),
            package.content(&format!("{path}.xz")),
        ) {
            (Some(plain), _) => plain.to_vec(),
            (None, Some(compressed)) => {
                decompress(XzDecoder::new(compressed)).with_context(|| path.clone())?
            }
            (None, None) if DEVICE_MODULES.contains(module) => continue,
            (None, None) => bail!("the kernel package has no module {module}"),
        };
        modules.insert_file(&path, content)?;
    }
    Ok(Kernel {
        release: release.to_owned(),
        image,
        modules,
    })
}

/// The raw image in a file that a kernel's build or a distribution calls vmlinuz: the image itself,
/// compressed with gzip, or in an EFI application that unpacks it (Linux,
/// `drivers/firmware/efi/libstub/zboot-header.S`).
fn raw_image(file: &[u8]) -> Result<Vec<u8>> {
    let image = if file.starts_with(&[0x1f, 0x8b]) {
        decompress(GzDecoder::new(file)).context("the kernel image is damaged")?
    } else if let Some(header) = ZbootHeader::read(file) {
        header.unpack(file)?
    } else {
        file.to_vec()
    };
    ensure!(
        image.get(0x38..0x3c) == Some(b"ARM\x64"),
        "the kernel image is not of a kind known here: the arm64 magic number is missing"
    );
    Ok(image)
}

/// Header of a kernel compressed as an EFI application.
struct ZbootHeader<'a> {
    /// Where the compressed image starts, in bytes from the start of the file.
    offset: u32,
    /// Its length in bytes.
    size: u32,
    /// How it is compressed.
    method: &'a [u8],
}

impl<'a> ZbootHeader<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        if file.get(..8)? != b"MZ\0\0zimg" {
            return None;
        }
        let number = |at: usize| {
            Some(u32::from_le_bytes(
                file.get(at..at.checked_add(4)?)?.try_into().ok()?,
            ))
        };
        let method = file.get(24..56)?.split(|byte| *byte == 0).next()?;
        Some(Self {
            offset: number(8)?,
            size: number(12)?,
            method,
        })
    }

    fn unpack(&self, file: &[u8]) -> Result<Vec<u8>> {
        let start = usize::try_from(self.offset)?;
        let end = start
            .checked_add(usize::try_from(self.size)?)
            .context("the kernel image is damaged")?;
        let payload = file
            .get(start..end)
            .context("the kernel image is cut short")?;
        match self.method {
            b"gzip" => decompress(GzDecoder::new(payload)),
            b"xzkern" => decompress(XzDecoder::new(payload)),
            other => bail!(
                "the kernel image is compressed with {}",
                String::from_utf8_lossy(other)
            ),
        }
        .context("the kernel image is damaged")
    }
}

fn decompress(mut reader: impl Read) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use liblzma::write::XzEncoder;

    use super::*;

    /// The least that passes for a raw image.
    pub(in crate::parts::packages) fn image() -> Vec<u8> {
        let mut image = vec![0; 64];
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        image
    }

    pub(in crate::parts::packages) fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zboot(method: &str, payload: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..8].copy_from_slice(b"MZ\0\0zimg");
        file[8..12].copy_from_slice(&64_u32.to_le_bytes());
        file[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        file[24..24 + method.len()].copy_from_slice(method.as_bytes());
        file.extend(payload);
        file
    }

    fn package() -> Tree {
        let mut tree = Tree::new();
        tree.insert_file("boot/vmlinuz-6.1-arm64", image()).unwrap();
        tree.insert_file(
            "usr/lib/modules/6.1-arm64/kernel/drivers/tee/tee.ko.xz",
            xz(b"tee"),
        )
        .unwrap();
        tree.insert_file(
            "usr/lib/modules/6.1-arm64/kernel/drivers/tee/optee/optee.ko",
            "optee",
        )
        .unwrap();
        tree
    }

    #[test]
    fn image_release_and_modules_are_found() {
        let kernel = unpack(&package()).unwrap();
        assert_eq!(kernel.release, "6.1-arm64");
        assert_eq!(kernel.image, image());
        let modules = "usr/lib/modules/6.1-arm64/kernel/drivers/tee";
        assert_eq!(
            kernel.modules.content(&format!("{modules}/tee.ko")),
            Some(&b"tee"[..])
        );
        assert_eq!(
            kernel.modules.content(&format!("{modules}/optee/optee.ko")),
            Some(&b"optee"[..])
        );
    }

    #[test]
    fn only_image_and_tee_modules_are_wanted() {
        assert!(
            package()
                .iter()
                .filter(|(_, node)| matches!(node, Node::File { .. }))
                .all(|(path, _)| wanted(path))
        );
        assert!(!wanted(
            "usr/lib/modules/6.1-arm64/kernel/drivers/net/dummy.ko.xz"
        ));
        assert!(!wanted("boot/config-6.1-arm64"));
    }

    #[test]
    fn package_without_image_or_module_is_refused() {
        for missing in ["vmlinuz", "tee.ko", "optee.ko"] {
            let mut package = package();
            package.retain(|path, _| !path.contains(missing));
            assert!(unpack(&package).is_err(), "{missing}");
        }
    }

    #[test]
    fn compressed_images_are_unpacked() {
        let image = image();
        for file in [
            image.clone(),
            gzip(&image),
            zboot("gzip", &gzip(&image)),
            zboot("xzkern", &xz(&image)),
        ] {
            assert_eq!(raw_image(&file).unwrap(), image);
        }
    }

    #[test]
    fn unknown_compression_is_named() {
        let error = raw_image(&zboot("zstd22", b"x")).unwrap_err();
        assert!(format!("{error:#}").contains("zstd22"), "{error:#}");
    }

    #[test]
    fn damaged_images_are_refused() {
        let whole = zboot("gzip", &gzip(&image()));
        assert!(raw_image(&whole[..whole.len() - 9]).is_err());
        assert!(raw_image(&gzip(&image())[..12]).is_err());
        assert!(raw_image(b"something else").is_err());
        assert!(raw_image(&[]).is_err());
    }
}
