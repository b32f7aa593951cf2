//! Servers that pass every check and garble answers: out for a while, and where ends of results come in a
//! form that was not agreed on.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use failure::{connect, ctl, run, until_server};
use faulty::{faulty, front, none_used_again, victims};
use highgate_mysql::Capabilities;
use highgate_testkit::{
    scripted::{Reply, wire},
    wait::{self, Deadline},
};
use mysql_async::prelude::Queryable as _;
use raw::{Part, RawClient, USUAL};

#[test]
fn a_server_that_garbles_answers_and_passes_checks_is_out_for_a_while_and_no_read_suffers() {
    let garbles = Arc::new(AtomicBool::new(true));
    let flag = garbles.clone();
    let sick = faulty(move |_| flag.load(Ordering::Relaxed).then_some(Reply::Garbage)).unwrap();
    let well = faulty(|_| None).unwrap();
    let process = front(&[sick.addr(), well.addr()], "").unwrap();
    let address = process.listener("shop").unwrap();
    // Each session begins anew, so that its server is chosen anew.
    let reads = |count: usize| {
        run(async {
            for _ in 0..count {
                let mut conn = connect(address).await.unwrap();
                let got = conn.query_first::<u64, _>("SELECT n FROM victim").await;
                assert_eq!(got.unwrap(), Some(1));
                conn.disconnect().await.unwrap();
            }
        });
    };
    let is_out = || {
        let server = failure::server(&process, "db1")?;
        let is_out = server.status == "held" && server.reason.contains("broke the protocol");
        anyhow::ensure!(is_out, "{server:?}");
        Ok(())
    };
    wait::eventually(Deadline::seconds(15), "the server to be out", || {
        reads(4);
        is_out()
    })
    .unwrap();
    let spoilt = victims(&sick);
    assert!(spoilt.len() >= 3, "{spoilt:?}");
    let since = wait::now();
    reads(20);
    if is_out().is_ok() {
        assert_eq!(victims(&sick), spoilt, "it was asked while it was out");
    } else {
        assert!(wait::now() - since > Duration::from_secs(3), "it was not out for 5 s");
    }
    none_used_again(&sick, &spoilt, "garbage");
    let events = ctl(&process, &["events", "--last", "100"]).unwrap();
    for words in [
        "the server's answer breaks the protocol: reply: packet has sequence id 165, expected 1; its connection is closed",
        "its answers break the protocol: kept out for 5 s unless no other can serve",
    ] {
        assert!(events.contains(words), "{words}:\n{events}");
    }
    // Repaired and alone it serves, held or not, and is let in.
    garbles.store(false, Ordering::Relaxed);
    drop(well);
    until_server(&process, "db2", Duration::from_secs(10), |server| server.status == "down")
        .unwrap();
    reads(3);
    until_server(&process, "db1", Duration::from_secs(40), |server| server.status == "up").unwrap();
}

#[test]
fn a_result_whose_ends_have_the_other_form_ends_the_connection() {
    let (names, row) = (["n".to_owned()], [vec![Some("1".to_owned())]]);
    let new = wire::rows(&names, &row, true);
    let old = wire::rows(&names, &row, false);
    let (count, column, cells) = (new[0].clone(), new[1].clone(), new[2].clone());
    let (ok, eof) = (new[3].clone(), old[2].clone());
    let set = |packets: &[&Vec<u8>]| packets.iter().map(|packet| (*packet).clone()).collect();
    let deprecated = USUAL | Capabilities::DEPRECATE_EOF;
    let cases: [(&str, Capabilities, Vec<Vec<u8>>); 6] = [
        ("an EOF behind the columns where none is due", deprecated, old.clone()),
        (
            "an EOF there, and an OK at the end",
            deprecated,
            set(&[&count, &column, &eof, &cells, &ok]),
        ),
        ("an EOF at the end where an OK is due", deprecated, set(&[&count, &column, &cells, &eof])),
        ("no EOF behind the columns where one is due", USUAL, new.clone()),
        ("an OK in its place", USUAL, set(&[&count, &column, &ok, &cells, &eof])),
        ("an OK at the end where an EOF is due", USUAL, set(&[&count, &column, &eof, &cells, &ok])),
    ];
    for (name, capabilities, packets) in cases {
        let flips = Arc::new(AtomicBool::new(true));
        let flag = flips.clone();
        let reply = Reply::Packets(packets);
        let server = faulty(move |_| flag.load(Ordering::Relaxed).then(|| reply.clone())).unwrap();
        let process = front(&[server.addr()], "").unwrap();
        let address = process.listener("shop").unwrap();
        let mut client = RawClient::connect(address, "app", "app", None, capabilities).unwrap();
        let got = client.query("SELECT n FROM victim").unwrap();
        assert!(matches!(got[..], [Part::Err { .. }]), "{name}: {got:?}");
        let wants = capabilities.contains(Capabilities::DEPRECATE_EOF);
        let spoilt = victims(&server);
        let mut logins = server.logins().into_iter();
        assert!(logins.any(|login| wire::wants_deprecate_eof(&login) == wants), "{name}");
        flips.store(false, Ordering::Relaxed);
        assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1", "{name}");
        none_used_again(&server, &spoilt, name);
    }
}
