//! EL2's stacks, one for each CPU. Below each lies a guard page that [`crate::arch::mmu`] leaves
//! out of EL2's map, so that a stack that grows too large ends in an exception and not in
//! somebody's data.

use alloc::vec::Vec;
use spin::Once;

/// Bytes of stack that a CPU has.
const STACK_SIZE: usize = 64 * 1024;
const GUARD_SIZE: usize = 4096;

/// A stack, and the page below it that is mapped nowhere.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct GuardedStack {
    guard: [u8; GUARD_SIZE],
    stack: [u8; STACK_SIZE],
}

/// The first CPU's, which the assembly in [`crate::boot::entry`] uses.
#[unsafe(no_mangle)]
static mut PRIMARY_STACK: GuardedStack = GuardedStack {
    guard: [0; GUARD_SIZE],
    stack: [0; STACK_SIZE],
};

/// Where each CPU's guard page lies, by number of the CPU.
static GUARDS: Once<Vec<u64>> = Once::new();

/// Makes the stacks of `cpus` CPUs. `None` where the heap has no room.
#[must_use]
pub fn init(cpus: usize) -> Option<()> {
    let mut guards = Vec::new();
    guards.try_reserve_exact(cpus).ok()?;
    guards.push(&raw const PRIMARY_STACK as u64);
    for _ in 1..cpus {
        let stack = crate::arch::heap::allocate_zeroed(
            size_of::<GuardedStack>(),
            align_of::<GuardedStack>(),
        )?;
        guards.push(stack as u64);
    }
    GUARDS.call_once(|| guards);
    Some(())
}

/// The address behind the stack of CPU number `cpu`, where it begins to grow; `None` where there is
/// no such CPU.
#[must_use]
pub fn top(cpu: usize) -> Option<u64> {
    let guard = GUARDS.get()?.get(cpu)?;
    Some(guard + size_of::<GuardedStack>() as u64)
}

/// Start and end of each guard page, the lowest first.
#[must_use]
pub fn guards() -> Vec<(u64, u64)> {
    let mut guards = GUARDS.get().cloned().unwrap_or_default();
    guards.sort_unstable();
    let page = |start| (start, start + GUARD_SIZE as u64);
    guards.into_iter().map(page).collect()
}

/// The CPU whose guard page `address` lies in.
#[must_use]
pub fn guarded_by(address: u64) -> Option<usize> {
    let hit = |&guard: &u64| (guard..guard + GUARD_SIZE as u64).contains(&address);
    GUARDS.get()?.iter().position(hit)
}
