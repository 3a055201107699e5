//! What a supplicant is asked for and answers (Linux 6.12, `include/uapi/linux/tee.h` and
//! `drivers/tee/optee/supp.c`).

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::ptr;

use crate::tee::{BufferData, READ, request};
use crate::{Pages, Parameter, SharedBuffer, Tee};

const RECEIVE: libc::c_ulong = request(READ, 6, size_of::<BufferData>());
const SEND: libc::c_ulong = request(READ, 7, size_of::<BufferData>());

/// Parameters of a request, after the one with its number.
const PARAMETERS: usize = 4;
/// `TEE_IOCTL_PARAM_ATTR_META`: with this parameter first, requests have numbers and may be
/// answered in any order.
const META: u64 = 0x100;

/// `struct tee_iocl_supp_recv_arg`, and `struct tee_iocl_supp_send_arg` with the result in the
/// function's place.
#[repr(C)]
struct Exchange {
    function_or_result: u32,
    count: u32,
    number: Parameter,
    parameters: [Parameter; PARAMETERS],
}

/// Who serves what OP-TEE asks the normal world for. There is one at a time.
#[derive(Debug)]
pub struct Supplicant {
    device: Tee,
    buffers: HashMap<u64, (SharedBuffer, Pages)>,
}

/// Something that OP-TEE asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What for (OP-TEE 4.10, `core/include/optee_rpc_cmd.h`).
    pub function: u32,
    /// Its parameters, of which there are [`Request::count`].
    pub parameters: [Parameter; PARAMETERS],
    /// How many parameters there are.
    pub count: usize,
    number: Parameter,
}

impl Supplicant {
    /// Opens OP-TEE's device for supplicants.
    ///
    /// # Errors
    ///
    /// There is a supplicant already, or no device.
    pub fn open() -> Result<Self> {
        Ok(Self {
            device: Tee::open_device("/dev/teepriv0")?,
            buffers: HashMap::new(),
        })
    }

    /// Waits for the next request.
    pub fn receive(&self) -> Result<Request> {
        let mut exchange = Exchange {
            function_or_result: 0,
            count: 1 + PARAMETERS as u32,
            number: Parameter {
                attributes: META,
                ..Parameter::NONE
            },
            parameters: [Parameter::NONE; PARAMETERS],
        };
        self.control(RECEIVE, &mut exchange)?;
        Ok(Request {
            function: exchange.function_or_result,
            parameters: exchange.parameters,
            count: (exchange.count as usize).saturating_sub(1),
            number: exchange.number,
        })
    }

    /// Answers a request with a result, which is 0 for success, and with its parameters as they are
    /// now.
    pub fn answer(&self, request: &Request, result: u32) -> Result<()> {
        let mut exchange = Exchange {
            function_or_result: result,
            count: 1 + request.count as u32,
            number: request.number,
            parameters: request.parameters,
        };
        self.control(SEND, &mut exchange)
    }

    fn control(&self, request: libc::c_ulong, exchange: &mut Exchange) -> Result<()> {
        let mut data = BufferData {
            pointer: ptr::from_mut(exchange) as u64,
            length: size_of::<Exchange>() as u64,
        };
        self.device.control(request, &mut data).map(drop)
    }

    /// Shares a number of bytes of new memory with OP-TEE and returns the buffer's number.
    pub fn share(&mut self, length: usize) -> Result<u64> {
        let mut pages = Pages::new(length.max(1))?;
        let buffer = self.device.register(&mut pages)?;
        let id = buffer.id;
        self.buffers.insert(id, (buffer, pages));
        Ok(id)
    }

    /// Takes back what was shared under this number.
    pub fn take_back(&mut self, id: u64) {
        self.buffers.remove(&id);
    }

    /// The memory that a parameter refers to.
    ///
    /// # Errors
    ///
    /// It is no memory that was shared here.
    pub fn memory(&mut self, parameter: &Parameter) -> Result<&mut [u8]> {
        let (_, pages) = self
            .buffers
            .get_mut(&parameter.c)
            .ok_or(ErrorKind::NotFound)?;
        let start = parameter.a as usize;
        let end = start.saturating_add(parameter.b as usize);
        pages
            .get_mut(start..end)
            .ok_or_else(|| Error::from(ErrorKind::InvalidData))
    }
}
