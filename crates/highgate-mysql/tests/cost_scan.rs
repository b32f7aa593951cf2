//! What the scanner of replies may cost: no allocation, however a reply is cut.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use highgate_mysql::reply::{Column, ResultSetWriter};
use highgate_mysql::scan::{CommandKind, ReplyScanner, ScanState};
use highgate_mysql::{Capabilities, StatusFlags};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed to the system's allocator as it came; counting touches a
// constant-initialised thread local without a destructor, which does not allocate.
unsafe impl GlobalAlloc for Counting {
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

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_scan_allocates_nothing() {
    let mut bytes = Vec::new();
    let columns = [Column::text("a"), Column::text("b")];
    let caps = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
    let mut set = ResultSetWriter::begin(&mut bytes, 1, caps, StatusFlags::AUTOCOMMIT, &columns);
    for _ in 0..1000 {
        set.text_row(["some text", "some more text"]);
    }
    set.finish();
    let mut scanner = ReplyScanner::new(CommandKind::Query, caps);
    let before = ALLOCATIONS.with(Cell::get);
    for chunk in [1, 7, 100, 16_384, bytes.len()] {
        scanner.reset(CommandKind::Query, caps);
        let mut state = ScanState::More;
        for part in bytes.chunks(chunk) {
            state = scanner.feed(part).state;
        }
        assert_eq!((state, scanner.rows()), (ScanState::Done, 1000));
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
}
