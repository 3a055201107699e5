//! Random numbers for guests: a ChaCha20 generator (RFC 8439) that is seeded once, with what the boot loader drew from
//! the machine's own source of randomness.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use spin::{Mutex, Once};

static GENERATOR: Once<Mutex<ChaCha20Rng>> = Once::new();

/// Takes the seed. Without it there is no randomness.
pub fn init(seed: [u8; crate::description::SEED_SIZE]) {
    GENERATOR.call_once(|| Mutex::new(ChaCha20Rng::from_seed(seed)));
}

/// Fills `bytes`, and says whether there is any randomness to do it with.
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
