//! Groups: routers that are active together or not at all.
//!
//! A member that lacks something keeps all from taking part. One that gives way to a router of higher
//! rank takes all with it. None becomes active before each of them has heard nobody for its time:
//! one that went ahead would be sent back by the peer that still advertises for another.

use std::{sync::Arc, time::Instant};

use super::{Order, Routers};
use crate::machine::{Input, Lack, Need, State};

impl Routers {
    /// What the step of one router means for its groups.
    pub(super) fn follow(
        &mut self,
        name: &str,
        before: Option<State>,
        now: Instant,
        orders: &mut Vec<Order>,
    ) {
        let after = self.state(name);
        for members in self.groups_of(name) {
            self.share_lacks(&members, now, orders);
            if before == Some(State::Active) && after == Some(State::Backup) {
                for member in &members {
                    let why = format!("{name} of the same group gave way");
                    self.step_alone(member, Input::Demote(why), now, orders);
                }
            }
            self.promote(&members, now, orders);
        }
    }

    fn groups_of(&self, name: &str) -> Vec<Vec<Arc<str>>> {
        let groups = self.plan.groups.values();
        let mine = groups.filter(|group| group.members.iter().any(|member| member == name));
        let known = |group: &crate::settings::Group| {
            let members = group.members.iter();
            members
                .filter_map(|member| self.routers.get_key_value(member.as_str()))
                .map(|(name, _)| Arc::clone(name))
                .collect()
        };
        mine.map(known).collect()
    }

    fn share_lacks(&mut self, members: &[Arc<str>], now: Instant, orders: &mut Vec<Order>) {
        let lacks: Vec<_> = members
            .iter()
            .filter_map(|name| Some((name, self.routers.get(name)?.own_lack()?.clone())))
            .collect();
        for member in members {
            let mut others = lacks.iter().filter(|(name, _)| *name != member);
            let lost = others.clone().find(|(_, lack)| matches!(lack, Lack::Lost(_)));
            let input = match lost.or_else(|| others.next()) {
                Some((name, Lack::Lost(why))) => {
                    Input::Unmet(Need::Group, format!("{name} of the same group: {why}"))
                }
                Some((_, Lack::Pending)) => Input::Pending(Need::Group),
                None => Input::Met(Need::Group),
            };
            self.step_alone(member, input, now, orders);
        }
    }

    fn promote(&mut self, members: &[Arc<str>], now: Instant, orders: &mut Vec<Order>) {
        let is_ready = |name: &Arc<str>| {
            self.routers
                .get(name)
                .is_some_and(|router| router.state() == State::Active || router.wants_active())
        };
        if members.iter().all(is_ready) {
            for member in members {
                self.step_alone(member, Input::Promote, now, orders);
            }
        }
    }
}
