//! What vips track: `track_*` of instances and groups, files and processes.

use std::collections::BTreeMap;

use super::{
    blocks::Statement,
    lexer::Word,
    reader::{Reader, across, seconds_of},
};
use crate::{
    Place, Process, ProcessName, ScriptName, Track, Weight,
    import::thing::Thing,
    nearest::nearest,
    settings::{Kind, Mistake, PROCESS, Value, short, weight_of},
};

/// Weights and paths of what may be tracked, as their own blocks say.
#[derive(Default)]
pub(super) struct Weights {
    pub(super) scripts: BTreeMap<ScriptName, Weight>,
    files: BTreeMap<String, (String, Weight)>,
    processes: BTreeMap<ProcessName, Weight>,
}

impl Reader<'_> {
    /// Reads the weight in `NAME weight N reverse`, or in `weight N reverse` itself.
    pub(super) fn weight(&mut self, words: &[Word]) -> Option<Weight> {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match weight_of(&texts) {
            Ok(weight) => Some(weight),
            Err(mistake) => {
                let at = words.iter().find(|it| mistake.what.contains(&format!("`{}`", it.text)));
                let at = at.map_or_else(|| across(words), |word| word.at.clone());
                self.piece.error(at, mistake);
                None
            }
        }
    }

    /// The entries of a block such as `track_script { … }`.
    pub(super) fn tracks(&mut self, statement: &Statement, into: &mut Vec<Track>) {
        let kind = statement.name();
        if statement.block.is_none() && !statement.arguments().is_empty() {
            let what = format!("`{kind}` is a block");
            let expected = format!(
                "{kind} {{ {} }}",
                statement
                    .arguments()
                    .iter()
                    .map(|it| short(&it.text))
                    .collect::<Vec<_>>()
                    .join(" ")
            );
            return self.expected(across(statement.arguments()), what, &expected);
        }
        for line in self.block(statement) {
            self.no_block(line);
            let Some(word) = line.words.first() else { continue };
            let own = match line.arguments() {
                [] => None,
                words => match self.weight(words) {
                    Some(weight) => Some(weight),
                    None => continue,
                },
            };
            if let Some(track) = self.track(kind, word, own) {
                into.push(track);
            }
        }
    }

    fn track(&mut self, kind: &str, word: &Word, own: Option<Weight>) -> Option<Track> {
        let name = word.text.as_str();
        match kind {
            "track_interface" => match Kind::Interface.read(name) {
                Ok(_) => Some(Track::Interface(name.to_owned(), own.unwrap_or(Weight::Fault))),
                Err(mistake) => {
                    self.piece.error(word.at.clone(), mistake);
                    None
                }
            },
            "track_script" => match self.weights.scripts.get(name) {
                Some(weight) => Some(Track::Script(ScriptName::from(name), own.unwrap_or(*weight))),
                None => {
                    let known: Vec<&str> =
                        self.weights.scripts.keys().map(ScriptName::as_str).collect();
                    let near = nearest(name, known).map(str::to_owned);
                    self.missing("vrrp_script", word, near)
                }
            },
            "track_file" => match self.weights.files.get(name) {
                Some((path, weight)) => Some(Track::File(path.clone(), own.unwrap_or(*weight))),
                None => {
                    let known = self.weights.files.keys().map(String::as_str);
                    let near = nearest(name, known).map(str::to_owned);
                    self.missing("vrrp_track_file", word, near)
                }
            },
            _ => match self.weights.processes.get(name) {
                Some(weight) => {
                    Some(Track::Process(ProcessName::from(name), own.unwrap_or(*weight)))
                }
                None => {
                    let known = self.weights.processes.keys().map(ProcessName::as_str);
                    let near = nearest(name, known).map(str::to_owned);
                    self.missing("vrrp_track_process", word, near)
                }
            },
        }
    }

    fn missing(&mut self, block: &str, word: &Word, nearest: Option<String>) -> Option<Track> {
        let what = format!("there is no `{block} {}`", short(&word.text));
        self.piece.error(word.at.clone(), Mistake { what, nearest, ..Mistake::default() });
        None
    }

    pub(super) fn track_file(&mut self, statement: &Statement) {
        let Some(name) = self.name(statement) else { return };
        if self.weights.files.contains_key(&name.text) {
            let what = format!("there is a `vrrp_track_file {}` already", short(&name.text));
            return self.error(name.at.clone(), what);
        }
        let mut path: Option<String> = None;
        let mut weight = Weight::Priority(1);
        for line in self.block(statement) {
            if !self.answer("vrrp_track_file", line) {
                continue;
            }
            if line.name() == "weight" {
                weight = self.weight(&line.words).unwrap_or(weight);
                continue;
            }
            let Some(word) = self.one(line) else { continue };
            if word.text.starts_with('/') && !word.text.contains(char::is_whitespace) {
                path = Some(word.text.clone());
            } else {
                let what = format!("`{}` can't be tracked", short(&word.text));
                self.expected(word.at.clone(), what, "the whole path of a file, without blanks");
                path = Some("/".to_owned());
            }
        }
        if path.is_none() {
            let what = format!("`vrrp_track_file {}` has no `file`", short(&name.text));
            self.error(name.at.clone(), what);
        }
        let path = path.unwrap_or_else(|| "/".to_owned());
        self.weights.files.insert(name.text, (path, weight));
    }

    pub(super) fn track_process(&mut self, statement: &Statement) {
        let Some(name) = self.name(statement) else { return };
        let process = ProcessName::from(&*name.text);
        let place = Place::Process(self.node.clone(), process.clone());
        if !self.piece.is_new(&place, name.at.clone()) {
            return;
        }
        let mut thing: Thing<Process> = Thing::new(&PROCESS, place);
        self.weights.processes.insert(process.clone(), Weight::Priority(1));
        for line in self.block(statement) {
            if !self.answer("vrrp_track_process", line) {
                continue;
            }
            if line.name() == "weight" {
                if let Some(weight) = self.weight(&line.words) {
                    self.weights.processes.insert(process.clone(), weight);
                }
                continue;
            }
            self.process_line(&mut thing, line);
        }
        if !thing.is_set(self.piece, "command") {
            self.error(name.at.clone(), format!("process `{process}` has no `process`"));
            self.piece.failed.insert((thing.place.clone(), "command"));
        }
        self.piece.node.processes.insert(process, thing.draft);
    }

    fn process_line(&mut self, thing: &mut Thing<Process>, line: &Statement) {
        let fields: &[&'static str] = match line.name() {
            "process" => {
                self.no_block(line);
                let words = line.arguments();
                if words.is_empty() {
                    return self.error(line.at(), "`process` names no program");
                }
                let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                let value = Ok(Value::Text(texts.join(" ")));
                if words.len() > 1 {
                    thing.put(
                        self.piece,
                        &PROCESS,
                        "whole_command",
                        Ok(Value::Flag(true)),
                        &line.at(),
                    );
                }
                return thing.set(self.piece, &PROCESS, "command", value, &across(words));
            }
            "full_command" => {
                if let Some(flag) = self.flag(line) {
                    let value = Ok(Value::Flag(flag));
                    thing.put(self.piece, &PROCESS, "whole_command", value, &line.at());
                }
                return;
            }
            "quorum" => &["quorum"],
            "quorum_max" => &["quorum_max"],
            "fork_delay" => &["fork_delay"],
            "terminate_delay" => &["end_delay"],
            _ => &["fork_delay", "end_delay"],
        };
        let Some(word) = self.one(line) else { return };
        for field in fields {
            let value = match PROCESS.setting(field).map(|it| it.kind) {
                Some(kind @ Kind::Duration { .. }) => seconds_of(kind, &word.text),
                Some(kind) => kind.read(&word.text),
                None => return,
            };
            thing.set(self.piece, &PROCESS, field, value, &word.at);
        }
    }
}
