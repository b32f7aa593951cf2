//! Which TLS a listener takes, asked by a client that can do the old ones.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/failure.rs"]
mod failure;

use std::process::{Command, Stdio};

use certificates::Authority;
use highgate_testkit::{HighgateProcess, Script, ScriptedServer, scratch::Scratch};

/// What `openssl s_client` says of a handshake with just that version, whatever its strength.
fn handshake(process: &HighgateProcess, version: &str) -> String {
    let address = process.listener("shop").unwrap().to_string();
    let output = Command::new("openssl")
        .args(["s_client", "-starttls", "mysql", "-cipher", "ALL:@SECLEVEL=0", "-brief"])
        .args([version, "-connect", &address])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

#[test]
fn tls_1_2_and_1_3_are_taken_and_what_is_older_is_refused_by_an_alert() {
    let scratch = Scratch::new("versions").unwrap();
    let Some(authority) = Authority::new(scratch.path(), "ca") else {
        return eprintln!("skipped: no openssl");
    };
    let pair = authority.issue("shop", "IP:127.0.0.1");
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let listener = format!("tls = {{ mode = \"required\", cert = \"{cert}\", key = \"{key}\" }}");
    let database = ScriptedServer::start(Script::ok()).unwrap();
    let backend = "monitor = { check = \"connect\" }\n";
    let toml = failure::toml(&[database.addr()], backend, &listener);
    let process = failure::start(&toml, 1).unwrap();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let told = handshake(&process, version);
        assert!(told.contains(name) && told.contains("ESTABLISHED"), "{version}: {told}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let told = handshake(&process, version);
        assert!(told.contains("alert"), "{version}: {told}");
        assert!(!told.contains("ESTABLISHED"), "{version}: {told}");
    }
}

fn apply(process: &HighgateProcess) -> (bool, String) {
    failure::apply(process, &[], &process.config_file())
}

/// Its answer came before they were read, and an expired pair was news of an event alone.
#[test]
fn apply_answers_once_certificates_are_in_force_and_says_that_one_has_expired() {
    let scratch = Scratch::new("renewed").unwrap();
    let Some(authority) = Authority::new(scratch.path(), "ca") else {
        return eprintln!("skipped: no openssl");
    };
    let first = authority.issue("first", "IP:127.0.0.1");
    let (second, old) =
        (authority.issue("second", "IP:127.0.0.1"), certificates::expired(scratch.path()).unwrap());
    let (cert, key) = (first.cert.display(), first.key.display());
    let listener = format!("tls = {{ mode = \"required\", cert = \"{cert}\", key = \"{key}\" }}");
    let database = ScriptedServer::start(Script::ok()).unwrap();
    let backend = "monitor = { check = \"connect\" }\n";
    let process =
        failure::start(&failure::toml(&[database.addr()], backend, &listener), 1).unwrap();
    let shown = || certificates::shown(process.listener("shop").unwrap());
    assert!(shown().contains("first"));
    let put = |pair: &certificates::Pair| {
        std::fs::copy(&pair.cert, &first.cert).unwrap();
        std::fs::copy(&pair.key, &first.key).unwrap();
    };

    put(&second);
    assert_eq!(
        apply(&process),
        (true, "nothing changes\ncertificates are read again\n".to_owned())
    );
    assert!(shown().contains("second"), "{}", shown());

    put(&old);
    let (is_done, told) = apply(&process);
    assert!(is_done && shown().contains("old"), "{told}");
    assert!(told.contains("\nwarning: the certificate of listener shop has expired"), "{told}");
    assert!(told.contains("run `highgate apply` or send SIGHUP"), "{told}");

    std::fs::copy(&second.key, &first.key).unwrap();
    let (is_done, told) = apply(&process);
    assert!(!is_done && told.contains("nothing was changed: "), "{told}");
    assert!(shown().contains("old"), "what was in force stays");
}

#[test]
fn a_certificate_towards_servers_that_has_expired_is_told_as_those_of_listeners_are() {
    let scratch = Scratch::new("towards").unwrap();
    let Some(authority) = Authority::new(scratch.path(), "ca") else {
        return eprintln!("skipped: no openssl");
    };
    let (own, old) =
        (authority.issue("own", "IP:127.0.0.1"), certificates::expired(scratch.path()).unwrap());
    let (cert, key) = (own.cert.display(), own.key.display());
    let backend = format!(
        "monitor = {{ check = \"connect\" }}\n\
         tls = {{ mode = \"preferred\", cert = \"{cert}\", key = \"{key}\" }}\n"
    );
    let database = ScriptedServer::start(Script::ok()).unwrap();
    let process = failure::start(&failure::toml(&[database.addr()], &backend, ""), 1).unwrap();
    let events = || failure::ctl(&process, &["show", "events"]).unwrap();
    assert!(!events().contains("expired"), "{}", events());

    std::fs::copy(&old.cert, &own.cert).unwrap();
    std::fs::copy(&old.key, &own.key).unwrap();
    let (is_done, told) = apply(&process);
    let expected =
        "the certificate of backend shop has expired: servers that verify it give no new";
    assert!(is_done && told.contains(&format!("\nwarning: {expected}")), "{told}");
    assert!(events().contains("the certificate of backend shop has expired"), "{}", events());

    let file = process.config_file();
    let output = Command::new(failure::BINARY).arg("check").arg(file).output().unwrap();
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(told.contains(&format!("warning: {expected}")), "{told}");
}
