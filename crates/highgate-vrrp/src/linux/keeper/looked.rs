//! What a look at links and addresses means for routers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use super::{Keeper, troubles::Cause};
use crate::{
    event::{Event, Kind, Severity},
    linux::{
        hands::{Deaf, Looked, MadeOne},
        virtual_link::Ensured,
    },
    settings::{Settings, VirtualAddress},
    track::Subject,
};

impl Keeper {
    /// Tells the routers how the links are.
    pub(super) fn looked(&mut self, mut looked: Looked, now: Instant) {
        let new = std::mem::take(&mut looked.made.new);
        if self.deeds.looked(&mut looked, now) {
            self.look_at_links();
        }
        let all = self.task.plan.routers.clone();
        let wanted: BTreeSet<(String, bool)> =
            all.iter().map(|router| (router.interface.clone(), router.is_v4())).collect();
        self.deeds.listen_only_to(|key| wanted.contains(key));
        self.judge_routers(&all, looked.deaf, now);
        self.made(new, now);
        let tracked = self.tracked_interfaces();
        let names: BTreeSet<String> =
            wanted.into_iter().map(|(name, _)| name).chain(tracked).collect();
        for name in names {
            let moves = |address: IpAddr| {
                all.iter().any(|router| {
                    !router.is_owner() && router.addresses.iter().any(|own| own.address == address)
                })
            };
            let interface = self.deeds.interface(&name, moves);
            let before = self.interfaces.insert(name.clone(), interface);
            if before == Some(interface) {
                continue;
            }
            if interface.is_up && before.is_some_and(|before| !before.is_up) {
                for settings in all.iter().filter(|settings| settings.interface == name) {
                    self.troubles.hasten(&settings.name, now);
                }
            }
            let orders = self.routers.interface(&name, interface, now);
            self.carry_out(orders, now);
        }
        self.try_due(now);
    }

    /// Tells routers whether they are heard, and the interfaces of their addresses are there.
    fn judge_routers(&mut self, all: &[Settings], deaf: Vec<Deaf>, now: Instant) {
        let mut deaf: BTreeMap<Arc<str>, io::Error> = deaf.into_iter().collect();
        for settings in all {
            let router: Arc<str> = settings.name.as_str().into();
            let heard = deaf.remove(&router).map_or(Ok(()), Err);
            self.found(&router, Cause::Deaf, heard, now);
            let placed = self.deeds.places(settings);
            self.found(&router, Cause::Absent, placed, now);
        }
        self.warn_of_standing(all);
    }

    /// Tells, once, of addresses that somebody else has set: this node answers for them also while
    /// another is active. An owner's are there to stay.
    fn warn_of_standing(&mut self, all: &[Settings]) {
        let before = std::mem::take(&mut self.standing);
        for settings in all.iter().filter(|settings| !settings.is_owner()) {
            for (VirtualAddress { address, prefix, .. }, device) in self.deeds.standing(settings) {
                let key = (settings.name.clone(), address);
                if !before.contains(&key) {
                    let text = format!(
                        "{address} was set on {device} by somebody else, to stay, and is left \
                         alone: this node answers for it also as a backup; remove it there (`ip \
                         address del {address}/{prefix} dev {device}`)"
                    );
                    let event = Event::new(Severity::Warning, Kind::Settings, text);
                    self.tell(Some(&settings.name), event);
                }
                self.standing.insert(key);
            }
        }
    }

    /// Tells of interfaces with a MAC address of their own that were made, or could not be. Gives
    /// whether any was made.
    pub(super) fn made(&mut self, all: Vec<MadeOne>, now: Instant) -> bool {
        let mut is_made = false;
        for (name, holder, done) in all {
            match done {
                Ok(Ensured::There) => {}
                Ok(Ensured::Made { was_left_behind, complaints }) => {
                    is_made = true;
                    self.found(&name, Cause::Unmade, Ok(()), now);
                    let left_behind = was_left_behind.then(|| {
                        format!(
                            "interface {holder} was left behind by a process before, and is made anew"
                        )
                    });
                    let interface = self.settings(&name).map(|settings| settings.interface);
                    let interface = interface.unwrap_or_default();
                    let complaints = complaints.into_iter().map(|complaint| {
                        format!(
                            "{complaint}; hosts may learn the MAC address of {interface} for its \
                             addresses"
                        )
                    });
                    for text in left_behind.into_iter().chain(complaints) {
                        self.tell(Some(&name), Event::new(Severity::Warning, Kind::Settings, text));
                    }
                }
                Err(error) => {
                    let text = format!("interface {holder} can't be made: {error}");
                    let error = io::Error::new(error.kind(), text);
                    self.found(&name, Cause::Unmade, Err(error), now);
                }
            }
        }
        is_made
    }

    fn tracked_interfaces(&self) -> Vec<String> {
        let plan = &self.task.plan;
        let own = plan.routers.iter().flat_map(|router| &router.tracked);
        let groups = plan.groups.values().flat_map(|group| &group.tracked);
        own.chain(groups)
            .filter_map(|tracked| match &tracked.subject {
                Subject::Interface(name) => Some(name.clone()),
                _ => None,
            })
            .collect()
    }
}
