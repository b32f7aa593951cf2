//! Who is told of changes: the scripts and pipes of routers and of groups.

use std::{collections::BTreeMap, sync::Arc};

use super::Keeper;
use crate::{
    linux::{errands::Errand, messages::Notify},
    machine::{Notice, State},
    settings::Group,
};

/// What was told last, of routers and of groups.
#[derive(Debug, Default)]
pub(super) struct Told {
    routers: BTreeMap<Arc<str>, State>,
    groups: BTreeMap<String, State>,
}

impl Told {
    /// A router's new state is told. Gives the groups that have changed by it: once for each change,
    /// when the last member is told of.
    fn of(
        &mut self,
        router: &Arc<str>,
        state: State,
        groups: &BTreeMap<String, Group>,
    ) -> Vec<String> {
        self.routers.insert(Arc::clone(router), state);
        let mut changed = Vec::new();
        for (name, group) in groups {
            let is_told = |member: &String| self.routers.get(member.as_str()) == Some(&state);
            let is_mine = group.members.iter().any(|member| **member == **router);
            if is_mine
                && group.members.iter().all(is_told)
                && self.groups.insert(name.clone(), state) != Some(state)
            {
                changed.push(name.clone());
            }
        }
        changed
    }

    /// Forgets those that are no more.
    pub(super) fn keep_only(
        &mut self,
        is_router: impl Fn(&str) -> bool,
        groups: &BTreeMap<String, Group>,
    ) {
        self.routers.retain(|name, _| is_router(name));
        self.groups.retain(|name, _| groups.contains_key(name));
    }
}

impl Keeper {
    /// Tells scripts and pipes of a change, of a router's and of what that means for its groups.
    pub(super) fn notify(&mut self, router: &Arc<str>, notice: Notice) {
        let rank = self.routers.priority(router).unwrap_or(0);
        let rules = self.task.notify.get(&**router).cloned();
        let is_rank = matches!(notice, Notice::ActiveRank | Notice::BackupRank);
        if !is_rank || rules.as_ref().is_some_and(|rules| rules.priorities) {
            self.write(["INSTANCE", router], notice, rank);
        }
        if let Some(rules) = rules {
            self.run(&rules, notice, ["INSTANCE", router], rank);
        }
        let Some(state) = state_of(notice) else { return };
        for name in self.told.of(router, state, &self.task.plan.groups) {
            // A group has no rank; 0 stands there in its place with Keepalived.
            self.write(["GROUP", &name], notice, 0);
            if let Some(rules) = self.task.group_notify.get(&name).cloned() {
                self.run(&rules, notice, ["GROUP", &name], 0);
            }
        }
    }

    /// Has a change written into the pipes, as Keepalived does.
    fn write(&self, [what, name]: [&str; 2], notice: Notice, rank: u8) {
        let line = format!("{what} \"{name}\" {} {rank}\n", notice.keepalived_word());
        self.errands.run(Errand::Write(line));
    }

    fn run(&self, rules: &Notify, notice: Notice, who: [&str; 2], rank: u8) {
        let [what, name] = who;
        let own = match notice {
            Notice::Active => &rules.active,
            Notice::Backup => &rules.backup,
            Notice::Fault => &rules.fault,
            Notice::Stop => &rules.stop,
            Notice::HeardLower => &rules.lower,
            Notice::ActiveRank | Notice::BackupRank => return,
        };
        let mut any = rules.any.clone();
        if !any.is_empty() && notice != Notice::HeardLower {
            let words = [what, name, notice.keepalived_word(), &rank.to_string()];
            any.extend(words.map(str::to_owned));
        } else {
            any.clear();
        }
        for command in [own, &any] {
            if command.is_empty() {
                continue;
            }
            self.errands.run(Errand::Notify {
                whose: name.to_owned(),
                command: command.clone(),
                user: rules.user.clone(),
                group: rules.group.clone(),
            });
        }
    }
}

/// The state that a notice tells of.
const fn state_of(notice: Notice) -> Option<State> {
    match notice {
        Notice::Active => Some(State::Active),
        Notice::Backup => Some(State::Backup),
        Notice::Fault => Some(State::Fault),
        Notice::Stop => Some(State::Init),
        Notice::HeardLower | Notice::ActiveRank | Notice::BackupRank => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(members: &[&str]) -> BTreeMap<String, Group> {
        let members = members.iter().map(|&name| name.to_owned()).collect();
        [("g".to_owned(), Group { members, ..Group::default() })].into()
    }

    #[test]
    fn a_group_is_told_of_once_for_each_change_behind_its_last_member() {
        let (mut told, groups) = (Told::default(), groups(&["a", "b", "c"]));
        for state in [State::Backup, State::Active, State::Fault, State::Backup, State::Init] {
            let heard = ["a", "b", "c"].map(|name| told.of(&name.into(), state, &groups));
            assert_eq!(heard, [vec![], vec![], vec!["g".to_owned()]], "{state}");
        }
    }

    #[test]
    fn a_member_that_comes_back_before_the_others_went_changes_no_group() {
        let (mut told, groups) = (Told::default(), groups(&["a", "b"]));
        for name in ["a", "b"] {
            told.of(&name.into(), State::Active, &groups);
        }
        for state in [State::Backup, State::Active] {
            assert_eq!(told.of(&"a".into(), state, &groups), Vec::<String>::new());
        }
    }

    #[test]
    fn a_router_of_no_group_is_told_of_alone() {
        let mut told = Told::default();
        assert!(told.of(&"x".into(), State::Active, &groups(&["a"])).is_empty());
        assert_eq!(told.of(&"a".into(), State::Active, &groups(&["a"])), ["g"]);
    }

    #[test]
    fn a_group_that_went_and_came_again_is_told_of_anew() {
        let (mut told, groups) = (Told::default(), groups(&["a"]));
        assert_eq!(told.of(&"a".into(), State::Active, &groups), ["g"]);
        told.keep_only(|_| true, &BTreeMap::new());
        assert_eq!(told.of(&"a".into(), State::Active, &groups), ["g"]);
    }
}
