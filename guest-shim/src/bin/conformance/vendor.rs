//! The vendor-specific hypervisor service says who the hypervisor is (SMCCC, DEN0028G, §6.2).

use guest_shim::arch::exchange::NOT_SUPPORTED;
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::{call, smc};
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};
use smccc::{Conduit, fast32};

const CALL_COUNT: u32 = fast32(6, 0xff00);
const UID: u32 = fast32(6, 0xff01);
const RESERVED: u32 = fast32(6, 0xff02);
const REVISION: u32 = fast32(6, 0xff03);

/// UIDs of others: KVM's, OP-TEE's and TF-A's standard service, in the registers that return them.
const OTHERS: [[u64; 4]; 3] = [
    [0xb66f_b428, 0xc52e_e911, 0xa9ca_4b56, 0x4d00_3a74],
    [0x384f_b3e0, 0xe7f8_11e3, 0xaf63_0002, 0xa5d5_c51b],
    [0x108d_905b, 0x47e8_f863, 0xfbc0_2dae, 0xe2f6_4156],
];

case!(1, the_hypervisor_has_a_uid_of_its_own);
fn the_hypervisor_has_a_uid_of_its_own(_: &Environment) -> Outcome {
    let uid: [u64; 4] = smc(UID, &[]).results();
    check!(uid[0] as u32 != u32::MAX, "there is no UID");
    check!(uid != [0; 4], "the UID is zero");
    check!(!OTHERS.contains(&uid), "the UID {uid:#x?} is another's");
    Ok(())
}

case!(1, the_uid_is_in_four_32_bit_registers);
fn the_uid_is_in_four_32_bit_registers(_: &Environment) -> Outcome {
    let exchange = smc(UID, &[]);
    let uid: [u64; 4] = exchange.results();
    check!(
        uid.iter().all(|&word| word >> 32 == 0),
        "the UID is {uid:#x?}"
    );
    exchange.keeps_all_but(4)
}

case!(1, the_uid_is_a_random_uuid);
fn the_uid_is_a_random_uuid(_: &Environment) -> Outcome {
    // RFC 9562, §4: bytes go from the lowest of the first register on; version 4, variant 0b10.
    let [_, second, third, _]: [u64; 4] = smc(UID, &[]).results();
    let version = second.to_le_bytes()[2] >> 4;
    let variant = third.to_le_bytes()[0] >> 6;
    check_eq!(version, 4, "the UID's version");
    check_eq!(variant, 0b10, "the UID's variant");
    Ok(())
}

case!(1, the_uid_is_always_the_same);
fn the_uid_is_always_the_same(environment: &Environment) -> Outcome {
    let uid = || smc(UID, &[]).results::<4>();
    check_eq!(
        call(Conduit::Hvc, UID, &[]).results::<4>(),
        uid(),
        "the UID by HVC"
    );
    let other = crate::other_vcpu::on_other_vcpu(environment, move |_| uid())?;
    check_eq!(other, uid(), "the UID on vCPU 1");
    Ok(())
}

case!(1, the_revision_has_major_and_minor);
fn the_revision_has_major_and_minor(_: &Environment) -> Outcome {
    let exchange = smc(REVISION, &[]);
    check!(exchange.result() >= 0, "there is no revision");
    let [major, minor]: [u64; 2] = exchange.results();
    check!(
        major >> 32 == 0 && minor >> 32 == 0,
        "the revision is {major:#x}.{minor:#x}"
    );
    check!((major, minor) != (0, 0), "the revision is 0.0");
    exchange.keeps_all_but(2)
}

case!(1, the_call_count_is_a_small_number);
fn the_call_count_is_a_small_number(environment: &Environment) -> Outcome {
    let exchange = smc(CALL_COUNT, &[]);
    let count = exchange.result();
    if environment.denied.contains(&CALL_COUNT) {
        check_eq!(count, NOT_SUPPORTED, "the call count, which is denied");
    } else {
        // Three queries at least answer; there are no more numbers than 16 bits.
        check!((0..0x1_0000).contains(&count), "the call count is {count}");
    }
    exchange.keeps_all_but(1)
}

case!(1, the_reserved_query_is_refused);
fn the_reserved_query_is_refused(_: &Environment) -> Outcome {
    let exchange = smc(RESERVED, &[]);
    check_eq!(exchange.result(), NOT_SUPPORTED, "call {RESERVED:#x}");
    exchange.keeps_all_but(1)
}
