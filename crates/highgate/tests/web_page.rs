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

/// What the page's own modules answer to a few lines of script, as text.
fn asked(script: &str) -> anyhow::Result<String> {
    let folder = Scratch::new("script")?;
    let values = include_str!("../../highgate-admin/src/web/values.js");
    let topology = include_str!("../../highgate-admin/src/web/topology.js");
    let inline = format!("{values}\n{topology}").replace("export ", "");
    let page = folder.join("page.html");
    let html = "<!doctype html><meta charset=utf-8><body><script type=module>";
    std::fs::write(&page, format!("{html}{inline}\n{script}</script>"))?;
    scratch::run(
        Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--virtual-time-budget=500", "--dump-dom"])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg(format!("file://{}", page.display())),
    )
}

#[test]
fn an_actions_fields_hold_what_the_row_says_and_a_weight_is_asked_for() -> anyhow::Result<()> {
    if scratch::which("chromium").is_none() {
        eprintln!("skipped: chromium is not installed");
        return Ok(());
    }
    let seen = asked(
        "const db1 = { name: 'db1', backend: 'shop', weight: 1000 };
         const vip = { name: 'blue', why: 'a reason of another time' };
         const answers = [guess('server', 'servers', db1), guess('weight', 'servers', db1),
             guess('vip', 'vips', vip), guess('why?', 'vips', vip),
             guess('backend', 'backends', { name: 'shop' }), guess('session', 'sessions', { id: 7 }),
             guess('user', 'rules', { id: 1, user: 'app' }), guess('sql', 'rules', { id: 1 }), nameOf('why?')];
         document.body.dataset.answers = answers.join('|');",
    )?;
    assert!(seen.contains("data-answers=\"shop/db1||blue||shop|7|app||why\""), "{}", tail(&seen));
    Ok(())
}

#[test]
fn a_status_that_the_page_does_not_know_asks_for_attention() -> anyhow::Result<()> {
    if scratch::which("chromium").is_none() {
        eprintln!("skipped: chromium is not installed");
        return Ok(());
    }
    let seen = asked(
        "const words = ['up', 'starting', 'held', 'broken', 'quarantined', 'maintenance', 'backup', 'fault',
             'upside', 'toString'];
         document.body.dataset.answers = words.map((status) => stateOf({ status }).kind).join('|');",
    )?;
    let kinds = "ok|ok|warn|bad|bad|off|ok|bad|warn|warn";
    assert!(seen.contains(&format!("data-answers=\"{kinds}\"")), "{}", tail(&seen));
    Ok(())
}

/// The end of a text, which names what was asked.
fn tail(text: &str) -> &str {
    text.get(text.len().saturating_sub(800)..).unwrap_or(text)
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
    let sessions = seen.split("data-table=\"sessions\"").nth(1).unwrap();
    let sessions = sessions.split("</section>").next().unwrap();
    let columns = ["user", "state", "statement", "seconds", "pinned by"];
    for column in columns {
        assert!(sessions.contains(&format!(">{column}</th>")), "no {column}: {sessions}");
    }
    let statements = seen.split("data-table=\"digests\"").nth(1).unwrap();
    let statements = statements.split("</section>").next().unwrap();
    assert!(statements.contains("`&lt;img src=x onerror=alert(?)&gt;`"), "{statements}");
    assert!(!seen.contains("<img"), "text stays text: {statements}");
    assert!(!seen.contains("hunter2"), "no literal is shown: {statements}");
    assert_eq!(statements.matches("<tr data-key=\"0x").count(), 20, "{statements}");
    Ok(())
}
