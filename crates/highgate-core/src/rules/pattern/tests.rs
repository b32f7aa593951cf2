use super::*;

fn patterns(texts: impl IntoIterator<Item = String>, previous: Option<&Patterns>) -> Patterns {
    let mut set = Patterns::default();
    for text in texts {
        set.add(Pattern { text: text.into(), case_sensitive: false }, previous).unwrap();
    }
    set.seal(previous);
    set
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("^SELECT {number};")).collect()
}

fn matches(set: &Patterns, text: &str) -> Vec<usize> {
    let mut seen = Seen::default();
    (0..set.known.len()).filter(|at| set.is_match(*at, text.as_bytes(), &mut seen)).collect()
}

#[test]
fn among_thousands_the_right_one_matches_whether_it_was_compiled_at_once_or_late() {
    let set = patterns(numbered(FEW + 50), None);
    for number in [0, 1, 200, FEW - 1, FEW, FEW + 49] {
        assert_eq!(matches(&set, &format!("select {number};")), [number]);
    }
    assert!(matches(&set, "SELECT x").is_empty());
}

#[test]
fn a_pattern_that_comes_or_goes_leaves_all_automata_but_its_own_as_they_were() {
    let all = numbered(700);
    let before = patterns(all.clone(), None);
    let kept = |after: &Patterns| {
        let is_old = |new: &&Arc<Together>| before.together.iter().any(|old| Arc::ptr_eq(old, new));
        after.together.iter().filter(is_old).count()
    };
    let mut more = all.clone();
    more.insert(350, "^INSERT".to_owned());
    let more = patterns(more, Some(&before));
    let mut less = all;
    less.remove(10);
    let less = patterns(less, Some(&before));
    for after in [&more, &less] {
        // Where a limit moves it may take its neighbours along, as no automaton is very small.
        assert!(
            after.together.len() - kept(after) <= 4,
            "{} new",
            after.together.len() - kept(after)
        );
    }
    assert_eq!(matches(&more, "insert"), [350]);
    assert_eq!(matches(&less, "select 11;"), [10]);
}

#[test]
fn what_would_be_too_large_is_refused_and_what_is_sound_waits_for_a_text() {
    let known =
        |text: &str, keep| Known::new(Pattern { text: text.into(), case_sensitive: true }, keep);
    for keep in [true, false] {
        let why = known(r"[\w\W]{900000}", keep).unwrap_err();
        assert!(why.contains("limit"), "{why}");
        assert_eq!(known("^SELECT", keep).unwrap().regex.get().is_some(), keep);
    }
}

#[test]
fn a_pattern_of_several_rules_is_one() {
    let mut set = Patterns::default();
    let pattern = Pattern { text: "^SELECT".into(), case_sensitive: true };
    assert_eq!(set.add(pattern.clone(), None), Ok(0));
    assert_eq!(set.add(pattern, None), Ok(0));
    set.seal(None);
    assert_eq!(set.together.len(), 1);
    assert!(matches(&set, "select").is_empty());
}

#[test]
fn automata_hold_neither_few_patterns_nor_very_many() {
    let set = patterns(numbered(900), None);
    let sizes: Vec<usize> = set.together.iter().map(|together| together.members.len()).collect();
    let (_, all_but_last) = sizes.split_last().unwrap();
    assert!(all_but_last.iter().all(|size| (SMALLEST..=LARGEST).contains(size)), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 900);
}
