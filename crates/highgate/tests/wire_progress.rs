//! Progress reports of MariaDB: for clients that asked for them, and on their connections alone.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use failure::toml;
use highgate_mysql::{
    Capabilities,
    login::{FirstPacket, LoginRequest},
};
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
};
use raw::{Part, RawClient, USUAL};

const PROGRESS: &[u8] = b"\xff\xff\xff\x01\x01\x02\x10\x27\0\x05stage";

#[test]
fn progress_reports_reach_the_client_that_asked_and_no_connection_of_others() -> anyhow::Result<()>
{
    let script = Script::new(|command| {
        if command.text().starts_with("ALTER") {
            let ok = vec![0, 0, 0, 2, 0, 0, 0];
            return Reply::Packets(vec![PROGRESS.to_vec(), PROGRESS.to_vec(), ok]);
        }
        Reply::Ok
    });
    let server = ScriptedServer::start(script.version("10.11.6-MariaDB").extended(1))?;
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\n";
    let process = HighgateProcess::start(failure::BINARY, &toml(&[server.addr()], backend, ""))?;
    let login = |more| {
        let asked = (USUAL | more).difference(Capabilities::LONG_PASSWORD);
        RawClient::connect(process.listener("shop")?, "app", "app", None, asked)
    };
    // What the server offers is known once it was logged in to.
    login(Capabilities::empty())?.ok("DO 0")?;
    let mut asks = login(Capabilities::MARIADB_PROGRESS)?;
    assert!(asks.capabilities.contains(Capabilities::MARIADB_PROGRESS), "offered");
    asks.send(b"\x03ALTER TABLE t FORCE")?;
    assert_eq!(asks.packet()?, PROGRESS);
    assert_eq!(asks.packet()?, PROGRESS);
    assert!(matches!(asks.answer()?[..], [Part::Ok { .. }]));
    assert_eq!(asks.query("DO 1")?.len(), 1, "the answer ended where it does");
    drop(asks);
    let mut other = login(Capabilities::empty())?;
    other.ok("DO 2")?;
    let asked: Vec<bool> = server.logins().iter().map(|login| wants_progress(login)).collect();
    assert_eq!(asked, [false, true], "the other one used the connection without again");
    Ok(())
}

fn wants_progress(login: &[u8]) -> bool {
    let Ok(FirstPacket::Login(request)) = LoginRequest::parse_first(login) else { return false };
    request.capabilities.contains(Capabilities::MARIADB_PROGRESS)
}
