//! What a client says in each phase of a session, rightly.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::Context as _;
use highgate_mysql::{
    Capabilities,
    auth::{Proof, Secret},
    server_login::{Credential, ServerAction, ServerLogin, ServerLoginSettings, TlsWish},
};

use crate::{
    model::{LOAD, PREPARED},
    mutate::{Frame, frames},
    raw::{self, Param, Part, RawClient},
};

/// Goes on up to the phase on that connection, and gives what is said then.
type Phase = fn(&TcpStream, Capabilities) -> anyhow::Result<Vec<Frame>>;

/// The phases before a command, and those within one.
pub(crate) const PHASES: [(&str, Phase); 6] = [
    ("login", |stream, capabilities| Ok(login(stream, capabilities)?.1)),
    ("answer to a switch of the plugin", switch),
    ("request of TLS", tls),
    ("a file", file),
    ("answer to a change of the account", change_user),
    ("several commands at once", pipelined),
];

fn machine(capabilities: Capabilities) -> ServerLogin {
    ServerLogin::new(ServerLoginSettings {
        user: "fuzz".to_owned(),
        credential: Credential::Own(Proof::Clear(Secret::new("fuzz"))),
        schema: None,
        capabilities,
        collation: 45,
        attributes: Vec::new(),
        tls: TlsWish::Disabled,
        is_private: false,
        allows_clear: false,
        zstd_level: None,
        own_rsa_key: None,
    })
}

fn packet(mut stream: &TcpStream) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).context("no packet")?;
    let [a, b, c, seq] = head;
    let mut payload = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
    stream.read_exact(&mut payload).context("half a packet")?;
    Ok((seq, payload))
}

fn login(
    stream: &TcpStream,
    capabilities: Capabilities,
) -> anyhow::Result<(ServerLogin, Vec<Frame>)> {
    let mut machine = machine(capabilities);
    let (seq, greeting) = packet(stream)?;
    match machine.packet(seq, &greeting) {
        ServerAction::Send(bytes) => Ok((machine, frames(&bytes))),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Where a client names a plugin that nobody has, it is asked for another.
fn switch(mut stream: &TcpStream, capabilities: Capabilities) -> anyhow::Result<Vec<Frame>> {
    let (mut machine, first) = login(stream, capabilities)?;
    let mut payload = first[0].payload.clone();
    let names: [&[u8]; 2] = [b"mysql_native_password", b"caching_sha2_password"];
    let find = |name: &&[u8]| payload.windows(name.len()).rposition(|part| part == *name);
    let at = names.iter().find_map(find).context("no plugin")?;
    payload.splice(at..at + names[0].len(), *b"dialog");
    let said = Frame::new(first[0].seq, payload);
    stream.write_all(&crate::mutate::encode(&[said]))?;
    let (seq, asked) = packet(stream)?;
    match machine.packet(seq, &asked) {
        ServerAction::Send(bytes) => Ok(frames(&bytes)),
        other => anyhow::bail!("{asked:?}: {other:?}"),
    }
}

/// The request, and the first flight of a client of TLS 1.3.
fn tls(stream: &TcpStream, capabilities: Capabilities) -> anyhow::Result<Vec<Frame>> {
    packet(stream)?;
    let wanted = capabilities | Capabilities::SSL;
    let low = u32::try_from(wanted.bits() & 0xffff_ffff)?.to_le_bytes();
    let request = [&low[..], &[0, 0, 0, 1, 45], &[0; 23]].concat();
    Ok(vec![Frame::new(1, request), Frame::bare(hello())])
}

fn hello() -> Vec<u8> {
    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }
    let share = [&[0, 0x1d][..], &long(&[9; 32])].concat();
    let extensions: [(u16, Vec<u8>); 4] = [
        (43, vec![4, 3, 4, 3, 3]),
        (10, long(&[0, 0x1d, 0, 0x17])),
        (13, long(&[4, 3, 8, 4, 4, 1, 5, 3])),
        (51, long(&share)),
    ];
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &long(body)].concat())
        .collect();
    let ciphers = long(&[0x13, 1, 0x13, 2, 0xc0, 0x2b, 0xc0, 0x2f]);
    let body = [&[3, 3][..], &[7; 32], &[0], &ciphers, &[1, 0], &long(&extensions)].concat();
    let handshake = [&[1, 0][..], &long(&body)].concat();
    [&[0x16, 3, 1][..], &long(&handshake)].concat()
}

/// A client that has logged in.
pub(crate) fn logged_in(stream: &TcpStream, can: Capabilities) -> anyhow::Result<RawClient> {
    RawClient::over(stream.try_clone()?, "fuzz", "fuzz", None, can)
}

fn file(stream: &TcpStream, capabilities: Capabilities) -> anyhow::Result<Vec<Frame>> {
    let mut client = logged_in(stream, capabilities)?;
    client.send(&[&[3], LOAD.as_bytes()].concat())?;
    let asked = client.packet()?;
    anyhow::ensure!(asked == b"\xfbrows", "{asked:?}");
    Ok(vec![Frame::new(2, *b"1\tone\n"), Frame::new(3, *b"2\ttwo\n"), Frame::new(4, [])])
}

fn change_user(stream: &TcpStream, capabilities: Capabilities) -> anyhow::Result<Vec<Frame>> {
    let mut client = logged_in(stream, capabilities)?;
    client.send(b"\x11app\0\x01xshop\0\x2d\0dialog\0")?;
    let asked = client.packet()?;
    anyhow::ensure!(asked.first() == Some(&0xfe), "{asked:?}");
    Ok(vec![Frame::new(client.seq().wrapping_add(1), [5; 20])])
}

fn pipelined(stream: &TcpStream, capabilities: Capabilities) -> anyhow::Result<Vec<Frame>> {
    logged_in(stream, capabilities)?;
    let texts = ["SELECT 'first'", "BEGIN", "SET @a = 1", "COMMIT", "SELECT 'a'; SELECT 'b'"];
    Ok(texts.iter().map(|text| query(text)).collect())
}

fn query(text: &str) -> Frame {
    Frame::new(0, [&[3], text.as_bytes()].concat())
}

/// The commands: each is right where `id` is a statement that was prepared.
pub(crate) fn commands(id: u32) -> Vec<(&'static str, Vec<Frame>)> {
    let number = id.to_le_bytes();
    let about = |code: u8, more: &[u8]| Frame::new(0, [&[code], &number[..], more].concat());
    let word = [Param::Text("word".to_owned())];
    let execute =
        |flags: u8, params: &[Param]| Frame::new(0, raw::execute(id, flags, params, true));
    let plain = |code: u8, body: &[u8]| vec![Frame::new(0, [&[code], body].concat())];
    let dump = [&4_u32.to_le_bytes()[..], &[0, 0], &99_u32.to_le_bytes(), b"bin.000001"].concat();
    let replica = [&99_u32.to_le_bytes()[..], b"\x01h\x01u\x01p", &[0; 10]].concat();
    let bulk = [&[0x80, 0][..], &[0xfd, 0], b"\0\x03one", b"\0\x03two", &[1]].concat();
    vec![
        ("COM_QUERY", vec![query("SELECT 'word'")]),
        ("USE", vec![query("USE other")]),
        ("SET", vec![query("SET @a = 1, @b = 2")]),
        ("BEGIN", vec![query("BEGIN")]),
        ("several results", vec![query("SELECT 'a'; SELECT 'b'")]),
        ("a long text", vec![query(&format!("SELECT '{}'", "x".repeat(20_000)))]),
        ("COM_STMT_PREPARE", plain(0x16, PREPARED.as_bytes())),
        ("COM_STMT_EXECUTE", vec![execute(0, &word)]),
        (
            "long data",
            vec![Frame::new(0, raw::long_data(id, 0, b"long")), execute(0, &[Param::Long])],
        ),
        ("a cursor", vec![execute(1, &word), about(0x1c, &[2, 0, 0, 0])]),
        ("COM_STMT_CLOSE", vec![about(0x19, &[]), execute(0, &word)]),
        ("COM_STMT_RESET", vec![about(0x1a, &[])]),
        ("COM_STMT_BULK_EXECUTE", vec![about(0xfa, &bulk)]),
        ("COM_CHANGE_USER", plain(0x11, b"app\0\x01xshop\0\x2d\0dialog\0")),
        ("COM_INIT_DB", plain(2, b"other")),
        ("COM_FIELD_LIST", plain(4, b"t\0%")),
        ("COM_SET_OPTION", plain(0x1b, &[1, 0])),
        // No session has such a number: those of its own account could be ended by it.
        ("COM_PROCESS_KILL", plain(0x0c, &[0x19, 0x6a, 0xff, 0x7f])),
        ("COM_REGISTER_SLAVE", plain(0x15, &replica)),
        ("COM_BINLOG_DUMP", plain(0x12, &dump)),
        ("COM_BINLOG_DUMP_GTID", plain(0x1e, &[&dump[..], &[0; 8]].concat())),
        ("COM_RESET_CONNECTION", plain(0x1f, &[])),
        ("COM_STATISTICS", plain(9, &[])),
        ("COM_PING", plain(0x0e, &[])),
        ("one that is none", plain(0x63, b"what")),
    ]
}

/// Logs in, prepares a statement, and begins a transaction where `within` says so.
pub(crate) fn until_command(
    stream: &TcpStream,
    capabilities: Capabilities,
    within: bool,
) -> anyhow::Result<u32> {
    let mut client = logged_in(stream, capabilities)?;
    if within {
        client.ok("BEGIN")?;
    }
    prepare(&mut client)
}

/// Prepares the one statement that can be.
pub(crate) fn prepare(client: &mut RawClient) -> anyhow::Result<u32> {
    match client.prepare(PREPARED)? {
        Part::Prepared { id, .. } => Ok(id),
        other => anyhow::bail!("{other:?}"),
    }
}
