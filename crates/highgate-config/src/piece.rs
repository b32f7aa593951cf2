//! Files as far as they were read, in whatever dialect, and what they make together.
//!
//! A dialect's reader turns one file (and what it includes) into a [`Piece`]: a part of the
//! desired state, where each of its settings is written, and the mistakes found on the way.
//! [`finish`] puts the pieces together, looks for what does not fit, and gives each mistake its
//! line.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{
    BackendName, Config, Node, NodeName, Place, Problem, Problems, ScriptName, Severity, Track,
    Weight,
    faults::{Fault, absent, faults, outside},
    import::Surroundings,
    native::{Parsed, Spot, Written},
    settings::{Mistake, NODE},
    source::Source,
};

/// Where in the text of a file.
pub(crate) type Span = Range<usize>;

/// Where in the texts of a piece, or of all pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) source: usize,
    pub(crate) span: Span,
}

/// In the only text, or in the first.
impl From<Span> for At {
    fn from(span: Span) -> Self {
        Self { source: 0, span }
    }
}

/// A mistake at its place.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) severity: Severity,
    pub(crate) at: At,
    pub(crate) mistake: Mistake,
    pub(crate) other: Option<At>,
}

/// One file as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// The file, and the files that it includes.
    pub(crate) sources: Vec<(String, Source)>,
    pub(crate) found: Vec<Found>,
    /// Where each thing and each of its settings is written; the thing itself under "".
    pub(crate) places: BTreeMap<(Place, &'static str), At>,
    /// Settings that are missing or could not be read; nothing is said about them twice.
    pub(crate) failed: BTreeSet<(Place, &'static str)>,
    pub(crate) shared: crate::Shared,
    pub(crate) node: Node,
    /// Scripts that ask whether the program runs that this process stands in for.
    pub(crate) stand_ins: Vec<ScriptName>,
    /// Backends that must be there, in this file or another.
    pub(crate) wanted: Vec<(BackendName, At)>,
}

impl Piece {
    pub(crate) fn tell(&mut self, severity: Severity, at: impl Into<At>, mistake: Mistake) {
        self.found.push(Found { severity, at: at.into(), mistake, other: None });
    }

    pub(crate) fn error(&mut self, at: impl Into<At>, mistake: Mistake) {
        self.tell(Severity::Error, at, mistake);
    }

    /// Notes where a thing is written; where another one has its name, that is a mistake.
    pub(crate) fn is_new(&mut self, place: &Place, at: impl Into<At>) -> bool {
        let at = at.into();
        let Some(first) = self.places.get(&(place.clone(), "")).cloned() else {
            self.places.insert((place.clone(), ""), at);
            return true;
        };
        self.found.push(twice(place, at, first));
        false
    }
}

fn twice(place: &Place, at: At, first: At) -> Found {
    let what = format!("there is a {place} already");
    let mistake = Mistake { what, ..Mistake::default() };
    Found { severity: Severity::Error, at, mistake, other: Some(first) }
}

/// What the pieces make together, or all their mistakes.
pub(crate) fn finish(
    pieces: Vec<Piece>,
    node: &NodeName,
    surroundings: &dyn Surroundings,
) -> Result<Parsed, Problems> {
    let mut whole = Piece::default();
    for piece in pieces {
        absorb(&mut whole, piece, node);
    }
    stand_in(&mut whole, node);
    wanted(&mut whole);
    let own = std::mem::take(&mut whole.node);
    let shared = std::mem::take(&mut whole.shared);
    let config = Config { shared, node: [(node.clone(), own)].into() };
    let networks = |interface: &str| surroundings.networks(interface);
    let here = absent(&config, &surroundings.interfaces());
    for fault in faults(&config).into_iter().chain(here).chain(outside(&config, &networks)) {
        note(&mut whole, fault);
    }
    whole.found.sort_by_key(|found| (found.at.source, found.at.span.start));
    let problems: Vec<Problem> =
        whole.found.iter().filter_map(|found| problem(&whole.sources, found)).collect();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Problems(problems));
    }
    let written = written(&whole);
    Ok(Parsed { config, warnings: problems, written, empty: BTreeSet::new() })
}

/// Where things are written that are looked at outside: what has to do with the machine, and passwords,
/// whose forms are the protocol's.
fn written(whole: &Piece) -> Written {
    let is_of_machine =
        |place: &Place| matches!(place, Place::Backend(_) | Place::Listener(_) | Place::Node(_));
    let is_password = |place: &Place, field: &str| {
        matches!(place, Place::AdminUser(..) | Place::User(_)) && field == "password"
    };
    let places = whole
        .places
        .iter()
        .filter(|((place, field), _)| is_of_machine(place) || is_password(place, field));
    let spots = places.filter_map(|(key, at)| {
        let (file, source) = whole.sources.get(at.source)?;
        let spot = source.spot(&at.span);
        Some((key.clone(), Spot { file: file.clone(), line: spot.line, column: spot.column }))
    });
    Written(spots.collect())
}

/// Adds a piece to those before it; what both name is a mistake of the later one.
fn absorb(whole: &mut Piece, piece: Piece, node: &NodeName) {
    let first_source = whole.sources.len();
    let moved = |at: At| At { source: at.source + first_source, ..at };
    let Piece { sources, found, places, failed, shared, node: own, stand_ins, wanted } = piece;
    whole.sources.extend(sources);
    whole.found.extend(found.into_iter().map(|it| Found {
        at: moved(it.at),
        other: it.other.map(moved),
        ..it
    }));
    let mut is_theirs: BTreeSet<Place> = BTreeSet::new();
    for ((place, field), at) in places {
        let at = moved(at);
        let is_thing = field.is_empty() && !matches!(place, Place::Node(_));
        let is_node = matches!(&place, Place::Node(_)) && !field.is_empty();
        match whole.places.get(&(place.clone(), field)).cloned() {
            Some(first) if is_thing => {
                whole.found.push(twice(&place, at, first));
                is_theirs.insert(place);
            }
            Some(first) if is_node => {
                let what = format!("`{field}` is set already");
                let mistake = Mistake { what, ..Mistake::default() };
                let severity = Severity::Error;
                whole.found.push(Found { severity, at, mistake, other: Some(first) });
            }
            Some(_) => {}
            None if is_theirs.contains(&place) => {}
            None => {
                if is_node && let Some(setting) = NODE.setting(field) {
                    (setting.put)(&mut whole.node, (setting.get)(&own));
                }
                whole.places.insert((place, field), at);
            }
        }
    }
    whole.failed.extend(failed);
    whole.stand_ins.extend(stand_ins);
    whole.wanted.extend(wanted.into_iter().map(|(name, at)| (name, moved(at))));
    join(&mut whole.shared.backends, shared.backends);
    join(&mut whole.shared.listeners, shared.listeners);
    join(&mut whole.shared.users, shared.users);
    join(&mut whole.shared.rules, shared.rules);
    join(&mut whole.node.binds, own.binds);
    join(&mut whole.node.admin.users, own.admin.users);
    join(&mut whole.node.vips, own.vips);
    join(&mut whole.node.vip_groups, own.vip_groups);
    join(&mut whole.node.scripts, own.scripts);
    join(&mut whole.node.processes, own.processes);
    debug_assert!(whole.places.keys().all(|(place, _)| match place {
        Place::Node(name) => name == node,
        _ => true,
    }));
}

fn join<K: Ord, V>(into: &mut BTreeMap<K, V>, from: BTreeMap<K, V>) {
    for (key, value) in from {
        into.entry(key).or_insert(value);
    }
}

/// Programs that refuse a file for a backend that is missing are read as strictly.
fn wanted(whole: &mut Piece) {
    for (name, at) in std::mem::take(&mut whole.wanted) {
        if whole.shared.backends.contains_key(&name) {
            continue;
        }
        let known = whole.shared.backends.keys().map(BackendName::as_str);
        let nearest = crate::nearest::nearest(name.as_str(), known).map(str::to_owned);
        let what = format!("there is no backend `{name}`");
        whole.error(at.clone(), Mistake { what, nearest, ..Mistake::default() });
        let same = |(_, other): &(&(Place, &'static str), &At)| **other == at;
        let key = whole.places.iter().find(same).map(|(key, _)| key.clone());
        whole.failed.extend(key);
    }
}

/// Where this process has listeners, a script that asks whether HAProxy runs asks for this
/// process: it knows that better by itself.
fn stand_in(whole: &mut Piece, node: &NodeName) {
    if whole.shared.listeners.is_empty() {
        return;
    }
    for script in std::mem::take(&mut whole.stand_ins) {
        let place = Place::Script(node.clone(), script.clone());
        let mut added = 0;
        for vip in whole.node.vips.values_mut() {
            let bonus = serve_instead(&mut vip.track, &script);
            if vip.priority != 255 {
                vip.priority = vip.priority.saturating_add(bonus).min(254);
            }
            added = added.max(bonus);
        }
        for group in whole.node.vip_groups.values_mut() {
            let bonus = serve_instead(&mut group.track, &script);
            let counts = group.track_weights && bonus > 0;
            for member in group.members.iter().filter(|_| counts) {
                let vip = whole.node.vips.get_mut(member).filter(|vip| vip.priority != 255);
                if let Some(vip) = vip {
                    vip.priority = vip.priority.saturating_add(bonus).min(254);
                    added = added.max(bonus);
                }
            }
        }
        whole.node.scripts.remove(&script);
        let more = match added {
            0 => String::new(),
            _ => format!(" The weight of {added} counts for good."),
        };
        let what = format!(
            "script `{script}` stands for `track = \"serving\"`: Highgate itself listens in place of that program"
        );
        let hint = format!(
            "it is not run; losing the ability to serve gives the address away at once, not by a lower priority.{more}"
        );
        let at = whole.places.get(&(place, "")).cloned().unwrap_or(At::from(0..0));
        whole.tell(Severity::Note, at, Mistake { what, hint: Some(hint), ..Mistake::default() });
    }
}

/// Puts `serving` in place of the script; what the script added to the priority while all is well.
fn serve_instead(tracks: &mut Vec<Track>, script: &ScriptName) -> u32 {
    let mut bonus = 0;
    let mut is_serving = tracks.contains(&Track::Serving);
    tracks.retain_mut(|track| {
        let weight = match track {
            Track::Script(name, weight) if name == script => *weight,
            _ => return true,
        };
        if let Weight::Priority(weight) = weight {
            bonus = u32::try_from(weight).unwrap_or(0);
        }
        *track = Track::Serving;
        !std::mem::replace(&mut is_serving, true)
    });
    bonus
}

fn note(whole: &mut Piece, fault: Fault) {
    let key = (fault.place, fault.field);
    let is_failed = |key: &(Place, &'static str)| whole.failed.contains(key);
    if is_failed(&key) || fault.other.as_ref().is_some_and(is_failed) {
        return;
    }
    let at = place_of(whole, &key);
    let other = fault.other.as_ref().map(|other| place_of(whole, other));
    let mistake = Mistake { what: fault.what, hint: fault.hint, ..Mistake::default() };
    whole.found.push(Found { severity: fault.severity, at, mistake, other });
}

/// Where a setting is written, or its thing where it is left out.
fn place_of(whole: &Piece, (place, field): &(Place, &'static str)) -> At {
    let field_at = whole.places.get(&(place.clone(), field));
    let at = field_at.or_else(|| whole.places.get(&(place.clone(), ""))).cloned();
    at.unwrap_or(At::from(0..0))
}

fn problem(sources: &[(String, Source)], found: &Found) -> Option<Problem> {
    let (file, source) = sources.get(found.at.source)?;
    let spot = source.spot(&found.at.span);
    let other = found.other.as_ref().and_then(|at| {
        let (name, source) = sources.get(at.source)?;
        let elsewhere = (at.source != found.at.source).then(|| name.clone());
        Some((elsewhere, source.line_of(at.span.start)))
    });
    let (other_file, other_line) = match other {
        Some((file, line)) => (file, Some(line)),
        None => (None, None),
    };
    let mistake = found.mistake.clone();
    Some(Problem {
        severity: found.severity,
        file: file.clone(),
        line: spot.line,
        column: spot.column,
        what: mistake.what,
        expected: mistake.expected,
        nearest: mistake.nearest,
        hint: mistake.hint,
        other_file,
        other_line,
        source: spot.shown,
        width: spot.width,
    })
}
