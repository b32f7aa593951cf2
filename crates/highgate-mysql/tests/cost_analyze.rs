//! What reading a text may cost: no allocation once the buffers are warm.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use highgate_mysql::sql::{LexMode, Scratch, analyze};

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
fn a_warm_reading_allocates_nothing() {
    let texts = [
        "SELECT c, 'x' FROM t WHERE id = 4711 AND k IN (1, 2, 3, 4, 5, 6, 7)".to_owned(),
        format!("INSERT INTO t VALUES {}", vec!["(1,'x')"; 5000].join(",")),
        format!("SELECT {} FROM t", vec!["column"; 5000].join(", ")),
        "USE `shop`; LOAD DATA LOCAL INFILE '/tmp/it''s' INTO TABLE t".to_owned(),
        "WITH a AS (SELECT 1) /*!40101 SELECT */ * FROM a -- end".to_owned(),
    ];
    let mut scratch = Scratch::new();
    let mut read = || {
        for text in &texts {
            let analysis = analyze(text.as_bytes(), LexMode::default(), &mut scratch);
            assert!(!analysis.digest_text.is_empty());
        }
    };
    read();
    let before = ALLOCATIONS.with(Cell::get);
    read();
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
}
