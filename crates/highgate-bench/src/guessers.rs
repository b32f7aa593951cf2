//! What a flood of wrong passwords does to others: each guess asks for the dearest check that there is, a
//! decryption and thousands of rounds of hashing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::{AddressFamily, SocketType};

use crate::load::{Load, Work, drive};
use crate::poll::now;
use crate::report::{Cell, Line};
use crate::setup::{Place, Shape};
use crate::wire;

/// The account that is guessed: as a server of today stores it, by a form that no password fits.
const GUESSED: &str = "[[user]]\nname = \"guessed\"\n\
    password = \"$A$005$xxxxxxxxxxxxxxxxxxxx...........................................\"\n";
/// Guessers that are at it at once.
const GUESSERS: usize = 64;

/// Where guesses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Nowhere,
    OneAddress,
    /// Another address for each guess.
    Everywhere,
}

/// Logins and queries of eight clients beside guessers: one line without any, one for those of one
/// address, one for those of many.
pub(crate) fn run(place: &Place, seconds: u64) -> anyhow::Result<Vec<Line>> {
    let server = place.lean("mysql", None, 1)?;
    let shape = Shape { accounts: GUESSED, ..Shape::mysql() };
    let kinds = [
        ("calm", From::Nowhere),
        ("guessers-one", From::OneAddress),
        ("guessers-many", From::Everywhere),
    ];
    let mut lines = Vec::new();
    for (work, from) in kinds {
        // Each begins with nobody under suspicion.
        let Some(proxy) = place.highgate(&shape, &[server.addr])? else {
            return Ok(Vec::new());
        };
        let load = Load {
            to: proxy.addr,
            work: Work::Cycle,
            connections: 8,
            new_eof: true,
            warm: Duration::from_millis(500),
            measured: Duration::from_secs(seconds),
        };
        let (ends, guesses) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut cpu = Vec::new();
        let (began, outcome) = std::thread::scope(|scope| {
            for number in 0..if from == From::Nowhere { 0 } else { GUESSERS } {
                let (ends, guesses) = (&ends, &guesses);
                scope.spawn(move || flood(proxy.addr, number, from, ends, guesses));
            }
            let began = now();
            let outcome = drive(&load, |_| cpu.push(proxy.cpu_nanos()));
            ends.store(true, Ordering::Relaxed);
            (began, outcome)
        });
        let (outcome, elapsed) = (outcome?, (now() - began).as_secs_f64());
        let used = cpu.last().zip(cpu.first()).map_or(0, |(end, start)| end.saturating_sub(*start));
        let of_one = used as f64 / 1e7 / outcome.elapsed.as_secs_f64();
        lines.push(Line {
            work: work.to_owned(),
            contender: "highgate".to_owned(),
            cells: vec![
                ("guesses/s", Cell::Number(guesses.load(Ordering::Relaxed) as f64 / elapsed, 0)),
                (
                    "cycles/s",
                    Cell::Number(outcome.operations as f64 / outcome.elapsed.as_secs_f64(), 0),
                ),
                ("p50 µs", Cell::Number(outcome.micros.value_at_quantile(0.5) as f64, 0)),
                ("p99 µs", Cell::Number(outcome.micros.value_at_quantile(0.99) as f64, 0)),
                ("CPU % of one", Cell::Number(of_one, 0)),
                ("errors", Cell::Number(outcome.errors as f64, 0)),
            ],
        });
    }
    Ok(lines)
}

/// Guesses until the end; one that fails for another reason than its password is not counted.
fn flood(to: SocketAddr, number: usize, from: From, ends: &AtomicBool, guesses: &AtomicU64) {
    let mut turn = 0_usize;
    while !ends.load(Ordering::Relaxed) {
        turn += 1;
        let [.., a, b] = ((turn * GUESSERS + number) % 65_000).to_be_bytes();
        let source = match from {
            From::Everywhere => Ipv4Addr::new(127, 1, a, b),
            From::Nowhere | From::OneAddress => Ipv4Addr::new(127, 0, 0, 2),
        };
        if guess(to, source).is_ok() {
            guesses.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One guess, to its refusal.
fn guess(to: SocketAddr, source: Ipv4Addr) -> anyhow::Result<()> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
    rustix::net::connect(&socket, &to)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (_, greeting) = packet(&mut stream)?;
    stream.write_all(&wire::login(&greeting, "guessed", "wrong", 0))?;
    loop {
        let (sequence, payload) = packet(&mut stream)?;
        let mut answer = Vec::new();
        match payload.first() {
            // To another plugin, caching_sha2_password.
            Some(0xfe) => wire::packet(&mut answer, sequence.wrapping_add(1), &[7; 32]),
            // The password as a whole is asked for: bytes as long as a sealed one.
            Some(1) => wire::packet(&mut answer, sequence.wrapping_add(1), &[7; 256]),
            Some(0xff) => return Ok(()),
            _ => anyhow::bail!("let in"),
        }
        stream.write_all(&answer)?;
    }
}

fn packet(stream: &mut TcpStream) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).context("no packet")?;
    let [a, b, c, sequence] = head;
    let mut payload = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
    stream.read_exact(&mut payload)?;
    Ok((sequence, payload))
}
