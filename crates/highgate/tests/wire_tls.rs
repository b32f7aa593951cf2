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
