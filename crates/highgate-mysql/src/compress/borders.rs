//! Where packets end in a stream of them that is seen in parts.

use crate::packet::HEADER_LEN;

/// Follows a stream of packets over parts that are cut anywhere.
#[derive(Debug, Default)]
pub struct Borders {
    /// Bytes of the header that is being seen.
    header: [u8; HEADER_LEN],
    /// How many of them were seen; all of them while its payload goes on.
    seen: usize,
    /// Bytes of the payload that are to come.
    left: usize,
}

impl Borders {
    /// Goes on by `bytes`; how many of them lead up to the end of the last packet that ends in
    /// them, `None` where none does. `number` may change each packet's sequence id.
    pub fn advance(&mut self, bytes: &mut [u8], mut number: impl FnMut(&mut u8)) -> Option<usize> {
        let (mut at, mut border) = (0, None);
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            if let Some(place) = self.header.get_mut(self.seen..).filter(|place| !place.is_empty())
            {
                let count = place.len().min(rest.len());
                place.iter_mut().zip(rest.iter()).for_each(|(to, from)| *to = *from);
                self.seen += count;
                if self.seen == HEADER_LEN
                    && let Some(seq) = rest.get_mut(count - 1)
                {
                    number(seq);
                }
                at += count;
                let [a, b, c, _] = self.header;
                self.left = u32::from_le_bytes([a, b, c, 0]) as usize;
            } else {
                let count = self.left.min(rest.len());
                self.left -= count;
                at += count;
            }
            if self.seen == HEADER_LEN && self.left == 0 {
                self.seen = 0;
                border = Some(at);
            }
        }
        border
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketWriter;

    #[test]
    fn borders_are_found_wherever_the_stream_is_cut() {
        let (mut stream, mut ends) = (Vec::new(), Vec::new());
        for len in [1, 0, 5, 300, 0, 2] {
            PacketWriter::new(&mut stream, 0).payload(&vec![9; len]);
            ends.push(stream.len());
        }
        for part in 1..stream.len() {
            let (mut borders, mut from) = (Borders::default(), 0);
            for bytes in stream.clone().chunks_mut(part) {
                let to = from + bytes.len();
                let wanted = ends.iter().rev().find(|end| (from + 1..=to).contains(*end));
                let border = borders.advance(bytes, |_| {});
                assert_eq!(border.map(|at| from + at), wanted.copied(), "{part}");
                from = to;
            }
        }
    }
}
