//! Function identifiers that nobody has, of every owner (SMCCC, DEN0028G, §6.1), in every form.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest_shim::arch::exchange::NOT_SUPPORTED;
use guest_shim::kit::trials::Trial;
use guest_shim::runtime::conduit::call;
use smccc::{Conduit, FAST, WIDE};

/// Numbers that no specification, firmware or TEE here gives a meaning.
const UNUSED: [u32; 4] = [0x7ffd, 0xa5a5, 0xfefe, 0xfffe];

const GETS: &str = "NOT_SUPPORTED, and nothing else changes";

pub fn trials() -> Vec<Trial> {
    let of = |owner: u32| {
        Trial::new(
            "unknown functions",
            format!("numbers that owner {owner} does not have, in all forms, by SMC and HVC"),
            GETS,
            move |_, _| {
                for conduit in Conduit::ALL {
                    for number in UNUSED {
                        for form in [0, WIDE, FAST, FAST | WIDE] {
                            let id = owner << 24 | form | number;
                            let exchange = call(conduit, id, &[]);
                            if exchange.result() != NOT_SUPPORTED {
                                return Ok(format!("{:#x} from {id:#x}", exchange.result()));
                            }
                            exchange.keeps_all_but(1)?;
                        }
                    }
                }
                Ok(String::from(GETS))
            },
        )
    };
    (0..64).map(of).collect()
}
