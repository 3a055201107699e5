//! What a guest does for a call that asks for something.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use optee_abi::rpc;
use optee_abi::smc::{self, RpcFunction};
use optee_abi::{pagelist, result};

use super::answer::Asked;
use super::arena::fresh_cookie;
use super::arena::{Area, Arena};
use super::page::PAGE;
use crate::optee::words::Words;
use crate::runtime::vcpu::wait_for;
use crate::{check, check_eq};

/// `OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT`, and with `OPTEE_MSG_ATTR_NONCONTIG`.
const CONTIGUOUS: u64 = 0xa;
const LIST: u64 = 0x20a;
/// `OPTEE_MSG_ATTR_TYPE_VALUE_INPUT`, `_OUTPUT`, `OPTEE_MSG_ATTR_TYPE_RMEM_OUTPUT`
const VALUE_INPUT: u64 = 1;
const VALUE_OUTPUT: u64 = 2;
const REGISTERED_OUTPUT: u64 = 6;
/// `OPTEE_RPC_NOTIFICATION_WAIT`, `_SEND`
const WAIT: u64 = 0;
const SEND: u64 = 1;
/// Values of notifications that were sent and not waited for yet, a bit each.
static SENT: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// `TEE_ERROR_ITEM_NOT_FOUND`
pub const ITEM_NOT_FOUND: u32 = 0xffff_0008;

/// One thread of OP-TEE sends a value, another waits for it, maybe on another vCPU; gives the
/// result.
fn pass_on(what: u64, value: u64) -> Result<u32, String> {
    let bit = 1 << (value % 64);
    let Some(sent) = SENT.get((value / 64) as usize) else {
        return Err(format!("there is no notification {value:#x}"));
    };
    match what {
        WAIT => {
            let came = wait_for(|| sent.fetch_and(!bit, Ordering::AcqRel) & bit != 0);
            check!(came, "notification {value} does not come");
        }
        SEND => {
            sent.fetch_or(bit, Ordering::AcqRel);
        }
        other => return Err(format!("{other} is to be done to a notification")),
    }
    Ok(result::SUCCESS)
}

/// Serves RPCs, and notes what it was asked for.
#[derive(Debug, Default)]
pub struct Supplicant {
    /// Whether it has memory for RPC arguments.
    has_room: bool,
    /// Whether it gives memory that OP-TEE asks for by a list of its pages.
    by_list: bool,
    /// The time that it tells, in seconds and nanoseconds.
    pub time: [u64; 2],
    /// The bytes of every trusted application that it is asked for, if it has any, all of this
    /// word.
    pub application: Option<(u64, u64)>,
    /// Memory for RPC arguments: its cookie and where it is.
    rooms: Vec<(u64, Area)>,
    /// Memory that OP-TEE has: its cookie and where it is.
    memory: Vec<(u64, Area)>,
    /// How often it was asked for room for RPC arguments.
    pub allocs: usize,
    /// How often it was told to free such room.
    pub frees: usize,
    /// The commands that it was given.
    pub commands: Vec<u32>,
}

impl Supplicant {
    /// One that serves nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// One that gives memory, contiguous or by lists, and tells this time.
    #[must_use]
    pub fn new(by_list: bool, time: [u64; 2]) -> Self {
        Self {
            has_room: true,
            by_list,
            time,
            ..Self::default()
        }
    }

    /// The cookies of the memory that OP-TEE has.
    #[must_use]
    pub fn cookies(&self) -> Vec<u64> {
        self.memory.iter().map(|(cookie, _)| *cookie).collect()
    }

    /// Whether all that it gave came back.
    ///
    /// # Errors
    ///
    /// Something did not.
    pub fn has_all_back(&self) -> Result<(), String> {
        check!(
            self.rooms.is_empty() && self.memory.is_empty(),
            "it has still {:x?} and {:x?}",
            self.rooms,
            self.memory
        );
        Ok(())
    }

    /// Takes the room for RPC arguments back that has this cookie.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn take_room_back(&mut self, cookie: u64) -> Result<(), String> {
        let before = self.rooms.len();
        self.rooms.retain(|(own, _)| *own != cookie);
        check_eq!(before, self.rooms.len() + 1, "the room {cookie:#x}");
        Ok(())
    }

    /// Does what is asked for; gives a1, a2, a4 and a5 of the return. `behind` is the room behind
    /// the message.
    ///
    /// # Errors
    ///
    /// It is nothing that can be done.
    pub fn serve(
        &mut self,
        arena: &Arena,
        asked: &Asked,
        behind: Option<(Area, u64)>,
    ) -> Result<[u64; 4], String> {
        match asked.function {
            RpcFunction::Alloc if self.has_room => {
                check!(behind.is_none(), "there is room behind the message");
                self.allocs += 1;
                check!(asked.upper <= PAGE, "it wants {:#x} bytes", asked.upper);
                let (room, cookie) = (arena.pages(1), fresh_cookie());
                self.rooms.push((cookie, room));
                let ([a1, a2], [a4, a5]) = (smc::split(room.address), smc::split(cookie));
                Ok([a1, a2, a4, a5])
            }
            RpcFunction::Free => {
                self.frees += 1;
                self.take_room_back(asked.value)?;
                Ok([0; 4])
            }
            RpcFunction::Command => {
                let room = match behind {
                    Some(behind) => Some(behind),
                    None => {
                        let mut rooms = self.rooms.iter();
                        let own = rooms.find(|(cookie, _)| *cookie == asked.value);
                        own.map(|(_, room)| (*room, 0))
                    }
                };
                let Some((area, offset)) = room else {
                    return Err(format!("there is no room {:#x}", asked.value));
                };
                let count = (area.read(offset + 24) >> 32) as usize;
                check!(count <= 6, "a command has {count} parameters");
                let mut words = Words(area.load(offset, 4 + 4 * count));
                let result = self.obey(arena, &mut words)?;
                words.set_result(result, result::ORIGIN_COMMS);
                area.store(offset, &words.0);
                Ok([0; 4])
            }
            _ => Err(format!("it asks for {asked:x?}")),
        }
    }

    /// Does a command; gives its result.
    fn obey(&mut self, arena: &Arena, words: &mut Words) -> Result<u32, String> {
        self.commands.push(words.command());
        match words.command() {
            rpc::GET_TIME => {
                check_eq!(words.attributes(0), VALUE_OUTPUT, "where the time goes");
                let [seconds, nanoseconds] = self.time;
                words.set_parameter(0, [seconds, nanoseconds, 0]);
            }
            rpc::SHM_ALLOC => {
                check_eq!(words.attributes(0), VALUE_INPUT, "what memory is wanted");
                let [_, size, _] = words.parameter(0);
                self.give_memory(arena, size, words);
            }
            rpc::SHM_FREE => {
                check_eq!(words.attributes(0), VALUE_INPUT, "what is to be freed");
                let [_, cookie, _] = words.parameter(0);
                let before = self.memory.len();
                self.memory.retain(|(own, _)| *own != cookie);
                check_eq!(before, self.memory.len() + 1, "memory {cookie:#x}");
            }
            rpc::LOAD_TA => return self.load(words),
            rpc::NOTIFICATION => {
                check_eq!(words.attributes(0), VALUE_INPUT, "the notification");
                let [what, value, _] = words.parameter(0);
                return pass_on(what, value);
            }
            _ => return Ok(ITEM_NOT_FOUND),
        }
        Ok(result::SUCCESS)
    }

    fn give_memory(&mut self, arena: &Arena, size: u64, words: &mut Words) {
        let count = size.div_ceil(PAGE);
        let cookie = fresh_cookie();
        let area = arena.pages(count);
        self.memory.push((cookie, area));
        let (attributes, address) = if self.by_list {
            let lists = arena.pages(pagelist::list_pages(count));
            let entries = pagelist::ENTRIES as u64;
            for (index, page) in (0..).zip(area.addresses()) {
                lists.write(index / entries * PAGE + index % entries * 8, page);
            }
            for index in 1..lists.len / PAGE {
                lists.write(index * PAGE - 8, lists.page(index));
            }
            (LIST, lists.address)
        } else {
            (CONTIGUOUS, area.address)
        };
        *words = words.clone().with_attributes(0, attributes);
        words.set_parameter(0, [address, area.len, cookie]);
    }

    /// OP-TEE asks first how large a trusted application is, then for its bytes.
    fn load(&mut self, words: &mut Words) -> Result<u32, String> {
        let Some((len, word)) = self.application else {
            return Ok(ITEM_NOT_FOUND);
        };
        let [first, second, third] = words.parameter(1);
        match words.attributes(1) {
            CONTIGUOUS => {
                check_eq!([first, third], [0, 0], "the reference to nothing");
                words.set_parameter(1, [0, len, 0]);
            }
            REGISTERED_OUTPUT => {
                let mut memory = self.memory.iter();
                let Some((_, area)) = memory.find(|(cookie, _)| *cookie == third) else {
                    return Err(format!("there is no memory {third:#x}"));
                };
                check_eq!([first, second], [0, len], "offset and size");
                area.fill(word);
            }
            other => return Err(format!("the bytes are to go to {other:#x}")),
        }
        Ok(result::SUCCESS)
    }
}
