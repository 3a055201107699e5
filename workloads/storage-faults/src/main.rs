//! Gives OP-TEE every wrong answer that a supplicant can give while objects are stored. It is the
//! guest's supplicant itself, with files in memory; there must be no other.
//!
//! | Arguments | What it does |
//! |---|---|
//! | `all [STEP]...` | each step of [`Step`], or these, with each wrong answer to each request that OP-TEE makes meanwhile; then looks whether objects can be stored |
//! | `some [STEP]...` | the same with one wrong answer to each request, of another kind each time |
//! | `one STEP FAULT` | one wrong answer, by its number from 0, to the first read of the index in a step |
//! | `owe STEP HOW` | leaves that read without an answer, and ends the guest: `poweroff`, `reboot`, `panic`; or `wait` |
//! | `enumerate-nothing` | asks for the first of no objects |
//! | `rollback` | puts an older index of all objects in the place of the newest, while an object is open |
//!
//! It ends with status 0 if OP-TEE answered all calls, whatever its answers were.

mod files;
mod objects;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, Result};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::Duration;

use files::{Fault, INDEX, Operation, Plan, Shared};
use objects::{Object, Objects, STORAGE_2};
use tee_client::{Supplicant, Tee};

/// How often OP-TEE may meet what it remembers of files that are no more, before it does well with
/// new ones.
const ATTEMPTS: u32 = 4;
/// Bytes of an object that is more than one block.
const BLOCKS: usize = 5000;

/// What is done while answers are wrong. An object is open, and another one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    CreateWithNoneOpen,
    Rename,
    Enumerate,
    Write,
    Truncate,
    Read,
    Open,
    Unlink,
    LoadApplication,
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Create,
        Self::CreateWithNoneOpen,
        Self::Rename,
        Self::Enumerate,
        Self::Write,
        Self::Truncate,
        Self::Read,
        Self::Open,
        Self::Unlink,
        Self::LoadApplication,
    ];
}

/// A supplicant at work, and a client beside it.
struct Machine {
    tee: Tee,
    files: Shared,
}

impl Machine {
    /// Also returns what is told of requests that stay without an answer.
    fn start() -> Result<(Self, Receiver<Operation>)> {
        let files = Shared::default();
        let (sender, owes) = channel();
        let (report, opened) = channel();
        let served = files.clone();
        spawn(move || {
            let supplicant = Supplicant::open();
            let supplicant = match supplicant {
                Ok(supplicant) => {
                    drop(report.send(Ok(())));
                    supplicant
                }
                Err(error) => return drop(report.send(Err(error))),
            };
            if let Err(error) = served.serve(supplicant, &sender) {
                eprintln!("storage-faults: the supplicant: {error}");
            }
        });
        opened.recv().map_err(Error::other)??;
        let tee = Tee::open()?;
        Ok((Self { tee, files }, owes))
    }

    /// Stores two objects in new files, and leaves one of them open.
    fn prepare(&self) -> Result<(Objects<'_>, Object)> {
        let mut last = Error::other("never tried");
        for _ in 0..ATTEMPTS {
            self.files.lock().plan(None);
            self.files.lock().files.clear();
            let mut objects = match Objects::open(&self.tee, None) {
                Ok(objects) => objects,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let other = objects.create("other", BLOCKS)?;
            objects.close(other)?;
            let object = objects.create("object", BLOCKS)?;
            if objects.results.iter().all(|result| *result == 0) {
                return Ok((objects, object));
            }
            last = Error::other(format!("objects can't be stored: {:x?}", objects.results));
            objects.close_session()?;
        }
        Err(last)
    }

    /// Does a step with answers as planned, then looks at everything once more. Returns the
    /// requests that the step made, and whether the plan was carried out.
    fn go(
        &self,
        step: Step,
        plan: Option<Plan>,
        results: &mut BTreeMap<u32, u32>,
    ) -> Result<(Vec<Operation>, bool)> {
        let (mut objects, object) = self.prepare()?;
        if step == Step::CreateWithNoneOpen {
            objects.close(object)?;
        }

        self.files.lock().plan(plan);
        match step {
            Step::Create | Step::CreateWithNoneOpen => drop(objects.create("new", 100)?),
            Step::Rename => objects.rename(object, "renamed")?,
            Step::Enumerate => objects.enumerate()?,
            Step::Write => objects.write(object, BLOCKS)?,
            Step::Truncate => objects.truncate(object, 10)?,
            Step::Read => drop(objects.read(object, BLOCKS)?),
            Step::Open => drop(objects.open_object("other")?),
            Step::Unlink => objects.unlink(object)?,
            Step::LoadApplication => {
                if let Ok(second) = Objects::open(&self.tee, Some(STORAGE_2)) {
                    second.close_session()?;
                }
            }
        }
        let (seen, struck) = {
            let files = self.files.lock();
            (files.seen.clone(), files.struck)
        };
        if plan.is_some_and(|plan| !plan.lasting) {
            self.files.lock().plan(None);
        }

        objects.read(object, BLOCKS)?;
        objects.write(object, 100)?;
        objects.truncate(object, 300)?;
        objects.enumerate()?;
        let another = objects.create("another", 100)?;
        objects.read(another, 100)?;
        objects.close(object)?;
        let other = objects.open_object("other")?;
        objects.read(other, BLOCKS)?;
        for result in &objects.results {
            *results.entry(*result).or_default() += 1;
        }
        objects.close_session()?;
        Ok((seen, struck))
    }

    /// Asserts that objects can be stored.
    fn works(&self) -> Result<()> {
        let (mut objects, object) = self.prepare()?;
        objects.write(object, 100)?;
        let read = objects.read(object, BLOCKS)?.map(<[u8]>::to_vec);
        let mut expected = vec![0x77; BLOCKS];
        expected[..100].fill(0x33);
        if read != Some(expected) {
            return Err(Error::other("an object does not hold what was written"));
        }
        objects.close_session()
    }

    /// With each wrong answer to each request of these steps, or with `one_each`.
    fn all(&self, steps: &[Step], one_each: bool) -> Result<()> {
        for &step in steps {
            let mut results = BTreeMap::new();
            let (requests, _) = self.go(step, None, &mut results)?;
            let mut answers = 0;
            for (after, operation) in requests.iter().enumerate() {
                let suitable: Vec<_> = Fault::ALL
                    .into_iter()
                    .filter(|fault| fault.suits(*operation))
                    .collect();
                let (from, count) = match (one_each, suitable.len()) {
                    (true, count @ 1..) => (after % count, 1),
                    (_, count) => (0, count),
                };
                for &fault in suitable.iter().skip(from).take(count) {
                    let plan = Plan {
                        after,
                        fault,
                        // What goes wrong may go wrong from then on.
                        lasting: fault == Fault::LASTING,
                    };
                    let (_, struck) = self.go(step, Some(plan), &mut results)?;
                    answers += u32::from(struck);
                }
            }
            println!(
                "storage-faults: {step:?}: {answers} wrong answers to {} requests; results {results:x?}",
                requests.len()
            );
        }
        self.works()
    }

    /// How many requests come before the first read of the index in a step, and the requests.
    fn before_index(&self, step: Step) -> Result<(usize, Vec<Operation>)> {
        let (requests, _) = self.go(step, None, &mut BTreeMap::new())?;
        let first = requests.iter().position(|it| *it == Operation::ReadIndex);
        let first = first.ok_or_else(|| Error::other("the index is not read"))?;
        Ok((first, requests))
    }

    fn one(&self, step: Step, fault: Fault) -> Result<()> {
        let mut results = BTreeMap::new();
        let (after, requests) = self.before_index(step)?;
        println!(
            "storage-faults: {step:?} makes the requests {requests:?}; {fault:?} for number {after}"
        );
        let lasting = false;
        self.go(
            step,
            Some(Plan {
                after,
                fault,
                lasting,
            }),
            &mut results,
        )?;
        println!("storage-faults: results {results:x?}");
        self.works()
    }

    fn owe(&self, owes: &Receiver<Operation>, step: Step, how: &str) -> Result<()> {
        let (after, _) = self.before_index(step)?;
        let plan = Plan {
            after,
            fault: Fault::Silence,
            lasting: false,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| self.go(step, Some(plan), &mut BTreeMap::new()));
            let operation = owes.recv().map_err(Error::other)?;
            println!("@@owes an answer to {operation:?} in {step:?}");
            let key = match how {
                "poweroff" => "o",
                "reboot" => "b",
                "panic" => "c",
                _ => "",
            };
            // What was printed is to come out first.
            sleep(Duration::from_millis(500));
            fs::write("/proc/sys/kernel/sysrq", "1")?;
            if !key.is_empty() {
                fs::write("/proc/sysrq-trigger", key)?;
            }
            loop {
                sleep(Duration::from_secs(1));
            }
        })
    }

    fn enumerate_nothing(&self) -> Result<()> {
        let mut objects = Objects::open(&self.tee, None)?;
        objects.enumerate_even(true)?;
        println!("storage-faults: results {:x?}", objects.results);
        objects.close_session()?;
        self.works()
    }

    fn rollback(&self) -> Result<()> {
        let mut objects = Objects::open(&self.tee, None)?;
        // One in the middle goes: its place in the index is free, and the next object gets it.
        let second = ["first", "second", "third"].map(|name| objects.create(name, 100));
        let [_, second, _] = second;
        objects.unlink(second?)?;
        let index = |files: &Shared| files.lock().files.get(INDEX).cloned();
        let older = index(&self.files).ok_or_else(|| Error::other("there is no index"))?;
        let object = objects.create("object", 100)?;
        // An error, by which OP-TEE forgets what it knows of the index.
        self.files.lock().plan(Some(Plan {
            after: 0,
            fault: Fault::ALL[0],
            lasting: false,
        }));
        objects.create("more", 100)?;
        self.files.lock().plan(None);
        self.files.lock().files.insert(INDEX.to_owned(), older);
        println!("storage-faults: results before {:x?}", objects.results);
        objects.write(object, 50)?;
        println!(
            "storage-faults: result of a write {:x?}",
            objects.results.last()
        );
        objects.close_session()?;
        self.works()
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    let number = |text: &str| text.parse::<usize>().map_err(Error::other);
    let step = |text: &str| {
        let step = Step::ALL
            .into_iter()
            .find(|step| format!("{step:?}") == text);
        step.ok_or_else(|| Error::other(format!("{text}: no step")))
    };
    let (machine, owes) = Machine::start()?;
    match arguments {
        [how @ ("all" | "some")] => machine.all(&Step::ALL, *how == "some"),
        [how @ ("all" | "some"), names @ ..] => {
            let steps: Result<Vec<_>> = names.iter().map(|name| step(name)).collect();
            machine.all(&steps?, *how == "some")
        }
        ["one", name, fault] => {
            let fault = Fault::ALL.get(number(fault)?).copied();
            let fault = fault.ok_or_else(|| Error::other("no such fault"))?;
            machine.one(step(name)?, fault)
        }
        ["owe", name, how] => machine.owe(&owes, step(name)?, how),
        ["enumerate-nothing"] => machine.enumerate_nothing(),
        ["rollback"] => machine.rollback(),
        _ => Err(Error::other("not understood")),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storage-faults: {error}");
            ExitCode::FAILURE
        }
    }
}
