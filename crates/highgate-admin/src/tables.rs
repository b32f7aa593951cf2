//! The list of tables that every rendering works on.

use std::sync::Arc;

use highgate_config::{
    nearest,
    table::{Action, Table},
};

/// The tables of this process, looked up by name without regard to case.
#[derive(Clone)]
pub struct Tables(Arc<[Arc<dyn Table>]>);

impl Tables {
    /// Takes the tables in the order in which they are listed to operators.
    #[must_use]
    pub fn new(tables: Vec<Arc<dyn Table>>) -> Self {
        Self(tables.into())
    }

    /// The table of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Table>> {
        self.iter().find(|table| table.name().eq_ignore_ascii_case(name))
    }

    /// All tables, in listing order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Table>> {
        self.0.iter()
    }

    /// The table whose name is closest to a name that does not exist.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.iter().map(|table| table.name()))
    }

    /// Carries out `action` of `table` after checking its name and the number of arguments.
    ///
    /// # Errors
    /// A sentence for the operator that says what is wrong and what exists instead.
    pub fn act(&self, table: &str, action: &str, arguments: &[&str]) -> Result<String, String> {
        let Some(found) = self.find(table) else {
            return Err(self.no_such_table(table));
        };
        let declared = found.actions().iter().find(|a| a.name.eq_ignore_ascii_case(action));
        let Some(declared) = declared else {
            return Err(no_such_action(&**found, action));
        };
        if !takes(declared, arguments.len()) {
            return Err(format!(
                "`{}.{}` takes {} and got {}",
                found.name(),
                declared.name,
                usage(declared),
                arguments.len()
            ));
        }
        found.act(declared.name, arguments)
    }

    /// The sentence for a table that does not exist.
    #[must_use]
    pub fn no_such_table(&self, name: &str) -> String {
        let name: String = name.chars().take(64).collect();
        match self.nearest(&name) {
            Some(near) => format!("Table '{name}' doesn't exist; did you mean '{near}'?"),
            None => format!("Table '{name}' doesn't exist; SHOW TABLES lists them"),
        }
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|table| table.name())).finish()
    }
}

/// Whether an action takes so many arguments; a last one that ends in `…` may be repeated, last ones that
/// end in `?` left out.
pub(crate) fn takes(action: &Action, count: usize) -> bool {
    let declared = action.arguments.len();
    match action.arguments.last() {
        Some(last) if last.ends_with('…') => count >= declared,
        _ => (needed(action)..=declared).contains(&count),
    }
}

/// How many arguments an action needs.
fn needed(action: &Action) -> usize {
    action.arguments.iter().filter(|argument| !argument.ends_with('?')).count()
}

fn usage(action: &Action) -> String {
    match action.arguments {
        [one] if one.ends_with('…') => format!("1 argument or more ({one})"),
        [] => "no argument".into(),
        [one] => format!("1 argument ({one})"),
        many => {
            let (needed, all) = (needed(action), many.len());
            let count = match all - needed {
                0 => all.to_string(),
                1 => format!("{needed} or {all}"),
                _ => format!("{needed} to {all}"),
            };
            format!("{count} arguments ({})", many.join(", "))
        }
    }
}

fn no_such_action(table: &dyn Table, action: &str) -> String {
    let names: Vec<_> = table.actions().iter().map(|a| a.name).collect();
    let action: String = action.chars().take(64).collect();
    if names.is_empty() {
        return format!("table '{}' has no actions", table.name());
    }
    format!("table '{}' has no action '{action}'; it has {}", table.name(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_the_table_that_was_meant() {
        let names = ["servers", "sessions", "events"];
        for (typed, meant) in [
            ("server", Some("servers")),
            ("SESSION", Some("sessions")),
            ("evnets", Some("events")),
            ("mysql_users", None),
        ] {
            assert_eq!(nearest(typed, names.into_iter()), meant, "{typed}");
        }
    }
}
