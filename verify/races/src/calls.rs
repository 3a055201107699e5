//! Calls, their thread IDs and the sessions that they use.

use mediator::Tee as _;
use mediator::optee::fakes::{Act, READY, invoke};
use optee_abi::message::{Message, command};
use optee_abi::result;
use optee_abi::smc::{RpcFunction, status};

use crate::race::{Race, Vcpu, in_many_orders};

fn invokes(vcpu: &Vcpu) -> Option<u32> {
    vcpu.world().act(Act::Interrupt);
    vcpu.ask(&invoke(&[]))
}

fn closes(vcpu: &Vcpu) -> Option<u32> {
    let mut message = Message::new(command::CLOSE_SESSION, &[]);
    message.set_session(READY);
    vcpu.ask(&message)
}

fn opens(vcpu: &Vcpu) -> Option<u32> {
    use mediator::optee::fakes::attacker::opening;
    vcpu.ask(&opening([1; 16]))
}

#[test]
fn one_closes_a_session_that_another_one_uses() {
    in_many_orders(|| {
        let race = Race::new();
        let [used, closed] = race.at_once([invokes, closes]);
        assert_eq!(closed, Some(result::SUCCESS));
        let may = [Some(result::SUCCESS), Some(result::BAD_PARAMETERS)];
        assert!(may.contains(&used), "{used:x?}");
        // OP-TEE sees the CLOSE last, and nothing about the session after it.
        let optee = race.world.optee();
        let last = optee.messages.last().map(|(message, _)| message.command());
        assert_eq!(last, Some(command::CLOSE_SESSION));
    });
}

#[test]
fn two_close_a_session() {
    in_many_orders(|| {
        let race = Race::new();
        let mut results = race.at_once([closes, closes]);
        results.sort_unstable();
        assert_eq!(
            results,
            [Some(result::SUCCESS), Some(result::ITEM_NOT_FOUND)]
        );
        race.ends();
    });
}

#[test]
fn a_number_is_given_anew_while_it_is_closed() {
    in_many_orders(|| {
        let race = Race::new();
        let [closed, opened, _] = race.at_once([closes, opens, invokes]);
        assert_eq!(closed.unwrap_or(0), result::SUCCESS);
        assert_eq!(opened.unwrap_or(0), result::SUCCESS);
        race.ends();
    });
}

#[test]
fn two_return_with_one_thread_id() {
    fn returns(vcpu: &Vcpu) -> u32 {
        let id = vcpu.told();
        let registers = vcpu.resume(id);
        registers[0] as u32
    }
    in_many_orders(|| {
        let race = Race::new();
        race.world.act(Act::Interrupt);
        let vcpu = race.vcpu(0);
        let registers = vcpu.send(&invoke(&[]));
        assert_eq!(registers[0], u64::from(RpcFunction::ForeignInterrupt.a0()));
        race.tell(registers[3]);
        let mut codes = race.at_once([returns, returns, returns]);
        codes.sort_unstable();
        assert_eq!(codes, [status::OK, status::ERESUME, status::ERESUME]);
        race.ends();
    });
}

#[test]
fn there_are_as_many_calls_as_threads() {
    in_many_orders(|| {
        let race = Race::new();
        let results = race.at_once([invokes, invokes, invokes]);
        let done = results.iter().flatten();
        assert!(done.clone().all(|result| *result == result::SUCCESS));
        assert!(done.count() >= 2, "{results:x?}");
        assert_eq!(race.guest.stats().calls_in_flight, 0);
        race.ends();
    });
}
