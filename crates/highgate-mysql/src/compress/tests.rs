use super::*;

const BOTH: [Algorithm; 2] = [Algorithm::Zlib(6), Algorithm::Zstd(3)];

fn text(len: usize) -> Vec<u8> {
    (0..=255_u8).flat_map(|byte| [byte; 7]).cycle().take(len).collect()
}

#[test]
fn what_is_compressed_comes_back() {
    for algorithm in BOTH {
        for len in [1, 49, 50, 5_000, MAX_PAYLOAD + 100] {
            let plain = text(len);
            let (mut wire, mut seq) = (Vec::new(), 7);
            compress(algorithm, &mut seq, &plain, &mut wire);
            let (mut back, mut seq, mut at) = (Vec::new(), 7, 0);
            while at < wire.len() {
                assert_eq!(decompress(algorithm, &mut seq, &wire[at..at + 6], &mut back), Ok(0));
                at += decompress(algorithm, &mut seq, &wire[at..], &mut back).unwrap();
            }
            assert!(back == plain, "{len}");
        }
    }
}

#[test]
fn a_packet_comes_out_in_slices_of_any_size() {
    for algorithm in BOTH {
        let plain = text(3_000);
        let mut wire = Vec::new();
        compress(algorithm, &mut 0, &plain, &mut wire);
        let header = CompressedHeader::peek(&wire).unwrap();
        for size in [1, 7, 2_999, 3_000, 3_001] {
            let mut expander = Expander::new(algorithm, header).unwrap();
            let (mut back, mut slice) = (Vec::new(), vec![0; size]);
            while !expander.is_done() {
                let made = expander.expand(&wire[COMPRESSED_HEADER_LEN..], &mut slice).unwrap();
                assert!(made > 0);
                back.extend_from_slice(&slice[..made]);
            }
            assert!(back == plain, "{algorithm} {size}");
        }
    }
}

#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    let noise: Vec<u8> =
        (0..400_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for algorithm in BOTH {
        let mut wire = Vec::new();
        compress(algorithm, &mut 0, &noise, &mut wire);
        assert_eq!(&wire[COMPRESSED_HEADER_LEN..], &noise[..]);
        assert_eq!(CompressedHeader::peek(&wire).unwrap().plain_len, 0);
    }
}

#[test]
fn one_compressor_serves_many_packets_and_levels() {
    let mut compressor = Compressor::default();
    let plain = text(9_000);
    for algorithm in
        [Algorithm::Zlib(6), Algorithm::Zlib(6), Algorithm::Zlib(1), Algorithm::Zstd(3)]
            .into_iter()
            .chain(BOTH)
    {
        let mut room = vec![0; plain.len() + COMPRESSED_HEADER_LEN];
        let made = compressor.packet(algorithm, &mut 0, &plain, &mut room);
        assert!(made < 4_000, "{made}");
        let mut back = Vec::new();
        assert_eq!(decompress(algorithm, &mut 0, &room[..made], &mut back), Ok(made));
        assert!(back == plain);
    }
}

#[test]
fn a_bomb_is_cut_at_the_length_that_it_names() {
    for algorithm in [Algorithm::Zlib(9), Algorithm::Zstd(19)] {
        let (mut wire, mut seq) = (Vec::new(), 0);
        compress(algorithm, &mut seq, &vec![0; 10_000_000], &mut wire);
        wire[4..7].copy_from_slice(&[100, 0, 0]);
        let mut out = b"before".to_vec();
        assert!(decompress(algorithm, &mut 0, &wire, &mut out).is_err());
        assert_eq!(out, b"before");
        assert!(out.capacity() < 100_000);
    }
}

#[test]
fn a_header_that_claims_16_mib_from_20_bytes_is_refused_before_any_of_it_is_made() {
    for algorithm in BOTH {
        let header = CompressedHeader { len: 20, seq: 0, plain_len: 0x00ff_ffff };
        assert!(Expander::new(algorithm, header).is_err());
        let mut wire = header.encode().to_vec();
        wire.extend([0; 20]);
        let mut out = Vec::new();
        assert!(decompress(algorithm, &mut 0, &wire, &mut out).is_err());
        assert_eq!(out.capacity(), 0);
    }
}

#[test]
fn a_frame_with_a_window_beyond_its_packet_is_refused() {
    // A zstd frame whose header asks for a window of 128 MiB, for 300 bytes.
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3][..], &[0x63, 9, 0, b'a']].concat();
    let len = u32::try_from(frame.len()).unwrap();
    let header = CompressedHeader { len, seq: 0, plain_len: 300 };
    let mut expander = Expander::new(Algorithm::Zstd(3), header).unwrap();
    assert!(expander.expand(&frame, &mut [0; 400]).is_err());
}

#[test]
fn a_packet_that_holds_less_than_it_names_is_refused() {
    for algorithm in BOTH {
        let mut wire = Vec::new();
        compress(algorithm, &mut 0, &text(1_000), &mut wire);
        for wrong in [999_u16, 1_001] {
            wire[4..6].copy_from_slice(&wrong.to_le_bytes());
            assert!(decompress(algorithm, &mut 0, &wire, &mut Vec::new()).is_err(), "{wrong}");
        }
    }
}

#[test]
fn a_stream_with_a_wrong_or_missing_checksum_is_refused() {
    let mut wire = Vec::new();
    compress(Algorithm::Zlib(6), &mut 0, &text(1_000), &mut wire);
    let mut wrong = wire.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let mut cut = wire[..wire.len() - 4].to_vec();
    cut[0] -= 4;
    for bytes in [wrong, cut] {
        assert!(decompress(Algorithm::Zlib(6), &mut 0, &bytes, &mut Vec::new()).is_err());
    }
}

#[test]
fn compressed_packets_out_of_order_are_refused() {
    let (mut wire, mut seq) = (Vec::new(), 3);
    compress(Algorithm::Zlib(6), &mut seq, b"abc", &mut wire);
    assert!(decompress(Algorithm::Zlib(6), &mut 4, &wire, &mut Vec::new()).is_err());
}
