//! Reads the fields of a line from left to right.

use crate::name;

/// What of a line is still to be read. All numbers have the form in which they are written, so that
/// a line that is read and written again is the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    /// Passes over `text`.
    pub(super) fn literal(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Whether all is read.
    pub(super) fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    /// As many characters as `belongs` takes.
    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// All that is left, unless that is nothing.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let text = core::mem::take(&mut self.rest);
        (!text.is_empty()).then_some(text)
    }

    /// A word that somebody typed, before a colon and a space.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let (word, _) = self.rest.split_once(": ")?;
        let well_formed = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        well_formed.then_some(())?;
        self.rest = self.rest.get(word.len()..)?;
        Some(word)
    }

    /// A version, such as `0.1.0`.
    pub(super) fn version(&mut self) -> Option<&'a str> {
        let version = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        (!version.is_empty()).then_some(version)
    }

    /// A revision of OP-TEE, such as `4.5` or `4.5 (12345678)`.
    pub(super) fn revision(&mut self) -> Option<&'a str> {
        let whole = self.rest;
        self.number::<u32>()?;
        self.literal(".")?;
        self.number::<u32>()?;
        let mut build = *self;
        if build.literal(" (").is_some()
            && build.run(|c| c.is_ascii_hexdigit()).len() == 8
            && build.literal(")").is_some()
        {
            *self = build;
        }
        whole.get(..whole.len() - self.rest.len())
    }

    /// A guest's name.
    pub(super) fn guest(&mut self) -> Option<&'a str> {
        let run = self.run(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
        name::is_guest_name(run).then_some(run)
    }

    /// The name of a conduit, `smc` or `hvc`.
    pub(super) fn conduit(&mut self) -> Option<&'a str> {
        self.one_of(["smc", "hvc"], |name| name)
    }

    pub(super) fn number<N: TryFrom<u64>>(&mut self) -> Option<N> {
        let digits = self.run(|c| c.is_ascii_digit());
        let canonical = digits == "0" || !digits.starts_with('0');
        canonical.then_some(())?;
        digits.parse::<u64>().ok()?.try_into().ok()
    }

    /// A number of so many hexadecimal digits, with `0x`.
    pub(super) fn hexadecimal(&mut self, digits: usize) -> Option<u32> {
        self.literal("0x")?;
        let number = self.run(|c| matches!(c, '0'..='9' | 'a'..='f'));
        (number.len() == digits).then_some(())?;
        u32::from_str_radix(number, 16).ok()
    }

    /// One of several texts, each of which is all lower-case letters.
    pub(super) fn one_of<T>(
        &mut self,
        choices: impl IntoIterator<Item = T>,
        name: impl Fn(&T) -> &'static str,
    ) -> Option<T> {
        let text = self.run(|c| c.is_ascii_lowercase());
        choices.into_iter().find(|choice| name(choice) == text)
    }
}

/// Gives a structure of numbers two functions: one writes the fields named in parentheses and what
/// stands between them, the other one reads the same.
macro_rules! fields {
    (impl $type:ty { $($write:ident, $scan:ident: [$($part:tt)*];)* }) => {
        impl $type {
            $($crate::console::scanner::fields!(@one $write $scan [$($part)*]);)*
        }
    };
    (@one $write:ident $scan:ident [$($part:tt)*]) => {
        fn $write(&self, to: &mut dyn core::fmt::Write) -> core::fmt::Result {
            $($crate::console::scanner::fields!(@write self to $part);)*
            Ok(())
        }

        fn $scan(&mut self, line: &mut $crate::console::scanner::Scanner<'_>) -> Option<()> {
            $($crate::console::scanner::fields!(@scan self line $part);)*
            Some(())
        }
    };
    (@write $self:ident $to:ident ($($field:ident).+)) => { write!($to, "{}", $self.$($field).+)? };
    (@write $self:ident $to:ident $literal:literal) => { $to.write_str($literal)? };
    (@scan $self:ident $line:ident ($($field:ident).+)) => { $self.$($field).+ = $line.number()? };
    (@scan $self:ident $line:ident $literal:literal) => { $line.literal($literal)? };
}
pub(super) use fields;
