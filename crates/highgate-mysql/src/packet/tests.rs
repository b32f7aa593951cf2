use super::*;

#[test]
fn a_reader_never_overruns() {
    let mut reader = Reader::new(&[1, 2]);
    assert!(reader.u32().is_err());
    assert_eq!(reader.u16(), Ok(0x0201));
    assert!(reader.u8().is_err());
}

#[test]
fn lengths_longer_than_the_bytes_are_refused() {
    let mut bytes = vec![0xfe];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(Reader::new(&bytes).lenenc_bytes().is_err());
    assert!(Reader::new(&[0xfb]).lenenc_int().is_err());
    assert!(Reader::new(&[0xff]).lenenc_int().is_err());
}

#[test]
fn length_encoded_integers_come_back() {
    for value in [0, 0xfa, 0xfb, 0xff, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, u64::MAX] {
        let mut out = Vec::new();
        put_lenenc_int(&mut out, value);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.lenenc_int(), Ok(value));
        assert!(reader.is_empty());
    }
}

#[test]
fn long_payloads_are_split_and_an_exact_multiple_ends_with_an_empty_packet() {
    for (len, packets) in [(MAX_PAYLOAD - 1, 1), (MAX_PAYLOAD, 2), (MAX_PAYLOAD + 5, 2)] {
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, 255);
        writer.packet(|body| body.resize(body.len() + len, 7));
        let mut rest = out.as_slice();
        let (mut seen, mut total, mut seq) = (0, 0, 255_u8);
        while let Some((header, payload, tail)) = split_packet(rest) {
            assert_eq!(header.seq, seq);
            seq = seq.wrapping_add(1);
            seen += 1;
            total += payload.len();
            rest = tail;
        }
        assert_eq!((seen, total, rest.len()), (packets, len, 0));
    }
}

#[test]
fn a_string_with_a_nul_is_cut_there() {
    let mut out = Vec::new();
    put_nul_terminated(&mut out, b"a\0b");
    assert_eq!(out, b"a\0");
}
