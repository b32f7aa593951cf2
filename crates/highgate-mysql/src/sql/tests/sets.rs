use std::borrow::Cow;

use super::{MARIADB, MYSQL};
use crate::sql::set_statement::{Assignment, Isolation, Item, Scope, SetRefused, Value, parse};

fn items(text: &str) -> Vec<Item<'_>> {
    parse(text.as_bytes(), MARIADB).unwrap_or_else(|error| panic!("{text:?}: {error}")).items
}

fn assign<'t>(scope: Scope, name: &'t str, value: Value<'t>) -> Item<'t> {
    Item::Assignment(Assignment { scope, name: Cow::Borrowed(name), value })
}

fn literal(text: &str) -> Value<'_> {
    Value::Literal(text.as_bytes())
}

#[test]
fn an_assignment_keeps_its_value_as_written() {
    for (text, scope, name, value) in [
        ("SET autocommit=0", Scope::Session, "autocommit", literal("0")),
        ("set AUTOCOMMIT := ON;", Scope::Session, "autocommit", literal("ON")),
        ("SET @@autocommit = 'off'", Scope::Session, "autocommit", literal("'off'")),
        ("SET SESSION sql_mode = ''", Scope::Session, "sql_mode", literal("''")),
        ("SET LOCAL x = -1", Scope::Session, "x", literal("-1")),
        ("SET @@session.x = 1.5", Scope::Session, "x", literal("1.5")),
        ("SET @@local.x=TRUE", Scope::Session, "x", literal("TRUE")),
        ("SET GLOBAL x = 1", Scope::Global, "x", literal("1")),
        ("SET @@global.x = 1", Scope::Global, "x", literal("1")),
        ("SET PERSIST x = 1", Scope::Persist, "x", literal("1")),
        ("SET @@persist_only.x = 1", Scope::PersistOnly, "x", literal("1")),
        ("SET sql_mode=DEFAULT", Scope::Session, "sql_mode", Value::Default),
        ("SET time_zone = default", Scope::Session, "time_zone", Value::Default),
        ("SET `time_zone`='+00:00'", Scope::Session, "time_zone", literal("'+00:00'")),
        ("SET hot.key_buffer_size=1", Scope::Session, "hot.key_buffer_size", literal("1")),
        (
            "SET character_set_results = NULL",
            Scope::Session,
            "character_set_results",
            literal("NULL"),
        ),
        ("SET @a = 1", Scope::User, "a", literal("1")),
        ("SET @`A b` := 'x'", Scope::User, "a b", literal("'x'")),
        ("SET @a = @b + 1", Scope::User, "a", Value::Expression(b"@b + 1")),
        (
            "SET sql_mode=CONCAT(@@sql_mode, ',X')",
            Scope::Session,
            "sql_mode",
            Value::Expression(b"CONCAT(@@sql_mode, ',X')"),
        ),
        ("SET x = (SELECT 1, 2)", Scope::Session, "x", Value::Expression(b"(SELECT 1, 2)")),
        ("SET x = @@y", Scope::Session, "x", Value::Expression(b"@@y")),
        ("SET x = _utf8'a'", Scope::Session, "x", Value::Expression(b"_utf8'a'")),
        (
            "SET timestamp = CURRENT_TIMESTAMP",
            Scope::Session,
            "timestamp",
            Value::Expression(b"CURRENT_TIMESTAMP"),
        ),
        (
            "SET @@transaction_isolation='SERIALIZABLE'",
            Scope::Next,
            "transaction_isolation",
            literal("'SERIALIZABLE'"),
        ),
        ("SET @@session.tx_isolation='X'", Scope::Session, "tx_isolation", literal("'X'")),
    ] {
        assert_eq!(items(text), [assign(scope, name, value)], "of {text:?}");
    }
}

#[test]
fn a_list_is_taken_apart_in_order() {
    assert_eq!(
        items("/* x */ SET @a=1, sql_mode='A,B', @@session.x=f(1,2), GLOBAL y=2, NAMES utf8"),
        [
            assign(Scope::User, "a", literal("1")),
            assign(Scope::Session, "sql_mode", literal("'A,B'")),
            assign(Scope::Session, "x", Value::Expression(b"f(1,2)")),
            assign(Scope::Global, "y", literal("2")),
            Item::Names { charset: Some(Cow::Borrowed(b"utf8")), collation: None },
        ]
    );
}

#[test]
fn charsets_are_named_or_default() {
    let name = |text: &'static str| Some(Cow::Borrowed(text.as_bytes()));
    assert_eq!(
        items("SET NAMES utf8mb4"),
        [Item::Names { charset: name("utf8mb4"), collation: None }]
    );
    assert_eq!(items("SET NAMES DEFAULT"), [Item::Names { charset: None, collation: None }]);
    assert_eq!(
        items("SET NAMES 'latin1' COLLATE \"latin1_bin\""),
        [Item::Names { charset: name("latin1"), collation: name("latin1_bin") }]
    );
    assert_eq!(items("SET CHARACTER SET utf8"), [Item::CharacterSet(name("utf8"))]);
    assert_eq!(items("SET CHARSET DEFAULT"), [Item::CharacterSet(None)]);
}

#[test]
fn transaction_characteristics_are_read() {
    let item = |scope, isolation, read_only| [Item::Transaction { scope, isolation, read_only }];
    assert_eq!(items("SET TRANSACTION READ ONLY"), item(Scope::Next, None, Some(true)));
    assert_eq!(
        items("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"),
        item(Scope::Session, Some(Isolation::ReadCommitted), Some(false))
    );
    assert_eq!(
        items("SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        item(Scope::Global, Some(Isolation::Serializable), None)
    );
    assert_eq!(
        items("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
        item(Scope::Next, Some(Isolation::RepeatableRead), None)
    );
}

#[test]
fn accounts_and_roles_are_told_apart() {
    assert_eq!(items("SET PASSWORD FOR x@y = PASSWORD('z')"), [Item::Password]);
    assert_eq!(items("SET PASSWORD = 'z'"), [Item::Password]);
    assert_eq!(items("SET ROLE admin"), [Item::Role(b"admin")]);
    assert_eq!(items("SET DEFAULT ROLE a FOR b"), [Item::DefaultRole]);
    assert_eq!(items("SET RESOURCE GROUP g"), [Item::ResourceGroup]);
    let mysql = parse(b"SET DEFAULT ROLE a, b TO c", MYSQL).unwrap().items;
    assert_eq!(mysql, [Item::DefaultRole]);
}

/// As of MariaDB 10.11, which takes them in one list; what followed was neither recorded nor bound its session.
#[test]
fn an_assignment_behind_a_password_or_a_role_is_one() {
    let one = assign(Scope::User, "a", literal("1"));
    assert_eq!(items("SET PASSWORD = PASSWORD('x'), @a = 1"), [Item::Password, one.clone()]);
    assert_eq!(items("SET DEFAULT ROLE NONE, @a = 1"), [Item::DefaultRole, one]);
}

#[test]
fn what_is_not_sure_is_refused() {
    let refused = |text: &str| parse(text.as_bytes(), MARIADB).unwrap_err();
    assert_eq!(refused("SELECT 1"), SetRefused::NotSet);
    assert_eq!(refused("SET STATEMENT a=1 FOR SELECT 1"), SetRefused::NotSet);
    assert!(matches!(refused("SET a=1; DELETE FROM t"), SetRefused::Multi { .. }));
    assert!(matches!(refused("SET a='x"), SetRefused::Doubtful { .. }));
    for text in [
        "SET",
        "SET a",
        "SET a=",
        "SET a=1,",
        "SET =1",
        "SET a=1)",
        "SET a=(1",
        "SET NAMES",
        "SET TRANSACTION X",
    ] {
        assert!(
            matches!(refused(text), SetRefused::Syntax { .. }),
            "{text:?}: {:?}",
            refused(text)
        );
    }
}

/// Servers take the latest word for names that have none; `@@global.` is no such word.
#[test]
fn the_scope_of_a_name_without_one_is_the_latest_word() {
    let scopes = |text: &str| -> Vec<Scope> {
        let scope = |item: Item<'_>| match item {
            Item::Assignment(assignment) => assignment.scope,
            other => panic!("{other:?}"),
        };
        parse(text.as_bytes(), MARIADB).unwrap().items.into_iter().map(scope).collect()
    };
    use Scope::{Global, Session, User};
    assert_eq!(scopes("SET GLOBAL a = 1, b = 2, `c` = 3"), [Global; 3]);
    assert_eq!(scopes("SET SESSION a = 1, GLOBAL b = 2, c = 3"), [Session, Global, Global]);
    assert_eq!(scopes("SET GLOBAL a = 1, @@b = 2, @v = 3, c = 4"), [Global, Session, User, Global]);
    assert_eq!(scopes("SET @@global.a = 1, b = 2"), [Global, Session]);
}

#[test]
fn what_is_worked_out_or_depends_on_the_charset_is_no_literal() {
    for word in ["UTC_TIMESTAMP", "utc_date", "UTC_TIME", "CURRENT_TIMESTAMP", "SYSDATE", "a"] {
        let text = format!("SET @t = {word}");
        let [Item::Assignment(Assignment { value, .. })] = &items(&text)[..] else { panic!() };
        assert!(!matches!(value, Value::Literal(_)), "{text}: {value:?}");
    }
    assert!(parse(b"SET @pr\xe9 = 1", MARIADB).is_err());
    assert!(parse("SET @pré = 1".as_bytes(), MARIADB).is_err());
}
