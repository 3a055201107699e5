//! Atomics and locks. With the feature `races` they are those of shuttle, which runs threads in
//! many orders, one step between two of these at a time (`verify/races`).

#[cfg(not(feature = "races"))]
pub(crate) use core::sync::atomic;
#[cfg(not(feature = "races"))]
pub(crate) use spin::{Mutex, MutexGuard};

#[cfg(feature = "races")]
pub(crate) use self::in_many_orders::{Mutex, MutexGuard, atomic};

/// Lets other threads go first, where the order of threads is looked into.
#[cfg(any(test, feature = "fakes"))]
pub(crate) fn others_may_go_first() {
    #[cfg(feature = "races")]
    shuttle::thread::yield_now();
}

/// What a CPU does at each turn of a loop in which it waits for another one.
pub(crate) fn wait() {
    #[cfg(feature = "races")]
    shuttle::thread::yield_now();
    #[cfg(not(feature = "races"))]
    core::hint::spin_loop();
}

#[cfg(feature = "races")]
mod in_many_orders {
    pub(crate) use shuttle::sync::{MutexGuard, atomic};

    /// A lock whose holder never panics, so that it is used as spin's is.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            match self.0.lock() {
                Ok(guard) => guard,
                Err(poisoned) => poisoned.into_inner(),
            }
        }
    }
}
