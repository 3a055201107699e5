//! What the hypervisor says.

use core::fmt;

use super::bill::Bill;
use super::command::{NoCommand, Topic};
use super::scanner::Scanner;
use super::stats::{GuestStats, HeapStats, TeeStats};
use super::summary::{GuestState, Summary};

/// How grave it is what a line says that no program relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something became of something.
    Info,
    /// What should not happen.
    Warning,
    /// What stops something.
    Error,
}

impl Severity {
    /// How the line begins.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Info => "",
            Self::Warning => "warning: ",
            Self::Error => "error: ",
        }
    }

    fn scan(line: &mut Scanner<'_>) -> Self {
        [Self::Warning, Self::Error]
            .into_iter()
            .find(|severity| line.literal(severity.prefix()).is_some())
            .unwrap_or(Self::Info)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())
    }
}

/// A function identifier of a call (SMCCC, DEN0028G, §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function(pub u32);

impl Function {
    fn scan(line: &mut Scanner<'_>) -> Option<Self> {
        line.hexadecimal(8).map(Self)
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Reads one sentence.
type Reader = for<'a> fn(&mut Scanner<'a>) -> Option<Event<'a>>;

/// Declares the sentences: for each event its fields, and what it looks like: text, and in
/// parentheses a field, with how the [`Scanner`] reads it before its name or how its type does
/// behind it. So what is written and what is read can't differ.
macro_rules! sentences {
    (
        $(#[$enum_meta:meta])*
        pub enum Event {
            $(
                $(#[$meta:meta])*
                $variant:ident $({ $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })? = [$($part:tt)*];
            )*
        }
    ) => {
        $(#[$enum_meta])*
        pub enum Event<'a, T = &'a str> {
            $(
                $(#[$meta])*
                $variant $({ $($(#[$field_meta])* $field: $type),* })?,
            )*
            /// Another line, for people alone: no program relies on what it says.
            Note {
                /// How grave it is.
                severity: Severity,
                /// What it says.
                text: T,
            },
        }

        /// The sentences, in the order in which they are tried.
        const READERS: &[Reader] = &[$(
            |line| {
                $(sentences!(@read line $part);)*
                Some(Event::$variant $({ $($field),* })?)
            }
        ),*];

        impl<'a, T> Event<'a, T> {
            /// The guest that it is about, by its name.
            #[must_use]
            #[allow(unused_variables, reason = "of the fields, at most one is a guest's name")]
            pub fn guest(&self) -> Option<&'a str> {
                match self {
                    $(Self::$variant $({ $($field),* })? => sentences!(@guest $($part)*),)*
                    Self::Note { .. } => None,
                }
            }
        }

        impl<T: fmt::Display> fmt::Display for Event<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        $(sentences!(@write f $part);)*
                    })*
                    Self::Note { severity, text } => write!(f, "{severity}{text}")?,
                }
                Ok(())
            }
        }
    };
    (@read $line:ident ($kind:ident $field:ident)) => { let $field = $line.$kind()?; };
    (@read $line:ident ($field:ident: $read:path)) => { let $field = $read($line)?; };
    (@read $line:ident $literal:literal) => { $line.literal($literal)? };
    (@write $f:ident ($field:ident: $read:path)) => { fmt::Display::fmt($field, $f)? };
    (@write $f:ident ($kind:ident $field:ident)) => { fmt::Display::fmt($field, $f)? };
    (@write $f:ident $literal:literal) => { $f.write_str($literal)? };
    (@guest) => { None };
    (@guest (guest $field:ident) $($rest:tt)*) => { Some(*$field) };
    (@guest $other:tt $($rest:tt)*) => { sentences!(@guest $($rest)*) };
}

sentences! {
    /// A line of the hypervisor's, without its tag. `T` is text that a writer may have as
    /// `fmt::Arguments`.
    ///
    /// Programs can rely on all of them but [`Note`](Self::Note): docs/console.md.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[expect(clippy::large_enum_variant, reason = "nothing here allocates, and nobody keeps many")]
    pub enum Event {
        /// The hypervisor runs: its first line.
        Up {
            /// The hypervisor's version.
            version: &'a str,
            /// The machine's CPUs.
            cpus: usize,
        } = ["Bulkhead " (version version) " on " (number cpus) " CPUs"];
        /// There is an OP-TEE for guests.
        TeeServes {
            /// Its major and minor number, and its build in parentheses, if it has one.
            revision: T,
        } = ["OP-TEE " (revision revision) " serves the guests"];
        /// The OP-TEE is one that errors of secure storage in one guest halt.
        TeeIsHaltedByStorage {
            /// Its revision.
            revision: T,
            /// The first one that survives them.
            survivor: T,
        } = [
            "warning: OP-TEE " (revision revision)
            " halts for all guests when secure storage fails in one of them, which OP-TEE " (revision survivor)
            " survives: see docs/optee-versions.md"
        ];
        /// All guests are off, and so will be the machine.
        AllOff = ["all guests are off"];
        /// The hypervisor can't go on, and powers the machine off.
        Panic {
            /// Why, and at which file and line.
            message: T,
        } = ["panic: " (text message)];

        /// A guest is about to execute its first instruction.
        Started {
            /// The guest.
            name: &'a str,
            /// What it has.
            summary: Summary,
        } = [(guest name) ": started, " (summary: Summary::scan)];
        /// A guest enters its kernel for the first time.
        EntersKernel {
            /// The guest.
            name: &'a str,
            /// Nanoseconds since the first instruction of the hypervisor.
            nanoseconds: u64,
        } = [
            (guest name) ": enters its kernel " (number nanoseconds) " ns after the hypervisor was entered"
        ];
        /// A guest is off: it asked for it, or it was stopped.
        Off {
            /// The guest.
            name: &'a str,
        } = [(guest name) ": off"];
        /// A guest was reset, and starts again.
        Reset {
            /// The guest.
            name: &'a str,
        } = [(guest name) ": reset"];
        /// A guest was reset so often without a line for each time; another [`Reset`](Self::Reset)
        /// follows.
        ResetUntold {
            /// The guest.
            name: &'a str,
            /// How often.
            times: u64,
        } = [(guest name) ": reset " (number times) " more times"];
        /// A guest is stopped, or was not started. It is [`Off`](Self::Off) afterwards, if it had
        /// been started.
        Stopped {
            /// The guest.
            name: &'a str,
            /// Why.
            reason: T,
        } = ["error: " (guest name) ": stopped: " (text reason)];
        /// A call of a guest was refused.
        Refused {
            /// The guest.
            name: &'a str,
            /// The instruction that made the call: `smc` or `hvc`.
            conduit: &'a str,
            /// Which call.
            function: Function,
        } = [(guest name) ": refused " (conduit conduit) " " (function: Function::scan)];
        /// A call of a guest was refused, as were others before without a line.
        RefusedWithOthers {
            /// The guest.
            name: &'a str,
            /// The instruction that made the call: `smc` or `hvc`.
            conduit: &'a str,
            /// Which call.
            function: Function,
            /// How many were refused since the last line about one.
            others: u64,
        } = [
            (guest name) ": refused " (conduit conduit) " " (function: Function::scan) ", and " (number others) " calls before"
        ];
        /// A guest that is off left pages of its memory to the secure world.
        PagesKept {
            /// The guest.
            name: &'a str,
            /// Pages of 4 KiB.
            pages: u64,
        } = ["error: " (guest name) ": " (number pages) " pages are still known to the secure world"];
        /// A guest that is off left calls and sessions in the TEE.
        CallsKept {
            /// The guest.
            name: &'a str,
            /// How many.
            count: u64,
        } = [
            "warning: " (guest name) ": the secure world did not end " (number count) " of its calls and sessions in time"
        ];
        /// A guest's life took identifiers of OP-TEE that it does not give back: its next life has
        /// less.
        IdentifiersKept {
            /// The guest.
            name: &'a str,
            /// How many this life took.
            lost: u32,
            /// How many all its lives took.
            all: u32,
        } = [
            "warning: " (guest name) ": OP-TEE keeps " (number lost)
            " identifiers of trusted applications that it still runs for it, " (number all)
            " in all, until the machine is restarted"
        ];
        /// A guest starts without the TEE that it should have.
        NoTee {
            /// The guest.
            name: &'a str,
            /// Why.
            reason: T,
        } = ["error: " (guest name) ": no OP-TEE in this life: " (text reason)];
        /// A guest sent bytes although its UART was full.
        OutputLost {
            /// The guest.
            name: &'a str,
            /// How many bytes.
            bytes: u64,
        } = ["warning: " (guest name) ": " (number bytes) " bytes are lost: it sent them to a full UART"];
        /// Lines of the hypervisor's had no room.
        LinesLost {
            /// How many lines.
            lines: u64,
            /// How many bytes they had.
            bytes: u64,
        } = [(number lines) " lines with " (number bytes) " bytes are lost: the console is too slow"];

        /// `list`: a guest.
        Listed {
            /// The guest.
            name: &'a str,
            /// Where it is in its life.
            state: GuestState,
            /// What it has.
            summary: Summary,
        } = [(guest name) ": " (state: GuestState::scan) ", " (summary: Summary::scan)];
        /// `stats`: the heap.
        Heap {
            /// What it holds.
            stats: HeapStats,
        } = [(stats: HeapStats::scan)];
        /// `stats`: a guest.
        Guest {
            /// The guest.
            name: &'a str,
            /// What it did.
            stats: GuestStats,
        } = [(guest name) ": " (stats: GuestStats::scan)];
        /// `stats`: a guest's TEE, if it has one.
        Tee {
            /// The guest.
            name: &'a str,
            /// What it did with it.
            stats: TeeStats,
        } = [(guest name) ": TEE: " (stats: TeeStats::scan)];
        /// `stats`: what EL2 did for a guest, where the CPUs count it, and if it did anything.
        Bill {
            /// The guest.
            name: &'a str,
            /// By cause.
            bill: Bill,
        } = [(guest name) ": EL2: " (bill: Bill::scan)];
        /// `help`: a command.
        Help {
            /// Which one.
            topic: Topic,
        } = [(topic: Topic::scan)];
        /// `attach`: what is typed goes to the guest from now on.
        Attached {
            /// The guest.
            name: &'a str,
        } = [(guest name) ": attached; Control-] leads back"];
        /// Control-]: what is typed goes to the prompt from now on.
        Detached {
            /// The guest.
            name: &'a str,
        } = [(guest name) ": detached"];
        /// `destroy`: the guest is off.
        NotRunning {
            /// The guest.
            name: &'a str,
        } = [(guest name) ": it does not run"];
        /// `restart`: the guest can't be restarted at this moment.
        Busy {
            /// The guest.
            name: &'a str,
        } = [(guest name) ": it is about to start or to stop; try again"];
        /// A command names a guest that there is not.
        NoSuchGuest {
            /// The name that was typed.
            word: &'a str,
        } = [(word word) ": no such guest; list tells which there are"];
        /// There is no such command.
        UnknownCommand {
            /// The word that was typed.
            word: &'a str,
        } = [(word word) ": no such command; help lists them"];
        /// The command wants the name of a guest.
        NameWanted {
            /// The command.
            word: &'a str,
        } = [(word word) ": name a guest; list tells which there are"];
        /// The command has more words than it takes.
        TooManyWords {
            /// The command.
            word: &'a str,
        } = [(word word) ": too many words"];
        /// Too many commands wait for their answers; this one is not obeyed.
        TooManyCommands = ["too many commands wait"];
    }
}

impl<T> Event<'_, T> {
    /// How grave it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Stopped { .. } | Self::PagesKept { .. } | Self::NoTee { .. } => Severity::Error,
            Self::TeeIsHaltedByStorage { .. }
            | Self::CallsKept { .. }
            | Self::IdentifiersKept { .. }
            | Self::OutputLost { .. } => Severity::Warning,
            Self::Note { severity, .. } => *severity,
            _ => Severity::Info,
        }
    }
}

impl<'a> Event<'a> {
    /// Reads a line of the hypervisor's. Every line is one, and is the same when it is written
    /// again.
    #[must_use]
    pub fn parse(line: &'a str) -> Self {
        let read = |reader: &Reader| {
            let mut rest = Scanner::new(line);
            let event = reader(&mut rest)?;
            rest.end().map(|()| event)
        };
        READERS.iter().find_map(read).unwrap_or_else(|| {
            let mut rest = Scanner::new(line);
            let severity = Severity::scan(&mut rest);
            let text = rest.text().unwrap_or_default();
            Self::Note { severity, text }
        })
    }
}

impl<'a, T> From<NoCommand<'a>> for Event<'a, T> {
    fn from(error: NoCommand<'a>) -> Self {
        match error {
            NoCommand::Unknown(word) => Self::UnknownCommand { word },
            NoCommand::WantsName(word) => Self::NameWanted { word },
            NoCommand::TooMuch(word) => Self::TooManyWords { word },
        }
    }
}

#[cfg(test)]
mod tests;
