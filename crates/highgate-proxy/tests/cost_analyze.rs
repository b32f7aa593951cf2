//! What reading a text may cost: no allocation once the buffers are warm.

use highgate_mysql::sql::{LexMode, Scratch, analyze};
use highgate_testkit::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

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
    let before = CountingAllocator::count();
    read();
    assert_eq!(CountingAllocator::count(), before);
}
