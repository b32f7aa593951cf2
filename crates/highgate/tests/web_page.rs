//! The page as a browser shows it.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{net::SocketAddr, process::Command};

use highgate_testkit::{
    highgate::HighgateProcess,
    scratch::{self, Scratch},
    scripted::{Script, ScriptedServer},
    wait::{Deadline, wait_until},
};
use raw::{RawClient, USUAL};

/// What stands in the page once its script has run for some (virtual) seconds.
fn page(address: SocketAddr) -> anyhow::Result<String> {
    let profile = Scratch::new("chromium")?;
    scratch::run(
        Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--virtual-time-budget=2000", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("http://{address}/")),
    )
}

#[test]
fn the_page_lists_twenty_forms_of_statements_without_literals_and_as_text() -> anyhow::Result<()> {
    if scratch::which("chromium").is_none() {
        eprintln!("skipped: chromium is not installed");
        return Ok(());
    }
    let server = ScriptedServer::start(Script::ok())?;
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\n";
    let toml = failure::toml(&[server.addr()], backend, "");
    let process = HighgateProcess::start(failure::BINARY, &toml)?;
    let mut client = RawClient::connect(process.listener("shop")?, "app", "app", None, USUAL)?;
    client.ok("DO 'hunter2', `<img src=x onerror=alert(1)>`")?;
    for number in 0..30 {
        client.ok(&format!("DO column{number}"))?;
    }
    // A form is as heavy as chance has it: it takes turns until that one is among the twenty.
    let is_heavy = wait_until(Deadline::seconds(60), || {
        for _ in 0..100 {
            client.ok("DO 'hunter2', `<img src=x onerror=alert(1)>`").unwrap();
        }
        let heaviest = ["show", "digests", "--limit", "20", "--format", "json"];
        let shown = failure::ctl(&process, &heaviest).unwrap();
        shown.contains("onerror") && shown.matches("\"0x").count() == 20
    });
    assert!(is_heavy);
    let seen = page(process.admin_web()?)?;
    let statements = seen.split("data-table=\"digests\"").nth(1).unwrap();
    let statements = statements.split("</section>").next().unwrap();
    assert!(statements.contains("`&lt;img src=x onerror=alert(?)&gt;`"), "{statements}");
    assert!(!seen.contains("<img"), "text stays text: {statements}");
    assert!(!seen.contains("hunter2"), "no literal is shown: {statements}");
    assert_eq!(statements.matches("<tr data-key=\"0x").count(), 20, "{statements}");
    Ok(())
}
