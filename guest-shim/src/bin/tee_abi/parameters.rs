//! Parameters that are values or no parameters at all, and attributes that nobody defined.

use guest_shim::case;
use guest_shim::optee::client::{Client, FLAVOURS};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::optee::{TESTS, opening};
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use optee_abi::message::{Direction, Message, Parameter, command};
use optee_abi::result;

use crate::test_ta::{PARAMS, Session, value};

/// What the third word of a value holds, which OP-TEE has no use for.
const THIRD: u64 = 0xc3c3_c3c3_c3c3_c3c3;

case!(4, a_value_goes_in_and_out_at_every_place);
fn a_value_goes_in_and_out_at_every_place(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    for flavour in FLAVOURS {
        for index in 0..4 {
            let mut parameters = [Parameter::None; 4];
            parameters[index] = value(Direction::InOut, [0x1111_0000, 0x2222, THIRD]);
            let words = session.invocation(PARAMS, &parameters);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is_with(result::SUCCESS, &[(index, [0x1111_2222, 0x2222, THIRD])])?;
        }
    }
    session.close()
}

case!(4, values_go_in_and_one_comes_out);
fn values_go_in_and_one_comes_out(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    for flavour in FLAVOURS {
        for index in 0..4 {
            let mut parameters = [1, 2, 3, 4].map(|n| value(Direction::Input, [n, n << 8, THIRD]));
            parameters[index] = value(Direction::Output, [0xffff, 0xffff, THIRD]);
            let sum = 10 - (index as u64 + 1);
            let words = session.invocation(PARAMS, &parameters);
            let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
            reply.is_with(result::SUCCESS, &[(index, [sum, sum << 8, THIRD])])?;
        }
    }
    session.close()
}

case!(4, what_a_command_refuses_comes_back_as_it_was);
fn what_a_command_refuses_comes_back_as_it_was(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    // No parameters; values that go in alone; more of them than the command adds.
    for parameters in [
        &[][..],
        &[value(Direction::Input, [1, 2, THIRD])],
        &[Parameter::None; 4],
        &[value(Direction::Input, [1, 2, THIRD]); 4],
    ] {
        session
            .invoke(PARAMS, parameters)?
            .is(result::BAD_PARAMETERS)?;
    }
    // A command that there is not.
    let sum = value(Direction::InOut, [1, 2, THIRD]);
    session.invoke(0xffff, &[sum])?.is(result::BAD_PARAMETERS)?;
    session.close()
}

case!(4, meta_parameters_are_for_opening_alone);
fn meta_parameters_are_for_opening_alone(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    let meta = Parameter::Value {
        direction: Direction::InOut,
        meta: true,
        words: [1, 2, THIRD],
    };
    // OP-TEE refuses it, and brings nothing back.
    session
        .invoke(PARAMS, &[meta])?
        .is(result::BAD_PARAMETERS)?;
    session.close()
}

case!(
    4,
    an_opening_message_names_its_application_and_takes_parameters
);
fn an_opening_message_names_its_application_and_takes_parameters(
    environment: &Environment,
) -> Outcome {
    let client = Client::new(environment)?;
    let meta = opening(TESTS);
    for flavour in FLAVOURS {
        // With four parameters: as many as there can be.
        let mut message = Message::new(command::OPEN_SESSION, &[Parameter::None; 6]);
        for index in 0..2 {
            message.set_parameter(index, meta.parameter(index).unwrap_or(Parameter::None));
        }
        for index in 2..6 {
            message.set_parameter(index, value(Direction::InOut, [index as u64, 7, THIRD]));
        }
        let sent = Words::of(&message, 6);
        let reply = client.converse(flavour, &sent, &mut Supplicant::none())?;
        reply.is(result::SUCCESS)?;
        client.close(flavour, reply.came.session())?;
        // Without a name, or with half of what it takes.
        for count in [0, 1] {
            let short = Words::of(&meta, count).claiming(count as u32);
            let reply = client.converse(flavour, &short, &mut Supplicant::none())?;
            reply.is(result::BAD_PARAMETERS)?;
        }
        let unmarked = Words::of(&meta, 2).with_attributes(0, 1);
        let reply = client.converse(flavour, &unmarked, &mut Supplicant::none())?;
        reply.is(result::BAD_PARAMETERS)?;
    }
    Ok(())
}

case!(4, undefined_attributes_are_refused);
fn undefined_attributes_are_refused(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let session = Session::tests(&client)?;
    for attributes in [
        // Types between those that there are, and FMEM, which is FF-A's.
        4,
        8,
        0xc,
        0xd,
        0xe,
        0xf,
        0x10,
        0x11,
        0xff,
        // META and NONCONTIG where they mean nothing.
        0x100,
        0x105,
        0x107,
        0x109,
        0x10a,
        0x200,
        0x201,
        0x205,
        0x206,
        // Bits that nobody defined.
        0x401,
        0x802,
        0x1003,
        0x8_0009,
        0x10_000a,
        1 << 32 | 1,
        1 << 63 | 3,
        u64::MAX,
        // A cache hint on what is no temporary memory.
        0x1_0001,
        0x1_0005,
    ] {
        for index in 0..4 {
            let parameters = [value(Direction::InOut, [0x4000_0000, 8, 0]); 4];
            let words = session.invocation(PARAMS, &parameters[..=index]);
            let reply = client.ask(&words.with_attributes(index, attributes))?;
            reply.is_refused(result::BAD_PARAMETERS)?;
        }
    }
    session.close()
}
