//! Shares as much with the TEE as a guest may, in stages that somebody at its console ends with a
//! key, and ends while it owes the TEE an answer.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod tee_limits {
    use alloc::string::String;
    use alloc::vec::Vec;

    use guest_shim::arch::uart;
    use guest_shim::check_eq;
    use guest_shim::optee::arena::Area;
    use guest_shim::optee::arena::fresh_cookie;
    use guest_shim::optee::client::{Client, Flavour};
    use guest_shim::optee::words::Words;
    use guest_shim::optee::{TESTS, opening};
    use guest_shim::runtime::environment::Environment;
    use optee_abi::message::{Direction, Parameter, command};
    use optee_abi::result;

    /// `PTA_INVOKE_TESTS_CMD_PARAMS`: adds the bytes of a buffer and puts the sum into its first
    /// byte.
    const PARAMS: u32 = 1;
    /// Pages of the large buffer: 8 MiB.
    const LARGE: u64 = 2048;
    /// Small buffers that there are to be at least.
    const MANY: usize = 1000;
    guest_shim::payload!(run);

    fn run(environment: &Environment) {
        uart::enable();
        if let Err(reason) = stages(environment) {
            guest_shim::println!("@@failed {reason}");
        }
    }

    /// Says where it is and waits for a key.
    fn pause(stage: &str) {
        guest_shim::println!("@@at {stage}");
        let _ = uart::receive();
    }

    fn stages(environment: &Environment) -> Result<(), String> {
        pause("start");
        let client = Client::new(environment)?;
        let session = client.open(Flavour::RpcArgument, TESTS)?;
        share_large_buffers(&client)?;
        share_many_buffers(&client, session)?;
        client.close(Flavour::RpcArgument, session)?;
        pause("nothing");
        leave_a_call_unanswered(&client)
    }

    /// Has the TEE add all bytes of a buffer.
    fn add_bytes(client: &Client, session: u32, cookie: u64, area: &Area) -> Result<(), String> {
        let buffer = Parameter::Registered {
            direction: Direction::InOut,
            offset: 0,
            size: area.len,
            reference: cookie,
        };
        let words = Words::new(command::INVOKE_COMMAND, &[buffer]).to(session, PARAMS);
        let bytes = (0..area.len).step_by(8);
        let sum = bytes
            .flat_map(|offset| area.read(offset).to_le_bytes())
            .fold(0, u8::wrapping_add);
        client.ask(&words)?.is(result::SUCCESS)?;
        check_eq!(area.byte(0), sum, "the sum of {:#x} bytes", area.len);
        Ok(())
    }

    /// Pseudo-TAs can't use a buffer of this size: OP-TEE has too few translation tables to map it,
    /// and halts when they run out (`core_mmu_map_pages`, `core/mm/core_mmu.c`, 4.5.0). Trusted
    /// applications have their own.
    fn share_large_buffers(client: &Client) -> Result<(), String> {
        let (area, cookie) = (client.arena.pages(LARGE), fresh_cookie());
        // No two of its pages follow one another.
        let list = client.list(area.addresses().rev());
        let registered = client.register_list(list.address, area.len, cookie)?;
        check_eq!(
            registered,
            result::SUCCESS,
            "registering {:#x} bytes",
            area.len
        );
        pause("large");
        // The same pages by other names, until that is more than there may be in all.
        let mut names = Vec::from([cookie]);
        loop {
            let name = fresh_cookie();
            match client.register_list(list.address, area.len, name)? {
                result::SUCCESS => names.push(name),
                refused => {
                    check_eq!(refused, result::OUT_OF_MEMORY, "one large buffer more");
                    break;
                }
            }
        }
        pause("total");
        for name in names {
            client.take_back(name)?;
        }
        Ok(())
    }

    fn share_many_buffers(client: &Client, session: u32) -> Result<(), String> {
        let mut buffers = Vec::new();
        loop {
            let (area, cookie) = (client.arena.pages(1), fresh_cookie());
            match client.register(&area, cookie)? {
                result::SUCCESS => buffers.push((cookie, area)),
                refused => {
                    check_eq!(refused, result::OUT_OF_MEMORY, "one buffer more");
                    break;
                }
            }
            area.fill(cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            if buffers.len() == MANY {
                pause("many");
            }
        }
        pause("full");
        let one_more = client.arena.pages(1);
        for _ in 0..3 {
            let refused = client.register(&one_more, fresh_cookie())?;
            check_eq!(refused, result::OUT_OF_MEMORY, "registering one more");
        }
        for (cookie, area) in buffers.iter().step_by(37) {
            add_bytes(client, session, *cookie, area)?;
        }
        pause("refused");
        for (cookie, _) in buffers {
            client.take_back(cookie)?;
        }
        Ok(())
    }

    /// A session, buffers, and a call that waits for the guest, are left behind.
    fn leave_a_call_unanswered(client: &Client) -> Result<(), String> {
        client.open(Flavour::RpcArgument, TESTS)?;
        for _ in 0..3 {
            let registered = client.register(&client.arena.pages(7), fresh_cookie())?;
            check_eq!(registered, result::SUCCESS, "a buffer");
        }
        // OP-TEE asks the guest for an application that it has not.
        let nobody = Words::of(&opening(*b"nobody-has-this!"), 2);
        let ready = client.prepare(Flavour::RpcArgument, &nobody)?;
        client.send(&ready)?.asked()?;
        pause("owing");
        Ok(())
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "tee_limits: this program runs in a guest; build it with --target aarch64-unknown-none-softfloat"
    );
    std::process::exit(1);
}
