use super::*;
use crate::packet::PacketWriter;
use crate::reply::{Column, ResultSetWriter};

/// Rounds per target; about a fifth of a second each in a debug build.
const ROUNDS: u32 = 20_000;

/// xorshift: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len());
        let interesting = [0, 1, 0x7f, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff][random.below(9)];
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, interesting),
            2 if !bytes.is_empty() => bytes[at] = random.next().to_le_bytes()[3],
            3 if !bytes.is_empty() => bytes[at] = interesting,
            _ => bytes.extend_from_slice(&random.next().to_le_bytes()),
        }
    }
    bytes
}

fn run(target: fn(&[u8]), seeds: &[Vec<u8>]) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        target(seed);
        for end in 0..seed.len() {
            target(&seed[..end]);
        }
    }
    for _ in 0..ROUNDS {
        target(&mutate(&mut random, seeds));
    }
}

fn greeting() -> Vec<u8> {
    let mut out = Vec::new();
    Greeting {
        version: "11.4.2-MariaDB".into(),
        connection_id: 7,
        nonce: [65; 20],
        capabilities: Capabilities::from_halves(0x81ff_f7fe, 0x1d),
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin: NATIVE.into(),
    }
    .encode(&mut out);
    out
}

fn request() -> Vec<u8> {
    let mut out = Vec::new();
    LoginRequest {
        capabilities: Capabilities::from_halves(0x00ff_f7ff, 0),
        max_packet: 0,
        collation: 45,
        user: "app".into(),
        answer: Secret::new([3; 20]),
        schema: Some("shop".into()),
        plugin: NATIVE.into(),
        attributes: vec![("a".into(), "b".into())],
        zstd_level: None,
    }
    .encode(&mut out);
    out
}

#[test]
fn logins_of_any_bytes_do_not_panic() {
    run(login, &[greeting(), request(), b"\xfep\0abcdefghijklmnopqrst\0".to_vec()]);
}

#[test]
fn servers_that_say_anything_are_passed_on_in_order() {
    let behind = |payload: &[u8]| [&[u8::try_from(payload.len()).unwrap()], payload].concat();
    let first = behind(&greeting());
    let switch = behind(b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0");
    let ok = behind(b"\0\0\0\x02\0\0\0");
    run(
        passthrough,
        &[
            [first.clone(), switch.clone(), behind(&[7; 32]), behind(b"\x01\x03"), ok.clone()]
                .concat(),
            [first.clone(), switch, behind(&[7; 32]), behind(b"\x01\x04"), behind(b"\x02")]
                .concat(),
            [first.clone(), behind(b"\xfe"), behind(&[7; 20]), ok.clone()].concat(),
            [first, behind(b"\xff\x15\x04#28000no")].concat(),
        ],
    );
}

#[test]
fn commands_of_any_bytes_do_not_panic() {
    let mut seeds: Vec<Vec<u8>> = (0..=0x21).chain([0xfa]).map(|op| vec![op; 12]).collect();
    seeds.push(b"\x03\x01\x01\0\x01\xfd\0\x01a\x02xySELECT 1".to_vec());
    seeds.push(b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\x03\0\x05\0\0\0".to_vec());
    run(command, &seeds);
}

#[test]
fn replies_of_any_bytes_do_not_panic() {
    let ok = b"\0\0\0\x02\x40\0\0\0\x0b\x01\x05\x04shop\x05\x02\x01T".to_vec();
    let column = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0".to_vec();
    run(reply, &[ok, column, b"\xff\x15\x04#28000no".to_vec(), b"\xfe\0\0\x02\0".to_vec()]);
}

#[test]
fn scans_of_any_bytes_agree_however_they_are_cut() {
    let mut seeds = Vec::new();
    for (choice, caps) in [(6, Capabilities::empty()), (64 + 5, Capabilities::DEPRECATE_EOF)] {
        let mut bytes = Vec::new();
        let columns = [Column::text("a"), Column::integer("b")];
        let mut set =
            ResultSetWriter::begin(&mut bytes, 1, caps, StatusFlags::AUTOCOMMIT, &columns);
        set.text_row(["x", "1"]);
        set.text_row(["y", "2"]);
        set.finish();
        for kind in 0..9 {
            seeds.push([&[choice / 9 * 9 + kind, 3], bytes.as_slice()].concat());
        }
    }
    let mut prepared = vec![5, 1];
    PacketWriter::new(&mut prepared, 1).payload(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    seeds.push(prepared);
    let mut changing = vec![6 + 9 * 22, 4];
    let mut writer = PacketWriter::new(&mut changing, 1);
    writer.payload(b"\0\0\0\x0a\x40\0\0\0\x07\x01\x05\x04shop");
    writer.payload(b"\0\0\0\x02\x40\0\0\0\x07\x01\x05\x04shop");
    seeds.push(changing);
    run(scan, &seeds);
}

#[test]
fn compressed_bytes_of_any_kind_do_not_panic() {
    let mut seeds = Vec::new();
    for algorithm in [Algorithm::Zlib(6), Algorithm::Zstd(3)] {
        let mut bytes = Vec::new();
        crate::compress::compress(algorithm, &mut 0, &[7; 300], &mut bytes);
        seeds.push(bytes);
    }
    run(compress, &seeds);
}

#[test]
fn texts_of_any_bytes_do_not_panic() {
    let texts: [&[u8]; 6] = [
        b"\0SELECT a, 'it''s' FROM t WHERE b IN (1, 2.5e3, 0x1f) /* c */ -- d",
        b"\x01SET NAMES utf8mb4 COLLATE utf8mb4_bin, @a := 1, SESSION x = DEFAULT",
        b"\x02/*!50001 INSERT INTO `t` VALUES (1,'\\'') */; COMMIT",
        b"\x40WITH c AS (SELECT 1) SELECT * FROM c FOR UPDATE",
        b"\x08SELECT '\x95\\' INTO OUTFILE 'x'",
        b"\x10KILL QUERY 5; USE shop",
    ];
    run(sql, &texts.map(<[u8]>::to_vec));
}
