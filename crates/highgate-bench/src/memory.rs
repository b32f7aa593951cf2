//! Memory of the proxies: per idle connection, and while one client stalls on a huge result.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::ClientConfig;

use crate::client::{self, Client};
use crate::contender::Process;
use crate::poll::{now, pause};
use crate::report::{Cell, Line};
use crate::setup::{Place, Shape};

/// What idle connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    Tcp,
    Mysql,
    Tls,
}

/// Resident memory per idle connection, each of which has done one operation.
pub(crate) fn idle(place: &Place, kind: Idle, count: usize) -> anyhow::Result<Vec<Line>> {
    let (work, mode) = match kind {
        Idle::Tcp => ("idle-tcp", "echo"),
        Idle::Mysql => ("idle-mysql", "mysql"),
        Idle::Tls => ("idle-tls", "mysql"),
    };
    let server = place.lean(mode, None, 1)?;
    let mut shape = if kind == Idle::Tcp { Shape::tcp() } else { Shape::mysql() };
    if kind == Idle::Tls {
        shape.tls = Some(certificate(&place.folder)?);
    }
    let mut all = match kind {
        // The others relay bytes: TLS through them ends at the server, which the lean one does not speak.
        Idle::Tls => Vec::new(),
        _ => place.others(&shape, server.addr)?,
    };
    all.extend(place.highgate(&shape, &[server.addr])?.map(|process| ("highgate", process)));
    let mut lines = Vec::new();
    for (name, process) in &all {
        let before = process.rss_kib();
        let held = hold(kind, process.addr, count).with_context(|| name.to_string())?;
        pause(Duration::from_millis(1500));
        let grown = process.rss_kib().saturating_sub(before);
        drop(held);
        lines.push(Line {
            work: work.to_owned(),
            contender: (*name).to_owned(),
            cells: vec![
                ("connections", Cell::Number(count as f64, 0)),
                ("KiB per idle connection", Cell::Number(grown as f64 / count as f64, 2)),
                ("RSS KiB before", Cell::Number(before as f64, 0)),
            ],
        });
        pause(Duration::from_millis(300));
    }
    Ok(lines)
}

fn hold(kind: Idle, to: SocketAddr, count: usize) -> anyhow::Result<Vec<Held>> {
    let tls = client::tls()?;
    let end = now() + Duration::from_secs(60);
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        anyhow::ensure!(now() < end, "only {number} of {count} connections in 60 s");
        let one = one(kind, to, &tls, number);
        held.push(one.with_context(|| format!("connection {number}"))?);
    }
    Ok(held)
}

fn one(kind: Idle, to: SocketAddr, tls: &Arc<ClientConfig>, number: usize) -> anyhow::Result<Held> {
    Ok(match kind {
        Idle::Tcp => {
            let mut stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(&[0x55; 64])?;
            stream.read_exact(&mut [0; 64])?;
            Held::Raw(stream)
        }
        Idle::Mysql | Idle::Tls => {
            let mut client = match kind {
                Idle::Tls => Client::login_tls(to, tls)?,
                _ => Client::login(to)?,
            };
            client.query(&format!("SELECT c FROM t WHERE id = {number}"))?;
            Held::Client(client)
        }
    })
}

/// A connection that is only kept.
enum Held {
    Raw(#[expect(dead_code, reason = "held open")] TcpStream),
    Client(#[expect(dead_code, reason = "held open")] Client),
}

/// The growth of resident memory while a client has read one MiB of a GiB and then nothing for three seconds.
pub(crate) fn stall(place: &Place) -> anyhow::Result<Vec<Line>> {
    let server = place.lean("mysql", None, 1)?;
    let shape = Shape::mysql();
    let mut all = place.others(&shape, server.addr)?;
    all.extend(place.highgate(&shape, &[server.addr])?.map(|process| ("highgate", process)));
    let mut lines = Vec::new();
    for (name, process) in &all {
        let grown = stalled(process).with_context(|| name.to_string())?;
        lines.push(Line {
            work: "stall-1g".to_owned(),
            contender: (*name).to_owned(),
            cells: vec![("growth KiB", Cell::Number(grown as f64, 0))],
        });
    }
    Ok(lines)
}

fn stalled(process: &Process) -> anyhow::Result<u64> {
    let mut client = Client::login(process.addr)?;
    client.query("SELECT c FROM t WHERE id = 1")?;
    let before = process.rss_kib();
    let mut most = before;
    client.send("SELECT c FROM gib1 WHERE id > 1")?;
    client.read_bytes(1 << 20)?;
    let end = now() + Duration::from_secs(3);
    while now() < end {
        most = most.max(process.rss_kib());
        pause(Duration::from_millis(20));
    }
    Ok(most - before)
}

fn certificate(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=bench", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    let output = command.output().context("openssl makes the certificate")?;
    anyhow::ensure!(output.status.success(), "openssl failed");
    Ok((certificate, key))
}
