//! Makes a table out of an address, which would be given back with it.

#![no_std]
#![deny(unsafe_code)]

use addresses::Pa;
use hypervisor::mm::table_pages::TablePage;

/// The mistake.
pub fn free_anything() {
    drop(TablePage(Pa(0x4000_0000)));
}
