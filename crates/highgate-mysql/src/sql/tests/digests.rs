use crate::sql::{LexMode, Scratch, analyze};

/// Reads a JSON string.
fn unquoted(json: &str) -> String {
    let mut text = String::new();
    let mut chars = json.trim().trim_start_matches('"').chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '\\' => match chars.next().unwrap() {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                'u' => {
                    let digits: String = (0..4).map(|_| chars.next().unwrap()).collect();
                    text.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                other => text.push(other),
            },
            _ => text.push(char),
        }
    }
    text
}

fn digest_of(text: &str) -> String {
    let mut scratch = Scratch::new();
    String::from_utf8_lossy(analyze(text.as_bytes(), LexMode::default(), &mut scratch).digest_text)
        .into_owned()
}

#[test]
fn a_digest_is_the_one_that_proxysql_answers() {
    let mut scratch = Scratch::new();
    let (mut rows, mut with_version_comments) = (0, 0);
    for line in include_str!("../../../tests/golden/digests.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let mut columns = line.split('\t');
        let (text, expected) =
            (unquoted(columns.next().unwrap()), unquoted(columns.next().unwrap()));
        // Their literals are shown there, and not here.
        if text.contains("/*!") {
            with_version_comments += 1;
            continue;
        }
        let hash = u64::from_str_radix(columns.next().unwrap().trim().trim_start_matches("0x"), 16)
            .unwrap();
        let analysis = analyze(text.as_bytes(), LexMode::default(), &mut scratch);
        assert_eq!(String::from_utf8_lossy(analysis.digest_text), expected, "of {text:?}");
        assert_eq!(analysis.digest, hash, "of {text:?}");
        rows += 1;
    }
    assert_eq!((rows, with_version_comments), (1402, 98));
}

#[test]
fn a_digest_reads_as_documented() {
    for (text, digest) in [
        ("select/* COMMENT */1", "select ?"),
        ("-- x \n select 1.1-- y", "select ?"),
        ("SELECT \r\n\t 1 \r\n", "SELECT ?"),
        ("SELECT\n'foo',\n\t4", "SELECT ?,?"),
        ("SELECT - '1'", "SELECT ?"),
        ("SELECT (\t\t+2/2 )", "SELECT (?/?)"),
        ("select 1.1e-9", "select ?"),
        ("select 0x100", "select ?"),
        ("select 1+ 1, 1 -1,NOW()+1, NOW() - 1", "select ?+?,?-?,NOW()+?,NOW() -?"),
        ("SELECT * FROM t t1, t t2 ,t t3 LIMIT 0", "SELECT * FROM t t1,t t2,t t3 LIMIT ?"),
        ("SELECT N'string', _utf8'str\\'i\\nng'", "SELECT N?,_utf8?"),
        ("select '''\\\\''\\'''", "select ?"),
        ("select * from 1_value", "select * from 1_value"),
        ("select CONCAT(  -'89'   +  '10' )", "select CONCAT(?+?)"),
        ("x IN (1,2,3,4)", "x IN (?,?,?,?)"),
        ("x IN (1,2,3,4,5)", "x IN (?,?,?,...)"),
        ("x IN (1,2,3,4,5,6,7,8,9,10)", "x IN (?,?,?,...)"),
        ("SELECT 1 FOR UPDATE  ; SELECT 1   ;", "SELECT ? FOR UPDATE ; SELECT ?"),
        (
            "INSERT INTO db.t1_25 ( c1, c2  ) VALUES ( 'val', -2, 3 )",
            "INSERT INTO db.t1_25 (c1,c2) VALUES (?,?,?)",
        ),
    ] {
        assert_eq!(digest_of(text), digest, "of {text:?}");
    }
}

#[test]
fn groups_after_the_tenth_are_left_out() {
    let ten = ["(?,?)"; 10].join(",");
    let insert = |rows: usize| format!("INSERT INTO t VALUES {}", vec!["(1,'x')"; rows].join(","));
    assert_eq!(digest_of(&insert(10)), format!("INSERT INTO t VALUES {ten}"));
    assert_eq!(digest_of(&insert(11)), format!("INSERT INTO t VALUES {ten},..."));
    assert_eq!(digest_of(&insert(900)), format!("INSERT INTO t VALUES {ten},..."));
}

#[test]
fn a_digest_text_ends_at_2048_bytes() {
    assert_eq!(digest_of(&format!("SELECT {}", "column, ".repeat(1000))).len(), 2048);
}

/// They are shown on the page and in tables: mysqldump and tools for users send whole statements so.
#[test]
fn no_literal_is_left_in_a_digest_whatever_hides_it() {
    let digest_by = |text: &[u8], mode| {
        let mut scratch = Scratch::new();
        String::from_utf8_lossy(analyze(text, mode, &mut scratch).digest_text).into_owned()
    };
    let digests = [
        ("/*!50000 SELECT 'secret', 7 */", "SELECT ?,?"),
        ("SELECT /*!50000 'secret', */ 1", "SELECT ?,?"),
        ("/*! ALTER USER u IDENTIFIED BY 'secret'", "ALTER USER u IDENTIFIED BY ?"),
        ("/*!50000 SELECT 'a */ secret', \"b */ secret\" */ + 1", "SELECT ?,?+?"),
        ("/*!50000 SELECT 'open */ secret", "SELECT"),
        ("SELECT /*! /* 'secret' */ 1", "SELECT /*? ?"),
    ];
    for (text, expected) in digests {
        let digest = digest_of(text);
        assert!(!digest.contains("secret"), "{text}: {digest}");
        assert_eq!(digest, expected, "{text}");
    }
    let plain = LexMode { no_backslash_escapes: true, ..LexMode::default() };
    assert_eq!(digest_by(br"SELECT 'x\', ' secret '", plain), "SELECT ?,?");
    assert_eq!(digest_by(br"SELECT 'x''y\', 'secret'", plain), "SELECT ?,?");
    let gbk = LexMode { unsafe_charset: true, ..LexMode::default() };
    let digest = digest_by(b"SELECT '\xbf\\', ' secret '", gbk);
    assert!(!digest.contains("secret"), "{digest}");
}
