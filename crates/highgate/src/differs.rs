//! What is in force otherwise than applied files say, in words: what was changed elsewhere stays.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{
    Config,
    merge::{Overruled, overruled},
    native::Parsed,
};

/// Lines beyond these are only counted.
const SHOWN: usize = 10;

/// Files that are applied, with what they are compared with.
pub(crate) struct Given<'a> {
    /// The name under which they are kept.
    pub(crate) key: &'a str,
    /// The process was started with them: what they leave out has its default.
    pub(crate) is_own: bool,
    pub(crate) parsed: &'a Parsed,
    /// All files, as they were last applied before.
    pub(crate) applied: &'a BTreeMap<String, Arc<Config>>,
}

impl Given<'_> {
    /// A line for each setting that is in force with another value than these files have.
    pub(crate) fn notes(&self, in_force: &Config) -> Vec<String> {
        let config = &self.parsed.config;
        let others = self.applied.iter().filter(|(file, _)| *file != self.key);
        let others: Vec<_> = others.map(|(file, said)| (file, overruled(config, said))).collect();
        let found = overruled(config, in_force);
        let found: Vec<_> = found.iter().filter(|it| self.is_meant(it)).collect();
        let mut notes: Vec<String> = found
            .iter()
            .take(SHOWN)
            .map(|it| {
                let other = others.iter().find(|(_, said)| it.is_said_by(said));
                format!("note: {}", self.in_words(it, other.map(|(file, _)| file.as_str())))
            })
            .collect();
        if found.len() > SHOWN {
            notes.push(format!("and {} more", found.len() - SHOWN));
        }
        notes
    }

    /// Further files mean what they say; a default in them mostly was not written.
    fn is_meant(&self, it: &Overruled) -> bool {
        let is_written = |field| self.parsed.written.says(&it.place, field);
        self.is_own || !it.is_default || it.field.is_some_and(is_written)
    }

    fn in_words(&self, it: &Overruled, by: Option<&str>) -> String {
        let Some(field) = it.field else {
            return format!(
                "{}: deleted elsewhere; not in force, though it is in this file",
                it.place
            );
        };
        let (place, value, own) = (&it.place, it.in_force(), it.in_file());
        let by = by.map_or_else(
            || "by an operator, or by a file that says so no more".to_owned(),
            |file| format!("by {file}"),
        );
        let since = match (it.is_default, self.applied.contains_key(self.key)) {
            (true, false) => "is the default, which a file that was never applied does not ask for",
            _ => "was not changed since it was applied",
        };
        format!("{place}, `{field}`: in force is {value}, set {by}; this file's {own} {since}")
    }
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
        let given = Given { key: "mine", is_own: true, parsed: &mine, applied: &applied };
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
        let given = Given { key: "further", is_own: false, parsed: &further, applied: &applied };
        assert_eq!(
            given.notes(&mine.config),
            ["note: backend shop, `topology`: in force is \"galera\", set by mine; this file's \
                 \"static\" is the default, which a file that was never applied does not ask for"]
        );
    }
}
