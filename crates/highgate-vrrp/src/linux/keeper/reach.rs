//! Which peers the adverts of a router can be sent to: a pure decision. As long as one of them is told,
//! the router goes on, as with Keepalived; one that can tell nobody must not hold an address.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc};

use crate::{
    advert::Casting,
    event::{Event, Kind, Severity},
    settings::Settings,
};

/// What came of the last advert, by router and by whom it was for.
#[derive(Debug, Default)]
pub(super) struct Reach(BTreeMap<Arc<str>, BTreeMap<IpAddr, bool>>);

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
        let was_told = all.insert(to, sent.is_ok()).unwrap_or(true);
        let peers = match &settings.casting {
            Casting::Unicast { peers, .. } => peers.as_slice(),
            Casting::Multicast { .. } => &[],
        };
        match sent {
            Ok(()) if was_told => Verdict::Nothing,
            Ok(()) => {
                let text = format!("adverts to {to} are sent again");
                Verdict::Told(Event::new(Severity::Info, Kind::Need, text))
            }
            Err(error) => {
                let may_be_told = |peer: IpAddr| all.get(&peer).copied().unwrap_or(true);
                if !peers.iter().any(|peer| may_be_told(peer.address)) {
                    // All are tried the next time, before it is judged.
                    self.0.remove(router);
                    let text = format!("adverts can't be sent: {error}");
                    return Verdict::Mute(io::Error::new(error.kind(), text));
                }
                if !was_told {
                    return Verdict::Nothing;
                }
                let text = format!("adverts to {to} can't be sent: {error}");
                Verdict::Told(Event::new(Severity::Warning, Kind::Need, text))
            }
        }
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
}
