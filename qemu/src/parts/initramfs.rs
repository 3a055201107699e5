//! Composition of a guest's first file system: Debian's part, the user's folders on top, and the
//! job.

pub mod archive;
mod base;
mod job;
mod overlay;
pub mod tree;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub(crate) use base::{RECIPE as BASE_RECIPE, compose as compose_base, keeps as base_keeps};
pub use job::{Addressing, Job};

use overlay::Ground;
use tree::Tree;

/// Linux looks for a further archive at multiples of this (Linux, `init/initramfs.c`), in bytes.
const ARCHIVE_ALIGNMENT: u64 = 4;

/// Writes a guest's initramfs to the file `out`: the archive `base` as it is, followed by one with
/// the files of the overlay folders, of which a later one wins, and of the job. Without a job, the
/// archive's own first process decides what the guest does.
///
/// Linux unpacks the second over the first. An overlay's folder that the base reaches through a
/// symbolic link, such as `bin`, goes where the link points; this takes a `base` that is not
/// compressed.
///
/// # Errors
///
/// A file can't be read or written, an overlay holds something that is neither file, folder nor
/// link, or the job's token is unfit.
pub fn guest_initramfs(
    out: &Path,
    base: &Path,
    overlays: &[PathBuf],
    job: Option<&Job>,
) -> Result<()> {
    let mut wanted = Tree::new();
    for folder in overlays {
        let files = overlay::read(folder)
            .with_context(|| format!("the overlay {} can't be used", folder.display()))?;
        wanted.merge(files).with_context(|| {
            format!(
                "the overlay {} does not fit the ones before",
                folder.display()
            )
        })?;
    }
    if let Some(job) = job {
        wanted.merge(job.files()?)?;
    }

    let mut source = File::open(base)
        .with_context(|| format!("the initramfs {} can't be read", base.display()))?;
    let ground = ground_of(&mut source)
        .with_context(|| format!("the initramfs {} is damaged", base.display()))?;
    let added = ground.place(wanted)?;

    let file = File::create(out).with_context(|| format!("{} can't be written", out.display()))?;
    let mut writer = BufWriter::new(file);
    append(&mut source, &added, &mut writer)
        .and_then(|()| Ok(writer.flush()?))
        .with_context(|| format!("the initramfs {} can't be written", out.display()))
}

/// What a base has that an overlay may meet. Nothing is known of a compressed one.
fn ground_of(base: &mut File) -> Result<Ground> {
    let mut magic = Vec::new();
    (&*base)
        .take(archive::MAGIC.len() as u64)
        .read_to_end(&mut magic)?;
    base.seek(SeekFrom::Start(0))?;
    if magic != archive::MAGIC {
        return Ok(Ground::default());
    }
    let outline = archive::outline(BufReader::new(&*base))?;
    base.seek(SeekFrom::Start(0))?;
    Ok(Ground::new(outline))
}

fn append(base: &mut File, added: &Tree, writer: &mut impl Write) -> Result<()> {
    let length = io::copy(base, writer)?;
    let padding = length.next_multiple_of(ARCHIVE_ALIGNMENT) - length;
    io::copy(&mut io::repeat(0).take(padding), writer)?;
    archive::write(added, writer)
}

#[cfg(test)]
mod tests;
