//! What is in force otherwise than applied files say, in words: what was changed elsewhere stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use highgate_config::{
    Config, Place,
    merge::{Overruled, overruled},
    native::Parsed,
};

/// Lines beyond these are only counted.
const SHOWN: usize = 10;

/// Files that are applied, with what they are compared with.
pub(crate) struct Given<'a> {
    /// The name under which they are kept.
    pub(crate) key: &'a str,
    /// That of the files which the process was started with: what those leave out has its default.
    pub(crate) own: &'a str,
    pub(crate) parsed: &'a Parsed,
    /// All files, as they were last applied before.
    pub(crate) applied: &'a BTreeMap<String, Arc<Config>>,
}

impl Given<'_> {
    /// A line for each setting that is in force with another value than these files have, and for each
    /// thing that is not theirs alone to take back.
    pub(crate) fn notes(&self, in_force: &Config) -> Vec<String> {
        let mut notes = self.not_taken_back(in_force);
        notes.extend(self.taken_from_others(in_force));
        notes.extend(self.overruled(in_force, |_| true));
        few(notes.into_iter().map(|note| format!("note: {note}")).collect())
    }

    /// As [`Self::notes`], of the things alone that are not in force at all.
    pub(crate) fn deleted_elsewhere(&self, in_force: &Config) -> Vec<String> {
        few(self.overruled(in_force, |it| it.field.is_none()))
    }

    /// What a further file has no more, and the process's own files have.
    fn not_taken_back(&self, in_force: &Config) -> Vec<String> {
        let (before, own) = (self.applied.get(self.key), self.applied.get(self.own));
        let (Some(before), Some(own), false) = (before, own, self.is_own()) else {
            return Vec::new();
        };
        let missing = |config: &Config| {
            let all = overruled(before, config).into_iter().filter(|it| it.field.is_none());
            all.map(|it| it.place).collect::<BTreeSet<_>>()
        };
        let (own_lacks, gone) = (missing(own), missing(in_force));
        let stays = |place: &Place| !own_lacks.contains(place) && !gone.contains(place);
        let taken = missing(&self.parsed.config).into_iter().filter(stays);
        let note =
            |place| format!("{place}: no longer in this file, and in {}; it stays", self.own);
        taken.map(note).collect()
    }

    /// What the process's own files have no more, and with that is gone although a further one has it.
    fn taken_from_others(&self, in_force: &Config) -> Vec<String> {
        let Some(before) = self.applied.get(self.own).filter(|_| self.is_own()) else {
            return Vec::new();
        };
        let changed = overruled(before, &self.parsed.config);
        let changed: BTreeSet<_> = changed.iter().map(Overruled::of).collect();
        if changed.is_empty() {
            return Vec::new();
        }
        let others = self.applied.iter().filter(|(file, _)| *file != self.own);
        let of_file = |(file, said): (&String, &Arc<Config>)| {
            let lost = overruled(said, in_force).into_iter();
            let is_lost =
                |it: &Overruled| it.is_gone() && !it.is_default && changed.contains(&it.of());
            let lines = lost.filter(is_lost).map(|it| gone_in_words(&it, file));
            lines.collect::<Vec<_>>()
        };
        others.flat_map(of_file).collect()
    }

    fn overruled(&self, in_force: &Config, which: impl Fn(&Overruled) -> bool) -> Vec<String> {
        let config = &self.parsed.config;
        let found = overruled(config, in_force);
        let found: Vec<_> = found.iter().filter(|it| self.is_meant(it) && which(it)).collect();
        if found.is_empty() {
            return Vec::new();
        }
        let differences = |said: &Config| overruled(config, said);
        let others = self.applied.iter().filter(|(file, _)| *file != self.key);
        let others: Vec<_> = others.map(|(file, said)| (file, differences(said))).collect();
        let others: Vec<_> = (others.iter())
            .map(|(file, said)| (*file, said.iter().map(|it| (it.of(), it)).collect()))
            .collect::<Vec<(_, BTreeMap<_, _>)>>();
        let before = self.applied.get(self.key).map(|before| differences(before));
        let before: Option<BTreeSet<_>> =
            before.as_ref().map(|it| it.iter().map(Overruled::of).collect());
        let in_words = |it: &Overruled| {
            let says = |said: &BTreeMap<_, &Overruled>| {
                said.get(&it.of()).is_some_and(|other| it.is_said_by(other))
            };
            let by = others.iter().find(|(_, said)| says(said)).map(|(file, _)| file.as_str());
            in_words(it, by, before.as_ref().map(|before| before.contains(&it.of())))
        };
        found.into_iter().map(in_words).collect()
    }

    fn is_own(&self) -> bool {
        self.key == self.own
    }

    /// Further files mean what they say; a default in them mostly was not written.
    fn is_meant(&self, it: &Overruled) -> bool {
        let is_written = |field| self.parsed.written.says(&it.place, field);
        self.is_own() || !it.is_default || it.field.is_some_and(is_written)
    }
}

/// `was_other`: whether the files had another value when they were applied before; `None` where they never were.
fn in_words(it: &Overruled, by: Option<&str>, was_other: Option<bool>) -> String {
    let Some(field) = it.field else {
        return format!("{}: deleted elsewhere; not in force, though it is in this file", it.place);
    };
    let (place, value, own) = (&it.place, it.in_force(), it.in_file());
    let by = by.map_or_else(
        || "by an operator, or by a file that says so no more".to_owned(),
        |file| format!("by {file}"),
    );
    let since = match was_other {
        None if it.is_default => {
            "is the default, which a file that was never applied does not ask for"
        }
        Some(true) if it.is_default => "is the default, which a further file does not ask for",
        _ => "was not changed since it was applied",
    };
    format!("{place}, `{field}`: in force is {value}, set {by}; this file's {own} {since}")
}

fn gone_in_words(it: &Overruled, other: &str) -> String {
    let place = &it.place;
    match it.field {
        None => {
            format!(
                "{place}: no longer in this file, and gone, though {other} has it: write it here to keep it"
            )
        }
        Some(field) => format!(
            "{place}, `{field}`: no longer in this file, and at its default ({}), though {other} says {}: \
             write it here to keep it",
            it.in_force(),
            it.in_file()
        ),
    }
}

fn few(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > SHOWN {
        let more = format!("and {} more", lines.len() - SHOWN);
        lines.truncate(SHOWN);
        lines.push(more);
    }
    lines
}

#[cfg(test)]
mod tests {
    use highgate_config::{NodeName, native};

    use super::*;

    fn parsed(text: &str) -> Parsed {
        native::parse("t", text, &NodeName::from("n")).unwrap()
    }

    #[test]
    fn ten_settings_are_told_and_the_others_counted() {
        let users = |limit: u32| {
            let user = |it| {
                format!("[[user]]\nname = \"u{it}\"\npassword = \"p\"\nmax_connections = {limit}\n")
            };
            (10..22).map(user).collect::<String>()
        };
        let (mine, in_force) = (parsed(&users(1)), parsed(&users(2)));
        let applied = [("mine".to_owned(), Arc::new(mine.config.clone()))].into();
        let given = Given { key: "mine", own: "mine", parsed: &mine, applied: &applied };
        let notes = given.notes(&in_force.config);
        assert_eq!(notes.len(), 11, "{notes:?}");
        assert_eq!(
            notes[0],
            "note: user u10, `max_connections`: in force is 2, set by an operator, or by a file that \
             says so no more; this file's 1 was not changed since it was applied"
        );
        assert_eq!(notes[10], "and 2 more");
    }

    #[test]
    fn a_default_in_a_further_file_is_told_where_it_is_written() {
        let further = parsed("[[backend]]\nname = \"shop\"\ntopology = \"static\"\n");
        let mine = parsed(
            "[[backend]]\nname = \"shop\"\ntopology = \"galera\"\nmax_lag = \"3s\"\n\
             monitor = { user = \"m\", password = \"m\" }\n",
        );
        let applied = [("mine".to_owned(), Arc::new(mine.config.clone()))].into();
        let given = Given { key: "further", own: "mine", parsed: &further, applied: &applied };
        assert_eq!(
            given.notes(&mine.config),
            ["note: backend shop, `topology`: in force is \"galera\", set by mine; this file's \
                 \"static\" is the default, which a file that was never applied does not ask for"]
        );
    }

    #[test]
    fn a_setting_that_goes_from_the_own_file_though_a_further_one_says_it_is_told() {
        let backend = |more: &str| {
            let monitor = "monitor = { user = \"m\", password = \"m\" }\n";
            parsed(&format!("[[backend]]\nname = \"shop\"\ntopology = \"galera\"\n{monitor}{more}"))
        };
        let applied = BTreeMap::from([
            ("own".to_owned(), Arc::new(backend("max_lag = \"3s\"").config)),
            ("further".to_owned(), Arc::new(backend("max_lag = \"5s\"").config)),
        ]);
        let own = backend("");
        let given = Given { key: "own", own: "own", parsed: &own, applied: &applied };
        assert_eq!(
            given.notes(&own.config),
            ["note: backend shop, `max_lag`: no longer in this file, and at its default (0s), \
              though further says 5s: write it here to keep it"]
        );
    }

    #[test]
    fn what_a_further_file_has_no_more_and_stays_is_told_with_the_file_that_has_it() {
        let user = |name: &str| format!("[[user]]\nname = \"{name}\"\npassword = \"p\"\n");
        let own = parsed(&(user("a") + &user("b")));
        let before = parsed(&(user("a") + &user("b") + &user("c"))).config;
        let applied = BTreeMap::from([
            ("own".to_owned(), Arc::new(own.config.clone())),
            ("further".to_owned(), Arc::new(before)),
        ]);
        let further = parsed("");
        let given = Given { key: "further", own: "own", parsed: &further, applied: &applied };
        // `b` was deleted elsewhere.
        let in_force = parsed(&user("a")).config;
        assert_eq!(
            given.notes(&in_force),
            ["note: user a: no longer in this file, and in own; it stays"]
        );
        let of_own = Given { key: "own", own: "own", parsed: &further, applied: &applied };
        assert_eq!(
            of_own.notes(&parsed("").config),
            [
                "note: user a: no longer in this file, and gone, though further has it: write it here to keep it",
                "note: user b: no longer in this file, and gone, though further has it: write it here to keep it",
            ]
        );
        let of_own = Given { key: "own", own: "own", parsed: &own, applied: &applied };
        assert_eq!(
            of_own.deleted_elsewhere(&in_force),
            ["user b: deleted elsewhere; not in force, though it is in this file"]
        );
    }
}
