//! Very long packets in the compressed protocol, and compression within TLS: what clients get through
//! Highgate is what they get from the server itself, in the same form of the protocol.

#[path = "common/certificates.rs"]
mod certificates;
use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use certificates::{Authority, Pair};
use highgate_testkit::{
    Database, HighgateProcess, MariaDb, MariaDbOptions, MySql, database::DatabaseOptions,
    scratch::Scratch,
};

const MIB: usize = 1 << 20;
/// No power of two, and not that of a server's or a client's buffer.
const LONG: usize = 64 * MIB - 4_321;
/// For zlib, which takes many times as long.
const LONG_ENOUGH: usize = 17 * MIB + 4_321;
const ROOM: &str = "--max-allowed-packet=134217728";

fn front(port: u16, listener: &str) -> anyhow::Result<HighgateProcess> {
    let text = format!(
        "admin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n{listener}\n\
         [[backend]]\nname = \"shop\"\n\
         [[backend.server]]\nname = \"db\"\naddress = \"127.0.0.1:{port}\"\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\nlocal_infile = true\n"
    );
    HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &text)
}

fn account(server: &Database) -> anyhow::Result<()> {
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t(a INT, b LONGBLOB)")?;
    server.sql("CREATE USER app@'%' IDENTIFIED BY 'app'; GRANT ALL ON *.* TO app@'%'")?;
    Ok(())
}

/// A text of the client's and a row of the server's, each past 16 MiB; half of it shrinks well.
fn long_script(len: usize) -> String {
    let mut long = "0123456789abcdef".repeat(len / 32);
    let mut noise = 0x9e37_79b9_u32;
    while long.len() < len {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        long.push(char::from(b'a' + (noise >> 24) as u8 % 26));
    }
    format!(
        "USE shop;\nTRUNCATE t;\nINSERT INTO t VALUES (1, '{long}');\n\
         SELECT LENGTH(b), SHA2(b, 256) FROM t;\nSELECT b, 'end' FROM t;\nSELECT 6 * 7;\n"
    )
}

fn compare_long(program: &str, server: &Database, how: &str, len: usize) -> anyhow::Result<()> {
    let process = front(server.port(), "")?;
    let (script, more) = (long_script(len), [how.to_owned()]);
    let direct = cli(program, server.addr(), &more, &script)?;
    let through = cli(program, process.listener("shop")?, &more, &script)?;
    assert!(direct.0 && direct.1.len() > len && direct.1.contains("\n42\n"), "{}", tail(&direct.1));
    assert!(direct == through, "through: {} {}", through.1.len(), tail(&through.1));
    Ok(())
}

#[test]
fn packets_past_16_mib_are_the_same_compressed_by_zlib() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let args = vec![ROOM.to_owned()];
    let server = MariaDb::start_with(MariaDbOptions { args, ..Default::default() })?;
    account(&server)?;
    compare_long("mariadb", &server, "--compress", LONG_ENOUGH)
}

#[test]
fn packets_of_nearly_64_mib_are_the_same_compressed_by_zstd() -> anyhow::Result<()> {
    if !MySql::is_installed() {
        eprintln!("skipped: MySQL is not installed (scripts/mysql)");
        return Ok(());
    }
    let args = vec![ROOM.to_owned()];
    let server = MySql::start_with(DatabaseOptions { args, ..Default::default() })?;
    account(&server)?;
    compare_long("mysql", &server, "--compression-algorithms=zstd", LONG)
}

/// What a stock client prints for statements that it reads from its input.
fn cli(
    program: &str,
    address: SocketAddr,
    more: &[String],
    text: &str,
) -> anyhow::Result<(bool, String)> {
    let path = if program == "mysql" { MySql::client(program)? } else { PathBuf::from(program) };
    let mut child = Command::new(path)
        .args(["--no-defaults", "-h127.0.0.1", "--protocol=tcp", "-uapp", "-papp", "-N", "-f"])
        .args(["--max-allowed-packet=128M", "--local-infile=1"])
        .arg(format!("-P{}", address.port()))
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().expect("piped");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let done = child.wait_with_output()?;
    // A client that gave up reads no more: what it said is compared.
    let _ = writer.join().expect("no panic");
    let said = [done.stdout, done.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    Ok((done.status.success(), said.concat()))
}

/// Rows, long ones, errors, several statements, and a file that goes the other way.
fn script(folder: &Path) -> anyhow::Result<String> {
    let file = folder.join("rows.txt");
    std::fs::write(&file, (0..20_000).map(|n| format!("{n}\tline {n}\n")).collect::<String>())?;
    let long = "z".repeat(17 * MIB);
    Ok(format!(
        "USE shop;\nDROP TABLE IF EXISTS l;\nCREATE TABLE l(a INT, b TEXT);\n\
         LOAD DATA LOCAL INFILE '{}' INTO TABLE l;\nSELECT COUNT(*), SUM(a), MAX(b) FROM l;\n\
         SELECT * FROM l ORDER BY a;\nSELECT REPEAT('abcdefgh', 3 * 1024 * 1024), 'end';\n\
         SELECT SHA2('{long}', 256);\nSELEKT;\nDELIMITER //\nSELECT 1; SELECT 2; SELECT 3//\nDELIMITER ;\n\
         SELECT * FROM nosuch;\nSHOW STATUS LIKE 'Compression_algorithm_nosuch';\nSELECT 'last';\n",
        file.display()
    ))
}

/// The script by a stock client, encrypted and compressed, both ways; and its own word that it was.
fn encrypted(program: &str, server: &Database, here: &Files, how: &[&str]) -> anyhow::Result<()> {
    let listener = format!(
        "tls = {{ mode = \"required\", cert = \"{}\", key = \"{}\" }}",
        here.pair.cert.display(),
        here.pair.key.display()
    );
    let process = front(server.port(), &listener)?;
    let more: Vec<String> = how.iter().map(|arg| arg.replace("FILE", &here.ca)).collect();
    let script = script(here.scratch.path())?;
    let direct = cli(program, server.addr(), &more, &script)?;
    let through = cli(program, process.listener("shop")?, &more, &script)?;
    assert!(direct.1.ends_with("last\n") || direct.1.contains("\nlast\n"), "{}", tail(&direct.1));
    assert!(direct == through, "direct:\n{}\nthrough:\n{}", tail(&direct.1), tail(&through.1));
    for address in [server.addr(), process.listener("shop")?] {
        let (_, status) = cli(program, address, &more, "\\s\n")?;
        assert!(status.contains("Cipher in use"), "{status}");
        assert!(status.to_lowercase().contains("compress"), "{status}");
    }
    Ok(())
}

fn tail(text: &str) -> String {
    text.chars().rev().take(600).collect::<Vec<_>>().into_iter().rev().collect()
}

struct Files {
    scratch: Scratch,
    ca: String,
    pair: Pair,
}

fn files() -> anyhow::Result<Option<Files>> {
    let scratch = Scratch::new("wire-twin")?;
    let Some(authority) = Authority::new(scratch.path(), "ca") else { return Ok(None) };
    let pair = authority.issue("server", "DNS:localhost,IP:127.0.0.1");
    Ok(Some(Files { ca: authority.ca().display().to_string(), scratch, pair }))
}

fn encryption(files: &Files) -> Vec<String> {
    vec![
        ROOM.to_owned(),
        "--local-infile=1".to_owned(),
        format!("--ssl-ca={}", files.ca),
        format!("--ssl-cert={}", files.pair.cert.display()),
        format!("--ssl-key={}", files.pair.key.display()),
    ]
}

#[test]
fn compression_within_tls_is_the_same_to_mariadbs_client() -> anyhow::Result<()> {
    let Some(files) = MariaDb::is_installed().then(files).transpose()?.flatten() else {
        eprintln!("skipped: MariaDB or openssl is not installed");
        return Ok(());
    };
    let args = encryption(&files);
    let server = MariaDb::start_with(MariaDbOptions { args, ..Default::default() })?;
    account(&server)?;
    encrypted(
        "mariadb",
        &server,
        &files,
        &["--ssl-ca=FILE", "--ssl-verify-server-cert", "--compress"],
    )
}

#[test]
fn compression_within_tls_is_the_same_to_mysqls_client() -> anyhow::Result<()> {
    let Some(files) = MySql::is_installed().then(files).transpose()?.flatten() else {
        eprintln!("skipped: MySQL or openssl is not installed");
        return Ok(());
    };
    let args = encryption(&files);
    let server = MySql::start_with(DatabaseOptions { args, ..Default::default() })?;
    account(&server)?;
    for algorithm in ["zlib", "zstd"] {
        let compressed = format!("--compression-algorithms={algorithm}");
        encrypted(
            "mysql",
            &server,
            &files,
            &["--loose-commands", "--ssl-ca=FILE", "--ssl-mode=VERIFY_CA", &compressed],
        )?;
    }
    Ok(())
}
