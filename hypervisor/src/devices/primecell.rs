//! What Arm's peripherals have in common: they say what they are in the last eight words of their
//! page (PeriphID0 to 3, then PCellID0 to 3).

/// Where the first of these registers is.
pub(super) const IDENTIFICATION: u64 = 0xfe0;

/// The byte at `offset` of those that say what a peripheral is: one in each word.
pub(super) fn identification(bytes: [u8; 8], offset: u64) -> Option<u8> {
    let within = offset.checked_sub(IDENTIFICATION)?;
    let index = usize::try_from(within / 4).ok()?;
    bytes.get(index).copied().filter(|_| within % 4 == 0)
}
