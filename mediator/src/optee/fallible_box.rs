//! A box that says so when the heap has no room for it. `Box` itself does not, on stable Rust.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use super::error::NoHeap;

/// A value on the heap.
#[derive(Debug)]
pub(super) struct FallibleBox<T>(Box<[T; 1]>);

impl<T> FallibleBox<T> {
    /// Puts `value` on the heap.
    pub(super) fn new(value: T) -> Result<Self, NoHeap> {
        let mut values = Vec::new();
        values.try_reserve_exact(1).map_err(|_| NoHeap)?;
        values.push(value);
        let values = values.into_boxed_slice().try_into();
        values.map(Self).map_err(|_| NoHeap)
    }
}

impl<T> Deref for FallibleBox<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        let [value] = &*self.0;
        value
    }
}

impl<T> DerefMut for FallibleBox<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        let [value] = &mut *self.0;
        value
    }
}
