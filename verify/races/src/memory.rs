//! Buffers: what is registered, used and taken back at the same time.

use mediator::Tee as _;
use mediator::optee::fakes::{
    Act, BUFFER, invoke, register_message, registered, temporary, unregister_message,
};
use optee_abi::message::{Direction, Message, Parameter};
use optee_abi::{result, rpc};

use crate::race::{Race, Vcpu, in_many_orders};

const COOKIE: u64 = 7;
const PAGES: u64 = 5;

const REFUSED: Option<u32> = Some(result::BAD_PARAMETERS);

fn registers(vcpu: &Vcpu) -> Option<u32> {
    let list = vcpu.list(BUFFER, PAGES);
    vcpu.ask(&register_message(list, PAGES * 4096, COOKIE))
}

fn takes_back(vcpu: &Vcpu) -> Option<u32> {
    vcpu.ask(&unregister_message(COOKIE))
}

fn uses(vcpu: &Vcpu) -> Option<u32> {
    vcpu.ask(&invoke(&[registered(Direction::InOut, COOKIE, 8, 16)]))
}

#[test]
fn two_register_one_cookie() {
    in_many_orders(|| {
        let race = Race::new();
        let mut results = race.at_once([registers, registers]);
        results.sort_unstable();
        assert_eq!(results[0], Some(result::SUCCESS));
        // While one takes the place of the other, the cookie is nobody's.
        assert!([Some(result::SUCCESS), REFUSED].contains(&results[1]));
        let vcpu = race.vcpu(0);
        assert_eq!(race.guest.stats().buffers, 1);
        assert_eq!(race.world.pinned(), PAGES as i64);
        assert_eq!(race.world.shared().len(), 1);
        assert_eq!(takes_back(&vcpu), Some(result::SUCCESS));
        assert_eq!(takes_back(&vcpu), REFUSED);
        assert_eq!(race.world.pinned(), 0);
        race.ends();
    });
}

#[test]
fn one_takes_back_what_another_one_uses() {
    in_many_orders(|| {
        let race = Race::new();
        assert_eq!(registers(&race.vcpu(0)), Some(result::SUCCESS));
        let [back, used] = race.at_once([takes_back, uses]);
        let may = [Some(result::SUCCESS), REFUSED];
        assert!(may.contains(&used), "{used:x?}");
        assert_eq!(back, Some(result::SUCCESS));
        assert_eq!(race.guest.stats().buffers, 0);
        race.ends();
    });
}

#[test]
fn one_takes_back_and_one_registers_and_one_uses() {
    in_many_orders(|| {
        let race = Race::new();
        assert_eq!(registers(&race.vcpu(0)), Some(result::SUCCESS));
        race.at_once([takes_back, registers, uses]);
        let known = race.guest.stats().buffers;
        assert!(known <= 1, "{known} buffers");
        assert_eq!(race.world.shared().len() as u64, known);
        assert_eq!(race.world.pinned(), (known * PAGES) as i64);
        race.ends();
    });
}

/// OP-TEE asks for memory, and then has the guest free it.
fn gets_memory(vcpu: &Vcpu) -> Option<u32> {
    let want = Parameter::Value {
        direction: Direction::Input,
        meta: false,
        words: [0, PAGES * 4096, 8],
    };
    vcpu.world()
        .command(Message::new(rpc::SHM_ALLOC, &[want]), |_| ());
    let mut registers = vcpu.send(&invoke(&[]));
    // The guest gives memory by the cookie that the other vCPU registers.
    let room = vcpu.room_of(&invoke(&[]));
    for _ in 0..10 {
        if registers[0] != u64::from(optee_abi::smc::RpcFunction::Command.a0()) {
            break;
        }
        let mut request = mediator::optee::fakes::get(vcpu.world(), room);
        if request.command() == rpc::SHM_ALLOC {
            let memory = temporary_output(vcpu.list(BUFFER + 0x10_0000, PAGES));
            request = Message::new(rpc::SHM_ALLOC, &[memory]);
        }
        request.set_result(result::SUCCESS, 0);
        mediator::optee::fakes::put(vcpu.world(), room, &request);
        registers = vcpu.resume(registers[3]);
    }
    match vcpu.see_through(registers) {
        optee_abi::smc::status::OK => Some(vcpu.message().result()),
        _ => None,
    }
}

fn temporary_output(list: u64) -> Parameter {
    match temporary(true, list, PAGES * 4096, COOKIE) {
        Parameter::Temporary {
            list,
            address,
            size,
            reference,
            ..
        } => Parameter::Temporary {
            direction: Direction::Output,
            list,
            address,
            size,
            reference,
        },
        other => other,
    }
}

#[test]
fn memory_for_an_rpc_and_a_buffer_have_one_cookie() {
    in_many_orders(|| {
        let race = Race::new();
        race.at_once([gets_memory, registers]);
        race.at_once([takes_back, registers]);
        race.ends();
    });
}

#[test]
fn op_tee_has_the_guest_free_what_it_registers_anew() {
    in_many_orders(|| {
        let race = Race::new();
        let vcpu = race.vcpu(0);
        // What OP-TEE has the guest free is named as OP-TEE knows it.
        race.world.command(
            Message::new(
                rpc::SHM_ALLOC,
                &[Parameter::Value {
                    direction: Direction::Input,
                    meta: false,
                    words: [0, PAGES * 4096, 8],
                }],
            ),
            |_| (),
        );
        assert_eq!(gets_memory_and_keeps_it(&vcpu), Some(result::SUCCESS));
        race.at_once([frees, registers]);
        race.ends();
    });
}

fn gets_memory_and_keeps_it(vcpu: &Vcpu) -> Option<u32> {
    vcpu.world().optee().acts.clear();
    gets_memory(vcpu)
}

/// OP-TEE has the guest free the memory that it was given last.
fn frees(vcpu: &Vcpu) -> Option<u32> {
    let shared = vcpu.world().shared();
    if let Some((handle, _)) = shared.first() {
        let which = Parameter::Value {
            direction: Direction::Input,
            meta: false,
            words: [0, *handle, 0],
        };
        vcpu.world()
            .command(Message::new(rpc::SHM_FREE, &[which]), |_| ());
    }
    vcpu.ask(&invoke(&[]))
}

#[test]
fn room_for_rpcs_is_kept_and_given_back() {
    fn calls(vcpu: &Vcpu) -> Option<u32> {
        vcpu.world().act(Act::Interrupt);
        vcpu.ask(&invoke(&[]))
    }
    fn toggles(vcpu: &Vcpu) -> Option<u32> {
        use optee_abi::smc;
        for function in [smc::ENABLE_SHM_CACHE, smc::DISABLE_SHM_CACHE] {
            mediator::optee::fakes::smc_with(vcpu.guest(), &[u64::from(function)]);
        }
        None
    }
    in_many_orders(|| {
        let race = Race::new();
        race.at_once([calls, toggles, calls]);
        race.ends();
    });
}
