//! Which peers the adverts of a router can be sent to: a pure decision. As long as one of them is told,
//! the router goes on, as with Keepalived; one that can tell nobody must not hold an address.
//!
//! A peer to which there is no way is another thing than a word that may not be said: its route may have
//! gone with it, and then this node is the one that is left. And one advert for which there was no room
//! is one lost packet, of which a backup bears some.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc};

use crate::{
    advert::Casting,
    event::{Event, Kind, Severity},
    settings::Settings,
};

/// What came of the last advert, by router and by whom it was for.
#[derive(Debug, Default)]
pub(super) struct Reach(BTreeMap<Arc<str>, BTreeMap<IpAddr, Last>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Told,
    /// There was no room for that many in a row.
    Crowded(u8),
    /// There is no way to the peer, as when it is dead.
    Lost,
    Refused,
}

/// What an advert that was sent, or could not be, means.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing new.
    Nothing,
    /// Operators are to be told.
    Told(Event),
    /// The router can tell nobody.
    Mute(io::Error),
}

impl Reach {
    /// An advert for `to` was sent, or could not be.
    pub(super) fn said(
        &mut self,
        router: &Arc<str>,
        settings: &Settings,
        to: IpAddr,
        sent: io::Result<()>,
    ) -> Verdict {
        let all = self.0.entry(Arc::clone(router)).or_default();
        let before = all.get(&to).copied().unwrap_or(Last::Told);
        let peers = match &settings.casting {
            Casting::Unicast { peers, .. } => peers.as_slice(),
            Casting::Multicast { .. } => &[],
        };
        let Err(error) = sent else {
            all.insert(to, Last::Told);
            if !matches!(before, Last::Lost | Last::Refused) {
                return Verdict::Nothing;
            }
            let text = format!("adverts to {to} are sent again");
            return Verdict::Told(Event::new(Severity::Info, Kind::Need, text));
        };
        let now = judge(&error, before, settings);
        all.insert(to, now);
        let may_be_told = |peer: IpAddr| all.get(&peer) != Some(&Last::Refused);
        match now {
            Last::Told | Last::Crowded(_) => return Verdict::Nothing,
            Last::Refused if !peers.iter().any(|peer| may_be_told(peer.address)) => {
                // All are tried the next time, before it is judged.
                self.0.remove(router);
                let text = format!("adverts can't be sent: {error}");
                return Verdict::Mute(io::Error::new(error.kind(), text));
            }
            Last::Lost | Last::Refused => {}
        }
        if matches!(before, Last::Lost | Last::Refused) {
            return Verdict::Nothing;
        }
        let text = format!("adverts to {to} can't be sent: {error}");
        Verdict::Told(Event::new(Severity::Warning, Kind::Need, text))
    }
}

/// What an error means.
fn judge(error: &io::Error, before: Last, settings: &Settings) -> Last {
    let is_unicast = matches!(settings.casting, Casting::Unicast { .. });
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) if is_unicast => Last::Lost,
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
            let count = match before {
                Last::Crowded(count) => count.saturating_add(1),
                Last::Refused => settings.down_adverts,
                Last::Told | Last::Lost => 1,
            };
            // Whoever listens takes it for dead by then.
            if count >= settings.down_adverts { Last::Refused } else { Last::Crowded(count) }
        }
        _ => Last::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advert::{GROUP_V4, UnicastPeer, Version},
        testing::{node, settings},
    };

    fn refused() -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }

    fn with_peers(last: &[u8]) -> Settings {
        let peers = last.iter().map(|last| UnicastPeer::new(node(*last, true))).collect();
        let casting = Casting::Unicast { peers, ttl: 255, check_source: false };
        Settings { casting, ..settings(Version::V2, true) }
    }

    #[test]
    fn who_can_send_to_one_peer_of_several_goes_on_and_says_so_once() {
        let (mut reach, router, settings) = (Reach::default(), "a".into(), with_peers(&[1, 2]));
        for round in 0..3 {
            let first = reach.said(&router, &settings, node(1, true), refused());
            match first {
                Verdict::Told(event) if round == 0 => {
                    assert!(event.text.contains("adverts to 10.0.0.1 can't be sent"), "{event:?}");
                }
                other => assert!(matches!(other, Verdict::Nothing) && round > 0, "{other:?}"),
            }
            let second = reach.said(&router, &settings, node(2, true), Ok(()));
            assert!(matches!(second, Verdict::Nothing), "{second:?}");
        }
        let again = reach.said(&router, &settings, node(1, true), Ok(()));
        assert!(matches!(again, Verdict::Told(event) if event.text.contains("are sent again")));
    }

    #[test]
    fn who_can_send_to_no_peer_is_mute_once_all_were_tried() {
        let (mut reach, router, settings) = (Reach::default(), "a".into(), with_peers(&[1, 2]));
        for _ in 0..2 {
            let first = reach.said(&router, &settings, node(1, true), refused());
            assert!(matches!(first, Verdict::Told(_)), "{first:?}");
            let second = reach.said(&router, &settings, node(2, true), refused());
            assert!(matches!(second, Verdict::Mute(_)), "{second:?}");
        }
    }

    #[test]
    fn who_cannot_send_to_its_group_is_mute() {
        let (mut reach, settings) = (Reach::default(), settings(Version::V2, true));
        let said = reach.said(&"a".into(), &settings, GROUP_V4.into(), refused());
        assert!(matches!(said, Verdict::Mute(_)), "{said:?}");
    }

    fn failed(number: i32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(number))
    }

    /// What was observed: the peer's route went with the peer, and the one that was left took the
    /// address no more.
    #[test]
    fn who_has_no_way_to_any_peer_goes_on_and_says_so_once() {
        let (mut reach, router, settings) = (Reach::default(), "a".into(), with_peers(&[1, 2]));
        for round in 0..9 {
            for (peer, number) in [(1, libc::ENETUNREACH), (2, libc::EHOSTUNREACH)] {
                match reach.said(&router, &settings, node(peer, true), failed(number)) {
                    Verdict::Told(event) if round == 0 => {
                        assert!(event.text.contains("can't be sent"), "{event:?}");
                    }
                    other => assert!(matches!(other, Verdict::Nothing) && round > 0, "{other:?}"),
                }
            }
        }
        let again = reach.said(&router, &settings, node(1, true), Ok(()));
        assert!(matches!(again, Verdict::Told(event) if event.text.contains("are sent again")));
        let said = reach.said(&router, &settings, node(1, true), refused());
        assert!(matches!(said, Verdict::Told(_)), "the other may come back: {said:?}");
        let said = reach.said(&router, &settings, node(2, true), failed(libc::EPERM));
        assert!(matches!(said, Verdict::Mute(_)), "its own firewall is another thing: {said:?}");
    }

    #[test]
    fn who_has_no_way_to_its_group_is_mute() {
        let (mut reach, settings) = (Reach::default(), settings(Version::V2, true));
        let said = reach.said(&"a".into(), &settings, GROUP_V4.into(), failed(libc::ENETUNREACH));
        assert!(matches!(said, Verdict::Mute(_)), "{said:?}");
    }

    /// What was observed: one full queue of the interface, and the address was given away.
    #[test]
    fn who_finds_no_room_is_mute_when_as_many_in_a_row_are_lost_as_a_backup_waits_for() {
        let (mut reach, settings) = (Reach::default(), settings(Version::V3, true));
        let router = "a".into();
        let mut say = |sent| reach.said(&router, &settings, GROUP_V4.into(), sent);
        for number in [libc::ENOBUFS, libc::EAGAIN, libc::ENOMEM, libc::ENOBUFS] {
            assert!(matches!(say(failed(number)), Verdict::Nothing));
            assert!(matches!(say(failed(number)), Verdict::Nothing));
            assert!(matches!(say(Ok(())), Verdict::Nothing));
        }
        assert_eq!(settings.down_adverts, 3);
        for is_mute in [false, false, true] {
            let said = say(failed(libc::ENOBUFS));
            assert_eq!(matches!(said, Verdict::Mute(_)), is_mute, "{said:?}");
        }
    }
}
