//! Memory of whole pages, as a program that shares its buffers with a TEE has it.

use std::io::{Error, Result};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU8;

/// Anonymous memory at a page's start, all of it present, in pages of the smallest size.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    length: usize,
}

impl Pages {
    /// A number of bytes, each written once so that the kernel has given the page.
    pub fn new(length: usize) -> Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other
        // memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        // Linux would make large buffers of huge pages where it has memory enough, and of small
        // ones where it has not. SAFETY: it is the mapping made above; the advice changes what
        // backs it and not what is in it.
        let advised = unsafe { libc::madvise(start, length, libc::MADV_NOHUGEPAGE) };
        if advised != 0 {
            return Err(Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::other("mapped at 0"))?;
        let mut pages = Self { start, length };
        pages.fill(0x5a);
        Ok(pages)
    }
}

impl Pages {
    /// A byte that more than one thread changes, or one and the TEE. `None` if it is not inside.
    pub fn atomic(&mut self, offset: usize) -> Option<&AtomicU8> {
        (offset < self.length).then(|| {
            // SAFETY: the byte is inside the mapping, which lives as long as self, and self is
            // borrowed mutably: nothing looks at it but through this.
            unsafe { AtomicU8::from_ptr(self.start.as_ptr().add(offset)) }
        })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping has this start and length, is initialised and lives as long as self.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no borrow of it is left. It can't fail for a
        // whole mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
