//! A person's wish to end a run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the run under way is to end. Clones share the wish.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    /// Whether a signal does what it does by default, and ends the tool at once.
    at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// A wish that the signals SIGINT, SIGTERM and SIGHUP make while [`Interrupt::watch`] is
    /// watched. At all other times they end the tool at once, and so does the second one.
    pub fn from_signals() -> io::Result<Self> {
        let interrupt = Self::default();
        interrupt.at_once.store(true, Ordering::SeqCst);
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&interrupt.at_once))?;
            flag::register(signal, Arc::clone(&interrupt.requested))?;
            flag::register(signal, Arc::clone(&interrupt.at_once))?;
        }
        Ok(interrupt)
    }

    /// Asks the run under way to end.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Whether the run is to end.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Keeps signals from ending the tool at once as long as the value lives.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.at_once.store(false, Ordering::SeqCst);
        Watch(self)
    }
}

/// From [`Interrupt::watch`].
#[derive(Debug)]
pub(crate) struct Watch<'a>(&'a Interrupt);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.at_once.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_shared_by_clones() {
        let interrupt = Interrupt::default();
        let clone = interrupt.clone();
        assert!(!clone.requested());
        interrupt.request();
        assert!(clone.requested());
    }

    #[test]
    fn signals_end_the_tool_at_once_only_while_none_watches() {
        let interrupt = Interrupt::default();
        let watch = interrupt.watch();
        assert!(!interrupt.at_once.load(Ordering::SeqCst));
        drop(watch);
        assert!(interrupt.at_once.load(Ordering::SeqCst));
    }
}
