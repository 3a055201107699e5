//! Every call of OP-TEE's, while a call of the guest's is at each of its stages.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::kit::trials::{Trial, code};
use guest_shim::optee::client::{Client, Flavour, Ready};
use guest_shim::optee::opening;
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use optee_abi::smc::{self, RpcFunction, status};

use crate::held::NOBODY;

/// How far a call of the guest's has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    AsksForRoom,
    AsksForACommand,
    HasRoomFreed,
}

impl State {
    const ALL: [Self; 4] = [
        Self::None,
        Self::AsksForRoom,
        Self::AsksForACommand,
        Self::HasRoomFreed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no call is under way",
            Self::AsksForRoom => "a call asks for room for an RPC argument",
            Self::AsksForACommand => "a call has a command for the guest",
            Self::HasRoomFreed => "a call has the guest free its room",
        }
    }
}

fn functions(state: State) -> [(&'static str, u32, u32); 19] {
    let busy = if state == State::None {
        status::OK
    } else {
        status::EBUSY
    };
    let kept = if state == State::None {
        status::ENOTAVAIL
    } else {
        status::EBUSY
    };
    [
        ("GET_OS_REVISION", smc::GET_OS_REVISION, status::OK),
        ("GET_SHM_CONFIG", smc::GET_SHM_CONFIG, status::ENOTAVAIL),
        ("GET_THREAD_COUNT", smc::GET_THREAD_COUNT, status::OK),
        ("ENABLE_SHM_CACHE", smc::ENABLE_SHM_CACHE, busy),
        ("DISABLE_SHM_CACHE", smc::DISABLE_SHM_CACHE, kept),
        ("ENABLE_ASYNC_NOTIF", smc::ENABLE_ASYNC_NOTIF, status::OK),
        (
            "GET_ASYNC_NOTIF_VALUE",
            smc::GET_ASYNC_NOTIF_VALUE,
            status::OK,
        ),
        ("L2CC_MUTEX", smc::L2CC_MUTEX, status::UNKNOWN_FUNCTION),
        (
            "BOOT_SECONDARY",
            smc::BOOT_SECONDARY,
            status::UNKNOWN_FUNCTION,
        ),
        ("VM_CREATED", smc::VM_CREATED, status::UNKNOWN_FUNCTION),
        ("VM_DESTROYED", smc::VM_DESTROYED, status::UNKNOWN_FUNCTION),
        (
            "an unknown fast call",
            smc::GET_OS_UUID | 0x7ff0,
            status::UNKNOWN_FUNCTION,
        ),
        (
            "an unknown yielding call",
            smc::CALL_WITH_ARG | 0x7ff0,
            status::UNKNOWN_FUNCTION,
        ),
        (
            "CALL_WITH_ARG with nothing",
            smc::CALL_WITH_ARG,
            status::EBADADDR,
        ),
        (
            "CALL_WITH_RPC_ARG with nothing",
            smc::CALL_WITH_RPC_ARG,
            status::EBADADDR,
        ),
        (
            "CALL_WITH_REGD_ARG with nothing",
            smc::CALL_WITH_REGD_ARG,
            status::EBADADDR,
        ),
        (
            "RETURN_FROM_RPC of nothing",
            smc::RETURN_FROM_RPC,
            status::ERESUME,
        ),
        (
            "GET_OS_REVISION as SMC64",
            smc::GET_OS_REVISION | smc::SMC64,
            status::UNKNOWN_FUNCTION,
        ),
        (
            "CALL_WITH_ARG as SMC64",
            smc::CALL_WITH_ARG | smc::SMC64,
            status::UNKNOWN_FUNCTION,
        ),
    ]
}

/// A call at `state`, with the supplicant that serves it.
struct At<'a> {
    client: &'a Client,
    ready: Ready,
    words: Words,
    answer: guest_shim::optee::answer::Answer,
    supplicant: Supplicant,
}

impl<'a> At<'a> {
    fn reach(client: &'a Client, state: State) -> Result<Option<Self>, String> {
        let wanted = match state {
            State::None => return Ok(None),
            State::AsksForRoom => RpcFunction::Alloc,
            State::AsksForACommand => RpcFunction::Command,
            State::HasRoomFreed => RpcFunction::Free,
        };
        let words = Words::of(&opening(NOBODY), 2);
        let ready = client.prepare(Flavour::Argument, &words)?;
        let mut at = Self {
            client,
            ready,
            words,
            answer: client.send(&ready)?,
            supplicant: Supplicant::new(false, [0; 2]),
        };
        while at.answer.asked()?.function != wanted {
            at.serve()?;
        }
        Ok(Some(at))
    }

    fn serve(&mut self) -> Result<(), String> {
        let asked = self.answer.asked()?;
        let values = self
            .supplicant
            .serve(&self.client.arena, &asked, self.ready.room())?;
        self.answer = self.client.resume(asked.thread, values)?;
        Ok(())
    }

    fn ends(mut self) -> Result<(), String> {
        let code = self
            .client
            .see_through(&self.ready, self.answer, &mut self.supplicant)?;
        let reply = self.client.collect(&self.ready, &self.words, code)?;
        reply.is(optee_abi::result::ITEM_NOT_FOUND)?;
        self.supplicant.has_all_back()
    }
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for state in State::ALL {
        for (name, function, gets) in functions(state) {
            trials.push(Trial::new(
                "calls in every state",
                format!("{name} while {}", state.name()),
                // GET_OS_REVISION has its major number there.
                if gets == status::OK {
                    String::from("OK")
                } else {
                    code(gets)
                },
                move |client, _| {
                    let at = At::reach(client, state)?;
                    let exchange = client.call(function, &[0, 0, 0]);
                    let [a0]: [u64; 1] = exchange.results();
                    // What it enables is not to be there for the trials that follow.
                    if function == smc::ENABLE_SHM_CACHE && a0 == u64::from(status::OK) {
                        let _ = client.call(smc::DISABLE_SHM_CACHE, &[]);
                    }
                    if let Some(at) = at {
                        at.ends()?;
                    }
                    Ok(if function == smc::GET_OS_REVISION && a0 == 4 {
                        String::from("OK")
                    } else {
                        code(a0 as u32)
                    })
                },
            ));
        }
    }
    trials
}
