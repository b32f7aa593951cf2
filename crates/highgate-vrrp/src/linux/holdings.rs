//! Which addresses are held, and which of them are this program's own: a pure account.
//!
//! An address that was there before, to stay, is the operator's, as where a router owns its address
//! (RFC 9568 §1.5). It counts as held and is announced, but neither its lifetime nor that it is there
//! is this program's to change.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::netlink::AddressNow;
use crate::settings::VirtualAddress;

/// An address, and the number of its interface.
pub(crate) type Placed = (u32, VirtualAddress);

/// By router.
#[derive(Debug, Default)]
pub(crate) struct Holdings(BTreeMap<Arc<str>, Vec<Held>>);

/// An address that is set, or about to be, until it is known to be removed.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) index: u32,
    pub(crate) address: VirtualAddress,
    /// By the order of that number it is removed.
    given_by: Option<u64>,
    /// It is the operator's.
    stays: bool,
}

/// What giving addresses away comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Giving {
    /// These are to be removed.
    pub(crate) removed: Vec<Placed>,
    /// These are the operator's.
    pub(crate) stay: Vec<IpAddr>,
}

impl Holdings {
    /// A router is about to hold these; `there` are all addresses that there are. Gives those that
    /// are to be set.
    pub(crate) fn take(
        &mut self,
        router: &Arc<str>,
        all: &[Placed],
        there: &[AddressNow],
    ) -> Vec<Placed> {
        let mine = self.0.entry(Arc::clone(router)).or_default();
        let mut to_set = Vec::new();
        for (index, address) in all {
            let at = mine.iter().position(|held| held.is_at(*index) && held.address == *address);
            let held = at.and_then(|at| mine.get_mut(at));
            let stays = match held {
                Some(held) => {
                    held.given_by = None;
                    held.stays
                }
                None => {
                    let stays = is_standing(*index, address, there);
                    let (index, address) = (*index, address.clone());
                    mine.push(Held { index, address, given_by: None, stays });
                    stays
                }
            };
            if !stays {
                to_set.push((*index, address.clone()));
            }
        }
        to_set
    }

    /// A router gives these away, by the order of that number where there is anything to remove.
    pub(crate) fn give(
        &mut self,
        router: &str,
        addresses: &[VirtualAddress],
        number: u64,
    ) -> Giving {
        let mut giving = Giving::default();
        let Some(mine) = self.0.get_mut(router) else { return giving };
        mine.retain_mut(|held| {
            if !addresses.contains(&held.address) {
                return true;
            }
            if held.stays {
                giving.stay.push(held.address.address);
                return false;
            }
            held.given_by = Some(number);
            giving.removed.push((held.index, held.address.clone()));
            true
        });
        giving
    }

    /// The order of that number is carried out.
    pub(crate) fn given(&mut self, router: &str, number: u64) {
        if let Some(mine) = self.0.get_mut(router) {
            mine.retain(|held| held.given_by != Some(number));
        }
    }

    /// An address went. Gives what is to be set in its place if it was the operator's: from now on it
    /// is ours.
    pub(crate) fn lost(&mut self, gone: &AddressNow) -> Option<(Arc<str>, Placed)> {
        let mut all = self
            .0
            .iter_mut()
            .flat_map(|(router, mine)| mine.iter_mut().map(move |it| (router, it)));
        let (router, held) = all.find(|(_, held)| held.stays && held.is(gone))?;
        held.stays = false;
        Some((Arc::clone(router), (held.index, held.address.clone())))
    }

    /// Addresses that were the operator's, and of which none is among those that there are.
    pub(crate) fn missing(&self, there: &[AddressNow]) -> Vec<AddressNow> {
        let standing = self.0.values().flatten().filter(|held| held.stays);
        let gone = standing.filter(|held| !there.iter().any(|known| held.is(known)));
        gone.map(|held| AddressNow {
            index: held.index,
            address: held.address.address,
            prefix: held.address.prefix,
            lasts: true,
            is_usable: true,
        })
        .collect()
    }

    /// What a router holds, or has not yet given away.
    pub(crate) fn of(&self, router: &str) -> &[Held] {
        self.0.get(router).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a router holds anything and does not give it away.
    pub(crate) fn keeps(&self, router: &str) -> bool {
        self.of(router).iter().any(|held| held.given_by.is_none())
    }

    /// Whether a router's addresses are being removed.
    pub(crate) fn is_giving(&self, router: &str) -> bool {
        self.of(router).iter().any(|held| held.given_by.is_some())
    }

    /// Whether that address is one of these, and whose; `true` with it if it is not given away.
    pub(crate) fn find(&self, address: &AddressNow) -> Option<(&Arc<str>, bool)> {
        let mut all =
            self.0.iter().flat_map(|(router, mine)| mine.iter().map(move |it| (router, it)));
        let (router, held) = all.find(|(_, held)| held.is(address))?;
        Some((router, held.given_by.is_none()))
    }

    /// Whether anything is held whose lifetime ends.
    pub(crate) fn lives_on(&self) -> bool {
        self.0.values().flatten().any(Held::is_alive)
    }

    /// The routers that hold something whose lifetime ends.
    pub(crate) fn alive(&self) -> Vec<Arc<str>> {
        let all = self.0.iter().filter(|(_, mine)| mine.iter().any(Held::is_alive));
        all.map(|(router, _)| Arc::clone(router)).collect()
    }

    /// What is to be removed if this process dies.
    pub(crate) fn bequeathed(&self) -> Vec<Placed> {
        let own = self.0.values().flatten().filter(|held| !held.stays);
        own.map(|held| (held.index, held.address.clone())).collect()
    }
}

impl Held {
    fn is(&self, address: &AddressNow) -> bool {
        self.is_at(address.index) && self.address.address == address.address
    }

    const fn is_alive(&self) -> bool {
        self.given_by.is_none() && !self.stays
    }

    const fn is_at(&self, index: u32) -> bool {
        self.index == index
    }
}

/// Whether somebody else has set an address, to stay. The kernel tells two of IPv4 apart by the length
/// of their prefix, and those of IPv6 not.
pub(crate) fn is_standing(index: u32, address: &VirtualAddress, there: &[AddressNow]) -> bool {
    let is_it = |known: &AddressNow| {
        (known.index, known.address) == (index, address.address)
            && (known.prefix == address.prefix || known.address.is_ipv6())
    };
    there.iter().any(|known| known.lasts && is_it(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    fn placed(last: u8) -> Placed {
        (7, VirtualAddress { prefix: 24, ..VirtualAddress::new(node(last, true)) })
    }

    fn there(last: u8, lasts: bool) -> AddressNow {
        AddressNow { index: 7, address: node(last, true), prefix: 24, lasts, is_usable: true }
    }

    fn a() -> Arc<str> {
        "a".into()
    }

    #[test]
    fn an_address_that_was_there_to_stay_is_held_but_never_set_nor_removed() {
        let mut holdings = Holdings::default();
        let to_set = holdings.take(&a(), &[placed(1), placed(2)], &[there(1, true)]);
        assert_eq!(to_set, [placed(2)]);
        assert_eq!((holdings.of("a").len(), holdings.bequeathed()), (2, vec![placed(2)]));
        let giving = holdings.give("a", &[placed(1).1, placed(2).1], 5);
        assert_eq!(giving, Giving { removed: vec![placed(2)], stay: vec![node(1, true)] });
        holdings.given("a", 5);
        assert!(holdings.of("a").is_empty());
    }

    #[test]
    fn an_address_that_a_process_before_left_is_ours() {
        let mut holdings = Holdings::default();
        assert_eq!(holdings.take(&a(), &[placed(1)], &[there(1, false)]), [placed(1)]);
        assert_eq!(holdings.bequeathed(), [placed(1)]);
    }

    #[test]
    fn another_prefix_is_another_address_with_ipv4_alone() {
        let v6: IpAddr = "fd99::1".parse().unwrap();
        let known = AddressNow { index: 7, address: v6, prefix: 64, lasts: true, is_usable: true };
        assert!(is_standing(7, &VirtualAddress::new(v6), &[known]));
        assert!(!is_standing(8, &VirtualAddress::new(v6), &[known]), "another interface");
        assert!(!is_standing(7, &VirtualAddress::new(node(1, true)), &[there(1, true)]));
    }

    #[test]
    fn an_address_that_its_operator_removes_is_ours_from_then_on() {
        let mut holdings = Holdings::default();
        assert_eq!(holdings.take(&a(), &[placed(1)], &[there(1, true)]), []);
        assert!(!holdings.lives_on());
        assert_eq!(holdings.lost(&there(1, true)), Some((a(), placed(1))));
        assert_eq!(holdings.lost(&there(1, false)), None, "once");
        assert!(holdings.lives_on());
        assert_eq!(holdings.alive(), [a()]);
        assert_eq!(holdings.give("a", &[placed(1).1], 1).removed, [placed(1)]);
        assert_eq!(
            holdings.alive(),
            Vec::<Arc<str>>::new(),
            "what is given away is not kept alive"
        );
    }

    /// What was observed: it went while nobody listened, and was held by nobody until somebody looked.
    #[test]
    fn an_address_of_its_operator_that_went_unnoticed_is_missed_by_the_next_look() {
        let mut holdings = Holdings::default();
        holdings.take(&a(), &[placed(1), placed(2)], &[there(1, true)]);
        assert_eq!(holdings.missing(&[there(1, true)]), []);
        assert_eq!(holdings.missing(&[]), [there(1, true)], "what is ours is refreshed");
        holdings.lost(&there(1, true)).unwrap();
        assert_eq!(holdings.missing(&[]), []);
    }

    #[test]
    fn an_address_taken_again_before_it_was_removed_is_kept() {
        let mut holdings = Holdings::default();
        holdings.take(&a(), &[placed(1)], &[]);
        let _ = holdings.give("a", &[placed(1).1], 1);
        assert!(holdings.is_giving("a") && !holdings.keeps("a"));
        assert_eq!(holdings.take(&a(), &[placed(1)], &[]), [placed(1)], "it is set anew");
        holdings.given("a", 1);
        assert!(holdings.keeps("a"));
    }
}
