//! What a trial is made of: a session with a key, and a sample in every form.

use cenc::{Block, Scheme, Subsample};
use drm_protocol::KeyId;
use tee_client::Tee;

use crate::issuer::{self, Chance};
use crate::player::{Error, Player, Shared, write_info};

/// What comes of a trial: why it failed, if it did.
pub(super) type Verdict = Result<(), Box<dyn std::error::Error>>;

/// A trial.
pub struct Trial {
    /// What it shows.
    pub name: &'static str,
    pub(super) run: fn(&Tee) -> Verdict,
}

impl Trial {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// Something is not as it should be.
    pub fn run(&self, tee: &Tee) -> Verdict {
        (self.run)(tee)
    }
}

/// The key that most trials use.
pub(super) const KEY_ID: KeyId = *b"trial key number";
pub(super) const CONTENT_KEY: [u8; 16] = [
    0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
];

/// A session that has the content key.
pub(super) fn player(tee: &Tee) -> Result<Player<'_>, Box<dyn std::error::Error>> {
    let player = Player::open(tee)?;
    provision(&player, KEY_ID, &CONTENT_KEY)?;
    Ok(player)
}

/// A session with a stream that is encrypted with that key.
pub(super) fn stream(tee: &Tee, scheme: Scheme) -> Result<Player<'_>, Box<dyn std::error::Error>> {
    let player = player(tee)?;
    player.open_stream(&KEY_ID, scheme)?;
    Ok(player)
}

pub(super) fn provision(player: &Player<'_>, id: KeyId, key: &[u8; 16]) -> Verdict {
    let application = player.public_key()?;
    let wrapped = issuer::wrap(&application, id, key, &Chance::new()?)
        .ok_or("the application's public key can't be used")?;
    Ok(player.provision(&wrapped)?)
}

/// What a trial says about a sample, and where its output goes.
pub(super) struct Attempt<'a> {
    pub(super) key_id: KeyId,
    pub(super) iv: (Block, usize),
    pub(super) table: &'a [Subsample],
    pub(super) sample: &'a [u8],
    pub(super) room: usize,
}

/// What an output is full of before something is written.
pub(super) const UNTOUCHED: u8 = 0xa5;

impl<'a> Attempt<'a> {
    pub(super) fn of(iv: (Block, usize), table: &'a [Subsample], sample: &'a [u8]) -> Self {
        Self {
            key_id: KEY_ID,
            iv,
            table,
            sample,
            room: sample.len(),
        }
    }

    /// Has it decrypted from one place to another; returns what the output then is.
    pub(super) fn run(&self, player: &Player<'_>) -> (Result<(), Error>, Vec<u8>) {
        let run = || {
            let tee = player.tee();
            let mut info = Shared::new(tee, 40 + self.table.len() * 8)?;
            let length = write_info(&mut info.pages, self.key_id, self.iv, self.table);
            let mut sample = Shared::new(tee, self.sample.len().max(1))?;
            sample.pages[..self.sample.len()].copy_from_slice(self.sample);
            let mut output = Shared::new(tee, self.room.max(1))?;
            output.pages.fill(UNTOUCHED);
            let result = player.decrypt(
                (&info, length.unwrap_or_default()),
                (&sample, self.sample.len()),
                (&output, self.room),
            );
            Ok((result, output.pages.to_vec()))
        };
        run().unwrap_or_else(|error| (Err(error), Vec::new()))
    }

    /// The same where the sample is.
    pub(super) fn run_in_place(&self, player: &Player<'_>) -> Result<Vec<u8>, Error> {
        let tee = player.tee();
        let mut info = Shared::new(tee, 40 + self.table.len() * 8)?;
        let length = write_info(&mut info.pages, self.key_id, self.iv, self.table);
        let mut sample = Shared::new(tee, self.sample.len())?;
        sample.pages.copy_from_slice(self.sample);
        player.decrypt_in_place(
            (&info, length.unwrap_or_default()),
            (&sample, self.sample.len()),
        )?;
        Ok(sample.pages.to_vec())
    }
}

/// Whether a call was refused with this result by the application itself.
pub(super) fn refused<T>(done: Result<T, Error>, expected: u32) -> Verdict {
    /// `TEE_ORIGIN_TRUSTED_APP`.
    const APPLICATION: u32 = 4;
    match done {
        Err(Error::Refused {
            result,
            origin: APPLICATION,
        }) if result == expected => Ok(()),
        Err(error) => Err(format!("{error}, and not {expected:#x}").into()),
        Ok(_) => Err(format!("it was done, and not refused with {expected:#x}").into()),
    }
}

/// Fails a trial.
pub(super) fn holds(condition: bool, claim: &str) -> Verdict {
    if condition {
        Ok(())
    } else {
        Err(format!("it does not hold: {claim}").into())
    }
}
