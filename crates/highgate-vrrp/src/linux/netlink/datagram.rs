//! What lies in a datagram of the kernel, message by message.
//!
//! The next message is where the length in the header before it says, whatever lies between: the
//! library gives up a message in whole for one attribute that it does not know, as of a kind of
//! interface that is newer than it is, and what comes behind, be it the end of a list, must not be lost
//! with it.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};

/// Headers and attributes begin at multiples of this.
const ALIGNED: usize = 4;
const RTM_NEWLINK: u16 = 16;
/// The header of such a message; its attributes follow.
const LINK_HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_IFALIAS: u16 = 20;

/// A message of which no more than the header is known to be right.
pub(super) type Raw<'a> = NetlinkBuffer<&'a [u8]>;

/// The messages of a datagram; `None` for a rest that is none.
pub(super) fn split(packet: &[u8]) -> Vec<Option<Raw<'_>>> {
    let (mut all, mut rest) = (Vec::new(), packet);
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).ok();
        let length = message.map(|it| usize::try_from(it.length()).unwrap_or(usize::MAX));
        let Some((length, bytes)) = length.and_then(|it| Some((it, rest.get(..it)?))) else {
            all.push(None);
            break;
        };
        all.push(Some(NetlinkBuffer::new(bytes)));
        rest = rest.get(length.next_multiple_of(ALIGNED)..).unwrap_or_default();
    }
    all
}

/// What a message says; `None` where that is not understood. Of a link, name and state always are.
pub(super) fn read(message: Raw<'_>) -> Option<NetlinkPayload<RouteNetlinkMessage>> {
    match NetlinkMessage::deserialize(message.buffer) {
        Ok(message) => Some(message.payload),
        Err(_) if message.message_type() == RTM_NEWLINK => {
            let link = RouteNetlinkMessage::NewLink(bare_link(message.payload())?);
            Some(NetlinkPayload::InnerMessage(link))
        }
        Err(_) => None,
    }
}

/// A link without what is not looked at.
fn bare_link(bytes: &[u8]) -> Option<LinkMessage> {
    let mut link = LinkMessage::default();
    link.header.index = number(bytes.get(4..)?)?;
    link.header.flags = LinkFlags::from_bits_retain(number(bytes.get(8..)?)?);
    let mut rest = bytes.get(LINK_HEADER..)?;
    while let [low, high, kind_low, kind_high, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some(value) = rest.get(4..length) else { break };
        let text = || Some(String::from_utf8_lossy(value.strip_suffix(&[0])?).into_owned());
        link.attributes.extend(match u16::from_ne_bytes([kind_low, kind_high]) {
            IFLA_ADDRESS => Some(LinkAttribute::Address(value.to_vec())),
            IFLA_IFALIAS => text().map(LinkAttribute::IfAlias),
            IFLA_IFNAME => text().map(LinkAttribute::IfName),
            _ => None,
        });
        rest = rest.get(length.next_multiple_of(ALIGNED)..).unwrap_or_default();
    }
    Some(link)
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// What the kernel answers to one question.
#[derive(Debug)]
pub(super) struct Answers {
    sequence: u32,
    all: Vec<RouteNetlinkMessage>,
    is_torn: bool,
}

impl Answers {
    pub(super) const fn to(sequence: u32) -> Self {
        Self { sequence, all: Vec::new(), is_torn: false }
    }

    /// A datagram came. Gives how it ended, if that was all.
    pub(super) fn take(&mut self, packet: &[u8]) -> Option<io::Result<()>> {
        for message in split(packet).into_iter().flatten() {
            if message.sequence_number() != self.sequence {
                continue;
            }
            self.is_torn |= message.flags() & NLM_F_DUMP_INTR != 0;
            if matches!(message.message_type(), NLMSG_DONE | NLMSG_ERROR) {
                return Some(outcome(message.payload()));
            }
            if let Some(NetlinkPayload::InnerMessage(answer)) = read(message) {
                self.all.push(answer);
            }
        }
        None
    }

    /// Whether what it is about changed meanwhile: something may be missing, or be there twice.
    pub(super) const fn is_torn(&self) -> bool {
        self.is_torn
    }

    pub(super) fn all(self) -> Vec<RouteNetlinkMessage> {
        self.all
    }
}

/// What the end of an answer says: 0, nothing at all, or the number of an error below it.
fn outcome(payload: &[u8]) -> io::Result<()> {
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code < 0 { Err(io::Error::from_raw_os_error(code.saturating_neg())) } else { Ok(()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message of that kind.
    pub(in super::super) fn message(
        kind: u16,
        flags: u16,
        sequence: u32,
        payload: &[u8],
    ) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(ALIGNED), 0);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(ALIGNED), 0);
        bytes
    }

    /// A link that is up, with more attributes.
    pub(in super::super) fn link(index: u32, name: &str, more: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; LINK_HEADER];
        bytes[4..8].copy_from_slice(&index.to_ne_bytes());
        bytes[8..12].copy_from_slice(&0x41_u32.to_ne_bytes());
        bytes.extend(more);
        bytes.extend(attribute(IFLA_IFNAME, format!("{name}\0").as_bytes()));
        bytes.extend(attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]));
        bytes
    }

    /// The MTU (4), of which the library wants four bytes.
    pub(in super::super) fn odd() -> Vec<u8> {
        attribute(4, &[1])
    }

    fn names(answers: Answers) -> Vec<String> {
        let name = |link: &LinkMessage| {
            link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            })
        };
        let links = answers.all().into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => name(&link),
            _ => None,
        });
        links.collect()
    }

    /// What was observed: such a link hid those behind it, and where the end of the list was in the
    /// same datagram, it was waited for without an end.
    #[test]
    fn what_is_not_understood_hides_nothing_behind_it() {
        let odd_one = message(RTM_NEWLINK, 2, 7, &link(1, "odd0", &odd()));
        assert!(NetlinkMessage::<RouteNetlinkMessage>::deserialize(&odd_one).is_err());
        let unknown = message(RTM_NEWLINK + 3, 2, 7, &[1]);
        let usual = message(RTM_NEWLINK, 2, 7, &link(2, "eth0", &[]));
        let end = message(NLMSG_DONE, 2, 7, &[0; 4]);
        let mut answers = Answers::to(7);
        let packet = [odd_one, unknown, usual, end].concat();
        assert!(matches!(answers.take(&packet), Some(Ok(()))));
        assert!(!answers.is_torn());
        assert_eq!(names(answers), ["odd0", "eth0"], "of a link what matters is known");
    }

    #[test]
    fn a_link_that_is_not_understood_is_known_by_name_state_and_mac_address() {
        let bytes = message(RTM_NEWLINK, 0, 7, &link(3, "odd0", &odd()));
        let Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(found))) =
            split(&bytes).remove(0).and_then(read)
        else {
            panic!("no link")
        };
        let (name, now) = super::super::read_link(&found).unwrap();
        assert_eq!((name.as_str(), now.index, now.is_up), ("odd0", 3, true));
        assert_eq!(now.mac, Some([2, 0, 0, 0, 0, 1]));
    }

    #[test]
    fn a_list_that_changed_while_it_was_told_is_torn() {
        let torn = message(RTM_NEWLINK, 2 | NLM_F_DUMP_INTR, 7, &link(2, "eth0", &[]));
        let end = |flags| message(NLMSG_DONE, flags, 7, &[0; 4]);
        for packet in [[torn, end(2)].concat(), end(2 | NLM_F_DUMP_INTR)] {
            let mut answers = Answers::to(7);
            assert!(matches!(answers.take(&packet), Some(Ok(()))));
            assert!(answers.is_torn());
        }
    }

    #[test]
    fn an_error_in_the_end_of_a_list_is_one() {
        let refused = (-libc::EPERM).to_ne_bytes();
        for kind in [NLMSG_DONE, NLMSG_ERROR] {
            let told = Answers::to(7).take(&message(kind, 2, 7, &refused)).unwrap();
            assert_eq!(told.unwrap_err().raw_os_error(), Some(libc::EPERM));
            assert!(matches!(Answers::to(7).take(&message(kind, 0, 7, &[0; 4])), Some(Ok(()))));
        }
        assert!(matches!(Answers::to(7).take(&message(NLMSG_DONE, 2, 7, &[])), Some(Ok(()))));
    }

    #[test]
    fn what_answers_another_question_is_left_aside() {
        let late = message(NLMSG_DONE, 2 | NLM_F_DUMP_INTR, 6, &[0; 4]);
        let mut answers = Answers::to(7);
        assert!(answers.take(&late).is_none() && !answers.is_torn());
    }

    #[test]
    fn bytes_of_any_kind_come_to_an_end() {
        let whole = message(RTM_NEWLINK, 2, 7, &link(2, "eth0", &odd()));
        for cut in 0..whole.len() {
            let _ = Answers::to(7).take(&whole[..cut]);
            for byte in [0, 1, 0xff] {
                let mut bent = whole.clone();
                bent[cut] = byte;
                let _ = Answers::to(7).take(&bent);
            }
        }
    }
}
