//! A VM's partition of its TEE, from life to life.

use crate::arch::timer;
use crate::console::terminal;
use crate::description::vm::VmDescription;
use crate::mm::guest_memory::GuestRam;
use crate::tee::mediators;
use crate::tee::request::Request;
use crate::vm::entropy;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use host_abi::console::Event;
use mediator::Tee;
use spin::Mutex;

/// A VM's side of its TEE.
pub struct Partition {
    current: Mutex<Option<Arc<dyn Tee>>>,
    /// How often the TEE came to know the VM.
    lives: AtomicU32,
    /// What the VM took from what the TEE has for all VMs, and did not give back.
    lost: AtomicU32,
}

/// How far the end of what a VM has in its TEE has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Teardown {
    /// An interrupt waits; there is more to do.
    Interrupted,
    /// There is nothing to end any more. [`Partition::drop_unless`] is next.
    Done {
        /// Whether the partition serves the VM's next life.
        renewed: bool,
    },
}

impl Partition {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            current: Mutex::new(None),
            lives: AtomicU32::new(0),
            lost: AtomicU32::new(0),
        }
    }

    /// The VM's side of its TEE, if it has one in this life.
    #[must_use]
    pub fn get(&self) -> Option<Arc<dyn Tee>> {
        self.current.lock().clone()
    }

    /// Makes the partition for a life, unless the life before left nothing in it. There is none
    /// where the description says so, or where the VM has used up its share.
    ///
    /// # Errors
    ///
    /// A line that says why there is none.
    pub fn make(
        &self,
        vmid: u16,
        description: &VmDescription,
        ram: &'static GuestRam,
    ) -> Result<(), String> {
        if self.get().is_some() {
            return Ok(());
        }
        let tee = mediators::create(Request {
            vmid,
            description,
            ram,
            lives: self.lives.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            secret: secret(),
        })?;
        self.lives
            .fetch_add(u32::from(tee.is_some()), Ordering::Relaxed);
        *self.current.lock() = tee;
        Ok(())
    }

    /// Goes on with ending what the VM called `name` left in its TEE; `again` where another life
    /// follows.
    pub fn tear_down(&self, name: &str, again: bool) -> Teardown {
        match self.get().map(|tee| tee.tear_down(again)) {
            Some(mediator::Teardown::Interrupted) => Teardown::Interrupted,
            Some(mediator::Teardown::Renewed) => Teardown::Done { renewed: true },
            Some(mediator::Teardown::Done { left, lost }) => {
                self.note_left_behind(name, left, lost);
                Teardown::Done { renewed: false }
            }
            None => Teardown::Done { renewed: false },
        }
    }

    /// Takes note of what the VM leaves in the secure world.
    fn note_left_behind(&self, name: &str, left: u64, lost: u32) {
        if left > 0 {
            terminal::tell::<&str>(&Event::CallsKept { name, count: left });
        }
        if lost > 0 {
            let all = self.lost.fetch_add(lost, Ordering::Relaxed) + lost;
            terminal::tell::<&str>(&Event::IdentifiersKept { name, lost, all });
        }
    }

    /// Makes the TEE forget the VM, unless the partition was `renewed`.
    pub fn drop_unless(&self, renewed: bool) {
        if !renewed && let Some(tee) = self.current.lock().take() {
            tee.destroy();
        }
    }
}

/// What no guest knows; without any randomness, the time at which the guest starts.
fn secret() -> [u64; 2] {
    let mut words = [[0; 8]; 2];
    if !entropy::fill(words.as_flattened_mut()) {
        words[0] = timer::now().to_le_bytes();
    }
    words.map(u64::from_le_bytes)
}
