use std::future::poll_fn;

use highgate_mysql::{
    compress::{compress, decompress},
    packet::PacketWriter,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::*;

const ZLIB: Algorithm = Algorithm::Zlib(6);

/// A layer with its transport, and the client's end of it.
fn layer() -> (Box<Compressed>, Transport, UnixStream) {
    let (ours, client) = UnixStream::pair().unwrap();
    let compression = Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
    let layer = Compressed::agreed(compression, None, &Rc::default(), &Rc::default()).unwrap();
    (layer, Transport::Unix(ours), client)
}

async fn fill(
    layer: &mut Compressed,
    from: &mut Transport,
    inbox: &mut Buffer,
) -> io::Result<usize> {
    poll_fn(|cx| layer.poll_fill(from, cx, inbox, &|_| false)).await
}

async fn answer(
    layer: &mut Compressed,
    to: &mut Transport,
    client: &mut UnixStream,
) -> (u8, Vec<u8>) {
    let bytes = b"\x3f\0\0\x01an answer that is long enough to shrink, shrink, shrink, shrink";
    poll_fn(|cx| layer.poll_write(to, cx, bytes)).await.unwrap();
    poll_fn(|cx| layer.poll_drain(to, cx)).await.unwrap();
    let mut wire = vec![0; 200];
    let count = client.read(&mut wire).await.unwrap();
    let seq = CompressedHeader::peek(&wire).unwrap().seq;
    let mut plain = Vec::new();
    decompress(ZLIB, &mut seq.clone(), &wire[..count], &mut plain).unwrap();
    assert_eq!(plain, bytes);
    (seq, plain)
}

#[tokio::test]
async fn an_answer_goes_on_from_the_packets_of_its_own_command() {
    let (mut layer, mut ours, mut client) = layer();
    // Two commands at once: the first in three compressed packets, the second in one.
    let mut wire = Vec::new();
    for piece in [&b"on"[..], b"e", b"!"] {
        let mut seq = u8::try_from(wire.len() / 8).unwrap();
        compress(ZLIB, &mut seq, piece, &mut wire);
    }
    wire[3] = 0;
    wire[12] = 1;
    wire[20] = 2;
    compress(ZLIB, &mut 0, b"two", &mut wire);
    client.write_all(&wire).await.unwrap();
    let mut inbox = Buffer::new(Rc::default());
    while inbox.len() < 4 {
        fill(&mut layer, &mut ours, &mut inbox).await.unwrap();
    }
    assert_eq!(inbox.bytes(), b"one!", "what follows is not expanded before it is wanted");
    assert!(layer.has_packet() && !layer.is_empty());
    layer.begin_answer();
    assert_eq!(answer(&mut layer, &mut ours, &mut client).await.0, 3);
    assert_eq!(answer(&mut layer, &mut ours, &mut client).await.0, 4);
    fill(&mut layer, &mut ours, &mut inbox).await.unwrap();
    layer.begin_answer();
    assert_eq!(answer(&mut layer, &mut ours, &mut client).await.0, 1);
    assert!(layer.is_empty());
}

#[tokio::test]
async fn a_packet_that_expands_for_long_lets_others_have_their_turn() {
    let (mut layer, mut ours, mut client) = layer();
    let mut wire = Vec::new();
    compress(ZLIB, &mut 0, &vec![7; 4 * TURN], &mut wire);
    client.write_all(&wire).await.unwrap();
    let (mut inbox, mut pauses) = (Buffer::new(Rc::default()), 0);
    while inbox.len() < 4 * TURN {
        poll_fn(|cx| {
            let polled = layer.poll_fill(&mut ours, cx, &mut inbox, &|_| false);
            pauses += u32::from(polled.is_pending());
            polled
        })
        .await
        .unwrap();
    }
    assert!((3..=8).contains(&pauses), "{pauses}");
}

#[tokio::test]
async fn a_packet_that_lies_about_its_length_is_refused_without_memory_for_it() {
    let (mut layer, mut ours, mut client) = layer();
    client.write_all(&[20, 0, 0, 0, 0xff, 0xff, 0xff]).await.unwrap();
    client.write_all(&[0; 20]).await.unwrap();
    let held = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut inbox = Buffer::new(Rc::new(BufferPool::new(held.clone())));
    let error = fill(&mut layer, &mut ours, &mut inbox).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(held.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_long_packet_is_refused_where_memory_is_short() {
    let (mut layer, mut ours, mut client) = layer();
    client.write_all(&[0xff, 0xff, 0xff, 0, 0, 0, 0]).await.unwrap();
    client.write_all(&vec![0; 2 * SMALL]).await.unwrap();
    let mut inbox = Buffer::new(Rc::default());
    let error = poll_fn(|cx| layer.poll_fill(&mut ours, cx, &mut inbox, &|_| true)).await;
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
}

/// Connector/Python's pure form reads no packet in three compressed ones, and no header in two.
#[tokio::test]
async fn packets_are_cut_where_they_end_however_they_come() {
    let lens = [1, 45, 3_000, 0, 45, PIECE - 4, 12_000, 50, 2 * TURN - 4, 7, TURN - 4, 45, 20_000];
    let (mut stream, mut ends) = (Vec::new(), Vec::new());
    for len in lens.into_iter().chain([45; 2_000]) {
        PacketWriter::new(&mut stream, 0).payload(&vec![9; len]);
        ends.push(stream.len());
    }
    for part in [5, 1_000, 16_000, 1 << 20] {
        let (mut layer, mut ours, mut client) = layer();
        let mut wire = Vec::new();
        let send = async {
            for bytes in stream.chunks(part) {
                let mut sent = 0;
                while sent < bytes.len() {
                    let rest = &bytes[sent..];
                    sent += poll_fn(|cx| layer.poll_write(&mut ours, cx, rest)).await.unwrap();
                }
                // The server has said no more for now.
                poll_fn(|cx| layer.poll_drain(&mut ours, cx)).await.unwrap();
            }
            drop(ours);
        };
        tokio::join!(send, async { client.read_to_end(&mut wire).await.unwrap() });
        let (mut plain, mut cuts, mut seq, mut at) = (Vec::new(), Vec::new(), 0, 0);
        while at < wire.len() {
            at += decompress(ZLIB, &mut seq, &wire[at..], &mut plain).unwrap();
            cuts.push(plain.len());
        }
        assert!(plain == stream, "{part}");
        let mut start = 0;
        for &end in &ends {
            let within: Vec<usize> =
                cuts.iter().copied().filter(|cut| (start + 1..end).contains(cut)).collect();
            assert!(within.len() < 2, "{part}: {within:?} in {start}..{end}");
            assert!(within.iter().all(|cut| cut - start >= 4), "{part}: a header is cut");
            start = end;
        }
    }
}

#[tokio::test]
async fn the_result_after_another_has_a_compressed_packet_and_numbers_of_its_own() {
    let (mut layer, mut ours, mut client) = layer();
    let packet = |seq| [1, 0, 0, seq, 9];
    for (seqs, ends_result) in [(1..3, true), (3..4, true), (4..6, false)] {
        for seq in seqs {
            poll_fn(|cx| layer.poll_write(&mut ours, cx, &packet(seq))).await.unwrap();
        }
        if ends_result {
            layer.end_result();
        }
    }
    poll_fn(|cx| layer.poll_drain(&mut ours, cx)).await.unwrap();
    layer.begin_unasked();
    poll_fn(|cx| layer.poll_write(&mut ours, cx, &packet(7))).await.unwrap();
    poll_fn(|cx| layer.poll_drain(&mut ours, cx)).await.unwrap();
    drop(ours);
    let (mut wire, mut at, mut found) = (Vec::new(), 0, Vec::new());
    client.read_to_end(&mut wire).await.unwrap();
    while at < wire.len() {
        let mut seq = wire[at + 3];
        let mut plain = Vec::new();
        let number = seq;
        at += decompress(ZLIB, &mut seq, &wire[at..], &mut plain).unwrap();
        found.push((number, plain.chunks(5).map(|packet| packet[3]).collect::<Vec<_>>()));
    }
    assert_eq!(found, [(0, vec![1, 2]), (1, vec![1]), (2, vec![2, 3]), (0, vec![7])]);
}
