//! SpookyHash V2, 64 bits: the hash behind a digest's number.
//!
//! Bob Jenkins' public-domain function, with both seeds 0, which is what digests use.

const CONST: u64 = 0xdead_beef_dead_beef;
const LONG: usize = 192;
const BLOCK: usize = 96;
const MIX: [u32; 12] = [11, 32, 43, 31, 17, 28, 39, 57, 55, 54, 22, 46];
const END: [u32; 12] = [44, 15, 34, 21, 38, 33, 10, 13, 38, 53, 42, 54];

/// The hash of `message`, seed 0.
pub(super) fn hash64(message: &[u8]) -> u64 {
    if message.len() < LONG { short(message) } else { long(message) }
}

fn word(bytes: &[u8]) -> u64 {
    let mut raw = [0_u8; 8];
    for (to, from) in raw.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(raw)
}

fn length_of(message: &[u8]) -> u64 {
    u64::try_from(message.len()).unwrap_or(u64::MAX)
}

fn turn(x: &mut u64, by: u32, add: u64) -> u64 {
    *x = x.rotate_left(by).wrapping_add(add);
    *x
}

fn short_mix([a, b, c, d]: &mut [u64; 4]) {
    for [p, q, r, s] in [[50, 52, 30, 41], [54, 48, 38, 37], [62, 34, 5, 36]] {
        *a ^= turn(c, p, *d);
        *b ^= turn(d, q, *a);
        *c ^= turn(a, r, *b);
        *d ^= turn(b, s, *c);
    }
}

fn short_end(h: &mut [u64; 4]) {
    let [a, b, c, d] = h;
    let step = |x: &mut u64, y: &mut u64, by: u32| {
        *x ^= *y;
        *y = y.rotate_left(by);
        *x = x.wrapping_add(*y);
    };
    step(d, c, 15);
    step(a, d, 52);
    step(b, a, 26);
    step(c, b, 51);
    step(d, c, 28);
    step(a, d, 9);
    step(b, a, 47);
    step(c, b, 54);
    step(d, c, 32);
    step(a, d, 25);
    step(b, a, 63);
}

fn short(message: &[u8]) -> u64 {
    let mut h = [0, 0, CONST, CONST];
    let (blocks, mut rest) = message.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        let [w0, w1, w2, w3] = words else { continue };
        feed(&mut h, 2, *w0, *w1);
        short_mix(&mut h);
        feed(&mut h, 0, *w2, *w3);
    }
    if let Some((half, tail)) = rest.split_first_chunk::<16>() {
        let (words, _) = half.as_chunks::<8>();
        if let [w0, w1] = words {
            feed(&mut h, 2, *w0, *w1);
        }
        short_mix(&mut h);
        rest = tail;
    }
    let [_, _, c, d] = &mut h;
    *d = d.wrapping_add(length_of(message) << 56);
    if rest.is_empty() {
        *c = c.wrapping_add(CONST);
        *d = d.wrapping_add(CONST);
    } else {
        *c = c.wrapping_add(word(rest.get(..8).unwrap_or(rest)));
        *d = d.wrapping_add(word(rest.get(8..).unwrap_or_default()));
    }
    short_end(&mut h);
    let [a, ..] = h;
    a
}

fn feed(h: &mut [u64; 4], at: usize, first: [u8; 8], second: [u8; 8]) {
    let values = [u64::from_le_bytes(first), u64::from_le_bytes(second)];
    for (to, value) in h.iter_mut().skip(at).zip(values) {
        *to = to.wrapping_add(value);
    }
}

fn long(message: &[u8]) -> u64 {
    let mut h: [u64; 12] = [0, 0, CONST, 0, 0, CONST, 0, 0, CONST, 0, 0, CONST];
    let (blocks, rest) = message.as_chunks::<BLOCK>();
    for block in blocks {
        mix(block, &mut h);
    }
    let mut last = [0_u8; BLOCK];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    if let Some(end) = last.last_mut() {
        *end = u8::try_from(rest.len()).unwrap_or(0);
    }
    let (words, _) = last.as_chunks::<8>();
    for (to, from) in h.iter_mut().zip(words) {
        *to = to.wrapping_add(u64::from_le_bytes(*from));
    }
    for _ in 0..3 {
        end_partial(&mut h);
    }
    let [first, ..] = h;
    first
}

/// The twelve variables are turned by one at each step, so that the step itself has fixed places.
fn mix(block: &[u8; BLOCK], h: &mut [u64; 12]) {
    let (words, _) = block.as_chunks::<8>();
    for (data, by) in words.iter().zip(MIX) {
        let [s0, s1, s2, _, _, _, _, _, _, _, s10, s11] = h;
        *s0 = s0.wrapping_add(u64::from_le_bytes(*data));
        *s2 ^= *s10;
        *s11 ^= *s0;
        *s0 = s0.rotate_left(by);
        *s11 = s11.wrapping_add(*s1);
        h.rotate_left(1);
    }
}

fn end_partial(h: &mut [u64; 12]) {
    for by in END {
        let [_, h1, h2, _, _, _, _, _, _, _, _, h11] = h;
        *h11 = h11.wrapping_add(*h1);
        *h2 ^= *h11;
        *h1 = h1.rotate_left(by);
        h.rotate_left(1);
    }
}
