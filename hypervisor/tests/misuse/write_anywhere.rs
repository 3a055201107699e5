//! Writes a descriptor to an address that is no table.

#![no_std]
#![deny(unsafe_code)]

use addresses::Pa;
use hypervisor::mm::tables::TableMemory;
use hypervisor::mm::table_pages::HeapTables;

/// The mistake.
pub fn write_anywhere() {
    HeapTables.write(Pa(0x4000_0000), 0, 0);
}
