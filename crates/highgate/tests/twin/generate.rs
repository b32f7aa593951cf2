//! What sessions do at random, on both sides at once.

use std::net::SocketAddr;

use highgate_mysql::Capabilities;

use crate::{
    MAKE,
    pair::{Action, SLOTS, Side},
    random::Random,
    raw::{self, Param, Part},
    statements,
};

/// One session on both sides, with what the generator must know of it.
pub(crate) struct Twin {
    pub(crate) through: Side,
    pub(crate) direct: Side,
    /// Kinds of the parameters of the statement in each slot; `None` if it is empty.
    pub(crate) slots: [Option<&'static str>; SLOTS],
    /// Text of the statement that was prepared last in each slot.
    pub(crate) texts: [&'static str; SLOTS],
    /// Parameters of the last execution in each slot.
    pub(crate) bound: [Option<Vec<Param>>; SLOTS],
    pub(crate) trace: Vec<(usize, Action)>,
}

impl Twin {
    /// A session of that account on both sides.
    pub(crate) fn connect(
        through: SocketAddr,
        direct: SocketAddr,
        user: &'static str,
        capabilities: Capabilities,
    ) -> Self {
        let connect = |to| {
            let mut side = Side::connect(to, user, capabilities).unwrap();
            // Quirk: what FOUND_ROWS() says at first was left by whoever had the server's thread before.
            side.run(&Action::Query("SELECT 1".to_owned())).unwrap();
            side
        };
        Self {
            through: connect(through),
            direct: connect(direct),
            slots: [None; SLOTS],
            texts: [""; SLOTS],
            bound: [const { None }; SLOTS],
            trace: Vec::new(),
        }
    }
}

/// The capabilities of a seed's clients.
pub(crate) fn capabilities(random: &mut Random) -> Capabilities {
    let mut capabilities = raw::USUAL;
    if random.one_in(2) {
        capabilities |= Capabilities::DEPRECATE_EOF;
    }
    if random.one_in(3) {
        capabilities |= Capabilities::FOUND_ROWS;
    }
    capabilities
}

fn fill(random: &mut Random, text: &str) -> String {
    let name = *random.pick(&["a", "b", "c"]);
    text.replace("{n}", &(1 + random.below(5)).to_string())
        .replace("{m}", &random.below(60).to_string())
        .replace("{v}", name)
}

fn param(random: &mut Random, kind: char) -> Param {
    let number = i64::try_from(random.below(70)).unwrap();
    match kind {
        _ if random.one_in(12) => Param::Null,
        'i' => Param::Int(number),
        's' => Param::Text(format!("p{number}")),
        'd' => Param::Double(0.5),
        _ => match random.below(3) {
            0 => Param::Int(number),
            1 => Param::Text(number.to_string()),
            _ => Param::Double(f64::from(u8::try_from(number).unwrap())),
        },
    }
}

/// What a session does next.
pub(crate) fn next(random: &mut Random, twin: &mut Twin) -> Action {
    let slot = random.below(SLOTS);
    match (random.below(20), twin.slots[slot]) {
        (0..=2, None) => prepare(random, twin, slot),
        (0..=3, Some(kinds)) => execute(random, twin, slot, kinds),
        (4, Some(kinds)) if random.one_in(3) && kinds.contains('s') => {
            let at = kinds.find('s').unwrap();
            if let Some(bound) = &mut twin.bound[slot] {
                bound.clear();
            }
            twin.bound[slot] = None;
            Action::LongData(slot, u16::try_from(at).unwrap(), format!("long{}", random.below(9)))
        }
        (4, Some(_)) if random.one_in(2) => {
            twin.slots[slot] = None;
            Action::Close(slot)
        }
        (4, _) => match random.below(12) {
            0 => {
                twin.slots = [None; SLOTS];
                Action::ResetConnection
            }
            1 => {
                twin.slots = [None; SLOTS];
                Action::ChangeUser
            }
            2 => Action::Ping,
            3 => Action::FieldList(random.pick::<&str>(&["t", "u", "nowhere", "d1"])),
            4 => Action::InitDb(random.pick::<&str>(&["shop", "other", "nowhere"])),
            5 if twin.slots[slot].is_some() => Action::Reset(slot),
            6..=8 if twin.slots[slot].is_some() => Action::Fetch(slot, 2),
            _ => prepare(random, twin, slot),
        },
        _ => {
            let group = statements::GROUPS.pick(random, MAKE);
            let text = group.pick(random, MAKE);
            // What docs/differences.md lists: values are read in the charset that was in force when
            // their types came; sent again to another connection, these come in the present one.
            let charsets = ["SET NAMES", "SET CHAR", "character_set_", "collation_connection ="];
            if charsets.iter().any(|word| text.contains(word)) {
                twin.bound = [const { None }; SLOTS];
            }
            Action::Query(fill(random, text))
        }
    }
}

/// Whether Highgate said that it does not know FOUND_ROWS() or ROW_COUNT() any more. Nothing ran then:
/// both sides go on from a SELECT, which Highgate answers by itself.
pub(crate) fn was_not_known(
    twin: &mut Twin,
    action: &Action,
    found: &[Part],
    (seed, step): (u64, usize),
) -> bool {
    const NOT_KNOWN: &str = "is not known here any more";
    if !matches!(found, [Part::Err { code: 1235, text, .. }] if text.contains(NOT_KNOWN)) {
        return false;
    }
    if let Action::Execute { slot, .. } = action {
        twin.bound[*slot] = None;
    }
    let select = Action::Query("SELECT ROW_COUNT()".to_owned());
    twin.trace.push((step, select.clone()));
    run(twin, &select, seed, step, true);
    run(twin, &select, seed, step, false);
    true
}

fn prepare(random: &mut Random, twin: &mut Twin, slot: usize) -> Action {
    let (text, kinds) = statements::PREPARED.pick(random, MAKE);
    (twin.slots[slot], twin.texts[slot]) = (Some(kinds), text);
    twin.bound[slot] = None;
    Action::Prepare(slot, text)
}

fn execute(random: &mut Random, twin: &mut Twin, slot: usize, kinds: &str) -> Action {
    // What a cursor over a count counts itself, no manual says.
    let cursor = random.one_in(6) && !twin.texts[slot].contains("FOUND_ROWS");
    // Without types the values must be of the kinds that were bound before.
    if let (Some(bound), true) = (&twin.bound[slot], random.one_in(3)) {
        let params = bound.clone();
        return Action::Execute { slot, params, with_types: false, cursor };
    }
    let params: Vec<Param> = kinds.chars().map(|kind| param(random, kind)).collect();
    twin.bound[slot] = Some(params.clone());
    Action::Execute { slot, params, with_types: true, cursor }
}

/// Carries out an action on one side.
pub(crate) fn run(
    twin: &mut Twin,
    action: &Action,
    seed: u64,
    step: usize,
    through: bool,
) -> Vec<Part> {
    let side = if through { &mut twin.through } else { &mut twin.direct };
    side.run(action).unwrap_or_else(|error| {
        for (step, action) in twin.trace.iter().rev().take(30).rev() {
            eprintln!("  {step}: {action:?}");
        }
        panic!("seed {seed}, step {step}, through Highgate: {through}, {action:?}: {error:#}")
    })
}
