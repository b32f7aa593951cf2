//! How operators come in: TLS on the SQL port and the web port, accounts, and what a reload changes.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/failure.rs"]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod failure;

use std::{net::SocketAddr, path::Path, process::Command};

use certificates::{Authority, Pair, authority, shown};
use failure::ctl;
use highgate_io::tls::{self, Verify};
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::MariaDb,
    wait::{self, Deadline},
};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn toml(tls: &str, password: &str) -> String {
    format!(
        "[admin]\nsql = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n{tls}\n\
         [[admin.user]]\nname = \"admin\"\npassword = \"{password}\"\n\
         [[listener]]\nname = \"raw\"\nmode = \"tcp\"\nbind = \"127.0.0.1:0\"\nbackend = \"none\"\n"
    )
}

fn tls(mode: &str, pair: &Pair, ca: Option<&Path>) -> String {
    let ca = ca.map(|ca| format!(", ca = \"{}\"", ca.display())).unwrap_or_default();
    let (cert, key) = (pair.cert.display(), pair.key.display());
    format!("tls = {{ {mode} cert = \"{cert}\", key = \"{key}\"{ca} }}")
}

fn started(tls: &str) -> HighgateProcess {
    HighgateProcess::start(failure::BINARY, &toml(tls, "secret")).unwrap()
}

/// What the stock client is told by the SQL port.
fn ask(address: SocketAddr, password: &str, more: &[String]) -> Result<String, String> {
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--user=admin"])
        .arg(format!("--port={}", address.port()))
        .arg(format!("--password={password}"))
        .args(more)
        .args(["--execute", "status"])
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn trusting(authority: &Authority) -> Vec<String> {
    vec![format!("--ssl-ca={}", authority.ca().display()), "--ssl-verify-server-cert".to_owned()]
}

fn plain() -> Vec<String> {
    vec!["--skip-ssl".to_owned()]
}

const HEALTH: &[u8] = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";

/// The answer of the web port, by https where an authority is given.
fn get(address: SocketAddr, ca: Option<&Authority>, own: Option<&Pair>) -> std::io::Result<String> {
    let runtime = highgate_io::tasks::local_runtime()?;
    runtime.block_on(async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let mut answer = String::new();
        let Some(ca) = ca else {
            stream.write_all(HEALTH).await?;
            stream.read_to_string(&mut answer).await?;
            return Ok(answer);
        };
        let own = own.map(|pair| (&*pair.cert, &*pair.key));
        let config = tls::towards_servers(Verify::Identity, Some(&ca.ca()), own).unwrap();
        let mut stream = tls::connect(config, "127.0.0.1", stream).await?;
        stream.write_all(HEALTH).await?;
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    })
}

#[test]
fn with_a_certificate_operators_choose_and_with_required_they_must() {
    let Some((_scratch, authority)) = authority() else { return };
    let pair = authority.issue("admin", "IP:127.0.0.1");
    let process = started(&tls("", &pair, None));
    let (sql, web) = (process.admin_sql().unwrap(), process.admin_web().unwrap());
    let told = ask(sql, "secret", &trusting(&authority)).unwrap();
    assert!(told.contains("TLS_AES"), "{told}");
    let told = ask(sql, "secret", &plain()).unwrap();
    assert!(told.contains("Not in use"), "{told}");
    assert!(get(web, Some(&authority), None).unwrap().contains("serving"));
    assert!(get(web, None, None).unwrap().contains("serving"));

    let process = started(&tls("mode = \"required\",", &pair, None));
    let (sql, web) = (process.admin_sql().unwrap(), process.admin_web().unwrap());
    assert!(ask(sql, "secret", &trusting(&authority)).is_ok());
    let refused = ask(sql, "secret", &plain()).unwrap_err();
    assert!(refused.contains("3159"), "{refused}");
    assert!(get(web, Some(&authority), None).unwrap().contains("serving"));
    let refused = get(web, None, None).unwrap();
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("https"), "{refused}");
}

#[test]
fn a_mode_that_verifies_demands_a_certificate_of_the_operator() {
    let Some((scratch, authority)) = authority() else { return };
    let stranger = Authority::new(scratch.path(), "stranger").unwrap();
    let pair = authority.issue("admin", "IP:127.0.0.1");
    let own = authority.issue("operator", "DNS:operator.example");
    let foreign = stranger.issue("intruder", "DNS:operator.example");
    let process = started(&tls("mode = \"verify-ca\",", &pair, Some(&authority.ca())));
    let (sql, web) = (process.admin_sql().unwrap(), process.admin_web().unwrap());
    let with = |pair: &Pair| {
        let shown = [("cert", &pair.cert), ("key", &pair.key)]
            .map(|(name, path)| format!("--ssl-{name}={}", path.display()));
        [trusting(&authority), shown.to_vec()].concat()
    };
    assert!(ask(sql, "secret", &with(&own)).is_ok());
    assert!(ask(sql, "secret", &with(&foreign)).is_err());
    assert!(ask(sql, "secret", &trusting(&authority)).is_err());
    assert!(get(web, Some(&authority), Some(&own)).unwrap().contains("serving"));
    for refused in [get(web, Some(&authority), Some(&foreign)), get(web, Some(&authority), None)] {
        assert!(!refused.is_ok_and(|answer| answer.contains("serving")));
    }
}

#[test]
fn a_reload_takes_new_certificates_and_accounts_for_new_connections() {
    let Some((_scratch, authority)) = authority() else { return };
    let (old, new) =
        (authority.issue("old", "IP:127.0.0.1"), authority.issue("new", "IP:127.0.0.1"));
    let served = Pair {
        cert: old.cert.with_file_name("served.pem"),
        key: old.key.with_file_name("served.key"),
    };
    let install = |pair: &Pair| {
        std::fs::copy(&pair.cert, &served.cert).unwrap();
        std::fs::copy(&pair.key, &served.key).unwrap();
    };
    install(&old);
    let settings = tls("mode = \"required\",", &served, None);
    let process = started(&settings);
    let sql = process.admin_sql().unwrap();
    assert!(shown(sql).contains("old"), "{}", shown(sql));

    install(&new);
    std::fs::write(process.config_file(), toml(&settings, "another")).unwrap();
    process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the new certificate", || {
        let shown = shown(sql);
        anyhow::ensure!(shown.contains("new"), "{shown}");
        Ok(())
    })
    .unwrap();
    assert!(ask(sql, "another", &trusting(&authority)).is_ok());
    assert!(ask(sql, "secret", &trusting(&authority)).unwrap_err().contains("1045"));

    // Half a certificate is refused with an event, and the good one stays.
    std::fs::write(&served.cert, "no certificate").unwrap();
    process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "an event", || {
        let events = ctl(&process, &["show", "events", "--format", "json"])?;
        let told = events.contains("nothing was changed: ") && events.contains("[admin] tls: ");
        anyhow::ensure!(told, "{events}");
        Ok(())
    })
    .unwrap();
    assert!(ask(sql, "another", &trusting(&authority)).is_ok());
}

#[test]
fn a_caching_sha2_account_logs_in_without_tls_by_a_sealed_password() {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return;
    }
    let hash = highgate_mysql::auth::sha2::crypt(b"secret", &[b'x'; 20], 5000);
    let form = format!("$A$005${}{}", "x".repeat(20), String::from_utf8_lossy(&hash));
    let process = HighgateProcess::start(failure::BINARY, &toml("", &form)).unwrap();
    let sql = process.admin_sql().unwrap();
    let told = ask(sql, "secret", &plain()).unwrap();
    assert!(told.contains("Not in use"), "{told}");
    assert!(ask(sql, "wrong", &plain()).unwrap_err().contains("1045"));
}
