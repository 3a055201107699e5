//! What a guest calls, and what else the hypervisor asks of its partition.

use core::fmt;

use optee_abi::smc::{self, status};

use super::flow::Start;
use super::partition::Partition;
use crate::ports::Platform;
use crate::{Tee, WindUp};
use smccc::CallRegisters;

impl<P: Platform> Partition<P> {
    fn serve(&self, registers: &mut CallRegisters) -> bool {
        // SMC32: the upper half means nothing.
        let function = registers[0] as u32;
        // A call may wait for what they hold.
        let notified = function & smc::FAST_CALL == 0
            && self.slots.has_orphans()
            && self.see_orphans_through();
        match function {
            smc::CALL_WITH_ARG | smc::CALL_WITH_RPC_ARG | smc::CALL_WITH_REGD_ARG => {
                match self.slots.claim() {
                    Some(mut call) => {
                        let [_, a1, a2, a3, ..] = *registers;
                        let start = Start {
                            function,
                            arguments: [a1, a2, a3],
                        };
                        let flow = self.admit(&mut call, start);
                        self.drive(call, flow, registers);
                    }
                    // All slots have a call of this guest, which it can wait for.
                    None => registers[0] = u64::from(status::ETHREAD_LIMIT),
                }
            }
            smc::RETURN_FROM_RPC => match self.slots.resume(registers[3] as u32) {
                Some(mut call) => {
                    let flow = self.resume(&mut call, registers);
                    self.drive(call, flow, registers);
                }
                None => self.refuse(registers, status::ERESUME),
            },
            _ if function & smc::FAST_CALL != 0 => self.fast_call(function, registers),
            _ => self.refuse(registers, status::UNKNOWN_FUNCTION),
        }
        notified
    }
}

impl<P: Platform> Tee for Partition<P> {
    fn owns(&self, function: u32) -> bool {
        // All calls of the ABI are SMC32.
        smc::TRUSTED_OS_OWNERS.contains(&smc::owner(function)) && function & smc::SMC64 == 0
    }

    fn call(&self, registers: &mut CallRegisters) -> bool {
        self.serve(registers)
    }

    fn wind_up(&self, again: bool) -> WindUp {
        self.go_on_winding_up(again)
    }

    fn destroy(&self) {
        self.end();
    }

    fn poll_notifications(&self) -> bool {
        self.fetch_notifications()
    }

    fn write_stats(&self, part: usize, to: &mut dyn fmt::Write) -> fmt::Result {
        self.stats().write_part(part, to)
    }
}
