//! What a guest calls, and what else the hypervisor asks of its partition.

use host_abi::console::TeeStats;
use optee_abi::smc::{self, status};

use super::call::Call;
use super::engine::{Event, Stop};
use super::fallible_box::FallibleBox;
use super::partition::Partition;
use super::stage::Start;
use crate::ports::Platform;
use crate::{Teardown, Tee};
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
                    Some(call) => {
                        let [_, a1, a2, a3, ..] = *registers;
                        let start = Start {
                            function,
                            arguments: [a1, a2, a3],
                        };
                        self.go_on_for_guest(call, Event::Made(start), registers);
                    }
                    // All slots have a call of this guest, which it can wait for.
                    None => registers[0] = u64::from(status::ETHREAD_LIMIT),
                }
            }
            smc::RETURN_FROM_RPC => match self.slots.resume(registers[3] as u32) {
                Some(call) => {
                    let [_, a1, a2, _, a4, a5, ..] = *registers;
                    let event = Event::GuestReturned([a1, a2], [a4, a5]);
                    self.go_on_for_guest(call, event, registers);
                }
                None => self.refuse(registers, status::ERESUME),
            },
            _ if function & smc::FAST_CALL != 0 => self.fast_call(function, registers),
            _ => self.refuse(registers, status::UNKNOWN_FUNCTION),
        }
        notified
    }

    /// Goes on with a call until the guest is needed or it is over, and tells the guest.
    #[inline(always)]
    fn go_on_for_guest(
        &self,
        mut call: FallibleBox<Call>,
        event: Event,
        registers: &mut CallRegisters,
    ) {
        match self.advance(&mut call, event) {
            Stop::Asks(function, [a1, a2]) => {
                let id = self.slots.park(call);
                registers[0] = u64::from(function.a0());
                registers[1] = a1;
                registers[2] = a2;
                registers[3] = u64::from(id);
            }
            Stop::Over(status) => {
                self.slots.release(call);
                registers[0] = u64::from(status);
            }
        }
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

    fn tear_down(&self, again: bool) -> Teardown {
        self.go_on_tearing_down(again)
    }

    fn destroy(&self) {
        self.end();
    }

    fn poll_notifications(&self) -> bool {
        self.fetch_notifications()
    }

    fn stats(&self) -> TeeStats {
        let (buffers, pinned_pages) = self.buffers.held();
        TeeStats {
            buffers: u64::from(buffers),
            pinned_pages,
            calls_in_flight: u64::from(self.slots.in_flight()),
            ..self.counters.sums()
        }
    }
}
