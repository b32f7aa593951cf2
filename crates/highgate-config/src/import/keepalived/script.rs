//! `vrrp_script`, and which scripts ask for this very process.

use super::{
    blocks::Statement,
    reader::{Reader, seconds_of},
};
use crate::{
    Place, Script, ScriptName, Severity, Weight,
    import::thing::Thing,
    settings::{Kind, Mistake, SCRIPT, Value, split_command},
};

/// Programs that this process stands in for.
const STOOD_IN_FOR: &[&str] = &["haproxy", "highgate"];

impl Reader<'_> {
    pub(super) fn script(&mut self, statement: &Statement) {
        let Some(name) = self.name(statement) else { return };
        let script = ScriptName::from(&*name.text);
        let place = Place::Script(self.node.clone(), script.clone());
        if !self.piece.is_new(&place, name.at.clone()) {
            return;
        }
        let mut thing: Thing<Script> = Thing::new(&SCRIPT, place);
        self.weights.scripts.insert(script.clone(), Weight::Fault);
        for line in self.block(statement) {
            if self.answer("vrrp_script", line) {
                self.script_line(&mut thing, &script, line);
            }
        }
        if !thing.is_set(self.piece, "command") {
            self.error(
                name.at.clone(),
                format!("script `{script}` has no `script`: nothing is run"),
            );
            self.piece.failed.insert((thing.place.clone(), "command"));
        }
        if thing.draft.user.is_none() {
            thing.draft.user.clone_from(&self.script_user);
        }
        let is_reverse = matches!(self.weights.scripts.get(&script), Some(Weight::Reverse(_)));
        if !is_reverse && asks_for_us(&thing.draft.command) {
            self.piece.stand_ins.push(script.clone());
        }
        self.piece.node.scripts.insert(script, thing.draft);
    }

    fn script_line(&mut self, thing: &mut Thing<Script>, script: &ScriptName, line: &Statement) {
        match line.name() {
            "script" => self.command(thing, line),
            "interval" | "timeout" => {
                let Some(word) = self.one(line) else { return };
                let field = if line.name() == "timeout" { "timeout" } else { "interval" };
                if field == "timeout" && word.text == "0" {
                    // As with Keepalived: the interval.
                    return;
                }
                let Some(setting) = SCRIPT.setting(field) else { return };
                let read = seconds_of(setting.kind, &word.text);
                thing.set(self.piece, &SCRIPT, field, read, &word.at);
            }
            "rise" | "fall" => {
                let Some(word) = self.one(line) else { return };
                let field = if line.name() == "rise" { "rise" } else { "fall" };
                let value = SCRIPT.setting(field).map(|it| it.kind.read(&word.text));
                if let Some(value) = value {
                    thing.set(self.piece, &SCRIPT, field, value, &word.at);
                }
            }
            "weight" => {
                if let Some(weight) = self.weight(&line.words) {
                    self.weights.scripts.insert(script.clone(), weight);
                }
            }
            "user" => {
                if let Some(account) = self.account(line, line.arguments()) {
                    let at = super::reader::across(line.arguments());
                    thing.set(self.piece, &SCRIPT, "user", Ok(Value::Text(account)), &at);
                }
            }
            "init_fail" => {
                if let Some(flag) = self.flag(line) {
                    let (value, at) = (Ok(Value::Flag(flag)), line.at());
                    thing.set(self.piece, &SCRIPT, "starts_failed", value, &at);
                }
            }
            name => self.error(line.at(), format!("`{name}` is not read")),
        }
    }

    fn command(&mut self, thing: &mut Thing<Script>, line: &Statement) {
        let Some(word) = line.arguments().first() else {
            return self.error(line.at(), "`script` has no command");
        };
        if let [_, second, ..] = line.arguments() {
            let what = "the command goes on after its first word".to_owned();
            let hint = Some("put the whole command within double quotes".to_owned());
            return self
                .piece
                .error(second.at.clone(), Mistake { what, hint, ..Mistake::default() });
        }
        if word.text.starts_with('<') {
            let what = "a file in place of a command is known, but not honoured".to_owned();
            let hint = Some("write `vrrp_track_file` for it".to_owned());
            return self.piece.error(word.at.clone(), Mistake { what, hint, ..Mistake::default() });
        }
        if word.is_quoted || !word.text.is_empty() {
            self.no_shell(&word.text, &word.at);
        }
        let value = Kind::Command.read(&word.text);
        thing.set(self.piece, &SCRIPT, "command", value, &word.at);
    }

    /// Says so where a command looks as if it were for a shell.
    pub(super) fn no_shell(&mut self, command: &str, at: &crate::piece::At) {
        let Ok(words) = split_command(command) else { return };
        let for_shell = ["|", "||", "&&", ";", ">", ">>", "<", "2>&1", "&"];
        let found = words.iter().skip(1).find(|word| {
            for_shell.contains(&word.as_str()) || word.starts_with("$(") || word.starts_with('`')
        });
        let Some(found) = found else { return };
        let what = format!("no shell runs this: the program gets `{found}` as an argument");
        let hint = Some("write /bin/sh -c '…' around it".to_owned());
        self.piece.tell(
            Severity::Warning,
            at.clone(),
            Mistake { what, hint, ..Mistake::default() },
        );
    }
}

/// Whether a command asks if a program runs that this process stands in for.
fn asks_for_us(command: &str) -> bool {
    let Ok(words) = split_command(command) else { return false };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((program, arguments)) = words.split_first() else { return false };
    let program = program.rsplit('/').next().unwrap_or(program);
    let others = |flags: &[&str]| -> Vec<&str> {
        arguments.iter().copied().filter(|word| !flags.contains(word)).collect()
    };
    let is_ours = |name: &str| {
        let name = name.strip_suffix(".service").unwrap_or(name);
        STOOD_IN_FOR.contains(&name.rsplit('/').next().unwrap_or(name))
    };
    match program {
        "pidof" => matches!(*others(&["-s", "-x", "-q"]), [name] if is_ours(name)),
        "pgrep" => matches!(*others(&["-x", "-f", "-c"]), [name] if is_ours(name)),
        "killall" | "pkill" => {
            let signals = ["-0", "-s", "0", "-SIGCONT", "-x"];
            let has_zero = arguments.contains(&"-0") || arguments.contains(&"0");
            has_zero && matches!(*others(&signals), [name] if is_ours(name))
        }
        "systemctl" => matches!(
            *others(&["-q", "--quiet", "--no-pager"]),
            ["is-active" | "status", name] if is_ours(name)
        ),
        "service" => matches!(arguments, [name, "status"] if is_ours(name)),
        "sh" | "bash" | "dash" => matches!(arguments, ["-c", inner] if asks_for_us(inner)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::asks_for_us;

    #[test]
    fn the_usual_questions_for_haproxy_are_known() {
        for command in [
            "/usr/sbin/pidof haproxy",
            "pidof haproxy",
            "pidof -s haproxy",
            "killall -0 haproxy",
            "/usr/bin/killall -0 haproxy",
            "systemctl is-active haproxy",
            "/bin/systemctl is-active --quiet haproxy.service",
            "pgrep -x haproxy",
            "/bin/sh -c 'killall -0 haproxy'",
        ] {
            assert!(asks_for_us(command), "{command}");
        }
    }

    #[test]
    fn other_questions_run_as_written() {
        for command in [
            "pidof nginx",
            "killall haproxy",
            "killall -9 haproxy",
            "systemctl restart haproxy",
            "systemctl is-active haproxy nginx",
            "/usr/local/bin/check haproxy",
            "/bin/sh -c 'pidof haproxy && true'",
            "",
        ] {
            assert!(!asks_for_us(command), "{command}");
        }
    }
}
