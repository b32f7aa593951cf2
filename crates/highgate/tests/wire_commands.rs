//! The commands that need no running process: what they read, write and say.

#[path = "common/certificates.rs"]
mod certificates;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use certificates::Authority;
use highgate_testkit::scratch::Scratch;

const LISTENER: &str = "[[listener]]\nname = 'shop'\nbind = '127.0.0.1:0'\nbackend = 'shop'\n\
                        [[user]]\nname = 'app'\npassword = 'secret'\n";
const BACKEND: &str = "[[backend]]\nname = 'shop'\n[[backend.server]]\nname = 'db1'\n\
                       address = '127.0.0.1:1'\n[[rule]]\nrule_id = 7\nmatch_pattern = 'nobody'\n\
                       error_msg = 'not today'\napply = true\n";

/// Runs Highgate in a folder: whether it went well, standard output, standard error.
fn highgate(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_highgate"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.success(), text(ended.stdout), text(ended.stderr))
}

fn folder(name: &str, files: &[(&str, &str)]) -> Scratch {
    let folder = Scratch::new(name).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn a_statement_is_explained_on_files_alone() {
    let folder = folder("explain", &[("a.toml", LISTENER), ("b.toml", BACKEND)]);
    let ask = |sql: &str| {
        let files = ["explain", "--config", "a.toml", "--config", "b.toml", sql];
        let (good, out, err) = highgate(folder.path(), &files);
        assert!(good, "{err}");
        out
    };
    let told = ask("SELECT nobody");
    assert!(told.contains("not today") && told.contains("rule 7"), "{told}");
    let told = ask("SELECT 1");
    assert!(told.contains("backend shop") && told.contains("db1"), "{told}");
    assert!(told.contains("goes to any server of backend shop; no server was checked"), "{told}");
    assert!(told.contains("the configuration alone"), "{told}");
    let more = "[[rule]]\nrule_id = 1\nclient_addr = \"10.0.0.0/8\"\nschemaname = \"old\"\n\
                error_msg = \"not from there\"\napply = true\n";
    fs::write(folder.path().join("b.toml"), format!("{BACKEND}{more}")).unwrap();
    assert!(!ask("SELECT 1").contains("not from there"));
    let files = ["explain", "--config", "a.toml", "--config", "b.toml", "SELECT 1"];
    let given = ["--client", "10.1.2.3", "--schema", "old"];
    let (_, told, err) = highgate(folder.path(), &[&files[..], &given].concat());
    assert!(told.contains("not from there") && told.contains("rule 1"), "{told}{err}");
}

#[test]
fn several_files_are_one_configuration_and_a_clash_names_both() {
    let folder =
        folder("several", &[("a.toml", LISTENER), ("b.toml", BACKEND), ("c.toml", LISTENER)]);
    let (good, out, err) = highgate(folder.path(), &["check", "a.toml", "b.toml"]);
    assert!(good && out.contains("1 listener, 1 backend with 1 server, 1 user, 1 rule"), "{err}");
    let (good, _, err) = highgate(folder.path(), &["check", "a.toml", "b.toml", "c.toml"]);
    assert!(!good && err.contains("c.toml:2:8: error: there is a listener shop already"), "{err}");
    assert!(err.contains("the other one is in a.toml, line 2"), "{err}");
    let (good, _, err) = highgate(folder.path(), &["check", "a.toml", "./a.toml"]);
    assert!(!good && err.contains("./a.toml is given twice"), "{err}");
}

#[test]
fn what_is_converted_reads_as_the_same() {
    let folder = folder("convert", &[("a.toml", LISTENER), ("b.toml", BACKEND)]);
    let (good, first, err) = highgate(folder.path(), &["convert", "b.toml", "a.toml"]);
    assert!(good, "{err}");
    fs::write(folder.path().join("all.toml"), &first).unwrap();
    let (good, second, err) = highgate(folder.path(), &["convert", "all.toml"]);
    assert!(good && first == second, "{err}\n{first}\n{second}");
}

#[test]
fn a_first_configuration_is_valid_private_and_never_put_over_another_file() {
    let folder = folder("init", &[]);
    let init = ["init", "--server", "10.0.0.11:3306", "--server", "two=[::1]:3307", "new.toml"];
    let (good, out, err) = highgate(folder.path(), &init);
    assert!(good && out.contains("highgate check new.toml"), "{err}");
    let file = folder.path().join("new.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (good, out, err) = highgate(folder.path(), &["check", "new.toml"]);
    assert!(good && out.contains("with 2 servers") && err.is_empty(), "{out}{err}");
    let before = fs::read_to_string(&file).unwrap();
    let (good, _, err) = highgate(folder.path(), &init);
    assert!(!good && err.contains("new.toml") && err.contains("exists"), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    let (good, _, err) = highgate(folder.path(), &["init", "--server", "nonsense", "x.toml"]);
    assert!(!good && err.contains("nonsense") && !folder.path().join("x.toml").exists(), "{err}");
}

/// What stood behind `=` was taken for the address of a server of that name, and quoted.
#[test]
fn init_shows_no_password_that_is_in_an_argument() {
    let folder = folder("init-password", &[]);
    for server in [
        "127.0.0.1:21003?password=hunter",
        "one=127.0.0.1:21003?Pwd=hunter",
        "password=hunter",
        "host=127.0.0.1 password=hunter",
        "app/hunter@127.0.0.1:3306",
    ] {
        let (good, out, err) = highgate(folder.path(), &["init", "--server", server, "x.toml"]);
        assert!(!good && err.contains("address = ") && !(out + &err).contains("hunter"), "{err}");
    }
}

/// `check` said that they are valid, and the next start failed.
#[test]
fn a_certificate_or_key_that_is_there_and_unusable_is_an_error_of_check() {
    let folder = folder("unusable", &[]);
    let Some(authority) = Authority::new(folder.path(), "ca") else { return };
    let (a, b) = (authority.issue("a", "DNS:a"), authority.issue("b", "DNS:b"));
    let path = |name: &str| folder.path().join(name);
    let whole = fs::read_to_string(&a.cert).unwrap();
    fs::write(path("cut.pem"), &whole[..whole.len() / 2]).unwrap();
    fs::write(path("der.pem"), [0x30, 0x82, 0x01, 0x02]).unwrap();
    fs::write(path("text.pem"), "hunter2").unwrap();
    let key =
        ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "AAAA", "-----END ENCRYPTED PRIVATE KEY-----"];
    fs::write(path("encrypted.key"), key.join("\n")).unwrap();
    let check = |cert: &Path, key: &Path| {
        let tls = format!("tls = {{ cert = '{}', key = '{}' }}\n", cert.display(), key.display());
        fs::write(
            path("h.toml"),
            LISTENER.replacen("[[user]]", &format!("{tls}[[user]]"), 1) + BACKEND,
        )
        .unwrap();
        let (good, out, err) = highgate(folder.path(), &["check", "h.toml"]);
        (good, out + &err)
    };
    let (good, told) = check(&a.cert, &a.key);
    assert!(good && told.starts_with("configuration is valid"), "{told}");
    for (cert, key, expected) in [
        (path("cut.pem"), a.key.clone(), "`-----END CERTIFICATE-----` is missing (`tls.cert`)"),
        (path("der.pem"), a.key.clone(), "this is DER (or PKCS #12), and not PEM"),
        (path("text.pem"), a.key.clone(), "this is not PEM"),
        (path("ca"), a.key.clone(), "this is a folder"),
        (a.key.clone(), a.cert.clone(), "are `cert` and `key` swapped?"),
        (a.cert.clone(), b.key.clone(), "the key is another certificate's"),
        (a.cert.clone(), path("encrypted.key"), "it is encrypted, and nobody is asked"),
    ] {
        let (good, told) = check(&cert, &key);
        assert!(!good && told.contains(expected), "{expected}: {told}");
        assert!(
            told.starts_with("h.toml:5:") && told.contains(": error: listener shop: "),
            "{told}"
        );
        assert!(!told.contains("is valid") && !told.contains("hunter2"), "{told}");
    }
    fs::File::create(path("long.pem")).unwrap().set_len(5 << 20).unwrap();
    let device = Path::new("/dev/null").to_owned();
    for (cert, key, expected) in [
        (path("long.pem"), a.key.clone(), "long.pem`: it is longer than 4 MiB (`tls.cert`)"),
        (
            device.clone(),
            a.key.clone(),
            "certificate `/dev/null`: this is a device; write it to a file",
        ),
        (a.cert.clone(), device, "private key `/dev/null`: this is a device"),
    ] {
        let (good, told) = check(&cert, &key);
        assert!(!good && told.starts_with("h.toml:5:") && told.contains(expected), "{told}");
    }
    let (good, told) = check(&path("absent.pem"), &a.key);
    assert!(good && told.contains(": warning: listener shop: certificate"), "{told}");
}
