//! What a hostile guest can have its threads map in OP-TEE's address space, in any order, where
//! each piece lies at the first gap that is large enough.

use std::vec::Vec;

use crate::optee::core_window::{CoreWindow, Share};

/// As far up as anything may lie, in pages.
pub const WINDOW_PAGES: u64 = crate::optee::core_window::WINDOW_PAGES;
pub const THREADS: usize = 2;

/// OP-TEE's window: pieces by where they start, each at the first gap that is large enough.
#[derive(Default)]
struct Reality {
    pieces: Vec<(u64, u64)>,
    top: u64,
}

impl Reality {
    fn map(&mut self, pages: u64) -> u64 {
        let mut start = 0;
        for &(at, len) in &self.pieces {
            if at - start >= pages {
                break;
            }
            start = at + len;
        }
        self.pieces.push((start, pages));
        self.pieces.sort_unstable();
        self.top = self.top.max(start + pages);
        start
    }

    fn unmap(&mut self, start: u64) {
        self.pieces.retain(|&(at, _)| at != start);
    }
}

/// What a hostile guest can have its threads do, in any order.
#[derive(Clone, Debug)]
pub enum Step {
    /// A thread's call begins: OP-TEE maps its message.
    Begin(usize),
    /// OP-TEE maps this many pages more for it.
    Map(usize, u64),
    /// OP-TEE lets go of the thread's latest piece, or of its first.
    Unmap(usize, bool),
    /// The thread's call ends.
    End(usize),
}

#[derive(Default)]
struct Thread {
    message: Option<u64>,
    pieces: Vec<(Share, u64)>,
}

/// Plays `steps` and says how far up anything lay.
pub fn play(steps: &[Step]) -> u64 {
    let window = CoreWindow::new(THREADS).unwrap();
    let mut reality = Reality::default();
    let mut threads: [Thread; THREADS] = Default::default();
    for step in steps {
        match *step {
            Step::Begin(thread) => {
                let thread = &mut threads[thread];
                if thread.message.is_none() {
                    thread.message = Some(reality.map(1));
                }
            }
            Step::Map(thread, pages) => {
                let thread = &mut threads[thread];
                if thread.message.is_some()
                    && let Some(share) = window.take_for_rpc(pages)
                {
                    thread.pieces.push((share, reality.map(pages)));
                }
            }
            Step::Unmap(thread, last) => {
                let pieces = &mut threads[thread].pieces;
                if !pieces.is_empty() {
                    let at = if last { pieces.len() - 1 } else { 0 };
                    let (share, start) = pieces.remove(at);
                    reality.unmap(start);
                    window.give_back(share);
                }
            }
            Step::End(thread) => {
                let Thread { message, pieces } = core::mem::take(&mut threads[thread]);
                message.into_iter().for_each(|start| reality.unmap(start));
                for (share, start) in pieces {
                    reality.unmap(start);
                    window.give_back(share);
                }
                window.call_ends(None, || {
                    threads.iter().all(|thread| thread.message.is_none())
                });
            }
        }
    }
    reality.top
}
