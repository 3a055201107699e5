//! The parameters of a call, and the memory that they name.
//!
//! A player can change shared memory while it is looked at, so there are no references to it: what
//! decides something is copied first, and samples go through pointers alone. `optee_utee`'s own
//! parameters only copy, which a sample is too large for.

use core::marker::PhantomData;
use core::ops::Range;

use optee_utee::{ErrorKind, FromRawParameters, ParamType, RawParamTypes, RawParams, Result, raw};

use crate::copy::copy;

/// The parameters of a call.
pub struct Parameters<'a> {
    types: RawParamTypes,
    raw: &'a mut RawParams,
}

impl<'a> FromRawParameters<'a> for Parameters<'a> {
    /// # Safety
    ///
    /// Both are of one call: OP-TEE has checked that memory of a parameter is the application's or
    /// shared with the caller.
    unsafe fn from_raw(types: RawParamTypes, raw: &'a mut RawParams) -> Result<Self> {
        Ok(Self { types, raw })
    }
}

impl Parameters<'_> {
    /// Whether the first parameters have these types, and the fourth none.
    pub fn are(&self, types: [ParamType; 3]) -> bool {
        let [first, second, third] = types.map(u32::from);
        self.types == first | second << 4 | third << 8
    }

    /// Refuses other types.
    pub fn expect(&self, types: [ParamType; 3]) -> Result<()> {
        if self.are(types) {
            Ok(())
        } else {
            Err(ErrorKind::BadParameters.into())
        }
    }

    /// The memory of a parameter.
    pub fn memory(&self, index: usize) -> Result<Memory<'_>> {
        let parameter = self.raw.get(index).ok_or(ErrorKind::BadParameters)?;
        match raw::TEE_PARAM_TYPE_GET(self.types, index) {
            raw::TEE_PARAM_TYPE_MEMREF_INPUT
            | raw::TEE_PARAM_TYPE_MEMREF_OUTPUT
            | raw::TEE_PARAM_TYPE_MEMREF_INOUT => {}
            _ => return Err(ErrorKind::BadParameters.into()),
        }
        // SAFETY: the type says that it is memory.
        let memory = unsafe { parameter.memref };
        Ok(Memory {
            start: memory.buffer.cast(),
            size: memory.size,
            parameters: PhantomData,
        })
    }

    /// The numbers of a parameter.
    pub fn value(&self, index: usize) -> Result<(u32, u32)> {
        let parameter = self.raw.get(index).ok_or(ErrorKind::BadParameters)?;
        if raw::TEE_PARAM_TYPE_GET(self.types, index) != raw::TEE_PARAM_TYPE_VALUE_INPUT {
            return Err(ErrorKind::BadParameters.into());
        }
        // SAFETY: the type says that it is a value.
        let value = unsafe { parameter.value };
        Ok((value.a, value.b))
    }

    /// Says how much of a parameter's memory was written, or would have been.
    pub fn set_size(&mut self, index: usize, size: usize) {
        if let Some(parameter) = self.raw.get_mut(index) {
            parameter.memref.size = size;
        }
    }
}

/// Memory that the caller shares, or that is the application's own where another application calls.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    start: *mut u8,
    size: usize,
    parameters: PhantomData<&'a ()>,
}

impl Memory<'_> {
    /// Its bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether both are the same memory.
    pub fn is(&self, other: &Self) -> bool {
        self.start == other.start
    }

    /// The address of a part. `None` if it is not all inside.
    pub fn part(&self, range: &Range<usize>) -> Option<*mut u8> {
        (range.start <= range.end && range.end <= self.size)
            .then(|| self.start.wrapping_add(range.start))
    }

    /// Copies a part. `false` if it is not all inside; then nothing is copied.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> bool {
        let from = offset
            .checked_add(into.len())
            .and_then(|end| self.part(&(offset..end)));
        if let Some(from) = from {
            // SAFETY: `from` is within memory that OP-TEE has mapped for this call, and `into` is
            // apart from it.
            unsafe { copy(from, into.as_mut_ptr(), into.len()) };
        }
        from.is_some()
    }

    /// Copies into a part. `false` if it is not all inside; then nothing is copied.
    pub fn write(&self, offset: usize, from: &[u8]) -> bool {
        let into = offset
            .checked_add(from.len())
            .and_then(|end| self.part(&(offset..end)));
        if let Some(into) = into {
            // SAFETY: as above; a parameter that is only read is mapped so, and writing to it
            // faults.
            unsafe { copy(from.as_ptr(), into, from.len()) };
        }
        into.is_some()
    }

    /// Copies a part to the same place of other memory, with which it may overlap.
    pub fn copy_to(&self, range: &Range<usize>, other: &Self) {
        if let (Some(from), Some(into)) = (self.part(range), other.part(range)) {
            // SAFETY: both are within memory that OP-TEE has mapped for this call.
            unsafe { copy(from, into, range.len()) };
        }
    }
}
