//! Packets that are right, made wrong in the ways that matter to those who read them.

use crate::random::Random;

/// One packet, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) seq: u8,
    pub(crate) payload: Vec<u8>,
    /// What its header announces; nothing for bytes without one.
    pub(crate) length: Option<usize>,
}

impl Frame {
    pub(crate) fn new(seq: u8, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self { seq, length: Some(payload.len()), payload }
    }

    /// Bytes without a header.
    pub(crate) fn bare(bytes: impl Into<Vec<u8>>) -> Self {
        Self { seq: 0, payload: bytes.into(), length: None }
    }

    fn is_bare(&self) -> bool {
        self.length.is_none()
    }

    /// Other contents, with an honest header again.
    fn hold(&mut self, payload: Vec<u8>) {
        self.length = self.length.map(|_| payload.len());
        self.payload = payload;
    }
}

/// The packets in these bytes, which hold nothing else.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((&[a, b, c, seq], rest)) = bytes.split_first_chunk() {
        let (payload, after) = rest.split_at(u32::from_le_bytes([a, b, c, 0]) as usize);
        frames.push(Frame::new(seq, payload));
        bytes = after;
    }
    frames
}

pub(crate) fn encode(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Frame { seq, payload, length } in frames {
        if let Some(length) = length {
            bytes.extend_from_slice(&u32::try_from(*length).unwrap().to_le_bytes()[..3]);
            bytes.push(*seq);
        }
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// What the readers of numbers and texts trip over: the marks of long numbers with nothing, little or
/// too much behind them, NULL, an error, and signs of numbers.
const MARKS: [&[u8]; 10] = [
    &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xfe, 0, 0, 0, 0, 1, 0, 0, 0],
    &[0xfd, 0xff, 0xff, 0xff],
    &[0xfc, 0xff, 0xff],
    &[0xfb],
    &[0xff],
    &[0],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
];

/// These packets with a few faults, as bytes.
pub(crate) fn mutate(random: &mut Random, frames: &[Frame]) -> Vec<u8> {
    let mut frames = frames.to_vec();
    for _ in 0..1 + random.below(3) {
        if random.one_in(3) {
            disorder(random, &mut frames);
        } else {
            let at = random.below(frames.len());
            spoil(random, &mut frames[at]);
        }
        if frames.is_empty() {
            frames.push(Frame::new(0, []));
        }
    }
    let mut bytes = encode(&frames);
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes.extend(noise(random, 40)),
        _ => {}
    }
    bytes
}

fn noise(random: &mut Random, most: usize) -> Vec<u8> {
    (0..1 + random.below(most)).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

/// A fault within one packet.
fn spoil(random: &mut Random, frame: &mut Frame) {
    let mut payload = frame.payload.clone();
    let len = payload.len();
    let at = random.below(len + 1);
    match random.below(10) {
        0 | 1 if len > 0 => payload[at.min(len - 1)] ^= 1 << random.below(8),
        2 if len > 0 => payload[at.min(len - 1)] = u8::try_from(random.below(256)).unwrap(),
        3 => payload.truncate(at),
        4 => drop(payload.splice(at..at, noise(random, 20))),
        5 | 6 => {
            let mark = *random.pick(&MARKS);
            let over = if random.one_in(2) { mark.len() } else { 0 };
            payload.splice(at..(at + over).min(len), mark.iter().copied());
        }
        7 => {
            let end = at + random.below(len - at + 1);
            let part = payload[at..end].to_vec();
            let times = random.below(3);
            payload.splice(at..end, part.repeat(times));
        }
        8 => return announce(random, frame),
        _ => {
            frame.seq = frame.seq.wrapping_add(u8::try_from(1 + random.below(255)).unwrap());
            return;
        }
    }
    frame.hold(payload);
}

/// A header that announces another length than follows.
fn announce(random: &mut Random, frame: &mut Frame) {
    let len = frame.payload.len();
    if !frame.is_bare() {
        let other = [0, len.saturating_sub(1 + random.below(4)), len + 1 + random.below(9)];
        let far = [0xff_ffff, 0xff_fffe, 0x10_0000, len + 300];
        let lengths = if random.one_in(2) { &other[..] } else { &far[..] };
        frame.length = Some(*random.pick(lengths));
    }
}

/// A fault in what packets there are.
fn disorder(random: &mut Random, frames: &mut Vec<Frame>) {
    let at = random.below(frames.len());
    match random.below(7) {
        0 => drop(frames.remove(at)),
        1 => frames.insert(at, frames[at].clone()),
        2 => {
            let to = random.below(frames.len());
            frames.swap(at, to);
        }
        3 => frames.insert(at, Frame::new(frames[at].seq, [])),
        4 => {
            let seq = frames[at].seq;
            frames.insert(at, Frame::new(seq, noise(random, 30)));
        }
        // Two in one.
        5 => {
            let next = frames[(at + 1) % frames.len()].payload.clone();
            let whole = [frames[at].payload.clone(), next].concat();
            frames[at].hold(whole);
        }
        // One in two, as if it were longer than a packet.
        _ => {
            let cut = random.below(frames[at].payload.len() + 1);
            let (head, tail) = frames[at].payload.split_at(cut);
            let (head, tail) = (head.to_vec(), tail.to_vec());
            let seq = frames[at].seq.wrapping_add(1);
            let second =
                if frames[at].is_bare() { Frame::bare(tail) } else { Frame::new(seq, tail) };
            frames[at].hold(head);
            frames.insert(at + 1, second);
        }
    }
}

/// Whether these bytes are whole packets.
pub(crate) fn is_whole(mut bytes: &[u8]) -> bool {
    while let Some((&[a, b, c, _], rest)) = bytes.split_first_chunk() {
        let Some(after) = rest.get(u32::from_le_bytes([a, b, c, 0]) as usize..) else {
            return false;
        };
        bytes = after;
    }
    bytes.is_empty()
}
