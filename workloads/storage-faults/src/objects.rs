//! Objects in secure storage, through xtest's trusted application for them (optee_test 4.5,
//! `ta/storage/include/ta_storage.h` and `ta/storage/storage.c`).

use std::io::Result;

use tee_client::{Answer, Pages, Parameter, Session, SharedBuffer, Tee};

/// The application.
const STORAGE: [u8; 16] = 0xb689_f2a7_8adf_477a_9f99_32e9_0c0a_d0a2_u128.to_be_bytes();
/// The same under another UUID, which is another owner of objects.
pub const STORAGE_2: [u8; 16] = 0x731e_279e_aafb_4575_a771_38ca_a6f0_cca6_u128.to_be_bytes();

/// `TEE_STORAGE_PRIVATE`.
const PRIVATE: u32 = 1;
/// `TEE_DATA_FLAG_ACCESS_READ`, `_WRITE` and `_WRITE_META`.
const FLAGS: u64 = 7;

/// Commands.
mod command {
    pub const OPEN: u32 = 0;
    pub const CLOSE: u32 = 1;
    pub const READ: u32 = 2;
    pub const WRITE: u32 = 3;
    pub const CREATE: u32 = 4;
    pub const SEEK: u32 = 5;
    pub const UNLINK: u32 = 6;
    pub const RENAME: u32 = 7;
    pub const TRUNCATE: u32 = 8;
    pub const NEW_ENUMERATOR: u32 = 9;
    pub const START: u32 = 12;
    pub const NEXT: u32 = 13;
}

/// A session with the application. It owns the objects that it opens.
pub struct Objects<'a> {
    tee: &'a Tee,
    session: Session,
    name: Pages,
    name_shared: SharedBuffer,
    data: Pages,
    data_shared: SharedBuffer,
    /// What calls came back with, the last one last.
    pub results: Vec<u32>,
}

/// An object that is open; 0 where opening it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object(u32);

impl<'a> Objects<'a> {
    /// Opens a session, with the application under its own UUID or another one.
    pub fn open(tee: &'a Tee, uuid: Option<[u8; 16]>) -> Result<Self> {
        let mut name = Pages::new(4096)?;
        let name_shared = tee.register(&mut name)?;
        let mut data = Pages::new(64 << 10)?;
        let data_shared = tee.register(&mut data)?;
        Ok(Self {
            session: tee.open_session(uuid.unwrap_or(STORAGE))?,
            tee,
            name,
            name_shared,
            data,
            data_shared,
            results: Vec::new(),
        })
    }

    /// Closes the session, and with it all objects.
    pub fn close_session(self) -> Result<()> {
        self.tee.close(self.session)
    }

    fn call(&mut self, function: u32, parameters: [Parameter; 4]) -> Result<Answer> {
        let answer = self.tee.invoke(self.session, function, parameters)?;
        self.results.push(answer.result);
        Ok(answer)
    }

    fn named(&mut self, name: &str) -> Parameter {
        self.name[..name.len()].copy_from_slice(name.as_bytes());
        Parameter::input(&self.name_shared, name.len())
    }

    /// Makes an object of a size in bytes.
    pub fn create(&mut self, name: &str, length: usize) -> Result<Object> {
        self.data[..length].fill(0x77);
        let parameters = [
            self.named(name),
            Parameter::value(FLAGS),
            Parameter::values(0, PRIVATE),
            Parameter::input(&self.data_shared, length),
        ];
        let answer = self.call(command::CREATE, parameters)?;
        Ok(Object(answer.parameters[1].b as u32))
    }

    /// Opens an object.
    pub fn open_object(&mut self, name: &str) -> Result<Object> {
        let parameters = [
            self.named(name),
            Parameter::value(FLAGS),
            Parameter::values(PRIVATE, 0),
            Parameter::NONE,
        ];
        let answer = self.call(command::OPEN, parameters)?;
        Ok(Object(answer.parameters[1].b as u32))
    }

    /// Closes an object.
    pub fn close(&mut self, object: Object) -> Result<()> {
        self.on(command::CLOSE, object, 0).map(drop)
    }

    /// Removes an object that is open.
    pub fn unlink(&mut self, object: Object) -> Result<()> {
        self.on(command::UNLINK, object, 0).map(drop)
    }

    /// Gives an object a size in bytes.
    pub fn truncate(&mut self, object: Object, length: u32) -> Result<()> {
        self.on(command::TRUNCATE, object, length).map(drop)
    }

    fn on(&mut self, function: u32, object: Object, argument: u32) -> Result<Answer> {
        let none = Parameter::NONE;
        let object = Parameter::values(object.0, argument);
        self.call(function, [object, none, none, none])
    }

    /// Gives an object another name.
    pub fn rename(&mut self, object: Object, name: &str) -> Result<()> {
        let none = Parameter::NONE;
        let parameters = [Parameter::values(object.0, 0), self.named(name), none, none];
        self.call(command::RENAME, parameters).map(drop)
    }

    /// Writes a number of bytes at the object's start.
    pub fn write(&mut self, object: Object, length: usize) -> Result<()> {
        self.seek_start(object)?;
        self.data[..length].fill(0x33);
        let none = Parameter::NONE;
        let parameters = [
            Parameter::input(&self.data_shared, length),
            Parameter::values(object.0, 0),
            none,
            none,
        ];
        self.call(command::WRITE, parameters).map(drop)
    }

    /// Reads a number of bytes from the object's start; `None` where that fails.
    pub fn read(&mut self, object: Object, length: usize) -> Result<Option<&[u8]>> {
        self.seek_start(object)?;
        self.data[..length].fill(0);
        let none = Parameter::NONE;
        let parameters = [
            Parameter::output(&self.data_shared, length),
            Parameter::value(u64::from(object.0)),
            none,
            none,
        ];
        let answer = self.call(command::READ, parameters)?;
        let count = (answer.parameters[1].b as usize).min(length);
        Ok((answer.result == 0).then(|| &self.data[..count]))
    }

    fn seek_start(&mut self, object: Object) -> Result<()> {
        let none = Parameter::NONE;
        let object = Parameter::values(object.0, 0);
        self.call(command::SEEK, [object, Parameter::value(0), none, none])
            .map(drop)
    }

    /// Looks through the names of all objects, unless there are none or that fails at its start.
    pub fn enumerate(&mut self) -> Result<()> {
        self.enumerate_even(false)
    }

    /// The same, and goes on `even` if it failed at its start. No OP-TEE up to 4.10 survives that
    /// (`ree_fs_readdir_rpc`, `core/tee/tee_ree_fs.c`, is given NULL).
    pub fn enumerate_even(&mut self, even: bool) -> Result<()> {
        let none = Parameter::NONE;
        let new = [Parameter::value_output(), none, none, none];
        let enumerator = self.call(command::NEW_ENUMERATOR, new)?.parameters[0].a as u32;
        let start = Parameter::values(enumerator, PRIVATE);
        let started = self.call(command::START, [start, none, none, none])?.result == 0;
        if !started && !even {
            return Ok(());
        }
        for _ in 0..8 {
            let next = [
                Parameter::values(enumerator, 0),
                Parameter::output(&self.data_shared, 64),
                Parameter::output(&self.name_shared, 64),
                none,
            ];
            if self.call(command::NEXT, next)?.result != 0 {
                break;
            }
        }
        Ok(())
    }
}
