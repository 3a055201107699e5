//! Random numbers for guests: a generator of ChaCha with 12 rounds that is seeded once, with what
//! the boot loader drew from the machine's own source of randomness.
//!
//! It makes 256 bytes at a time, which takes some 2,800 instructions; with the 20 rounds of RFC
//! 8439 it would be 4,400.

use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use host_abi::binding::SEED_SIZE;
use spin::{Mutex, Once};

static GENERATOR: Once<Mutex<ChaCha12Rng>> = Once::new();

/// Takes the seed. Without it there is no randomness.
pub fn init(seed: [u8; SEED_SIZE]) {
    GENERATOR.call_once(|| Mutex::new(ChaCha12Rng::from_seed(seed)));
}

/// Fills `bytes`, and returns whether there is any randomness to do it with.
#[must_use]
pub fn fill(bytes: &mut [u8]) -> bool {
    let Some(generator) = GENERATOR.get() else {
        return false;
    };
    generator.lock().fill_bytes(bytes);
    true
}

/// Whether there is any randomness.
#[must_use]
pub fn is_there() -> bool {
    GENERATOR.get().is_some()
}
