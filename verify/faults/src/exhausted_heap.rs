//! A guest's partition is made while the heap has no room: at its first allocation, at its second,
//! and so on.

#![expect(unsafe_code, reason = "an allocator is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mediator::Tee as _;
use mediator::optee::fakes::{World, description};
use mediator::optee::{CreateError, Limits, Optee};
use mediator::ports::{Platform, Ports, SecureWorld};
use mediator::ta_access::TaAccess;

use crate::came;

thread_local! {
    /// How many allocations of this thread succeed before all fail.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The system's heap, which is exhausted when a test says so.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

// SAFETY: what it gives is the system's, or nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let left = LEFT.get();
        if left == Some(0) {
            return core::ptr::null_mut();
        }
        LEFT.set(left.map(|left| left - 1));
        // SAFETY: the caller's layout, as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: it came from `alloc`, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// OP-TEE, which has a heap of its own.
#[derive(Clone, Debug)]
struct Apart(World);

impl SecureWorld for Apart {
    fn smc(&self, registers: [u64; 8]) -> [u64; 8] {
        let left = LEFT.replace(None);
        let answer = self.0.smc(registers);
        LEFT.set(left);
        answer
    }
}

struct Machine;

impl Platform for Machine {
    type World = Apart;
    type Memory = World;
    type Shadow = World;
    type Cpu = World;
}

#[test]
fn a_partition_is_not_made_where_the_heap_is_exhausted() {
    let mut refused = 0;
    for room in 0.. {
        let world = World::new(100);
        let optee = Optee::probe(&world).expect("OP-TEE is one");
        let ports = Ports::<Machine> {
            world: Apart(world.clone()),
            memory: world.clone(),
            shadow: world.clone(),
            cpu: world.clone(),
        };
        let guest = description(Limits::default(), TaAccess::All);
        LEFT.set(Some(room));
        let made = optee.create_partition(guest, ports);
        let needed = LEFT.replace(None);
        match made {
            Err(CreateError::OutOfMemory) => {
                refused += 1;
                let guests = world.optee().guests.len();
                came(
                    "the heap",
                    &format!("a partition is made with room for {room} allocations"),
                    "OutOfMemory, 0 guests, 0 pages pinned",
                    &format!(
                        "OutOfMemory, {guests} guests, {} pages pinned",
                        world.pinned()
                    ),
                );
            }
            Err(other) => panic!("with room for {room}: {other}"),
            Ok(partition) => {
                assert_eq!(needed, Some(0), "it took all of them");
                partition.destroy();
                let stats = partition.stats();
                assert_eq!((stats.buffers, stats.pinned_pages), (0, 0));
                break;
            }
        }
    }
    assert!(refused > 10, "{refused} allocations");
}
