//! Pages for translation tables, out of the heap.

use crate::mm::tables::{ENTRIES, TableMemory};
use addresses::Pa;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

#[repr(C, align(4096))]
#[derive(Debug)]
struct Table([AtomicU64; ENTRIES]);

/// A page with a table: 512 descriptors.
#[derive(Debug)]
pub struct TablePage(Box<[Table; 1]>);

/// Tables in pages of the heap.
#[derive(Clone, Copy, Debug)]
pub struct HeapTables;

impl TableMemory for HeapTables {
    type Table = TablePage;

    fn allocate_table(&mut self) -> Option<TablePage> {
        let mut page = Vec::new();
        page.try_reserve_exact(1).ok()?;
        page.push(Table([const { AtomicU64::new(0) }; ENTRIES]));
        page.into_boxed_slice().try_into().ok().map(TablePage)
    }

    fn address(&self, table: &TablePage) -> Pa {
        // EL2 maps memory one to one.
        Pa(table.0.as_ptr() as u64)
    }

    fn read(&self, table: &TablePage, index: usize) -> u64 {
        let [table] = &*table.0;
        table.0[index].load(Ordering::Relaxed)
    }

    fn write(&mut self, table: &mut TablePage, index: usize, descriptor: u64) {
        let [table] = &*table.0;
        table.0[index].store(descriptor, Ordering::Release);
    }
}
