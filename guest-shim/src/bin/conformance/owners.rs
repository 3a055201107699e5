//! Every owner number of SMCCC (DEN0028G, §6.1), in each form, by both conduits: what has no owner
//! here is refused.

use core::ops::RangeInclusive;

use guest_shim::arch::exchange::NOT_SUPPORTED;
use guest_shim::case;
use guest_shim::check_eq;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::conduit::call;
use guest_shim::runtime::environment::Environment;
use smccc::{Conduit, FAST, WIDE};

/// Numbers that no specification, firmware or TEE here gives a meaning.
const UNUSED: [u32; 4] = [0x7ffd, 0xa5a5, 0xfefe, 0xfffe];
/// General queries: call count, UID, revision (§6.2).
const QUERIES: [u32; 3] = [0xff00, 0xff01, 0xff03];

/// Calls of these owners with these numbers, in each of the forms, are refused and change no
/// register but x0.
fn refused(owners: RangeInclusive<u32>, numbers: &[u32], forms: &[u32]) -> Outcome {
    for conduit in Conduit::ALL {
        for owner in owners.clone() {
            for number in numbers {
                for form in forms {
                    let id = owner << 24 | form | number;
                    let exchange = call(conduit, id, &[]);
                    check_eq!(exchange.result(), NOT_SUPPORTED, "{conduit:?} {id:#x}");
                    exchange.keeps_all_but(1)?;
                }
            }
        }
    }
    Ok(())
}

const ALL_FORMS: [u32; 4] = [0, WIDE, FAST, FAST | WIDE];

/// All forms of unused numbers and of queries, which nobody answers.
fn nobody_s(owners: RangeInclusive<u32>) -> Outcome {
    refused(owners.clone(), &UNUSED, &ALL_FORMS)?;
    refused(owners.clone(), &QUERIES, &ALL_FORMS)?;
    refused(owners, &[0, 1, 0xffff], &ALL_FORMS)
}

case!(3, owner_0_has_no_other_calls);
fn owner_0_has_no_other_calls(_: &Environment) -> Outcome {
    refused(0..=0, &UNUSED, &ALL_FORMS)?;
    refused(0..=0, &[0, 1, 2, 0x8000], &[0, WIDE])
}

case!(8, owner_1_cpu_services_are_refused);
fn owner_1_cpu_services_are_refused(_: &Environment) -> Outcome {
    nobody_s(1..=1)
}

case!(8, owner_2_silicon_partner_services_are_refused);
fn owner_2_silicon_partner_services_are_refused(_: &Environment) -> Outcome {
    nobody_s(2..=2)
}

case!(8, owner_3_oem_services_are_refused);
fn owner_3_oem_services_are_refused(_: &Environment) -> Outcome {
    nobody_s(3..=3)
}

case!(3, owner_4_has_no_other_calls);
fn owner_4_has_no_other_calls(_: &Environment) -> Outcome {
    refused(4..=4, &UNUSED, &ALL_FORMS)?;
    refused(4..=4, &[0, 3, 0x50], &[0, WIDE])
}

case!(8, owner_5_standard_hypervisor_services_are_refused);
fn owner_5_standard_hypervisor_services_are_refused(_: &Environment) -> Outcome {
    nobody_s(5..=5)
}

case!(1, owner_6_has_no_other_calls);
fn owner_6_has_no_other_calls(_: &Environment) -> Outcome {
    refused(6..=6, &UNUSED, &ALL_FORMS)?;
    refused(6..=6, &QUERIES, &[0, WIDE, FAST | WIDE])?;
    // KVM's features and its clock.
    refused(6..=6, &[0, 1], &ALL_FORMS)
}

case!(8, owners_7_to_47_are_reserved_and_refused);
fn owners_7_to_47_are_reserved_and_refused(_: &Environment) -> Outcome {
    nobody_s(7..=47)
}

case!(8, owners_48_and_49_trusted_applications_are_refused);
fn owners_48_and_49_trusted_applications_are_refused(_: &Environment) -> Outcome {
    nobody_s(48..=49)
}

case!(4, owners_50_to_63_trusted_os_refuse_what_is_not_there);
fn owners_50_to_63_trusted_os_refuse_what_is_not_there(_: &Environment) -> Outcome {
    refused(50..=63, &UNUSED, &ALL_FORMS)
}

case!(4, owners_51_to_62_belong_to_no_tee_here);
fn owners_51_to_62_belong_to_no_tee_here(_: &Environment) -> Outcome {
    refused(51..=62, &[0, 1, 4, 9, 13], &ALL_FORMS)
}
