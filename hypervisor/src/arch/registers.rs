//! System registers that are only read, by what they say.

use crate::arch::access::read;

/// What the trapped exception says (ESR_EL2).
#[must_use]
pub fn esr() -> u64 {
    read!("esr_el2")
}

/// The virtual address of the fault (FAR_EL2).
#[must_use]
pub fn far() -> u64 {
    read!("far_el2")
}

/// The page of the IPA that faulted in stage 2 (HPFAR_EL2, DDI0487 D24.2.64), in bytes.
#[must_use]
pub fn faulting_ipa_page() -> u64 {
    (read!("hpfar_el2") & 0x0000_0fff_ffff_fff0) << 8
}

/// The affinity fields of this CPU's MPIDR_EL1.
#[must_use]
pub fn affinity() -> u64 {
    read!("mpidr_el1") & 0xff_00ff_ffff
}

/// The size of physical addresses (ID_AA64MMFR0_EL1.PARange).
#[must_use]
pub fn physical_address_range() -> u64 {
    read!("id_aa64mmfr0_el1") & 0xf
}

/// Whether interrupts of any kind wait on this CPU (ISR_EL1).
#[must_use]
pub fn interrupt_pending() -> bool {
    read!("isr_el1") != 0
}

macro_rules! id_registers {
    ($crm:expr, $op2:expr, $($m:literal)*) => {
        match $crm {
            $($m => match $op2 {
                0 => read!(concat!("s3_0_c0_c", $m, "_0")),
                1 => read!(concat!("s3_0_c0_c", $m, "_1")),
                2 => read!(concat!("s3_0_c0_c", $m, "_2")),
                3 => read!(concat!("s3_0_c0_c", $m, "_3")),
                4 => read!(concat!("s3_0_c0_c", $m, "_4")),
                5 => read!(concat!("s3_0_c0_c", $m, "_5")),
                6 => read!(concat!("s3_0_c0_c", $m, "_6")),
                7 => read!(concat!("s3_0_c0_c", $m, "_7")),
                _ => 0,
            },)*
            _ => 0,
        }
    };
}

/// The CPU's own ID register with op0 = 3, op1 = 0, CRn = 0 and these; zero for CRm outside 1 to 7.
#[must_use]
pub fn id_register(crm: u8, op2: u8) -> u64 {
    id_registers!(crm, op2, 1 2 3 4 5 6 7)
}
