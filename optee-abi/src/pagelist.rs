//! Lists of pages that describe a buffer (`OPTEE_MSG_ATTR_NONCONTIG`; `optee_msg.h`, OP-TEE 4.5.0).
//!
//! A list is a chain of pages of 512 64-bit words: 511 addresses of 4 KiB pages, then the address
//! of the next page of the list. The last link means nothing: how many addresses there are follows
//! from the size of the buffer, and a list that ends exactly on a page has a link that must not be
//! followed.

/// Bytes in a page (`OPTEE_MSG_NONCONTIG_PAGE_SIZE`).
pub const PAGE_SIZE: u64 = 4096;
/// 64-bit words in a page of a list.
pub const WORDS: usize = 512;
/// Addresses in a page of a list.
pub const ENTRIES: usize = WORDS - 1;
/// Index of the word that links to the next page of the list.
pub const LINK: usize = ENTRIES;

const _: () = assert!(WORDS * size_of::<u64>() == PAGE_SIZE as usize);

/// How many pages a buffer of `size` bytes spans that starts `offset` bytes into a page; `None`
/// where that overflows.
#[must_use]
pub const fn pages_spanned(offset: u64, size: u64) -> Option<u64> {
    match offset.checked_add(size) {
        Some(end) => Some(end.div_ceil(PAGE_SIZE)),
        None => None,
    }
}

/// How many pages a list of `entries` addresses takes.
#[must_use]
pub const fn list_pages(entries: u64) -> u64 {
    entries.div_ceil(ENTRIES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_can_add_a_page() {
        assert_eq!(pages_spanned(0, 4096), Some(1));
        assert_eq!(pages_spanned(1, 4096), Some(2));
        assert_eq!(pages_spanned(0xfff, 1), Some(1));
        assert_eq!(pages_spanned(0xfff, 2), Some(2));
        assert_eq!(pages_spanned(1, u64::MAX), None);
    }

    #[test]
    fn a_full_page_needs_no_second() {
        assert_eq!(list_pages(511), 1);
        assert_eq!(list_pages(512), 2);
        assert_eq!(list_pages(0), 0);
        assert_eq!(list_pages(16384), 33);
    }
}
