//! A supplicant whose files lie in memory, and who answers wrongly when told to.

use std::collections::BTreeMap;
use std::fs;
use std::io::Result;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tee_client::{Request, Supplicant};

/// The file with the names of all objects and where each is (OP-TEE 4.10, `core/tee/fs_dirfile.c`).
pub const INDEX: &str = "/dirf.db";
/// Where Debian's packages put trusted applications.
const APPLICATIONS: &str = "/usr/lib/optee_armtz";

/// Results (GlobalPlatform TEE Internal Core API 1.3.1, section 3.3).
mod result {
    pub const GENERIC: u32 = 0xffff_0000;
    pub const ITEM_NOT_FOUND: u32 = 0xffff_0008;
    pub const NOT_SUPPORTED: u32 = 0xffff_000a;
    pub const CORRUPT_OBJECT: u32 = 0xf010_0001;
}

/// What OP-TEE asks for (OP-TEE 4.10, `core/include/optee_rpc_cmd.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    LoadTa,
    Open,
    Create,
    Close,
    Read,
    /// A read of [`INDEX`].
    ReadIndex,
    Write,
    Truncate,
    Remove,
    ShareMemory,
    Other,
}

impl Operation {
    fn of(request: &Request) -> Self {
        match (request.function, request.parameters[0].a) {
            (0, _) => Self::LoadTa,
            (2, 0) => Self::Open,
            (2, 1) => Self::Create,
            (2, 2) => Self::Close,
            (2, 3) => Self::Read,
            (2, 4) => Self::Write,
            (2, 5) => Self::Truncate,
            (2, 6) => Self::Remove,
            (6, _) => Self::ShareMemory,
            _ => Self::Other,
        }
    }
}

/// A wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This result, and nothing is done.
    Error(u32),
    /// Success, and nothing is done.
    NotDone,
    /// How many bytes were read.
    Size(u64),
    /// What was read has a wrong bit.
    WrongBit,
    /// What was read is zeros.
    Zeros,
    /// The file has this number.
    Number(u64),
    /// No answer at all.
    Silence,
}

impl Fault {
    /// All but silence.
    pub const ALL: [Self; 9] = [
        // OP-TEE tells these apart from one another, and all others from none.
        Self::Error(result::GENERIC),
        Self::Error(result::ITEM_NOT_FOUND),
        Self::Error(result::CORRUPT_OBJECT),
        Self::NotDone,
        Self::Size(0),
        Self::Size(0xffff_ffff),
        Self::WrongBit,
        Self::Zeros,
        Self::Number(0xffff_ffff),
    ];

    /// The one that is given from then on where it is given.
    pub const LASTING: Self = Self::Error(result::GENERIC);

    /// Whether it is an answer to this.
    pub fn suits(self, operation: Operation) -> bool {
        match self {
            Self::Error(_) => operation != Operation::Other,
            Self::Silence => true,
            Self::NotDone => matches!(
                operation,
                Operation::Write | Operation::Truncate | Operation::Remove | Operation::Close
            ),
            Self::Size(_) | Self::WrongBit | Self::Zeros => {
                matches!(
                    operation,
                    Operation::Read | Operation::ReadIndex | Operation::LoadTa
                )
            }
            Self::Number(_) => matches!(operation, Operation::Open | Operation::Create),
        }
    }
}

/// When to answer wrongly.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests from now on that are served well.
    pub after: usize,
    pub fault: Fault,
    /// Whether every later request that the fault suits gets it, too.
    pub lasting: bool,
}

/// The files, and what is known of requests.
#[derive(Debug, Default)]
pub struct Files {
    /// Contents by name.
    pub files: BTreeMap<String, Vec<u8>>,
    open: BTreeMap<u64, String>,
    next: u64,
    /// Requests since it was emptied.
    pub seen: Vec<Operation>,
    plan: Option<Plan>,
    /// Whether the plan was carried out.
    pub struck: bool,
}

impl Files {
    /// Forgets the requests up to now, and answers wrongly as planned.
    pub fn plan(&mut self, plan: Option<Plan>) {
        self.seen.clear();
        self.plan = plan;
        self.struck = false;
    }

    /// The wrong answer to the request that was seen last, if one is planned.
    fn fault(&mut self) -> Option<Fault> {
        let plan = self.plan?;
        let count = self.seen.len();
        let is_due = count == plan.after + 1 || plan.lasting && count > plan.after;
        let is_due = is_due && self.seen.last().is_some_and(|seen| plan.fault.suits(*seen));
        self.struck |= is_due;
        is_due.then_some(plan.fault)
    }

    fn operation(&self, request: &Request) -> Operation {
        let operation = Operation::of(request);
        let name = self.open.get(&request.parameters[0].b);
        if operation == Operation::Read && name.is_some_and(|name| name == INDEX) {
            return Operation::ReadIndex;
        }
        operation
    }

    fn file(&mut self, request: &Request) -> Option<&mut Vec<u8>> {
        let name = self.open.get(&request.parameters[0].b)?;
        self.files.get_mut(name)
    }

    fn new_number(&mut self, name: String) -> u64 {
        self.next += 1;
        self.open.insert(self.next, name);
        self.next
    }
}

/// The files of a supplicant that runs.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Files>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves requests without end, and tells when one stays without an answer.
    pub fn serve(&self, mut supplicant: Supplicant, owes: &Sender<Operation>) -> Result<()> {
        loop {
            let mut request = supplicant.receive()?;
            let (operation, fault) = {
                let mut files = self.lock();
                let operation = files.operation(&request);
                files.seen.push(operation);
                (operation, files.fault())
            };
            let result = match fault {
                Some(Fault::Silence) => {
                    // Whoever waits may have gone.
                    let _ = owes.send(operation);
                    continue;
                }
                Some(Fault::Error(result)) => result,
                Some(Fault::NotDone) => 0,
                fault => {
                    let result = self.obey(&mut supplicant, &mut request, operation)?;
                    if let Some(fault) = fault.filter(|_| result == 0) {
                        spoil(&mut supplicant, &mut request, fault);
                    }
                    result
                }
            };
            supplicant.answer(&request, result)?;
        }
    }

    fn obey(
        &self,
        supplicant: &mut Supplicant,
        request: &mut Request,
        operation: Operation,
    ) -> Result<u32> {
        let mut files = self.lock();
        let offset = request.parameters[0].c as usize;
        Ok(match operation {
            Operation::LoadTa => load(supplicant, request),
            Operation::Open | Operation::Create => {
                let name = name(supplicant, request)?;
                if operation == Operation::Create {
                    files.files.insert(name.clone(), Vec::new());
                } else if !files.files.contains_key(&name) {
                    return Ok(result::ITEM_NOT_FOUND);
                }
                request.parameters[2].a = files.new_number(name);
                0
            }
            Operation::Close => {
                files.open.remove(&request.parameters[0].b);
                0
            }
            Operation::Read | Operation::ReadIndex => {
                let Some(file) = files.file(request) else {
                    return Ok(result::GENERIC);
                };
                let memory = supplicant.memory(&request.parameters[1])?;
                let rest = file.get(offset..).unwrap_or_default();
                let length = rest.len().min(memory.len());
                memory[..length].copy_from_slice(&rest[..length]);
                request.parameters[1].b = length as u64;
                0
            }
            Operation::Write => {
                let Some(file) = files.file(request) else {
                    return Ok(result::GENERIC);
                };
                let memory = supplicant.memory(&request.parameters[1])?;
                let end = offset + memory.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[offset..end].copy_from_slice(memory);
                0
            }
            Operation::Truncate => match files.file(request) {
                Some(file) => {
                    file.resize(offset, 0);
                    0
                }
                None => result::GENERIC,
            },
            Operation::Remove => {
                let name = name(supplicant, request)?;
                if files.files.remove(&name).is_some() {
                    0
                } else {
                    result::ITEM_NOT_FOUND
                }
            }
            Operation::ShareMemory => {
                request.parameters[0].c = supplicant.share(request.parameters[0].b as usize)?;
                0
            }
            Operation::Other if request.function == 7 => {
                supplicant.take_back(request.parameters[0].b);
                0
            }
            Operation::Other => result::NOT_SUPPORTED,
        })
    }
}

/// The name in a request's second parameter.
fn name(supplicant: &mut Supplicant, request: &Request) -> Result<String> {
    let memory = supplicant.memory(&request.parameters[1])?;
    let length = memory.iter().position(|byte| *byte == 0);
    Ok(String::from_utf8_lossy(&memory[..length.unwrap_or(memory.len())]).into_owned())
}

fn load(supplicant: &mut Supplicant, request: &mut Request) -> u32 {
    let [uuid, place, ..] = &mut request.parameters;
    let octets: Vec<u8> = [uuid.a, uuid.b]
        .iter()
        .flat_map(|half| half.to_le_bytes())
        .collect();
    let text = |range: std::ops::Range<usize>| -> String {
        octets[range]
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect()
    };
    let name = [
        text(0..4),
        text(4..6),
        text(6..8),
        text(8..10),
        text(10..16),
    ]
    .join("-");
    let Ok(application) = fs::read(Path::new(APPLICATIONS).join(format!("{name}.ta"))) else {
        return result::ITEM_NOT_FOUND;
    };
    // First OP-TEE asks for the size alone.
    if let Ok(memory) = supplicant.memory(place)
        && let Some(memory) = memory.get_mut(..application.len())
    {
        memory.copy_from_slice(&application);
    }
    place.b = application.len() as u64;
    0
}

/// Makes a good answer wrong.
fn spoil(supplicant: &mut Supplicant, request: &mut Request, fault: Fault) {
    let [_, memory, value, _] = &mut request.parameters;
    match fault {
        Fault::Size(size) => memory.b = size,
        Fault::Number(number) => value.a = number,
        Fault::WrongBit | Fault::Zeros => {
            let Ok(memory) = supplicant.memory(memory) else {
                return;
            };
            match (fault, memory) {
                (Fault::Zeros, memory) => memory.fill(0),
                (_, [first, ..]) => *first ^= 1,
                _ => {}
            }
        }
        Fault::Error(_) | Fault::NotDone | Fault::Silence => {}
    }
}
