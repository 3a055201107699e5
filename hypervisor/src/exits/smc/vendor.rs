//! Who this hypervisor is: the general queries of the vendor-specific hypervisor service (DEN0028G,
//! §6.2).

use crate::exits::smc::answer::{answer, answer_with, uid_registers};
use crate::vm::vcpu::{Next, Vcpu};
use smccc::{FunctionId, NOT_SUPPORTED};

const CALL_COUNT: u32 = 0x8600_ff00;
const UID: u32 = 0x8600_ff01;
const REVISION: u32 = 0x8600_ff03;

/// e5873063-7c63-45cc-ae9d-dd6f889fb6f4, in the order of its bytes.
const OUR_UID: [u8; 16] = [
    0xe5, 0x87, 0x30, 0x63, 0x7c, 0x63, 0x45, 0xcc, 0xae, 0x9d, 0xdd, 0x6f, 0x88, 0x9f, 0xb6, 0xf4,
];

/// Major and minor revision of this service.
const OUR_REVISION: [u64; 2] = [0, 1];

/// Serves a call of this owner.
pub fn call(vcpu: &mut Vcpu, function: FunctionId) -> Next {
    match function.0 {
        CALL_COUNT => answer(vcpu, 3),
        UID => answer_with(vcpu, uid_registers(OUR_UID)),
        REVISION => answer_with(vcpu, OUR_REVISION),
        _ => answer(vcpu, NOT_SUPPORTED),
    }
}
