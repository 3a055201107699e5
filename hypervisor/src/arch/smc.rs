//! SMCs that the hypervisor issues itself: PSCI for its own CPUs, and what a mediator sends to the secure world.

use core::arch::asm;
use mediator::ports::SecureWorld;
use smccc::CallRegisters;

/// The way to EL3, for any SMC.
///
/// SMCCC (DEN0028, §2.6 and §2.7) lets the callee change x0 to x17; the firmware keeps the rest.
#[derive(Clone, Copy, Debug)]
pub struct SecureMonitor;

impl SecureWorld for SecureMonitor {
    fn smc(&self, registers: [u64; 8]) -> [u64; 8] {
        let mut r = registers;
        // SAFETY: the firmware keeps x18 to x30 and SP. What it or a TEE writes in memory lies in pages that a mediator
        // gave it for that, which no Rust reference covers; the default memory clobber keeps accesses in order.
        unsafe {
            asm!(
                "smc #0",
                inout("x0") r[0], inout("x1") r[1], inout("x2") r[2], inout("x3") r[3],
                inout("x4") r[4], inout("x5") r[5], inout("x6") r[6], inout("x7") r[7],
                out("x8") _, out("x9") _, out("x10") _, out("x11") _, out("x12") _,
                out("x13") _, out("x14") _, out("x15") _, out("x16") _, out("x17") _,
                options(nostack),
            );
        }
        r
    }
}

impl SecureMonitor {
    /// Issues a call with all the registers that SMCCC knows (DEN0028G, §3.1).
    pub fn call(self, registers: &mut CallRegisters) {
        let r = registers;
        // SAFETY: as in `smc` above.
        unsafe {
            asm!(
                "smc #0",
                inout("x0") r[0], inout("x1") r[1], inout("x2") r[2], inout("x3") r[3],
                inout("x4") r[4], inout("x5") r[5], inout("x6") r[6], inout("x7") r[7],
                inout("x8") r[8], inout("x9") r[9], inout("x10") r[10], inout("x11") r[11],
                inout("x12") r[12], inout("x13") r[13], inout("x14") r[14], inout("x15") r[15],
                inout("x16") r[16], inout("x17") r[17],
                options(nostack),
            );
        }
    }

    fn psci(self, function: arm_psci::FunctionId, arguments: [u64; 3]) -> Result<(), i32> {
        let [a, b, c] = arguments;
        let result = self.smc([u64::from(u32::from(function)), a, b, c, 0, 0, 0, 0])[0] as i32;
        if result == 0 { Ok(()) } else { Err(result) }
    }

    /// Starts the CPU with affinity `mpidr` at `entry`, with `context` in x0 (PSCI CPU_ON, DEN0022F.b §5.1.4).
    ///
    /// # Errors
    ///
    /// PSCI's error code.
    pub fn cpu_on(self, mpidr: u64, entry: u64, context: u64) -> Result<(), i32> {
        self.psci(arm_psci::FunctionId::CpuOn64, [mpidr, entry, context])
    }

    /// Powers the machine off (PSCI SYSTEM_OFF, DEN0022F.b §5.1.9).
    pub fn system_off(self) -> ! {
        let result = self.psci(arm_psci::FunctionId::SystemOff, [0; 3]);
        log::error!("the firmware did not power the machine off: {result:?}");
        loop {
            crate::arch::registers::wait_for_interrupt();
        }
    }
}
