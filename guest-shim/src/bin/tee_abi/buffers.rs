//! Registering buffers and taking them back.

use guest_shim::optee::PAGE;
use guest_shim::optee::arena::fresh_cookie;
use guest_shim::optee::client::{Client, FLAVOURS, whole};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{case, check_eq};
use optee_abi::message::{Direction, Parameter, command};
use optee_abi::result;

use crate::test_ta::value;

/// What one buffer may have, in bytes, where a guest's description says nothing.
const LARGEST: u64 = 64 << 20;

/// Memory to register, as `reference`.
fn memory(list: bool, address: u64, size: u64, reference: u64) -> Parameter {
    Parameter::Temporary {
        direction: Direction::Output,
        list,
        address,
        size,
        reference,
    }
}

fn registering(parameters: &[Parameter]) -> Words {
    Words::new(command::REGISTER_SHM, parameters)
}

case!(4, a_buffer_is_registered_by_every_way_to_call);
fn a_buffer_is_registered_by_every_way_to_call(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let area = client.arena.pages(3);
    let list = client.list(area.addresses());
    for flavour in FLAVOURS {
        for parameter in [
            (false, area.address),
            (true, list.address),
            (true, list.address | 0x7f8),
        ] {
            let (is_list, address) = parameter;
            let cookie = fresh_cookie();
            let words = registering(&[memory(is_list, address, 2 * PAGE, cookie)]);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is(result::SUCCESS)?;
            let words = Words::new(command::UNREGISTER_SHM, &[whole(cookie)]);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is(result::SUCCESS)?;
        }
    }
    Ok(())
}

case!(4, a_cookie_stands_for_the_buffer_that_was_registered_last);
fn a_cookie_stands_for_the_buffer_that_was_registered_last(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (area, cookie) = (client.arena.pages(2), fresh_cookie());
    client.share(&area, cookie)?;
    // As another kernel may do that was started in the place of the one that registered it.
    for address in [area.address, area.page(1)] {
        let reply = client.ask(&registering(&[memory(false, address, PAGE, cookie)]))?;
        reply.is(result::SUCCESS)?;
    }
    client.take_back(cookie)?;
    check_eq!(
        client.unregister(cookie)?,
        result::BAD_PARAMETERS,
        "taking it back twice"
    );
    // Now it may stand for another one; the same memory may have several names.
    let other = fresh_cookie();
    client.share(&area, cookie)?;
    client.share(&area, other)?;
    client.take_back(other)?;
    client.take_back(cookie)?;
    Ok(())
}

case!(4, any_number_is_a_cookie);
fn any_number_is_a_cookie(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let area = client.arena.pages(1);
    for cookie in [0, 1, 0xffff_ffff, 0x1_0000_0001, u64::MAX, 1 << 63] {
        let registered = client.register(&area, cookie)?;
        check_eq!(registered, result::SUCCESS, "registering as {cookie:#x}");
        let unregistered = client.unregister(cookie)?;
        check_eq!(unregistered, result::SUCCESS, "unregistering {cookie:#x}");
    }
    Ok(())
}

case!(4, what_is_null_or_empty_is_not_registered);
fn what_is_null_or_empty_is_not_registered(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (area, cookie) = (client.arena.pages(1), fresh_cookie());
    let list = client.list(area.addresses());
    for parameter in [
        memory(false, 0, PAGE, cookie),
        memory(true, 0, PAGE, cookie),
        memory(false, area.address, 0, cookie),
        memory(true, list.address, 0, cookie),
        memory(true, list.address | 8, u64::MAX, cookie),
    ] {
        client
            .ask(&registering(&[parameter]))?
            .is_refused(result::BAD_PARAMETERS)?;
    }
    check_eq!(
        client.unregister(cookie)?,
        result::BAD_PARAMETERS,
        "taking it back"
    );
    Ok(())
}

case!(4, a_registration_has_one_parameter_of_one_kind);
fn a_registration_has_one_parameter_of_one_kind(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (area, cookie) = (client.arena.pages(1), fresh_cookie());
    let good = memory(false, area.address, PAGE, cookie);
    for parameters in [
        &[][..],
        &[Parameter::None],
        &[value(Direction::Output, [area.address, PAGE, cookie])],
        &[whole(cookie)],
        &[good, good],
        &[good, Parameter::None],
    ] {
        client
            .ask(&registering(parameters))?
            .is_refused(result::BAD_PARAMETERS)?;
    }
    check_eq!(
        client.unregister(cookie)?,
        result::BAD_PARAMETERS,
        "taking it back"
    );
    Ok(())
}

case!(4, a_buffer_beyond_the_limit_is_out_of_memory);
fn a_buffer_beyond_the_limit_is_out_of_memory(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (area, cookie) = (client.arena.pages(1), fresh_cookie());
    for size in [LARGEST + 1, LARGEST + PAGE, 1 << 40, u64::MAX] {
        for list in [false, true] {
            let parameter = memory(list, area.address, size, cookie);
            client
                .ask(&registering(&[parameter]))?
                .is_refused(result::OUT_OF_MEMORY)?;
        }
    }
    check_eq!(
        client.unregister(cookie)?,
        result::BAD_PARAMETERS,
        "taking it back"
    );
    Ok(())
}

case!(4, what_op_tee_has_no_room_for_is_refused_and_forgotten);
fn what_op_tee_has_no_room_for_is_refused_and_forgotten(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let page = client.arena.pages(1);
    let list = client.list(core::iter::repeat_n(
        page.address,
        (LARGEST / PAGE) as usize,
    ));
    // As often as would take all that the guest may share, if any of it stayed.
    for _ in 0..5 {
        let cookie = fresh_cookie();
        let result = client.register_list(list.address, LARGEST, cookie)?;
        check_eq!(result, result::BAD_PARAMETERS, "{LARGEST:#x} bytes");
        let result = client.unregister(cookie)?;
        check_eq!(result, result::BAD_PARAMETERS, "taking it back");
    }
    let cookie = fresh_cookie();
    let result = client.register_list(list.address, 8 << 20, cookie)?;
    check_eq!(result, result::SUCCESS, "8 MiB");
    client.take_back(cookie)?;
    Ok(())
}

case!(4, memory_of_others_is_not_registered);
fn memory_of_others_is_not_registered(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (good, cookie) = (client.arena.pages(1), fresh_cookie());
    let end = environment.memory_end();
    for bad in [0x0900_0000, 0x0e10_0000, end, 1 << 40, !(PAGE - 1)] {
        let contiguous = memory(false, bad, PAGE, cookie);
        client
            .ask(&registering(&[contiguous]))?
            .is_refused(result::BAD_PARAMETERS)?;
        // At the end of a list of many, so that all the others were good.
        let pages = core::iter::repeat_n(good.address, 600).chain([bad]);
        let list = client.list(pages);
        let scattered = memory(true, list.address, 601 * PAGE, cookie);
        client
            .ask(&registering(&[scattered]))?
            .is_refused(result::BAD_PARAMETERS)?;
    }
    let across = memory(false, end - PAGE, 2 * PAGE, cookie);
    client
        .ask(&registering(&[across]))?
        .is_refused(result::BAD_PARAMETERS)?;
    check_eq!(
        client.unregister(cookie)?,
        result::BAD_PARAMETERS,
        "taking it back"
    );
    Ok(())
}

case!(4, what_is_not_registered_is_not_taken_back);
fn what_is_not_registered_is_not_taken_back(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let (area, cookie) = (client.arena.pages(1), fresh_cookie());
    let taking = |parameters: &[Parameter]| {
        let words = Words::new(command::UNREGISTER_SHM, parameters);
        client.ask(&words)?.is_refused(result::BAD_PARAMETERS)
    };
    client.share(&area, cookie)?;
    for other in [0, 1, cookie ^ 1, area.address, u64::MAX] {
        taking(&[whole(other)])?;
    }
    for parameters in [
        &[][..],
        &[Parameter::None],
        &[value(Direction::Input, [0, 0, cookie])],
        &[memory(false, 0, 0, cookie)],
        &[memory(false, area.address, PAGE, cookie)],
        &[whole(cookie), whole(cookie)],
    ] {
        taking(parameters)?;
    }
    client.take_back(cookie)?;
    // Once, and not again.
    taking(&[whole(cookie)])
}
