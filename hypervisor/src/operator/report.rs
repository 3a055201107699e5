//! Answers of many lines, which are made a little at a time, so that guests go on between.

use crate::arch::{heap, timer};
use crate::console::terminal;
use crate::vm::accounting::Bill;
use crate::vm::machine::Machine;
use crate::vm::virtual_machine::Vm;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};
use heapless::{Deque, String};
use host_abi::console::{Event, HeapStats, TeeStats, Topic};
use spin::Mutex;

/// Reports that may wait for their turn.
const WAITING_MAX: usize = 8;
/// The longest line, in bytes: a bill with all its entries.
const LINE_MAX: usize = 1536;
/// Steps a second at most.
const STEPS_PER_SECOND_MAX: u64 = 20_000;

/// What a report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Which commands there are.
    Help,
    /// Which guests there are.
    List,
    /// What they did.
    Stats,
}

/// How far a report has come.
#[derive(Debug)]
struct Report {
    subject: Subject,
    /// The guest that it tells of next, and the steps that are done for that one.
    guest: usize,
    step: usize,
}

#[derive(Debug)]
struct Reports {
    current: Option<Report>,
    waiting: Deque<Subject, WAITING_MAX>,
    /// The line that is being made.
    line: String<LINE_MAX>,
}

static REPORTS: Mutex<Reports> = Mutex::new(Reports {
    current: None,
    waiting: Deque::new(),
    line: String::new(),
});

/// When [`go_on`] has something to do: a value of the counter, or `u64::MAX`.
static RESUME_AT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Asks for a report. For [`terminal::CPU`], which looks whose turn it is next.
pub fn ask_for(subject: Subject) {
    if REPORTS.lock().waiting.push_back(subject).is_err() {
        terminal::answer(&Event::TooManyCommands);
        return;
    }
    RESUME_AT.store(timer::now() + pause(), Ordering::Relaxed);
}

/// Ticks between two steps at least.
fn pause() -> u64 {
    timer::frequency() / STEPS_PER_SECOND_MAX
}

/// When [`go_on`] is to be called next, by the counter.
#[must_use]
pub fn resume_at() -> Option<u64> {
    let time = RESUME_AT.load(Ordering::Relaxed);
    (time != u64::MAX).then_some(time)
}

/// Does the next step where the time has come. For [`terminal::CPU`].
pub fn go_on() {
    let now = timer::now();
    if resume_at().is_none_or(|time| time > now) {
        return;
    }
    let more = !terminal::has_room_for_answer(LINE_MAX) || REPORTS.lock().go_on();
    let time = if more { now + pause() } else { u64::MAX };
    RESUME_AT.store(time, Ordering::Relaxed);
}

impl Reports {
    /// Does the next step. Returns whether there is another one.
    fn go_on(&mut self) -> bool {
        if self.current.is_none() {
            self.current = self.waiting.pop_front().map(|subject| Report {
                subject,
                guest: 0,
                step: 0,
            });
        }
        let line = &mut self.line;
        if let Some(report) = &mut self.current
            && !report.go_on(line)
        {
            self.current = None;
        }
        self.current.is_some() || !self.waiting.is_empty()
    }
}

impl Report {
    /// Does the next step, which adds to `line` or ends it. Returns whether there is another one.
    ///
    /// Lines are long enough; what would not fit is left out.
    fn go_on(&mut self, line: &mut String<LINE_MAX>) -> bool {
        let step = self.step;
        self.step += 1;
        if self.subject == Subject::Help {
            let Some(&topic) = Topic::ALL.get(step) else {
                return false;
            };
            tell(line, &Event::Help { topic });
            return true;
        }
        if self.subject == Subject::Stats && self.guest == 0 && step == 0 {
            let heap::Holds {
                allocations,
                bytes,
                free,
            } = heap::holds();
            let stats = HeapStats {
                bytes: bytes as u64,
                allocations: allocations as u64,
                free: free as u64,
            };
            tell(line, &Event::Heap { stats });
            return true;
        }
        let Some(vm) = Machine::get().vms.get(self.guest) else {
            return false;
        };
        let goes_on = match self.subject {
            Subject::Stats => tell_stats(vm, step.max(1) - 1, line),
            _ => {
                let listed = Event::Listed {
                    name: vm.name(),
                    state: vm.state(),
                    summary: vm.summary(),
                };
                tell(line, &listed);
                false
            }
        };
        if !goes_on {
            self.guest += 1;
            // The step that tells of the heap is done.
            self.step = 1;
        }
        true
    }
}

/// Does a step of telling what `vm` did. Returns whether there is another one.
fn tell_stats(vm: &Vm, step: usize, line: &mut String<LINE_MAX>) -> bool {
    const TEE: usize = 1;
    const BILL: usize = TEE + TeeStats::PARTS;
    match step {
        0 => {
            let (name, stats) = (vm.name(), vm.stats());
            tell(line, &Event::Guest { name, stats });
        }
        TEE..BILL => {
            let part = step - TEE;
            if let Some(tee) = vm.tee() {
                if line.is_empty() {
                    let _ = write!(line, "{}: TEE: ", vm.name());
                }
                let _ = tee.stats().write_part(part, line);
            }
            if part == TeeStats::PARTS - 1 {
                answer(line);
            }
        }
        _ => {
            let (Some(bill), number) = (vm.bill(), step - BILL) else {
                return false;
            };
            if number == Bill::ENTRIES {
                answer(line);
                return false;
            }
            if let Some(entry) = bill.entry(number) {
                let _ = if line.is_empty() {
                    write!(line, "{}: EL2: {entry}", vm.name())
                } else {
                    write!(line, "; {entry}")
                };
            }
        }
    }
    true
}

/// Answers with a line that `line` has room for.
fn tell(line: &mut String<LINE_MAX>, event: &Event<'_>) {
    let _ = write!(line, "{event}");
    answer(line);
}

/// Answers with the line, if there is one, and begins anew.
fn answer(line: &mut String<LINE_MAX>) {
    if !line.is_empty() {
        terminal::answer_line(line.as_bytes());
        line.clear();
    }
}
