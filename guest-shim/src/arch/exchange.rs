//! A call as its caller sees it (SMCCC, DEN0028G): the registers before and after, and what it must
//! leave alone.

use alloc::format;
use alloc::string::String;

use smccc::WIDE;

/// Success, in calls of the Arm architecture, PSCI and TRNG services.
pub const SUCCESS: i64 = 0;
/// "The function is not known or not supported" (§7.1).
pub const NOT_SUPPORTED: i64 = -1;

/// Registers that carry arguments and results: x0 to x17 (§3.1).
pub const CALL_REGISTERS: usize = 18;

/// x0 to x30.
pub type GeneralRegisters = [u64; 31];

/// The registers before and after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Before it.
    pub before: GeneralRegisters,
    /// After it.
    pub after: GeneralRegisters,
    /// Whether SP was the same.
    pub stack_pointer_kept: bool,
}

impl Exchange {
    /// W0 as a signed number, which is what SMC32 calls return, or X0 for an SMC64 call.
    #[must_use]
    pub fn result(&self) -> i64 {
        if self.before[0] as u32 & WIDE == 0 {
            i64::from(self.after[0] as i32)
        } else {
            self.after[0] as i64
        }
    }

    /// The first registers after the call.
    #[must_use]
    pub fn results<const N: usize>(&self) -> [u64; N] {
        core::array::from_fn(|n| self.after[n])
    }

    /// Whether all registers but the first `results` are what they were: what does not carry a
    /// result of an SMCCC 1.1 call is preserved from x4 on, and x18 to x30 and SP always are
    /// (§3.1).
    ///
    /// # Errors
    ///
    /// Says which register changed.
    pub fn keeps_all_but(&self, results: usize) -> Result<(), String> {
        let registers = self.before.iter().zip(&self.after).enumerate();
        for (n, (before, after)) in registers.skip(results) {
            if before != after {
                return Err(format!(
                    "call {:#x} changed x{n} from {before:#x} to {after:#x}",
                    self.before[0]
                ));
            }
        }
        if self.stack_pointer_kept {
            Ok(())
        } else {
            Err(format!("call {:#x} changed SP", self.before[0]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smccc::fast32;

    fn exchange(id: u32) -> Exchange {
        let mut before = core::array::from_fn(|n| n as u64 * 0x1_0000_0001);
        before[0] = u64::from(id);
        Exchange {
            before,
            after: before,
            stack_pointer_kept: true,
        }
    }

    #[test]
    fn a_32_bit_result_is_in_w0_alone() {
        let mut call = exchange(fast32(4, 3));
        call.after[0] = 0xffff_ffff;
        assert_eq!(call.result(), NOT_SUPPORTED);
        call.after[0] = 0x5_0000_0001;
        assert_eq!(call.result(), 1);
    }

    #[test]
    fn a_64_bit_result_is_in_x0() {
        let mut call = exchange(fast32(4, 3) | WIDE);
        call.after[0] = 0xffff_ffff;
        assert_eq!(call.result(), 0xffff_ffff);
        call.after[0] = u64::MAX;
        assert_eq!(call.result(), NOT_SUPPORTED);
    }

    #[test]
    fn a_changed_register_is_named() {
        let mut call = exchange(fast32(0, 0));
        call.after[0] = 1;
        assert_eq!(call.keeps_all_but(1), Ok(()));
        assert!(call.keeps_all_but(0).unwrap_err().contains("x0"));
        call.after[17] ^= 1 << 63;
        assert!(call.keeps_all_but(4).unwrap_err().contains("x17"));
        call.after = call.before;
        call.stack_pointer_kept = false;
        assert!(call.keeps_all_but(1).unwrap_err().contains("SP"));
    }
}
