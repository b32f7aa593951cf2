//! Configuration files: read, parsed, complained about.

use std::{
    collections::BTreeSet,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use highgate_config::{Config, NodeName, Place, native, warned_of};
use highgate_mysql::auth::StoredPassword;
use rustix::fs::OFlags;

use crate::{included::Machine, output};

/// Reads and parses configuration files as one; warnings are printed.
pub(crate) fn read(files: &[PathBuf], node: &NodeName) -> anyhow::Result<Config> {
    parsed(files, node).map(|parsed| parsed.config)
}

/// As [`read`], with where it is written.
pub(crate) fn parsed(files: &[PathBuf], node: &NodeName) -> anyhow::Result<native::Parsed> {
    parsed_by(text_of, files, node)
}

/// As [`parsed`], by a running process for its operator or a signal, whom no pipe keeps waiting: see
/// [`regular`].
pub(crate) fn parsed_for_operator(
    files: &[PathBuf],
    node: &NodeName,
) -> anyhow::Result<native::Parsed> {
    parsed_by(text_of_regular, files, node)
}

fn parsed_by(
    text_of: impl Fn(&Path) -> io::Result<String>,
    files: &[PathBuf],
    node: &NodeName,
) -> anyhow::Result<native::Parsed> {
    twice(files)?;
    let text = |file: &PathBuf| {
        let name = file.display().to_string();
        let text = text_of(file).with_context(|| format!("cannot read {name}"))?;
        anyhow::Ok((name, text))
    };
    let texts: Vec<(String, String)> = files.iter().map(text).collect::<Result<_, _>>()?;
    let input = |(name, text)| native::Input { name, text };
    let inputs: Vec<_> = texts.iter().map(|(name, text)| input((name, text))).collect();
    match native::read_all(&inputs, node, &Machine) {
        Ok(parsed) => {
            for warning in warnings(&parsed) {
                output::complain(&warning);
            }
            readable_passwords(&parsed)?;
            Ok(parsed)
        }
        Err(problems) => Err(anyhow::Error::msg(problems.to_string())),
    }
}

/// What is warned of where it is read, in words.
pub(crate) fn warnings(parsed: &native::Parsed) -> Vec<String> {
    let problems = parsed.warnings.iter().map(ToString::to_string);
    problems.chain(faults_of_passwords(parsed).1).collect()
}

/// As [`warnings`], of files that are in force together with what others say: what these have is not missing.
pub(crate) fn warnings_within(parsed: &native::Parsed, in_force: &Config) -> Vec<String> {
    let (alone, together) = (warned_of(&parsed.config), warned_of(in_force));
    let holds = |what: &String| !alone.contains(what) || together.contains(what);
    let problems = parsed.warnings.iter().filter(|problem| holds(&problem.what));
    let problems = problems.map(|problem| problem.to_string().trim_end().to_owned());
    problems.chain(faults_of_passwords(parsed).1).collect()
}

/// Refuses passwords that look like a stored form and are none: nobody could log in by them.
fn readable_passwords(parsed: &native::Parsed) -> anyhow::Result<()> {
    let (errors, _) = faults_of_passwords(parsed);
    match errors.len() {
        0 => Ok(()),
        1 => bail!("{}\n1 error; nothing was changed", errors.concat()),
        count => bail!("{}\n{count} errors; nothing was changed", errors.join("\n")),
    }
}

/// The errors, and the warnings of those that may be one which lost something on its way.
fn faults_of_passwords(parsed: &native::Parsed) -> (Vec<String>, Vec<String>) {
    let users = parsed.config.shared.users.iter().flat_map(|(name, user)| {
        let whose = format!("this password of user `{name}`");
        let place = Place::User(name.clone());
        user.passwords.iter().map(move |stored| (place.clone(), whose.clone(), stored))
    });
    let operators = parsed.config.node.iter().flat_map(|(node, own)| {
        own.admin.users.iter().map(|(name, stored)| {
            let place = Place::AdminUser(node.clone(), name.clone());
            (place, format!("the password of operator `{name}`"), stored)
        })
    });
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (place, whose, stored) in users.chain(operators) {
        let stored = stored.expose();
        let at = parsed.written.at(&place, "password").map_or_else(String::new, |at| at + ": ");
        match StoredPassword::parse(stored) {
            Err(why) => {
                errors.push(format!("{at}error: nobody could log in by {whose}: {why}"));
            }
            Ok(StoredPassword::Clear(_)) if stored.starts_with('*') => warnings.push(format!(
                "{at}warning: {whose} begins with `*` and is taken as it is; a mysql_native_password \
                 form would be `*` and 40 hexadecimal digits"
            )),
            Ok(_) => {}
        }
    }
    (errors, warnings)
}

/// No configuration is that long; what never ends is no configuration.
const LONGEST: u64 = 256 << 20;

/// The whole text of a file, if it ends somewhere.
fn text_of(file: &Path) -> io::Result<String> {
    whole_text(File::open(file)?)
}

/// As [`text_of`], of a regular file alone: a pipe that nobody writes keeps nobody waiting.
pub(crate) fn text_of_regular(file: &Path) -> io::Result<String> {
    let at_once = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = at_once.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(file)?;
    is_regular(&opened.metadata()?)?;
    whole_text(opened)
}

fn whole_text(file: File) -> io::Result<String> {
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text)?;
    if read as u64 > LONGEST {
        let why = format!("it is longer than {} MiB", LONGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

/// Refuses what a running process can't read for its operator: one of his pipes is another's there, or
/// keeps it waiting for somebody to write.
pub(crate) fn regular(files: &[PathBuf]) -> anyhow::Result<()> {
    let check = |file: &PathBuf| std::fs::metadata(file).and_then(|found| is_regular(&found));
    files
        .iter()
        .try_for_each(|file| check(file).with_context(|| format!("cannot read {}", file.display())))
}

/// As [`regular`], for the files of TLS that configuration files name.
///
/// # Errors
/// A sentence for the operator, with where such a file is asked for.
pub(crate) fn regular_certificates(parsed: &native::Parsed) -> Result<(), String> {
    let Config { shared, node } = &parsed.config;
    let listeners = shared.listeners.iter();
    let listeners = listeners.map(|(name, it)| (Place::Listener(name.clone()), &it.tls));
    let backends = shared.backends.iter();
    let backends = backends.map(|(name, it)| (Place::Backend(name.clone()), &it.tls));
    let own = node.iter().map(|(name, it)| (Place::Node(name.clone()), &it.admin.tls));
    for (place, tls) in listeners.chain(backends).chain(own) {
        let settings = match place {
            Place::Node(_) => ["admin.tls.cert", "admin.tls.key", "admin.tls.ca"],
            _ => ["tls.cert", "tls.key", "tls.ca"],
        };
        for (setting, file) in settings.into_iter().zip([&tls.cert, &tls.key, &tls.ca]) {
            // What can't be looked at is told by who reads it.
            let found = file.as_ref().and_then(|file| Some((file, std::fs::metadata(file).ok()?)));
            if let Some((file, found)) = found {
                let at =
                    parsed.written.at(&place, setting).map_or_else(String::new, |at| at + ": ");
                is_regular(&found).map_err(|why| {
                    format!("{at}{place}: cannot read {}: {why} (`{setting}`)", file.display())
                })?;
            }
        }
    }
    Ok(())
}

/// A folder passes: reading it says what it is.
fn is_regular(found: &Metadata) -> io::Result<()> {
    if found.is_file() || found.is_dir() {
        return Ok(());
    }
    let why = "the running process would read it, and it is no file but a pipe, a device or a socket: \
               write it to a file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn twice(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    match files.iter().find(|file| !seen.insert(whole(file))) {
        Some(again) => bail!("{} is given twice", again.display()),
        None => Ok(()),
    }
}

/// The name under which the last applied form of files is kept: their whole paths, whatever their
/// order.
pub(crate) fn key(files: &[PathBuf]) -> String {
    whole_paths(files).into_iter().collect::<Vec<_>>().join(" + ")
}

/// The whole paths of files.
pub(crate) fn whole_paths(files: &[PathBuf]) -> BTreeSet<String> {
    files.iter().map(|file| whole(file)).collect()
}

fn whole(file: &Path) -> String {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

/// Where state is kept if nothing was said.
pub(crate) fn default_data_dir(file: Option<&PathBuf>) -> PathBuf {
    let beside = file.and_then(|file| file.parent()).filter(|dir| !dir.as_os_str().is_empty());
    beside.unwrap_or(Path::new(".")).join("highgate-data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_only_looks_like_a_stored_form_is_refused_or_doubted_where_it_is_written() {
        let user = |name: &str, password: &str| {
            format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n")
        };
        let text = [
            user("a", "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E1"),
            user("b", "$A$005$abc"),
            user("c", "ed25519:short"),
            user("d", "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"),
            user("e", "*abc"),
        ];
        let parsed = native::parse("shop.toml", &text.concat(), &NodeName::from("here")).unwrap();
        let told = readable_passwords(&parsed).unwrap_err().to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        assert!(lines[0].starts_with("shop.toml:3:12: error: "), "{told}");
        assert!(lines[0].contains("user `a`") && lines[0].contains("40 hexadecimal"), "{told}");
        assert!(lines[1].starts_with("shop.toml:6:12: ") && lines[1].contains("`$A$`"), "{told}");
        assert!(lines[2].contains("user `c`") && lines[2].contains("ed25519"), "{told}");
        assert_eq!(lines[3], "3 errors; nothing was changed");
        assert!(
            !told.contains("2470C0C0") && !told.contains("abc"),
            "no password is shown: {told}"
        );
        let (_, warnings) = faults_of_passwords(&parsed);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("shop.toml:15:12: warning: this password of user `e`"));
        assert!(!warnings[0].contains("abc"), "{warnings:?}");
    }
}
