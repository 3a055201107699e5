//! A stream: a cipher with its key, and the decryption of samples.

use core::ops::Range;

use alloc::vec;
use alloc::vec::Vec;

use cenc::{Block, Engine, Sample, Scheme};
use drm_protocol::{KeyId, SAMPLE_INFO_MAX, SampleInfo};
use optee_utee::{
    AlgorithmId, Cipher, Error, ErrorKind, OpHandle as _, OperationMode, ParamType, Result, raw,
};

use crate::keys;
use crate::parameters::{Memory, Parameters};

/// Bits of a content key.
const KEY_BITS: usize = 128;
/// Bytes for encrypted blocks that lie apart: those of 320 KiB of video.
const SCRATCH: usize = 32 << 10;

/// A stream that is played.
pub struct Stream {
    key: KeyId,
    scheme: Scheme,
    /// Has the content key for as long as the stream is played.
    cipher: Cipher,
    /// The header and the table of a sample, copied from memory that the player can change.
    info: Vec<u8>,
    scratch: Vec<u8>,
}

impl Stream {
    /// A stream that is encrypted with this key.
    pub fn open(key: KeyId, scheme: Scheme) -> Result<Self> {
        let algorithm = match scheme {
            Scheme::Cenc => AlgorithmId::AesCtr,
            Scheme::Cbcs(_) => AlgorithmId::AesCbcNopad,
        };
        let object = keys::open(&key)?;
        let cipher = Cipher::allocate(algorithm, OperationMode::Decrypt, KEY_BITS)?;
        cipher.set_key(&object)?;
        Ok(Self {
            key,
            scheme,
            cipher,
            info: vec![0; SAMPLE_INFO_MAX],
            scratch: vec![0; SCRATCH],
        })
    }

    /// Decrypts a sample, from one place to another or where it is.
    pub fn decrypt(&mut self, parameters: &mut Parameters<'_>) -> Result<()> {
        use ParamType::{MemrefInout, MemrefInput, MemrefOutput, None};
        let output = if parameters.are([MemrefInput, MemrefInput, MemrefOutput]) {
            2
        } else {
            parameters.expect([MemrefInput, MemrefInout, None])?;
            1
        };
        let length = parameters.memory(1)?.size();
        match self.decrypt_between(parameters, output) {
            Err(error) if error.kind() == ErrorKind::ShortBuffer => {
                parameters.set_size(output, length);
                Err(error)
            }
            Ok(()) => {
                parameters.set_size(output, length);
                Ok(())
            }
            done => done,
        }
    }

    fn decrypt_between(&mut self, parameters: &Parameters<'_>, output: usize) -> Result<()> {
        let (input, output) = (parameters.memory(1)?, parameters.memory(output)?);
        let info = parameters.memory(0)?;
        let copy = self
            .info
            .get_mut(..info.size())
            .ok_or(ErrorKind::BadParameters)?;
        if !info.read(0, copy) {
            return Err(ErrorKind::BadParameters.into());
        }
        let info = SampleInfo::read(copy, self.scheme).ok_or(ErrorKind::BadParameters)?;
        if info.header.key_id != self.key {
            return Err(ErrorKind::ItemNotFound.into());
        }
        let sample = Sample::new(self.scheme, info.header.iv, info.subsamples(), input.size())
            .map_err(|_| ErrorKind::BadParameters)?;
        if output.size() < sample.length() {
            return Err(ErrorKind::ShortBuffer.into());
        }
        let mut engine = SharedSample {
            cipher: &self.cipher,
            input,
            output,
        };
        sample.decrypt(&mut engine, &mut self.scratch)
    }
}

/// A sample in shared memory.
struct SharedSample<'a> {
    cipher: &'a Cipher,
    input: Memory<'a>,
    output: Memory<'a>,
}

impl SharedSample<'_> {
    /// Goes on with the stream or the chain.
    ///
    /// # Safety
    ///
    /// Both are the starts of memory of this call, or of a slice that nothing else uses, with at
    /// least `length` bytes.
    unsafe fn update(&self, from: *const u8, into: *mut u8, length: usize) -> Result<()> {
        let mut written = length;
        // SAFETY: the cipher is one, as it was allocated; the rest is the caller's claim.
        let result = unsafe {
            raw::TEE_CipherUpdate(
                self.cipher.handle(),
                from.cast(),
                length,
                into.cast(),
                &raw mut written,
            )
        };
        match result {
            raw::TEE_SUCCESS => Ok(()),
            result => Err(Error::from_raw_error(result)),
        }
    }
}

impl Engine for SharedSample<'_> {
    type Error = Error;

    fn start(&mut self, iv: &Block) -> Result<()> {
        self.cipher.init(iv);
        Ok(())
    }

    fn copy(&mut self, range: Range<usize>) {
        if !self.input.is(&self.output) {
            self.input.copy_to(&range, &self.output);
        }
    }

    fn decrypt(&mut self, range: Range<usize>) -> Result<()> {
        let (Some(from), Some(into)) = (self.input.part(&range), self.output.part(&range)) else {
            return Err(ErrorKind::BadParameters.into());
        };
        // SAFETY: both parts are within memory of this call.
        unsafe { self.update(from, into, range.len()) }
    }

    fn read(&mut self, offset: usize, into: &mut [u8]) {
        self.input.read(offset, into);
    }

    fn decrypt_blocks(&mut self, blocks: &mut [u8]) -> Result<()> {
        let start = blocks.as_mut_ptr();
        // SAFETY: it is the caller's slice, decrypted where it is.
        unsafe { self.update(start, start, blocks.len()) }
    }

    fn write(&mut self, offset: usize, from: &[u8]) {
        self.output.write(offset, from);
    }
}
