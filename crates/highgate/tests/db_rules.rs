//! Rules and hints, for texts and for what was prepared.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/replica.rs"]
mod replica;

use highgate_testkit::{Deadline, HighgateProcess, MariaDb, wait_until};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable as _};

const RULES: &str = "[[rule]]\nrule_id = 1\nactive = true\nmatch_digest = \"^SELECT DISTINCT name FROM me\"\n\
     role = \"primary\"\napply = true\n\
     [[rule]]\nrule_id = 2\nactive = true\nmatch_pattern = \"FROM old\"\n\
     replace_pattern = \"FROM me\"\napply = true\n";

/// What a text says, and what it says when it is prepared and executed twice.
async fn said(client: &mut Conn, text: &str) -> [Option<String>; 3] {
    let text_says = client.query_first(text.replace("= ?", "= 1")).await.unwrap();
    let first = client.exec_first(text, (1,)).await.unwrap();
    let second = client.exec_first(text, (1,)).await.unwrap();
    [text_says, first, second]
}

async fn checks(highgate: &HighgateProcess) {
    let addr = highgate.listener("shop").unwrap();
    let options = OptsBuilder::default()
        .ip_or_hostname(addr.ip().to_string())
        .tcp_port(addr.port())
        .user(Some("app"))
        .pass(Some("app"))
        .db_name(Some("shop"))
        .prefer_socket(false);
    let mut client = Conn::new(options).await.unwrap();
    for (text, server) in [
        ("SELECT name FROM me WHERE 1 = ?", "replica"),
        ("/* highgate: primary */ SELECT name FROM me WHERE 1 = ?", "primary"),
        ("SELECT DISTINCT name FROM me WHERE 1 = ?", "primary"),
        ("SELECT name FROM old WHERE 1 = ?", "replica"),
    ] {
        let expected = [server, server, server].map(|name| Some(name.to_owned()));
        assert_eq!(said(&mut client, text).await, expected, "{text}");
    }
    client.disconnect().await.unwrap();
}

#[test]
fn executions_follow_the_rules_and_hints_of_the_text_that_was_prepared() {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return;
    }
    let cluster = replica::cluster();
    let highgate = replica::highgate(&cluster, "", RULES);
    let reads = wait_until(Deadline::seconds(20), || highgate.log().contains("db2"));
    assert!(reads, "{}", highgate.log());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(checks(&highgate));
}
