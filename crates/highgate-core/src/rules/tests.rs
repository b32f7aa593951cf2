use std::{collections::BTreeMap, time::Duration};

use highgate_config::{BackendName, ListenerName, Rule, RuleRole};

use super::*;

fn rule() -> Rule {
    Rule { active: true, ..Rule::default() }
}

fn compile(rules: impl IntoIterator<Item = (u32, Rule)>) -> RuleSet {
    RuleSet::compile(&rules.into_iter().collect::<BTreeMap<_, _>>(), None).unwrap()
}

fn evaluate(set: &RuleSet, change: impl FnOnce(&mut RuleContext<'_>)) -> RuleOutcome {
    let listener = ListenerName::from("shop");
    let mut context = RuleContext {
        user: "app",
        schema: "shop",
        client_addr: Some("10.0.0.7".parse().unwrap()),
        listener: &listener,
        digest: 7,
        digest_text: b"SELECT * FROM t WHERE id=?",
        text: b"SELECT * FROM t WHERE id=42",
        flag: 0,
    };
    change(&mut context);
    set.evaluate(&context)
}

#[test]
fn every_condition_must_hold() {
    let all = Rule {
        username: Some("app".into()),
        schemaname: Some("shop".into()),
        client_addr: Some("10.0.0.0/24".parse().unwrap()),
        listener: Some("shop".into()),
        digest: Some(7),
        match_digest: Some("^select".into()),
        match_pattern: Some("id=42$".into()),
        ..rule()
    };
    let set = compile([(1, all)]);
    assert_eq!(evaluate(&set, |_| {}).matched, [1]);
    let other = ListenerName::from("other");
    assert!(evaluate(&set, |c| c.user = "App").matched.is_empty());
    assert!(evaluate(&set, |c| c.schema = "").matched.is_empty());
    assert!(evaluate(&set, |c| c.client_addr = None).matched.is_empty());
    assert!(evaluate(&set, |c| c.digest = 8).matched.is_empty());
    assert!(evaluate(&set, |c| c.digest_text = b"UPDATE").matched.is_empty());
    assert!(evaluate(&set, |c| c.text = b"id=43").matched.is_empty());
    assert!(evaluate(&set, |c| c.flag = 1).matched.is_empty());
    let listener = RuleContext { listener: &other, ..context_of(&other) };
    assert!(set.evaluate(&listener).matched.is_empty());
}

fn context_of(listener: &ListenerName) -> RuleContext<'_> {
    RuleContext {
        user: "app",
        schema: "shop",
        client_addr: Some("10.0.0.7".parse().unwrap()),
        listener,
        digest: 7,
        digest_text: b"SELECT * FROM t WHERE id=?",
        text: b"SELECT * FROM t WHERE id=42",
        flag: 0,
    }
}

#[test]
fn an_inactive_rule_does_not_exist() {
    assert!(compile([(1, Rule::default())]).is_empty());
}

#[test]
fn later_rules_overwrite_what_earlier_rules_said_until_one_applies() {
    let backend = |name: &str| Rule { backend: Some(name.into()), ..rule() };
    let set = compile([
        (10, Rule { timeout: Some(Duration::from_secs(1)), ..backend("a") }),
        (20, Rule { apply: true, role: Some(RuleRole::Replica), ..backend("b") }),
        (30, backend("c")),
    ]);
    let outcome = evaluate(&set, |_| {});
    assert_eq!(outcome.matched, [10, 20]);
    assert_eq!(outcome.backend, Some(BackendName::from("b")));
    assert_eq!(outcome.timeout, Some(Duration::from_secs(1)));
    assert_eq!((outcome.role, outcome.last()), (Some(RuleRole::Replica), Some(20)));
}

#[test]
fn rules_of_all_indexes_are_tried_in_the_order_of_their_ids() {
    let set = compile([
        (1, rule()),
        (2, Rule { username: Some("app".into()), ..rule() }),
        (3, Rule { digest: Some(7), ..rule() }),
        (4, rule()),
        (5, Rule { username: Some("app".into()), digest: Some(7), ..rule() }),
    ]);
    assert_eq!(evaluate(&set, |_| {}).matched, [1, 2, 3, 4, 5]);
    assert_eq!(evaluate(&set, |c| c.user = "x").matched, [1, 3, 4]);
    assert_eq!(evaluate(&set, |c| c.digest = 1).matched, [1, 2, 4]);
}

#[test]
fn a_flag_chains_only_to_rules_that_follow() {
    let set = compile([
        (1, Rule { flag_in: 5, backend: Some("early".into()), ..rule() }),
        (2, Rule { flag_out: Some(5), ..rule() }),
        (3, Rule { backend: Some("zero".into()), ..rule() }),
        (4, Rule { flag_in: 5, backend: Some("late".into()), ..rule() }),
    ]);
    let outcome = evaluate(&set, |_| {});
    assert_eq!(outcome.matched, [2, 4]);
    assert_eq!(outcome.backend, Some("late".into()));
}

#[test]
fn negation_turns_both_patterns_around() {
    let set = compile([(
        1,
        Rule { match_digest: Some("^INSERT".into()), negate_match_pattern: true, ..rule() },
    )]);
    assert_eq!(evaluate(&set, |_| {}).matched, [1]);
    assert!(evaluate(&set, |c| c.digest_text = b"insert into t").matched.is_empty());
}

#[test]
fn case_matters_only_where_a_rule_says_so() {
    let of = |case_sensitive| {
        compile([(1, Rule { match_digest: Some("^select".into()), case_sensitive, ..rule() })])
    };
    assert_eq!(evaluate(&of(false), |_| {}).matched, [1]);
    assert!(evaluate(&of(true), |_| {}).matched.is_empty());
}

#[test]
fn a_rewritten_text_is_what_later_patterns_see() {
    let set = compile([
        (
            1,
            Rule {
                match_pattern: Some(r"FROM (\w+)".into()),
                replace_pattern: Some(r"FROM $new.\1".into()),
                ..rule()
            },
        ),
        (2, Rule { match_pattern: Some(r"\$new\.t".into()), ..rule() }),
        (3, Rule { match_pattern: Some("FROM t".into()), ..rule() }),
    ]);
    let outcome = evaluate(&set, |_| {});
    assert_eq!(outcome.rewrite.as_deref(), Some(&b"SELECT * FROM $new.t WHERE id=42"[..]));
    assert_eq!(outcome.matched, [1, 2]);
}

#[test]
fn an_outcome_is_for_the_digest_unless_a_pattern_looked_at_the_text() {
    let looks = Rule { match_pattern: Some("42".into()), ..rule() };
    let set = compile([(1, Rule { username: Some("app".into()), ..looks })]);
    assert_eq!(evaluate(&set, |_| {}).cacheability, Cacheability::Text);
    assert_eq!(evaluate(&set, |c| c.user = "x").cacheability, Cacheability::Digest);
}

#[test]
fn every_bad_pattern_is_named_at_once() {
    let bad = |pattern: &str| Rule { match_digest: Some(pattern.into()), ..rule() };
    let rules = BTreeMap::from([(1, bad("(")), (2, bad("ok")), (3, bad("(?!x)"))]);
    let errors = RuleSet::compile(&rules, None).unwrap_err();
    assert_eq!(errors.iter().map(|error| error.rule).collect::<Vec<_>>(), [1, 3]);
    assert!(errors[1].to_string().contains("look-around"), "{}", errors[1]);
}

#[test]
fn hits_and_patterns_outlive_a_recompilation() {
    let rules = BTreeMap::from([(1, Rule { match_digest: Some("SELECT".into()), ..rule() })]);
    let first = RuleSet::compile(&rules, None).unwrap();
    first.count(&evaluate(&first, |_| {}));
    let second = RuleSet::compile(&rules, Some(&first)).unwrap();
    second.count(&evaluate(&second, |_| {}));
    assert_eq!(first.hits().collect::<Vec<_>>(), [(1, 2)]);
    let (a, b) = (first.digests.regex(0).unwrap(), second.digests.regex(0).unwrap());
    assert!(std::ptr::eq(a, b));
}

#[test]
fn explain_names_the_condition_that_failed() {
    let set = compile([
        (1, Rule { username: Some("other".into()), ..rule() }),
        (2, Rule { match_digest: Some("^UPDATE".into()), ..rule() }),
        (3, Rule { apply: true, ..rule() }),
        (4, rule()),
    ]);
    let listener = ListenerName::from("shop");
    let (outcome, tried) = set.explain(&context_of(&listener));
    assert_eq!(outcome, set.evaluate(&context_of(&listener)));
    let verdicts: Vec<_> = tried.iter().map(|tried| (tried.rule, tried.verdict)).collect();
    assert_eq!(
        verdicts,
        [(1, TriedVerdict::User), (2, TriedVerdict::MatchDigest), (3, TriedVerdict::Matched)]
    );
}

/// Not a bench: a bound that only a mistake of an order of magnitude would break.
#[test]
fn a_hundred_rules_that_miss_are_tested_by_one_automaton() {
    let rules = (0..100).map(|id| {
        let pattern = format!("^SELECT .* FROM table_{id} WHERE");
        (id, Rule { match_digest: Some(pattern), ..rule() })
    });
    let set = compile(rules);
    assert!(evaluate(&set, |_| {}).matched.is_empty());
    assert_eq!(
        evaluate(&set, |c| c.digest_text = b"SELECT a FROM table_77 WHERE x=?").matched,
        [77]
    );
}
