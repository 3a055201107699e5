//! Frames of video through the trusted application for DRM playback: one call for each, `cenc`, all
//! of the frame protected but its first bytes.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::thread::sleep;

use cenc::{Scheme, Subsample};
use drm_playback::issuer::{self, Chance};
use drm_playback::{Player, Reference, Shared, write_info};
use drm_protocol::{KeyId, SAMPLE_INFO_MAX};
use tee_client::{Pages, Tee};

use crate::calls::{KIB, MIB, SETTLING};
use crate::counter::{marked, measure};

const KEY_ID: KeyId = *b"key of the bench";
const CONTENT_KEY: [u8; 16] = *b"a content key...";
const IV: [u8; 16] = *b"12345678\0\0\0\0\0\0\0\0";
/// Bytes at the start of each frame that are not protected, as a slice's header is not.
const CLEAR: usize = 32;

/// A frame at 100 Mb/s and 60 frames a second.
const LARGE: usize = 208_000;

/// A stream, and what goes with each of its frames.
struct Stream<'a> {
    player: Player<'a>,
    info: Shared,
}

impl<'a> Stream<'a> {
    fn open(tee: &'a Tee) -> Result<Self> {
        let player = Player::open(tee).map_err(Error::other)?;
        let application = player.public_key().map_err(Error::other)?;
        let wrapped = issuer::wrap(&application, KEY_ID, &CONTENT_KEY, &Chance::new()?)
            .ok_or_else(|| Error::other("the application's public key can't be used"))?;
        player.provision(&wrapped).map_err(Error::other)?;
        player
            .open_stream(&KEY_ID, Scheme::Cenc)
            .map_err(Error::other)?;
        let info = Shared::new(tee, SAMPLE_INFO_MAX).map_err(Error::other)?;
        Ok(Self { player, info })
    }

    /// Says how the frames are laid out from now on; returns how long that is.
    fn lay_out(&mut self, length: usize) -> Result<usize> {
        write_info(&mut self.info.pages, KEY_ID, (IV, 8), &layout(length))
            .ok_or_else(|| Error::other("the table does not fit"))
    }
}

fn layout(length: usize) -> [Subsample; 1] {
    [Subsample {
        clear: CLEAR as u32,
        protected: (length - CLEAR) as u32,
    }]
}

/// A clear frame, and the same one as it comes out of a stream.
fn frame(length: usize) -> (Vec<u8>, Vec<u8>) {
    let clear: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3) as u8).collect();
    let mut protected = clear.clone();
    Reference::new(&CONTENT_KEY).protect(Scheme::Cenc, IV, &layout(length), &mut protected);
    (clear, protected)
}

/// Sessions of which the cheapest counts, case by case: OP-TEE puts the application at a random
/// place each time, and it depends on the place how many tables the buffers' pages take.
const SESSIONS: usize = 12;

/// What a frame costs.
pub fn costs() -> Result<()> {
    sleep(SETTLING);
    let tee = Tee::open()?;
    let mut lowest = BTreeMap::new();
    for _ in 0..SESSIONS {
        let mut stream = Stream::open(&tee)?;
        let mut keep = |name: &'static str, cost: u64| {
            let lowest = lowest.entry(name).or_insert(cost);
            *lowest = cost.min(*lowest);
        };
        for (name, length, rounds) in [
            ("frame-4k-reused", 4 * KIB, 32),
            ("frame-70000-reused", 70_000, 16),
            ("frame-208k-reused", LARGE, 8),
            ("frame-1m-reused", MIB, 4),
            ("frame-4m-reused", 4 * MIB, 1),
        ] {
            reused(&tee, &mut stream, length, |work| {
                keep(name, measure(rounds, work)?);
                Ok(())
            })?;
        }
        registered(&tee, &mut stream, LARGE, |work| {
            keep("frame-208k-registered", measure(8, work)?);
            Ok(())
        })?;
        stream.player.forget(&KEY_ID).map_err(Error::other)?;
    }
    for (name, cost) in lowest {
        println!("figure {name} {cost}");
    }
    Ok(())
}

/// Frames of [`LARGE`] one after the other, each between marks.
pub fn marked_one_by_one() -> Result<()> {
    const FRAMES: usize = 1500;
    sleep(SETTLING);
    let tee = Tee::open()?;
    let mut stream = Stream::open(&tee)?;
    println!("frames: begin");
    reused(&tee, &mut stream, LARGE, |mut work| {
        (0..FRAMES).try_for_each(|_| marked(&mut work))
    })?;
    stream.player.forget(&KEY_ID).map_err(Error::other)
}

/// Hands work to `measure` that is a frame in buffers that stay registered, one for what is
/// protected and one for what is clear.
fn reused(
    tee: &Tee,
    stream: &mut Stream<'_>,
    length: usize,
    measure: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>,
) -> Result<()> {
    let info_length = stream.lay_out(length)?;
    let (clear, protected) = frame(length);
    let mut sample = Shared::new(tee, length).map_err(Error::other)?;
    sample.pages.copy_from_slice(&protected);
    let output = Shared::new(tee, length).map_err(Error::other)?;
    measure(&mut || {
        let info = (&stream.info, info_length);
        let decrypted = stream
            .player
            .decrypt(info, (&sample, length), (&output, length));
        decrypted.map_err(Error::other)
    })?;
    same(&output.pages, &clear)
}

/// The same where each frame comes in a buffer that is registered for it and is decrypted where it
/// is.
fn registered(
    tee: &Tee,
    stream: &mut Stream<'_>,
    length: usize,
    measure: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>,
) -> Result<()> {
    let info_length = stream.lay_out(length)?;
    let (clear, protected) = frame(length);
    let mut pages = Pages::new(length)?;
    pages.copy_from_slice(&protected);
    let mut pages = Some(pages);
    let mut decrypted = 0_u32;
    measure(&mut || {
        let own = pages.take().ok_or_else(|| Error::other("no memory"))?;
        let sample = Shared::of(tee, own).map_err(Error::other)?;
        let info = (&stream.info, info_length);
        let done = stream.player.decrypt_in_place(info, (&sample, length));
        done.map_err(Error::other)?;
        pages = Some(sample.unshare());
        decrypted += 1;
        Ok(())
    })?;
    // To decrypt is to encrypt here: after an even number of times it is as it was.
    let expected = if decrypted.is_multiple_of(2) {
        protected
    } else {
        clear
    };
    same(&pages.unwrap_or(Pages::new(1)?), &expected)
}

fn same(found: &[u8], expected: &[u8]) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::other("a frame came out wrong"))
    }
}
