//! Where operators' marks stand against what applied files say of servers, in words.
//!
//! A mark belongs to the name of a server, whatever files do: what was drained stays so until somebody says
//! otherwise. So who applies a file is told where a mark hides what it says, and where one waits for a server.

use highgate_config::{Config, Override, OverrideKind, Server};

/// A line for each mark that hides what changes of its server, or that comes or stays without it.
pub(crate) fn notes(marks: &[Override], before: &Config, after: &Config, now: u64) -> Vec<String> {
    let of = |config: &Config, mark: &Override| -> Option<Server> {
        config.shared.backends.get(&mark.server.0)?.servers.get(&mark.server.1).cloned()
    };
    let holding = marks.iter().filter(|mark| mark.holds_at(now));
    holding.filter_map(|mark| note(mark, of(before, mark), of(after, mark))).collect()
}

fn note(mark: &Override, before: Option<Server>, after: Option<Server>) -> Option<String> {
    let (backend, name) = &mark.server;
    let what = match (mark.kind, before, after) {
        (_, None, None) => return None,
        (kind, Some(before), Some(after)) => {
            let is_state = kind.is_state();
            let hides =
                if is_state { before.state != after.state } else { before.weight != after.weight };
            if !hides {
                return None;
            }
            format!("the {} of an operator stays in force", noun(kind))
        }
        (kind, None, Some(_)) => {
            format!("the {} that an operator gave this name before is in force", noun(kind))
        }
        (kind, Some(_), None) => {
            format!("the {} of an operator stays, for whatever has this name again,", noun(kind))
        }
    };
    Some(format!(
        "note: server {backend}/{name}: {what} until `highgate ctl enable {backend}/{name}` takes it back"
    ))
}

/// A mark, as in "the drain of an operator".
pub(crate) fn noun(kind: OverrideKind) -> String {
    match kind {
        OverrideKind::Drain => "drain".to_owned(),
        OverrideKind::Maintenance => "maintenance".to_owned(),
        OverrideKind::Weight(weight) => format!("weight {weight}"),
    }
}

#[cfg(test)]
mod tests {
    use highgate_config::{NodeName, native};

    use super::*;

    const NOW: u64 = 1000;

    fn config(servers: &[(&str, &str)]) -> Config {
        let mut text = "[[backend]]\nname = \"shop\"\n".to_owned();
        for (name, more) in servers {
            text += &format!(
                "[[backend.server]]\nname = \"{name}\"\naddress = \"127.0.0.1:1\"\n{more}\n"
            );
        }
        native::parse("t", &text, &NodeName::from("n")).unwrap().config
    }

    fn mark(kind: OverrideKind) -> Override {
        let server = ("shop".into(), "db2".into());
        Override { server, kind, who: "operator".to_owned(), since: 1, until: None }
    }

    /// `apply` told that the state is `maintenance` now, and the server went on draining, connections open.
    #[test]
    fn a_state_of_the_file_that_a_mark_hides_is_told_with_the_way_back() {
        let before = config(&[("db2", "")]);
        let after = config(&[("db2", "state = \"maintenance\"\nweight = 3")]);
        let told = notes(&[mark(OverrideKind::Drain)], &before, &after, NOW);
        assert_eq!(
            told,
            [
                "note: server shop/db2: the drain of an operator stays in force until `highgate ctl enable \
              shop/db2` takes it back"
            ]
        );
        let told = notes(&[mark(OverrideKind::Weight(2))], &before, &after, NOW);
        assert!(told[0].contains("the weight 2 of an operator stays in force until"), "{told:?}");
        let weight = config(&[("db2", "weight = 3")]);
        assert!(
            notes(&[mark(OverrideKind::Drain)], &before, &weight, NOW).is_empty(),
            "as it says"
        );
        let ended = Override { until: Some(NOW), ..mark(OverrideKind::Drain) };
        assert!(notes(&[ended], &before, &after, NOW).is_empty());
    }

    /// It came up draining weeks later, and `apply` said only "added".
    #[test]
    fn a_mark_that_stays_without_its_server_and_one_that_waits_for_it_are_told() {
        let (with, without) = (config(&[("db2", "")]), config(&[]));
        let marks = [mark(OverrideKind::Weight(2)), mark(OverrideKind::Maintenance)];
        let [weight, state] = &notes(&marks, &without, &with, NOW)[..] else { panic!() };
        assert!(weight.contains("the weight 2 that an operator gave this name"), "{weight}");
        assert!(state.contains("the maintenance that an operator gave this name"), "{state}");
        let [weight, state] = &notes(&marks, &with, &without, NOW)[..] else { panic!() };
        assert!(weight.contains("the weight 2 of an operator stays, for whatever"), "{weight}");
        assert!(state.contains("the maintenance of an operator stays, for whatever"), "{state}");
        assert!(notes(&marks, &without, &without, NOW).is_empty());
    }
}
