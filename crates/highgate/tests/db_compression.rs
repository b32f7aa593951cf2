//! Clients that speak the compressed protocol: the same answers, in fewer bytes, in packets that
//! are in order; and what lies about its length is sent away.

use std::net::SocketAddr;

#[path = "client/raw.rs"]
mod raw;

use highgate_mysql::{Capabilities, packet::PacketWriter};
use highgate_testkit::{HighgateProcess, MariaDb, MariaDbOptions};

use raw::{Param, Part, RawClient, USUAL, execute};

const BINARY: &str = env!("CARGO_BIN_EXE_highgate");
const WAYS: [(Capabilities, Option<u8>); 3] = [
    (Capabilities::COMPRESS, None),
    (Capabilities::ZSTD_COMPRESSION, Some(3)),
    (Capabilities::ZSTD_COMPRESSION, Some(22)),
];

struct Bench {
    server: MariaDb,
    process: HighgateProcess,
}

fn bench() -> anyhow::Result<Option<Bench>> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(None);
    }
    let args = ["--local-infile=1", "--max-allowed-packet=64M"].map(str::to_owned).to_vec();
    let server = MariaDb::start_with(MariaDbOptions { args, ..Default::default() })?;
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t(a INT, b LONGBLOB)")?;
    server.create_user("app", "app", "ALL ON *.*")?;
    let config = format!(
        "admin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\ntopology = \"static\"\n\
         [[backend.server]]\nname = \"db\"\naddress = \"127.0.0.1:{}\"\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\nlocal_infile = true\n",
        server.port()
    );
    let process = HighgateProcess::start(BINARY, &config)?;
    Ok(Some(Bench { server, process }))
}

fn client_of(
    addr: SocketAddr,
    (bit, level): (Capabilities, Option<u8>),
) -> anyhow::Result<RawClient> {
    let capabilities = USUAL | bit | Capabilities::LOCAL_FILES;
    let client = RawClient::compressed(addr, "app", "app", Some("shop"), capabilities, level)?;
    assert_eq!(client.capabilities & bit, bit, "agreed");
    Ok(client)
}

impl Bench {
    fn client(&self, (bit, level): (Capabilities, Option<u8>)) -> anyhow::Result<RawClient> {
        client_of(self.process.listener("shop")?, (bit, level))
    }

    /// One that goes past Highgate. MariaDB knows zlib alone.
    fn direct(&self) -> anyhow::Result<RawClient> {
        client_of(([127, 0, 0, 1], self.server.port()).into(), WAYS[0])
    }

    /// Resident memory of the process, in bytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

#[test]
fn answers_are_the_same_in_fewer_bytes() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    for way in WAYS {
        let mut client = bench.client(way)?;
        assert_eq!(client.value("SELECT 6 * 7")?, "42");
        let before = client.stream.read;
        assert_eq!(client.value("SELECT REPEAT('highgate', 200000)")?, "highgate".repeat(200_000));
        assert!(client.stream.read - before < 200_000, "{}", client.stream.read - before);
        let rows = client.ok("SELECT seq, MD5(seq) FROM seq_1_to_20000")?.texts();
        assert_eq!((rows.len(), rows[19_999][0].as_deref()), (20_000, Some("20000")));
        let answers = client.query("SELECT 1; SELECT 2; SELEKT")?;
        assert_eq!((answers.len(), answers[2].error()), (3, Some(1064)));
        let Part::Prepared { id, .. } = client.prepare("SELECT ? + 1")? else { panic!() };
        let answer = client.command(&execute(id, 0, &[Param::Int(1)], true))?;
        assert!(matches!(&answer[..], [Part::Rows { rows, .. }] if rows.len() == 1));
    }
    Ok(())
}

/// Servers send what they have at the end of each result, and number what follows from there.
#[test]
fn packets_of_several_results_have_the_numbers_that_a_server_gives_them() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    bench.server.sql(
        "CREATE PROCEDURE shop.two() BEGIN SELECT 1; DO 1; SELECT 2 UNION SELECT 3; END; \
         CREATE PROCEDURE shop.none() BEGIN DO 1; END",
    )?;
    // Each packet's number, behind that of the compressed one in which it begins.
    let numbers = |client: &mut RawClient, command: &[u8]| -> anyhow::Result<Vec<(u8, u8)>> {
        client.numbers.clear();
        client.command(command)?;
        Ok(std::mem::take(&mut client.numbers))
    };
    let (mut through, mut direct) = (bench.client(WAYS[0])?, bench.direct()?);
    for text in [
        "SELECT 1",
        "SELECT 1; SELECT 2; SELEKT",
        "DO 1; DO 2; SELECT 1 UNION SELECT 2; DO 3; SELECT 3",
        "SELECT 1; CALL two(); CALL none(); SELECT 2",
        "SET @a = 1; USE shop; SELECT @a; SELECT * FROM nowhere; SELECT 1",
        &"SELECT 1;".repeat(300),
    ] {
        let command = [&[0x03], text.as_bytes()].concat();
        let wanted = numbers(&mut direct, &command)?;
        assert_eq!(numbers(&mut through, &command)?, wanted, "{text}");
        assert!(text == "SELECT 1" || wanted.iter().any(|&(outer, inner)| outer == inner));
    }
    for client in [&mut through, &mut direct] {
        let Part::Prepared { .. } = client.prepare("CALL two()")? else { panic!() };
    }
    let command = execute(1, 0, &[], false);
    assert_eq!(numbers(&mut through, &command)?, numbers(&mut direct, &command)?);
    // Longer results lie in more compressed packets here: the rule holds for each.
    through.numbers.clear();
    through.query("SELECT seq, MD5(seq) FROM seq_1_to_20000; SELECT 1; SELECT 2")?;
    let [.., second, _, _, _, _, third, _, _, _, _] = through.numbers[..] else { panic!() };
    assert_eq!((second.0, third.0), (second.1, third.1));
    Ok(())
}

#[test]
fn a_command_past_16_mib_arrives_whole() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    for way in &WAYS[..2] {
        let mut client = bench.client(*way)?;
        let long = "0123456789abcdef".repeat(1_100_000);
        client.ok(&format!("INSERT INTO t VALUES (1, '{long}')"))?;
        assert!(client.stream.written < 1_000_000, "{}", client.stream.written);
        assert_eq!(client.value("SELECT LENGTH(b) FROM t")?, long.len().to_string());
        assert!(client.value("SELECT b FROM t")? == long);
        client.ok("TRUNCATE t")?;
    }
    Ok(())
}

/// libmariadb numbers the compressed packets alone, and leaves 0 in those within.
#[test]
fn a_command_past_16_mib_arrives_whole_without_numbers_within() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    let mut client = bench.client(WAYS[0])?;
    let text = format!("\x03SELECT LENGTH('{}')", "x".repeat(17 << 20));
    let mut bytes = Vec::new();
    PacketWriter::new(&mut bytes, 0).payload(text.as_bytes());
    assert_eq!(bytes[4 + 0xff_ffff + 3], 1, "the second packet's number");
    bytes[4 + 0xff_ffff + 3] = 0;
    client.stream.begin();
    client.send_raw(&bytes)?;
    assert_eq!(client.answer()?[0].texts()[0][0], Some((17 << 20).to_string()));
    Ok(())
}

#[test]
fn commands_sent_ahead_are_answered_each_from_its_own_packets() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    for way in WAYS {
        let mut client = bench.client(way)?;
        for number in 0..50 {
            client.send(format!("\x03SELECT {number}, SLEEP(0.001)").as_bytes())?;
        }
        for number in 0..50 {
            // Each command began at 0, so each answer begins at 1.
            client.stream.begin_answer();
            let answer = client.answer()?;
            assert_eq!(answer[0].texts()[0][0], Some(number.to_string()));
        }
    }
    Ok(())
}

#[test]
fn a_local_file_goes_on_within_its_command() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    for way in WAYS {
        let mut client = bench.client(way)?;
        client.send(b"\x03LOAD DATA LOCAL INFILE 'f' INTO TABLE t (a)")?;
        assert_eq!(client.packet()?, b"\xfbf");
        let mut file = Vec::new();
        let mut writer = PacketWriter::new(&mut file, client.seq().wrapping_add(1));
        writer.payload("7\n".repeat(3_000).as_bytes());
        writer.payload(b"");
        client.send_raw(&file)?;
        let answer = client.answer()?;
        assert!(matches!(answer[..], [Part::Ok { affected: 3_000, .. }]), "{answer:?}");
    }
    Ok(())
}

#[test]
fn a_packet_that_announces_16_mib_in_20_bytes_ends_its_session_alone() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    let mut well = bench.client(WAYS[0])?;
    for way in &WAYS[..2] {
        let before = bench.memory();
        for _ in 0..20 {
            let mut liar = bench.client(*way)?;
            let claim = [&[20, 0, 0, 0, 0xff, 0xff, 0xff][..], &[0; 20]].concat();
            liar.stream.write_bare(&claim)?;
            assert!(liar.packet().is_err(), "end of file");
        }
        let after = bench.memory();
        assert!(after < before + (8 << 20), "{before} → {after}");
        assert_eq!(well.value("SELECT 1")?, "1");
    }
    Ok(())
}

#[test]
fn an_idle_compressed_session_holds_no_buffers() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    for way in &WAYS[..2] {
        // The compressor's tables are the worker's, and made with its first use.
        bench.client(*way)?.value("SELECT REPEAT('x', 100000)")?;
        let before = bench.memory();
        let mut clients = Vec::new();
        for _ in 0..200 {
            let mut client = bench.client(*way)?;
            client.value("SELECT REPEAT('x', 100000)")?;
            clients.push(client);
        }
        let each = bench.memory().saturating_sub(before) / 200;
        assert!(each < 24 * 1024, "{each} bytes per session");
    }
    Ok(())
}

#[test]
fn a_stalled_compressed_reader_can_be_killed() -> anyhow::Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    let mut stalled = bench.client(WAYS[0])?;
    // Noise that does not shrink, and more of it than sockets hold.
    stalled.send(b"\x03SELECT RANDOM_BYTES(1024) FROM seq_1_to_100000")?;
    let mut other = bench.client(WAYS[0])?;
    other.ok(&format!("KILL {}", stalled.id))?;
    let mut end = Vec::new();
    while let Ok(packet) = stalled.packet() {
        end = packet;
    }
    assert!(!end.starts_with(&[0xfe]), "the answer was cut");
    Ok(())
}
