//! The device and its calls (Linux 6.12, `include/uapi/linux/tee.h`), as far as they are needed
//! here.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

/// `TEE_IOC_MAGIC`.
const MAGIC: u32 = 0xa4;
pub(crate) const READ: u32 = 2;
const READ_WRITE: u32 = 3;

/// The number of an ioctl (Linux 6.12, `include/uapi/asm-generic/ioctl.h`).
pub(crate) const fn request(direction: u32, number: u32, size: usize) -> libc::c_ulong {
    (direction << 30 | (size as u32) << 16 | MAGIC << 8 | number) as libc::c_ulong
}

const OPEN_SESSION: libc::c_ulong = request(READ, 2, size_of::<BufferData>());
const INVOKE: libc::c_ulong = request(READ, 3, size_of::<BufferData>());
const CLOSE_SESSION: libc::c_ulong = request(READ, 5, size_of::<u32>());
const REGISTER: libc::c_ulong = request(READ_WRITE, 9, size_of::<RegisterData>());

/// `struct tee_ioctl_buf_data`: where the argument is.
#[repr(C)]
pub(crate) struct BufferData {
    pub(crate) pointer: u64,
    pub(crate) length: u64,
}

/// `struct tee_ioctl_shm_register_data`.
#[repr(C)]
struct RegisterData {
    address: u64,
    length: u64,
    flags: u32,
    id: i32,
}

/// `struct tee_ioctl_param`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    pub(crate) attributes: u64,
    /// Of a value its first part, of memory the offset in its buffer.
    pub a: u64,
    /// Of a value its second part, of memory its size in bytes.
    pub b: u64,
    /// Of a value its third part, of memory the number of its buffer.
    pub c: u64,
}

/// `TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT`.
const VALUE_INPUT: u64 = 1;
/// `TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_OUTPUT`.
const VALUE_OUTPUT: u64 = 2;
/// `TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INOUT`.
const VALUE_INOUT: u64 = 3;
/// `TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INPUT`.
const MEMREF_INPUT: u64 = 5;
/// `TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT`.
const MEMREF_OUTPUT: u64 = 6;
/// `TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INOUT`.
const MEMREF_INOUT: u64 = 7;
/// `TEE_MEMREF_NULL`, in the place of a buffer's number.
const MEMREF_NULL: u64 = u64::MAX;

impl Parameter {
    /// No parameter.
    pub const NONE: Self = Self {
        attributes: 0,
        a: 0,
        b: 0,
        c: 0,
    };

    /// A value for the TA to read and write.
    pub fn value(a: u64) -> Self {
        Self {
            attributes: VALUE_INOUT,
            a,
            ..Self::default()
        }
    }

    /// A value for the TA to write.
    pub fn value_output() -> Self {
        Self {
            attributes: VALUE_OUTPUT,
            ..Self::default()
        }
    }

    /// Two values for the TA to read.
    pub fn values(a: u32, b: u32) -> Self {
        Self {
            attributes: VALUE_INPUT,
            a: u64::from(a),
            b: u64::from(b),
            c: 0,
        }
    }

    /// All of a shared buffer, for the TA to read and write.
    pub fn buffer(buffer: &SharedBuffer) -> Self {
        Self {
            attributes: MEMREF_INOUT,
            a: 0,
            b: buffer.length,
            c: buffer.id,
        }
    }

    /// A number of bytes from a shared buffer's start, for the TA to read. The kernel refuses more
    /// than there are.
    pub fn input(buffer: &SharedBuffer, length: usize) -> Self {
        Self::memory(MEMREF_INPUT, buffer, length)
    }

    /// The same for the TA to write.
    pub fn output(buffer: &SharedBuffer, length: usize) -> Self {
        Self::memory(MEMREF_OUTPUT, buffer, length)
    }

    /// The same for the TA to read and write.
    pub fn inout(buffer: &SharedBuffer, length: usize) -> Self {
        Self::memory(MEMREF_INOUT, buffer, length)
    }

    /// No memory, for the TA to read.
    pub fn null_input() -> Self {
        Self::null(MEMREF_INPUT)
    }

    /// No memory, for the TA to write.
    pub fn null_output() -> Self {
        Self::null(MEMREF_OUTPUT)
    }

    fn null(attributes: u64) -> Self {
        Self {
            attributes,
            a: 0,
            b: 0,
            c: MEMREF_NULL,
        }
    }

    fn memory(attributes: u64, buffer: &SharedBuffer, length: usize) -> Self {
        Self {
            attributes,
            a: 0,
            b: length as u64,
            c: buffer.id,
        }
    }

    /// How many bytes of a buffer the TA says it has written, or would have written.
    pub fn size(&self) -> u64 {
        self.b
    }
}

/// Parameters that a call has (GlobalPlatform TEE Client API 1.0, section 4.3.7).
const PARAMETERS: usize = 4;

/// `struct tee_ioctl_open_session_arg`.
#[repr(C)]
#[derive(Default)]
struct OpenArgument {
    uuid: [u8; 16],
    client_uuid: [u8; 16],
    client_login: u32,
    cancel_id: u32,
    session: u32,
    result: u32,
    origin: u32,
    count: u32,
    parameters: [Parameter; PARAMETERS],
}

/// `struct tee_ioctl_invoke_arg`.
#[repr(C)]
#[derive(Default)]
struct InvokeArgument {
    function: u32,
    session: u32,
    cancel_id: u32,
    result: u32,
    origin: u32,
    count: u32,
    parameters: [Parameter; PARAMETERS],
}

const _: () = assert!(size_of::<OpenArgument>() == 56 + 32 * PARAMETERS);
const _: () = assert!(size_of::<InvokeArgument>() == 24 + 32 * PARAMETERS);

/// A TEE device.
#[derive(Debug)]
pub struct Tee(File);

/// An open session. It is closed by [`Tee::close`].
#[derive(Clone, Copy, Debug)]
pub struct Session(u32);

/// Memory that the TEE knows, until it is dropped.
#[derive(Debug)]
pub struct SharedBuffer {
    pub(crate) id: u64,
    length: u64,
    _file: OwnedFd,
}

impl AsRef<Self> for SharedBuffer {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// What the TEE said to a call: a result and who it comes from (GlobalPlatform TEE Client API 1.0,
/// sections 4.4.2 and 4.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `TEEC_SUCCESS` is 0.
    pub result: u32,
    /// `TEEC_ORIGIN_TRUSTED_APP` is 4.
    pub origin: u32,
    /// The parameters as the TA left them.
    pub parameters: [Parameter; PARAMETERS],
}

impl Tee {
    /// Opens OP-TEE's client device.
    pub fn open() -> Result<Self> {
        Self::open_device("/dev/tee0")
    }

    pub(crate) fn open_device(path: &str) -> Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self(device?))
    }

    pub(crate) fn control<T>(
        &self,
        request: libc::c_ulong,
        argument: &mut T,
    ) -> Result<libc::c_int> {
        // SAFETY: each request of this module has the size of its argument in it, and each caller
        // passes that type; the kernel writes no more than that, and to buffers that the argument
        // points to and the caller keeps.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, ptr::from_mut(argument)) };
        if result < 0 {
            Err(Error::last_os_error())
        } else {
            Ok(result)
        }
    }

    /// Opens a session with a trusted application, as nobody in particular.
    pub fn open_session(&self, uuid: [u8; 16]) -> Result<Session> {
        let mut argument = OpenArgument {
            uuid,
            count: PARAMETERS as u32,
            ..OpenArgument::default()
        };
        let mut data = BufferData {
            pointer: ptr::from_mut(&mut argument) as u64,
            length: size_of::<OpenArgument>() as u64,
        };
        self.control(OPEN_SESSION, &mut data)?;
        if argument.result != 0 {
            return Err(refusal("open", argument.result, argument.origin));
        }
        Ok(Session(argument.session))
    }

    /// Closes a session.
    pub fn close(&self, session: Session) -> Result<()> {
        let mut session = session.0;
        self.control(CLOSE_SESSION, &mut session).map(drop)
    }

    /// Calls a trusted application.
    pub fn invoke(
        &self,
        session: Session,
        function: u32,
        parameters: [Parameter; PARAMETERS],
    ) -> Result<Answer> {
        let mut argument = InvokeArgument {
            function,
            session: session.0,
            count: PARAMETERS as u32,
            parameters,
            ..InvokeArgument::default()
        };
        let mut data = BufferData {
            pointer: ptr::from_mut(&mut argument) as u64,
            length: size_of::<InvokeArgument>() as u64,
        };
        self.control(INVOKE, &mut data)?;
        Ok(Answer {
            result: argument.result,
            origin: argument.origin,
            parameters: argument.parameters,
        })
    }

    /// Shares memory with the TEE.
    pub fn register(&self, memory: &mut [u8]) -> Result<SharedBuffer> {
        let mut data = RegisterData {
            address: memory.as_mut_ptr() as u64,
            length: memory.len() as u64,
            flags: 0,
            id: 0,
        };
        let file = self.control(REGISTER, &mut data)?;
        let id = u64::try_from(data.id).map_err(|_| Error::from(ErrorKind::InvalidData))?;
        Ok(SharedBuffer {
            id,
            length: memory.len() as u64,
            // SAFETY: the kernel made this file for the caller, and nothing else has it.
            _file: unsafe { OwnedFd::from_raw_fd(file) },
        })
    }
}

fn refusal(call: &str, result: u32, origin: u32) -> Error {
    Error::other(format!("{call}: result {result:#x} of origin {origin}"))
}
