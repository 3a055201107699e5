//! Finding OP-TEE and what it can do.

use core::fmt;

use optee_abi::capabilities::Capabilities;
use optee_abi::message::{CAPACITY, HEADER_SIZE, PARAMETER_SIZE};
use optee_abi::pagelist::list_pages;
use optee_abi::smc::{self, status};

use super::core_window::WINDOW_PAGES;
use super::limits::Limits;
use super::shm::message_area::{MESSAGE_PAGE_SLOTS, SLOT_BYTES};
use super::slots::{SLOTS_MAX, slots_for};
use crate::ports::SecureWorld;

/// The release of an OP-TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Build identifier; 0 is none.
    pub build: u32,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.build != 0 {
            write!(f, " ({:08x})", self.build)?;
        }
        Ok(())
    }
}

/// Why there is no OP-TEE that can be mediated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// The Trusted OS, if there is one, says by its UID that it is not OP-TEE.
    NotOptee {
        /// What [`smc::CALLS_UID`] returned.
        uid: [u32; 4],
    },
    /// Its message protocol is not 2.x.
    Protocol {
        /// Major number of the protocol.
        major: u32,
        /// Minor number of the protocol.
        minor: u32,
    },
    /// It lacks something that mediation rests on.
    Lacks(&'static str),
    /// It has no threads, or more than the mediator has numbers for.
    Threads(u32),
    /// Its RPC arguments have no parameters, or more than a slot has room for.
    RpcParameters(u32),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOptee { uid: [a, b, c, d] } => {
                write!(
                    f,
                    "no OP-TEE: the Trusted OS has UID {a:08x}-{b:08x}-{c:08x}-{d:08x}"
                )
            }
            Self::Protocol { major, minor } => {
                write!(f, "OP-TEE speaks protocol {major}.{minor}, not 2.x")
            }
            Self::Lacks(what) => write!(f, "OP-TEE was built without {what}"),
            Self::Threads(count) => write!(
                f,
                "OP-TEE has {count} threads for a guest, not 1 to {SLOTS_MAX}"
            ),
            Self::RpcParameters(count) => write!(
                f,
                "OP-TEE's RPCs have {count} parameters, not 1 to {CAPACITY}"
            ),
        }
    }
}

impl core::error::Error for ProbeError {}

/// The OP-TEE of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Optee {
    pub(super) revision: Revision,
    pub(super) protocol: [u32; 2],
    pub(super) os_uuid: [u32; 4],
    pub(super) capabilities: Capabilities,
    pub(super) notification_max: u32,
    pub(super) threads: usize,
    pub(super) rpc_parameters: usize,
}

/// A slot holds the longest message and the longest RPC argument.
const _: () = assert!(2 * (HEADER_SIZE + CAPACITY * PARAMETER_SIZE) <= SLOT_BYTES);

impl Optee {
    /// Asks the secure world who it is.
    ///
    /// # Errors
    ///
    /// There is no OP-TEE, or none that can serve several guests.
    pub fn probe<W: SecureWorld>(world: &W) -> Result<Self, ProbeError> {
        let ask = |function: u32| {
            let mut registers = [0; 8];
            registers[0] = u64::from(function);
            registers[7] = u64::from(smc::HYPERVISOR_CLIENT);
            // SMC32: the upper halves mean nothing.
            world.smc(registers).map(|register| register as u32)
        };

        let [a, b, c, d, ..] = ask(smc::CALLS_UID);
        let uid = [a, b, c, d];
        if uid != smc::API_UID {
            return Err(ProbeError::NotOptee { uid });
        }
        let [major, minor, ..] = ask(smc::CALLS_REVISION);
        if major != smc::API_REVISION[0] {
            return Err(ProbeError::Protocol { major, minor });
        }
        let [a, b, c, d, ..] = ask(smc::GET_OS_UUID);
        let [os_major, os_minor, build, ..] = ask(smc::GET_OS_REVISION);
        let [outcome, capabilities, notification_max, data, ..] = ask(smc::EXCHANGE_CAPABILITIES);
        if outcome != status::OK {
            return Err(ProbeError::Lacks("an exchange of capabilities"));
        }
        let capabilities = Capabilities(capabilities);
        for (needed, what) in [
            (
                Capabilities::VIRTUALIZATION,
                "virtualization (CFG_NS_VIRTUALIZATION)",
            ),
            (
                Capabilities::DYNAMIC_SHM,
                "dynamic shared memory (CFG_CORE_DYN_SHM)",
            ),
            (Capabilities::RPC_ARG, "preallocated RPC arguments"),
        ] {
            if !capabilities.contains(needed) {
                return Err(ProbeError::Lacks(what));
            }
        }
        let rpc_parameters = data & 0xff;
        if rpc_parameters == 0 || rpc_parameters as usize > CAPACITY {
            return Err(ProbeError::RpcParameters(rpc_parameters));
        }
        let [outcome, threads, ..] = ask(smc::GET_THREAD_COUNT);
        if outcome != status::OK {
            return Err(ProbeError::Lacks("a count of its threads"));
        }
        if threads == 0 || threads as usize > SLOTS_MAX {
            return Err(ProbeError::Threads(threads));
        }
        Ok(Self {
            revision: Revision {
                major: os_major,
                minor: os_minor,
                build,
            },
            protocol: [major, minor],
            os_uuid: [a, b, c, d],
            capabilities,
            notification_max,
            threads: threads as usize,
            rpc_parameters: rpc_parameters as usize,
        })
    }

    /// The release of OP-TEE.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether its core survives errors as answers to what it asks of files
    /// (`docs/optee-versions.md`).
    pub(super) fn survives_errors(&self) -> bool {
        (self.revision.major, self.revision.minor) >= (4, 10)
    }

    /// Whether it keeps translation tables of guests that are gone, as no release after it is known
    /// not to.
    pub(super) fn leaves_tables_behind(&self) -> bool {
        (self.revision.major, self.revision.minor) >= (4, 6)
    }

    /// What OP-TEE offers.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The same without asynchronous notifications, for a machine that can't take their interrupt.
    #[must_use]
    pub fn without_notifications(self) -> Self {
        let capabilities = self.capabilities.without(Capabilities::ASYNC_NOTIF);
        Self {
            capabilities,
            ..self
        }
    }

    /// The highest value of an asynchronous notification.
    #[must_use]
    pub fn notification_max(&self) -> u32 {
        self.notification_max
    }

    /// How many calls of one guest OP-TEE serves at the same time.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How many shadow pages a guest with these limits needs: for its messages, and for a list of
    /// the largest size on each of OP-TEE's threads.
    #[must_use]
    pub fn shadow_pages(&self, limits: &Limits) -> usize {
        let lists = usize::try_from(limits.list_pages_max()).unwrap_or(usize::MAX);
        let for_calls = lists.saturating_mul(self.threads);
        // Before there are calls, the window is reached.
        let before = list_pages(WINDOW_PAGES) as usize;
        self.message_pages().saturating_add(for_calls.max(before))
    }

    /// How many pages the messages of a guest take.
    pub(super) fn message_pages(&self) -> usize {
        slots_for(self.threads).div_ceil(MESSAGE_PAGE_SLOTS)
    }
}
