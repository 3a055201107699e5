//! The heap of a payload: part of its image.

use core::mem::MaybeUninit;

use talc::TalcLock;
use talc::source::Claim;

const HEAP_SIZE: usize = 1 << 20;

static mut ARENA: [MaybeUninit<u8>; HEAP_SIZE] = [MaybeUninit::uninit(); HEAP_SIZE];

// SAFETY: only the allocator uses the arena.
#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Claim> =
    TalcLock::new(unsafe { Claim::array(&raw mut ARENA) });
