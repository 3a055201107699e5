//! A session with the trusted application.

use std::fmt;
use std::io;

use cenc::{Block, Scheme, Subsample};
use drm_protocol::{
    Command, KeyId, PUBLIC_KEY_SIZE, SUCCESS, SampleHeader, SubsampleEntry, UUID, WrappedKey,
    scheme_numbers,
};
use tee_client::{Answer, Pages, Parameter, Session, SharedBuffer, Tee};
use zerocopy::IntoBytes as _;

/// Why a call came to nothing.
#[derive(Debug)]
pub enum Error {
    /// The kernel did not pass it on.
    Io(io::Error),
    /// The TEE or the trusted application refused.
    Refused {
        /// A `TEE_Result`.
        result: u32,
        /// Whose it is: 4 is the application's (GlobalPlatform TEE Client API 1.0, section 4.4.3).
        origin: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(formatter),
            Self::Refused { result, origin } => {
                write!(formatter, "result {result:#x} of origin {origin}")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// Memory that is shared with the TEE.
#[derive(Debug)]
pub struct Shared {
    /// The memory.
    pub pages: Pages,
    registered: SharedBuffer,
}

impl Shared {
    /// New memory of this size in bytes.
    pub fn new(tee: &Tee, length: usize) -> Result<Self> {
        Self::of(tee, Pages::new(length)?)
    }

    /// Shares memory that there is.
    pub fn of(tee: &Tee, mut pages: Pages) -> Result<Self> {
        let registered = tee.register(&mut pages)?;
        Ok(Self { pages, registered })
    }

    /// Shares it no longer.
    pub fn unshare(self) -> Pages {
        self.pages
    }
}

impl AsRef<SharedBuffer> for Shared {
    fn as_ref(&self) -> &SharedBuffer {
        &self.registered
    }
}

/// Writes what goes with a sample, and returns how long it is. `None` if there is no room.
pub fn write_info(
    into: &mut [u8],
    key_id: KeyId,
    iv: (Block, usize),
    table: &[Subsample],
) -> Option<usize> {
    let header = SampleHeader {
        key_id,
        iv: iv.0,
        iv_length: u32::try_from(iv.1).ok()?.into(),
        subsamples: u32::try_from(table.len()).ok()?.into(),
    };
    let (first, mut rest) = into.split_at_mut_checked(size_of::<SampleHeader>())?;
    first.copy_from_slice(header.as_bytes());
    for subsample in table {
        let entry = SubsampleEntry::from(*subsample);
        let (first, behind) = rest.split_at_mut_checked(size_of::<SubsampleEntry>())?;
        first.copy_from_slice(entry.as_bytes());
        rest = behind;
    }
    Some(size_of::<SampleHeader>() + size_of::<SubsampleEntry>() * table.len())
}

/// A session: a stream, or none yet.
#[derive(Debug)]
pub struct Player<'a> {
    tee: &'a Tee,
    session: Session,
}

const NO_PARAMETERS: [Parameter; 4] = [Parameter::NONE; 4];

impl<'a> Player<'a> {
    /// Opens a session.
    pub fn open(tee: &'a Tee) -> Result<Self> {
        let session = tee.open_session(UUID)?;
        Ok(Self { tee, session })
    }

    /// The TEE that the session is with.
    pub fn tee(&self) -> &'a Tee {
        self.tee
    }

    /// Does nothing.
    pub fn nothing(&self) -> Result<()> {
        self.call(Command::Nothing, NO_PARAMETERS)
    }

    /// The public key that content keys are wrapped for.
    pub fn public_key(&self) -> Result<[u8; PUBLIC_KEY_SIZE]> {
        let memory = Shared::new(self.tee, PUBLIC_KEY_SIZE)?;
        let mut parameters = NO_PARAMETERS;
        parameters[0] = Parameter::output(memory.as_ref(), PUBLIC_KEY_SIZE);
        self.call(Command::PublicKey, parameters)?;
        let mut key = [0; PUBLIC_KEY_SIZE];
        key.copy_from_slice(&memory.pages);
        Ok(key)
    }

    /// Hands over a content key.
    pub fn provision(&self, key: &WrappedKey) -> Result<()> {
        self.call_with_bytes(Command::ProvisionKey, key.as_bytes(), Parameter::NONE)
    }

    /// Has a content key removed.
    pub fn forget(&self, key: &KeyId) -> Result<()> {
        self.call_with_bytes(Command::ForgetKey, key, Parameter::NONE)
    }

    /// Starts a stream that is encrypted with this key.
    pub fn open_stream(&self, key: &KeyId, scheme: Scheme) -> Result<()> {
        let (number, pattern) = scheme_numbers(scheme);
        self.call_with_bytes(Command::OpenStream, key, Parameter::values(number, pattern))
    }

    /// Has a sample decrypted from one place to another. The lengths are those of what
    /// [`write_info`] wrote, of the sample, and of the place for the clear one.
    pub fn decrypt(
        &self,
        info: (&impl AsRef<SharedBuffer>, usize),
        sample: (&impl AsRef<SharedBuffer>, usize),
        output: (&impl AsRef<SharedBuffer>, usize),
    ) -> Result<()> {
        self.call(
            Command::Decrypt,
            [
                Parameter::input(info.0.as_ref(), info.1),
                Parameter::input(sample.0.as_ref(), sample.1),
                Parameter::output(output.0.as_ref(), output.1),
                Parameter::NONE,
            ],
        )
    }

    /// Has a sample decrypted where it is.
    pub fn decrypt_in_place(
        &self,
        info: (&impl AsRef<SharedBuffer>, usize),
        sample: (&impl AsRef<SharedBuffer>, usize),
    ) -> Result<()> {
        self.call(
            Command::Decrypt,
            [
                Parameter::input(info.0.as_ref(), info.1),
                Parameter::inout(sample.0.as_ref(), sample.1),
                Parameter::NONE,
                Parameter::NONE,
            ],
        )
    }

    /// Calls with any parameters and gets the answer, whatever it is.
    pub fn answer(&self, command: Command, parameters: [Parameter; 4]) -> io::Result<Answer> {
        self.answer_to(command.number(), parameters)
    }

    /// The same for any number of a command.
    pub fn answer_to(&self, command: u32, parameters: [Parameter; 4]) -> io::Result<Answer> {
        self.tee.invoke(self.session, command, parameters)
    }

    fn call(&self, command: Command, parameters: [Parameter; 4]) -> Result<()> {
        checked(&self.answer(command, parameters)?)
    }

    fn call_with_bytes(&self, command: Command, bytes: &[u8], second: Parameter) -> Result<()> {
        let mut memory = Shared::new(self.tee, bytes.len())?;
        memory.pages.copy_from_slice(bytes);
        let first = Parameter::input(memory.as_ref(), bytes.len());
        self.call(command, [first, second, Parameter::NONE, Parameter::NONE])
    }
}

impl Drop for Player<'_> {
    fn drop(&mut self) {
        // The kernel closes what is left when the device is closed.
        drop(self.tee.close(self.session));
    }
}

fn checked(answer: &Answer) -> Result<()> {
    if answer.result == SUCCESS {
        Ok(())
    } else {
        Err(Error::Refused {
            result: answer.result,
            origin: answer.origin,
        })
    }
}
