//! What EL2 has to know of AArch32, in which a guest's programs at EL0 may run: conditions and IT
//! blocks.

use crate::arch::exception_entry::pstate;

/// PSTATE.IT is split: `IT[7:2]` in bits 15 to 10, `IT[1:0]` in bits 26 and 25 (DDI0487J.a,
/// C5.2.19).
const IT_HIGH: u64 = 0b11_1111 << 10;
const IT_LOW: u64 = 0b11 << 25;

const fn it(pstate: u64) -> u64 {
    (pstate & IT_HIGH) >> 8 | (pstate & IT_LOW) >> 25
}

const fn with_it(pstate: u64, it: u64) -> u64 {
    pstate & !(IT_HIGH | IT_LOW) | (it << 8 & IT_HIGH) | (it << 25 & IT_LOW)
}

/// PSTATE after an instruction of AArch32 was executed: the IT block goes on (DDI0487J.a, F1.3.2,
/// `ITAdvance`), and a single step is done.
#[must_use]
pub const fn after_instruction(pstate: u64) -> u64 {
    let it = it(pstate);
    let next = if it & 0b111 == 0 {
        0
    } else {
        it & 0b1110_0000 | it << 1 & 0b1_1111
    };
    with_it(pstate, next) & !pstate::SS
}

/// Whether the condition holds under which the instruction that trapped at `pstate` is executed at
/// all. A CPU may trap one whose condition fails, which does nothing (DDI0487J.a, D19.2.37, "CV"
/// and "COND").
///
/// `condition` is COND where the syndrome has one (CV = 1), else the IT block says.
#[must_use]
pub fn condition_holds(pstate: u64, condition: Option<u8>) -> bool {
    const ALWAYS: u8 = 0b1110;
    let condition = condition.unwrap_or_else(|| match it(pstate) {
        0 => ALWAYS,
        it => (it >> 4) as u8,
    });
    let flag = |bit: u32| pstate >> bit & 1 == 1;
    let (n, z, c, v) = (flag(31), flag(30), flag(29), flag(28));
    // DDI0487J.a, table F1-1: an odd condition is the opposite of the even one before it, but for
    // 0b1111.
    let holds = match condition >> 1 {
        0b000 => z,
        0b001 => c,
        0b010 => n,
        0b011 => v,
        0b100 => c && !z,
        0b101 => n == v,
        0b110 => n == v && !z,
        _ => return true,
    };
    holds != (condition & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: u64 = 1 << 30;
    const N: u64 = 1 << 31;
    const C: u64 = 1 << 29;
    const V: u64 = 1 << 28;

    #[test]
    fn conditions_are_the_architecture_s() {
        for (condition, holds_with, fails_with) in [
            (0b0000, Z, 0),     // EQ
            (0b0001, 0, Z),     // NE
            (0b0010, C, 0),     // CS
            (0b0011, 0, C),     // CC
            (0b0100, N, 0),     // MI
            (0b0101, 0, N),     // PL
            (0b0110, V, 0),     // VS
            (0b0111, 0, V),     // VC
            (0b1000, C, C | Z), // HI
            (0b1001, C | Z, C), // LS
            (0b1010, N | V, N), // GE
            (0b1011, N, N | V), // LT
            (0b1100, N | V, Z), // GT
            (0b1101, Z, N | V), // LE
        ] {
            assert!(
                condition_holds(holds_with, Some(condition)),
                "{condition:#b}"
            );
            assert!(
                !condition_holds(fails_with, Some(condition)),
                "{condition:#b}"
            );
        }
        assert!(condition_holds(0, Some(0b1110)));
        assert!(condition_holds(N | Z | C | V, Some(0b1111)));
    }

    #[test]
    fn without_a_condition_the_it_block_says() {
        assert!(condition_holds(0, None), "no IT block");
        // ITE EQ: IT = 0000 1100, then 0001 1000.
        let eq = with_it(0, 0b0000_1100);
        assert!(!condition_holds(eq, None));
        assert!(condition_holds(eq | Z, None));
        let ne = after_instruction(eq);
        assert_eq!(it(ne), 0b0001_1000);
        assert!(condition_holds(ne, None));
        assert!(!condition_holds(ne | Z, None));
        assert_eq!(it(after_instruction(ne)), 0, "the block is over");
    }

    #[test]
    fn a_step_is_done_and_nothing_else_changes() {
        let pstate = N | 1 << 5 | 0b1_0000;
        assert_eq!(after_instruction(pstate | pstate::SS), pstate);
        assert_eq!(it(with_it(pstate, 0xff)), 0xff);
    }
}
