//! Asynchronous notifications. OP-TEE's own test of them (`core/tests/notif_test_wd.c`, 4.5.0)
//! notifies each guest that enabled them every second.

use alloc::string::String;

use guest_shim::arch::gic;
use guest_shim::optee::client::{Client, FLAVOURS};
use guest_shim::optee::supplicant::Supplicant;
use guest_shim::optee::words::Words;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::runtime::vcpu::wait_for;
use guest_shim::{case, check, check_eq};
use optee_abi::message::command;
use optee_abi::result;
use optee_abi::smc::{self, notification, status};

/// `OPTEE_SMC_ASYNC_NOTIF_VALUE_DO_BOTTOM_HALF`
const DO_BOTTOM_HALF: u64 = 0;

/// The value that waits, if there is one, and whether there are more.
fn value(client: &Client) -> Result<(Option<u64>, bool), String> {
    let exchange = client.call(smc::GET_ASYNC_NOTIF_VALUE, &[]);
    exchange.keeps_all_but(3)?;
    let [code, value, flags]: [u64; 3] = exchange.results();
    check_eq!(code, u64::from(status::OK), "GET_ASYNC_NOTIF_VALUE");
    check!(flags < 4, "the flags are {flags:#x}");
    let valid = flags & notification::VALID != 0;
    Ok((valid.then_some(value), flags & notification::PENDING != 0))
}

fn tell(client: &Client, command: u32) -> Outcome {
    for flavour in FLAVOURS {
        let words = Words::new(command, &[]);
        let reply = client.converse(flavour, &words, &mut Supplicant::none())?;
        reply.is(result::SUCCESS)?;
    }
    Ok(())
}

case!(4, notifications_come_as_an_interrupt_and_a_value);
fn notifications_come_as_an_interrupt_and_a_value(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    let interrupt = environment.tee_interrupt.ok_or("there is no interrupt")?;
    check_eq!(value(&client)?, (None, false), "what waits before");
    gic::enable_shared_edge(interrupt);
    check_eq!(gic::acknowledge(), None, "the interrupt before");
    // Enabled, stopped and enabled again.
    for _ in 0..2 {
        let exchange = client.call(smc::ENABLE_ASYNC_NOTIF, &[]);
        check_eq!(
            exchange.after[0],
            u64::from(status::OK),
            "ENABLE_ASYNC_NOTIF"
        );
        exchange.keeps_all_but(1)?;
        for _ in 0..2 {
            let came = core::cell::Cell::new(None);
            let arrived = wait_for(|| {
                came.set(gic::acknowledge());
                came.get().is_some()
            });
            check!(arrived, "no interrupt came");
            check_eq!(came.get(), Some(interrupt), "the interrupt");
            check_eq!(value(&client)?, (Some(DO_BOTTOM_HALF), false), "what waits");
            check_eq!(value(&client)?, (None, false), "what waits then");
            tell(&client, command::DO_BOTTOM_HALF)?;
        }
        tell(&client, command::STOP_ASYNC_NOTIF)?;
    }
    Ok(())
}

case!(4, messages_about_notifications_take_no_notice_of_the_rest);
fn messages_about_notifications_take_no_notice_of_the_rest(environment: &Environment) -> Outcome {
    let client = Client::new(environment)?;
    // Nothing is enabled: that is no error.
    tell(&client, command::DO_BOTTOM_HALF)?;
    tell(&client, command::STOP_ASYNC_NOTIF)
}
