//! What the scanner of replies may cost: no allocation, however a reply is cut.

use highgate_mysql::reply::{Column, ResultSetWriter};
use highgate_mysql::scan::{CommandKind, ReplyScanner, ScanState};
use highgate_mysql::{Capabilities, StatusFlags};
use highgate_testkit::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

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
    let before = CountingAllocator::count();
    for chunk in [1, 7, 100, 16_384, bytes.len()] {
        scanner.reset(CommandKind::Query, caps);
        let mut state = ScanState::More;
        for part in bytes.chunks(chunk) {
            state = scanner.feed(part).state;
        }
        assert_eq!((state, scanner.rows()), (ScanState::Done, 1000));
    }
    assert_eq!(CountingAllocator::count(), before);
}
