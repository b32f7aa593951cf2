//! An allocator that counts, for tests of what may not allocate.
//!
//! A test binary makes it its own: `#[global_allocator] static ALLOCATOR: CountingAllocator = CountingAllocator;`.
#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count per thread.
#[derive(Debug)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// How often this thread has allocated so far.
    #[must_use]
    pub fn count() -> u64 {
        ALLOCATIONS.with(Cell::get)
    }
}

// SAFETY: every call is passed to the system's allocator as it came; counting touches a
// constant-initialised thread local without a destructor, which does not allocate.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }
}
