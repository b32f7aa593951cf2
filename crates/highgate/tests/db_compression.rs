//! Clients that speak the compressed protocol: the same answers, in fewer bytes, in packets that
//! are in order; and what lies about its length is sent away.

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
    _server: MariaDb,
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
    Ok(Some(Bench { _server: server, process }))
}

impl Bench {
    fn client(&self, (bit, level): (Capabilities, Option<u8>)) -> anyhow::Result<RawClient> {
        let capabilities = USUAL | bit | Capabilities::LOCAL_FILES;
        let listener = self.process.listener("shop")?;
        let client =
            RawClient::compressed(listener, "app", "app", Some("shop"), capabilities, level)?;
        assert_eq!(client.capabilities & bit, bit, "agreed");
        Ok(client)
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
