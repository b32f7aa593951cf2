use super::*;

fn written(text: &str) -> String {
    for_sqlite(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn literals_say_in_sqlite_what_they_say_in_mysql() {
    for (text, for_sqlite) in [
        ("select 1", "select 1"),
        (r"select 'it\'s', 'it''s'", "select 'it''s', 'it''s'"),
        (r#"select "it's \"so\"", "a""b""#, r#"select 'it''s "so"', 'a"b'"#),
        (r"select 'a\\'", r"select 'a\'"),
        (r"select 'a\nb\tc\rd\be\Zf\q'", "select 'a\nb\tc\rd\u{8}e\u{1a}fq'"),
        (r"select 'a\0b'", "select CAST(x'610062' AS TEXT)"),
        (r#"select 'a'"b""#, "select 'a' 'b'"),
        (r"select `a'b\`, `c``d`, 'é'", r"select `a'b\`, `c``d`, 'é'"),
    ] {
        assert_eq!(written(text), for_sqlite, "{text}");
    }
}

#[test]
fn comments_are_those_of_mysql() {
    for (text, for_sqlite) in [
        ("select 5--1 and x", "select 5- -1 and x"),
        ("select 5-- 1\n+ 2", "select 5 + 2"),
        ("select 5 --", "select 5  "),
        ("select 1 # it's\n, 2", "select 1  , 2"),
        ("select 1 /* it's -- */, 2", "select 1  , 2"),
        ("select 1 /*/ 2 */", "select 1  "),
        ("select '-- a', '# b', '/* c */'", "select '-- a', '# b', '/* c */'"),
    ] {
        assert_eq!(written(text), for_sqlite, "{text}");
    }
}

#[test]
fn a_pattern_has_the_escape_of_mysql_unless_it_names_one() {
    for (text, for_sqlite) in [
        (r"a like 'b\_c' and d", r"a like 'b\_c' ESCAPE '\' and d"),
        (r"a LIKE /* x */'b\\\\c'", r"a LIKE  'b\\c' ESCAPE '\'"),
        (r"a LIKE 'b\%|%' -- x", r"a LIKE 'b\%|%' ESCAPE '\'  "),
        (r"a LIKE 'b\_' /* x */ escape '|'", r"a LIKE 'b\_'   escape '|'"),
        ("a LIKE 'b_'", "a LIKE 'b_'"),
        (r"a = 'b\_'", r"a = 'b\_'"),
        (r"a.like 'b\_'", r"a.like 'b\_'"),
    ] {
        assert_eq!(written(text), for_sqlite, "{text}");
    }
}

#[test]
fn a_quote_that_is_never_closed_is_a_syntax_error() {
    for text in ["select 'a", r"select 'a\'", "select \"a'", "select `a", "'", "`", "'\\"] {
        assert_eq!(for_sqlite(text).map_err(|error| error.code), Err(1064), "{text}");
    }
}
