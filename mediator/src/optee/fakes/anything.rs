//! Whatever a guest and an OP-TEE do: nothing panics, nothing leaks, no physical address escapes.
//! The made-up machine checks the last two at every step.

use std::sync::atomic::Ordering;
use std::vec::Vec;

use optee_abi::message::Message;
use optee_abi::smc::{self, RpcFunction};

use super::{ARG, Act, BUFFER, LIST, assert_nothing_left, guest_with, put_list, smc_with};
use crate::Tee;
use crate::optee::Limits;

#[derive(Clone, Debug)]
pub enum Step {
    /// The guest calls with a message, by this function.
    Call(Vec<u8>, u32, u64),
    /// The guest returns from one of the last RPCs, with this in its RPC argument.
    Return(usize, Vec<u8>, [u64; 4]),
    /// The guest makes some call.
    Other(u64, [u64; 4]),
    /// OP-TEE is going to do this.
    Interrupt,
    ThreadLimit,
    Command(Vec<u8>),
    Bare(u16),
    /// An interrupt is pending, or none.
    Pending(bool),
}

/// Does all of `steps`, and then the guest ends.
pub fn play(steps: Vec<Step>) {
    let limits = Limits {
        buffer_bytes_max: 0x40_0000,
        buffers_max: 4,
        total_bytes_max: 0x100_0000,
        ..Limits::default()
    };
    let (world, guest) = guest_with(limits);
    world.optee().lenient = true;
    let pages: Vec<u64> = (0..600).map(|page| BUFFER + page * 0x3000).collect();
    put_list(&world, LIST, &pages);
    let mut returns = Vec::new();
    for step in steps {
        let registers = match step {
            Step::Call(message, function, cookie) => {
                world.poke(ARG, &message);
                let named = if function == smc::CALL_WITH_REGD_ARG {
                    cookie
                } else {
                    ARG
                };
                let [a1, a2] = smc::split(named);
                smc_with(&guest, &[u64::from(function), a1, a2, 0])
            }
            Step::Return(which, message, [a, b, c, d]) => {
                let id = returns.iter().rev().nth(which).copied().unwrap_or(a);
                for at in [ARG + 32, ARG + 64, ARG + 96] {
                    world.poke(at, &message);
                }
                let ([a1, a2], [a4, a5]) = (smc::split(b), smc::split(c));
                smc_with(
                    &guest,
                    &[u64::from(smc::RETURN_FROM_RPC), a1, a2, id, a4, a5, d],
                )
            }
            Step::Other(function, [a, b, c, d]) => smc_with(&guest, &[function, a, b, c, d]),
            Step::Interrupt => {
                world.act(Act::Interrupt);
                continue;
            }
            Step::ThreadLimit => {
                world.act(Act::ThreadLimit);
                continue;
            }
            Step::Command(bytes) => {
                let mut request = Message::default();
                let length = request.bytes_mut(6).len();
                request.bytes_mut(6).copy_from_slice(&bytes[..length]);
                world.command(request, |_| ());
                continue;
            }
            Step::Bare(number) => {
                world.act(Act::Bare(RpcFunction::Unknown(number)));
                continue;
            }
            Step::Pending(pending) => {
                world
                    .0
                    .quiet
                    .store(if pending { 0 } else { i64::MAX }, Ordering::SeqCst);
                continue;
            }
        };
        if registers[0] >> 16 == 0xffff {
            returns.push(registers[3]);
        }
        let stats = guest.stats();
        assert_eq!(world.pinned(), stats.pinned_pages as i64);
    }
    guest.destroy();
    assert_nothing_left(&world, &guest);
}
