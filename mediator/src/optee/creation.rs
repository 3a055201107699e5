//! Making OP-TEE know a guest, and forget it.

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::fmt;

use crate::sync::Mutex;
use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::pagelist::{LINK, PAGE_SIZE, list_pages};
use optee_abi::result;
use optee_abi::smc::{self, Returned, status};

use super::core_window::{CoreWindow, WINDOW_PAGES};
use super::error::NoHeap;
use super::index::HashSecret;
use super::limits::{ClientId, IDENTIFIERS, Limits};
use super::notifications::Notifications;
use super::partition::Partition;
use super::probe::Optee;
use super::sessions::Sessions;
use super::shm::buffers::Buffers;
use super::shm::handle::Handle;
use super::shm::message_area::{message_of, unregister_message};
use super::shm::page_pool::{Chain, PagePool};
use super::slots::{Slots, slots_for};
use super::stats::Counters;
use super::throttle::Throttle;
use crate::ports::{Cpu, GuestMemory, Platform, Ports, SecureWorld, ShadowMemory};
use crate::ta_access::TaAccess;

/// Buffers that a call can share besides registered ones: temporary memory and memory for RPCs.
const OTHER_BUFFERS: usize = 16;

/// How often OP-TEE may stop for an interrupt while a partition is created. It does so only where
/// one is pending, and the port takes it.
const INTERRUPTS_MAX: u32 = 100_000;

/// Who a partition is for.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Who calls, as OP-TEE sees it.
    pub client: ClientId,
    /// What it may use up.
    pub limits: Limits,
    /// What it may open.
    pub access: TaAccess,
    /// How many lives it had before.
    pub lives: u32,
    /// How many of OP-TEE's identifiers its earlier lives have taken for good
    /// ([`Teardown::Done`](crate::Teardown::Done)).
    pub identifiers_lost: u32,
    /// Two random numbers that the guest does not know.
    pub secret: HashSecret,
}

/// Why a guest can't have OP-TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// OP-TEE has room for no other guest.
    NoRoom,
    /// OP-TEE refused the guest with another return code than that.
    Refused(u32),
    /// There are fewer shadow pages than [`Optee::shadow_pages`] says.
    ShadowPages {
        /// How many it takes.
        needed: usize,
        /// How many there are.
        present: usize,
    },
    /// The hypervisor's heap has no room for the tables.
    OutOfMemory,
    /// OP-TEE did not register the memory for messages.
    Register {
        /// a0 of the call.
        status: u32,
        /// What the message came back with.
        result: u32,
    },
    /// OP-TEE was interrupted without end.
    Interrupted,
    /// The guest has had as many lives as it may have on this OP-TEE.
    LivesUsedUp {
        /// How many that is.
        lives: u32,
    },
    /// Earlier lives of the guest have taken all of its share of OP-TEE's identifiers for instances
    /// of trusted applications.
    IdentifiersLost {
        /// Its share.
        share: u32,
    },
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => write!(
                f,
                "OP-TEE has no room for another guest (CFG_VIRT_GUEST_COUNT)"
            ),
            Self::Refused(code) => write!(f, "OP-TEE refused the guest with {code:#x}"),
            Self::ShadowPages { needed, present } => {
                write!(
                    f,
                    "the guest's calls take {needed} shadow pages, and there are {present}"
                )
            }
            Self::OutOfMemory => write!(
                f,
                "the heap has no room for the tables of the guest's buffers"
            ),
            Self::Register { status, result } => {
                write!(
                    f,
                    "OP-TEE did not register the memory for messages: {status:#x}, result {result:#x}"
                )
            }
            Self::Interrupted => write!(f, "OP-TEE did not get done for interrupts"),
            Self::LivesUsedUp { lives } => write!(
                f,
                "this guest was started {lives} times, and each time takes memory of OP-TEE for good; only a restart of the \
                 machine brings that back"
            ),
            Self::IdentifiersLost { share } => write!(
                f,
                "earlier lives of this guest ended with trusted applications that OP-TEE still runs, which took all {share} \
                 of its share of OP-TEE's {IDENTIFIERS} identifiers; only a restart of the machine brings them back"
            ),
        }
    }
}

impl core::error::Error for CreateError {}

impl From<NoHeap> for CreateError {
    fn from(_: NoHeap) -> Self {
        Self::OutOfMemory
    }
}

impl Optee {
    /// Makes OP-TEE know a guest and registers the memory for its messages.
    ///
    /// OP-TEE initializes its partition in this call, which takes milliseconds; `ports.world` has
    /// to take interrupts that are pending when an SMC comes back.
    ///
    /// # Errors
    ///
    /// OP-TEE or the hypervisor has no room for the guest. Then nothing is left of it.
    pub fn create_partition<P: Platform>(
        &self,
        guest: Guest,
        ports: Ports<P>,
    ) -> Result<Partition<P>, CreateError> {
        let Guest {
            client,
            limits,
            access,
            lives,
            identifiers_lost,
            secret,
        } = guest;
        if self.leaves_tables_behind() && lives >= limits.lives_max {
            return Err(CreateError::LivesUsedUp { lives });
        }
        let share = limits.instances_max;
        let identifiers = share
            .checked_sub(identifiers_lost)
            .filter(|&left| left > 0)
            .ok_or(CreateError::IdentifiersLost { share })?;
        let needed = self.shadow_pages(&limits);
        let present = ports.shadow.pages();
        if present < needed {
            return Err(CreateError::ShadowPages { needed, present });
        }
        let (ticks, now) = (ports.cpu.ticks_per_second(), ports.cpu.now());
        let throttle = limits
            .calls_per_second
            .map(|calls| Throttle::new(calls, ticks, now));
        let others = u32::try_from(self.threads * OTHER_BUFFERS).unwrap_or(u32::MAX);
        let partition = Partition {
            optee: *self,
            client,
            ports,
            buffers: Buffers::new(&limits, others, slots_for(self.threads), secret)?,
            pool: PagePool::new(self.message_pages(), present)?,
            slots: Slots::new(self.threads)?,
            sessions: Sessions::new(slots_for(self.threads), identifiers, secret)?,
            window: CoreWindow::new(self.threads)?,
            counters: Counters::default(),
            notifications: Notifications::default(),
            throttle,
            access,
            shm_cache: AtomicBool::new(false),
            renewals: AtomicU32::new(0),
            teardown: Mutex::default(),
            // So that nothing is destroyed that OP-TEE did not create.
            destroyed: AtomicBool::new(true),
        };
        match partition.hypervisor_call(smc::VM_CREATED) {
            status::OK => partition.destroyed.store(false, Ordering::Relaxed),
            status::ENOTAVAIL => return Err(CreateError::NoRoom),
            other => return Err(CreateError::Refused(other)),
        }
        let prepared = partition
            .register_messages()
            .and_then(|()| partition.reach_window());
        match prepared {
            Ok(()) => Ok(partition),
            Err(error) => {
                partition.end();
                Err(error)
            }
        }
    }
}

impl<P: Platform> Partition<P> {
    /// Registers the pages for messages with OP-TEE, so that each call can name them by handle and
    /// offset.
    fn register_messages(&self) -> Result<(), CreateError> {
        let shadow = &self.ports.shadow;
        let pages = self.optee.message_pages();
        self.register_own(Handle::MESSAGES, pages as u64, |page| {
            shadow.pa(page as usize).0
        })
    }

    /// Has OP-TEE map as many pages as it may ever map for the guest, so that it makes all
    /// translation tables for them while it has memory for that, and then forget them. They are all
    /// the same page.
    fn reach_window(&self) -> Result<(), CreateError> {
        let shadow = &self.ports.shadow;
        let reach = Handle::for_messages(self.renewals.fetch_add(1, Ordering::Relaxed) + 1);
        self.register_own(reach, WINDOW_PAGES, |_| shadow.pa(0).0)?;
        // To find a message in it, OP-TEE maps all of it. What the message says does not matter: it
        // cancels nothing.
        shadow.write(0, 0, message_of(command::CANCEL, &[]).bytes(0));
        let call = self.yielding(smc::CALL_WITH_REGD_ARG, smc::split(reach.get()), 0);
        self.call_alone(call)?;
        shadow.write(0, 0, unregister_message(reach).bytes(1));
        let call = self.yielding(
            smc::CALL_WITH_REGD_ARG,
            smc::split(Handle::MESSAGES.get()),
            0,
        );
        let status = self.call_alone(call)?;
        self.own_registered(status)
    }

    /// Registers `pages` shadow pages, by their physical addresses, before the guest makes any
    /// call.
    fn register_own(
        &self,
        handle: Handle,
        pages: u64,
        pa: impl Fn(u64) -> u64,
    ) -> Result<(), CreateError> {
        let shadow = &self.ports.shadow;
        let mut list = Chain::new();
        let listed = self.list_own(&mut list, pages, pa);
        let outcome = listed.and_then(|first| {
            let buffer = Parameter::Temporary {
                direction: Direction::Output,
                list: true,
                address: shadow.pa(first).0,
                size: pages * PAGE_SIZE,
                reference: handle.get(),
            };
            let message = message_of(command::REGISTER_SHM, &[buffer]);
            shadow.write(0, 0, message.bytes(1));
            let call = match handle {
                // Nothing else is registered by which a message could be named.
                Handle::MESSAGES => {
                    self.yielding(smc::CALL_WITH_ARG, smc::split(shadow.pa(0).0), 0)
                }
                _ => self.yielding(
                    smc::CALL_WITH_REGD_ARG,
                    smc::split(Handle::MESSAGES.get()),
                    0,
                ),
            };
            self.call_alone(call)
        });
        self.pool.give_back(&mut list);
        self.own_registered(outcome?)
    }

    /// Writes a list of pages and gives the shadow page that it starts in.
    fn list_own(
        &self,
        list: &mut Chain,
        pages: u64,
        pa: impl Fn(u64) -> u64,
    ) -> Result<usize, CreateError> {
        let shadow = &self.ports.shadow;
        let mut take = || {
            self.pool.take(list).ok_or(CreateError::ShadowPages {
                needed: self.optee.message_pages() + list_pages(pages) as usize,
                present: shadow.pages(),
            })
        };
        let first = take()?;
        let mut at = first;
        for (page, entry) in (0..pages).zip((0..LINK).cycle()) {
            if page > 0 && entry == 0 {
                let next = take()?;
                shadow.write(at, LINK * 8, &shadow.pa(next).0.to_le_bytes());
                at = next;
            }
            shadow.write(at, entry * 8, &pa(page).to_le_bytes());
        }
        Ok(first)
    }

    /// What OP-TEE said to a message of [`register_own`](Self::register_own), at the start of the
    /// shadow pages.
    fn own_registered(&self, status: u32) -> Result<(), CreateError> {
        let mut reply = Message::default();
        self.ports.shadow.read(0, 0, reply.bytes_mut(0));
        let result = reply.result();
        if status == status::OK && result == result::SUCCESS {
            Ok(())
        } else {
            Err(CreateError::Register { status, result })
        }
    }

    /// Sees a yielding call through with no guest there to help. Interrupts are the port's; memory
    /// there is none; and commands can't come, for there is no RPC argument to hold them.
    fn call_alone(&self, call: [u64; 8]) -> Result<u32, CreateError> {
        let mut registers = call;
        for _ in 0..INTERRUPTS_MAX {
            let [a0, _, _, thread, ..] = self.ports.world.smc(registers);
            match Returned::from_a0(a0 as u32) {
                Returned::Done(status) => return Ok(status),
                Returned::Rpc(_) => registers = self.yielding(smc::RETURN_FROM_RPC, [0, 0], thread),
            }
        }
        Err(CreateError::Interrupted)
    }

    /// OP-TEE frees the guest's own memory, and with it what is left of sessions, suspended threads
    /// and registered memory (`virt_guest_destroyed`, `core/arch/arm/kernel/virtualization.c`,
    /// OP-TEE 4.5.0). Only then are the pages unpinned.
    pub(super) fn end(&self) {
        if self.destroyed.swap(true, Ordering::AcqRel) {
            return;
        }
        // First of all, for values fetched after that would be those of the client's next life.
        self.notifications.stop();
        let mut registers = [0; 8];
        registers[0] = u64::from(smc::VM_DESTROYED);
        registers[1] = u64::from(self.client.get());
        registers[7] = u64::from(smc::HYPERVISOR_CLIENT);
        self.ports.world.smc(registers);

        self.slots.clear(|call| {
            self.pool.give_back(&mut call.lists);
            call.cached = None;
        });
        self.window.clear();
        self.ports.memory.unpin(self.buffers.clear());
    }
}
