//! Which trusted applications a guest may open.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// The name of a trusted application, in the order of bytes that its text has (RFC 9562, §4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of OP-TEE that is for its own tests (`PTA_INVOKE_TESTS_UUID`,
/// `lib/libutee/include/pta_invoke_tests.h`, OP-TEE 4.5 to 4.10). It trusts who calls it: a buffer
/// of no bytes makes it write to NULL (`test_entry_params`, `core/pta/tests/invoke.c`), and OP-TEE
/// halts for all guests.
pub const OPTEE_TESTS: Uuid = Uuid([
    0xd9, 0x6a, 0x5b, 0x40, 0xc3, 0xe5, 0x21, 0xe3, 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b,
]);

/// Some trusted applications. A look-up takes as many steps as the number of them has bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaList(Arc<[Uuid]>);

impl TaList {
    /// Those named, in any order.
    #[must_use]
    pub fn new(mut named: Vec<Uuid>) -> Self {
        named.sort_unstable();
        Self(named.into())
    }

    /// Whether `application` is one of them.
    #[must_use]
    pub fn contains(&self, application: Uuid) -> bool {
        self.0.binary_search(&application).is_ok()
    }
}

/// Which trusted applications a guest may open, those that are part of the TEE (pseudo-TAs) among
/// them. What an application that it may open opens on its behalf is not the guest's doing and is
/// not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TaAccess {
    /// All.
    #[default]
    All,
    /// These and no others.
    Only(TaList),
    /// All but these.
    AllBut(TaList),
}

impl TaAccess {
    /// What a guest may open of which nobody says what it may: all but [`OPTEE_TESTS`].
    #[must_use]
    pub fn usual() -> Self {
        Self::AllBut(TaList::new(vec![OPTEE_TESTS]))
    }

    /// All but those named.
    #[must_use]
    pub fn all_but(named: Vec<Uuid>) -> Self {
        if named.is_empty() {
            return Self::All;
        }
        Self::AllBut(TaList::new(named))
    }

    /// Whether the guest may open `application`.
    #[must_use]
    pub fn allows(&self, application: Uuid) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.contains(application),
            Self::AllBut(list) => !list.contains(application),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn ta(number: u8) -> Uuid {
        Uuid([number; 16])
    }

    #[test]
    fn lists_say_what_may_be_opened() {
        let list = TaList::new(vec![ta(9), ta(1), ta(5)]);
        let (only, all_but) = (TaAccess::Only(list.clone()), TaAccess::AllBut(list));
        for listed in [1, 5, 9] {
            assert!(only.allows(ta(listed)) && !all_but.allows(ta(listed)));
        }
        for other in [0, 2, 10] {
            assert!(!only.allows(ta(other)) && all_but.allows(ta(other)));
            assert!(TaAccess::All.allows(ta(other)));
        }
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let none = TaList::new(vec![]);
        assert!(!TaAccess::Only(none.clone()).allows(ta(0)));
        assert!(TaAccess::AllBut(none).allows(ta(0)));
    }

    #[test]
    fn op_tee_s_tests_are_for_whoever_is_told_that_all_may_be_opened() {
        assert!(!TaAccess::usual().allows(OPTEE_TESTS));
        assert!(TaAccess::usual().allows(ta(1)));
        assert_eq!(TaAccess::all_but(vec![]), TaAccess::All);
        assert!(TaAccess::All.allows(OPTEE_TESTS));
        assert!(!TaAccess::all_but(vec![ta(1)]).allows(ta(1)));
        assert_eq!(
            OPTEE_TESTS.to_string(),
            "d96a5b40-c3e5-21e3-8794-1002a5d5c61b"
        );
    }

    #[test]
    fn names_are_written_as_usual() {
        let name = Uuid(core::array::from_fn(|index| index as u8));
        assert_eq!(name.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
