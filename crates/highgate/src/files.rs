//! Configuration files: read, parsed, complained about.

use std::{
    collections::BTreeSet,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail};
use highgate_cluster::BETWEEN_FILES;
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

/// As [`parsed`], by a running process for its operator or a signal, whom no pipe keeps waiting: neither in the place
/// of a file (see [`regular`]) nor in that of a certificate.
pub(crate) fn parsed_for_operator(
    files: &[PathBuf],
    node: &NodeName,
) -> anyhow::Result<native::Parsed> {
    let parsed = parsed_by(text_of_regular, files, node)?;
    regular_certificates(&parsed).map_err(anyhow::Error::msg)?;
    Ok(parsed)
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
fn regular_certificates(parsed: &native::Parsed) -> Result<(), String> {
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

/// Refuses one file that is given twice, by whatever names.
pub(crate) fn twice(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    match files.iter().find(|file| !seen.insert(resolved(file))) {
        Some(again) => bail!("{} is given twice", again.display()),
        None => Ok(()),
    }
}

/// The name under which the last applied form of files is kept: their absolute paths, whatever their
/// order. Links stay in it: one that leads elsewhere since then is the same file in a new form.
pub(crate) fn key(files: &[PathBuf]) -> String {
    joined(files.iter().map(|file| absolute(file)))
}

/// As [`key`], of the files to which links lead now.
pub(crate) fn resolved_key(files: &[PathBuf]) -> String {
    joined(files.iter().map(|file| resolved(file)))
}

/// Of names under which files are kept, the one that stands for the same files as these now.
pub(crate) fn same_now<'a>(
    mut kept: impl Iterator<Item = &'a String>,
    files: &[PathBuf],
) -> Option<&'a String> {
    let now = resolved_key(files);
    let leads_to = |key: &str| {
        let files: Vec<PathBuf> = key.split(BETWEEN_FILES).map(PathBuf::from).collect();
        resolved_key(&files)
    };
    kept.find(|key| leads_to(key) == now)
}

fn joined(paths: impl Iterator<Item = PathBuf>) -> String {
    let names: BTreeSet<String> = paths.map(|path| path.display().to_string()).collect();
    names.into_iter().collect::<Vec<_>>().join(BETWEEN_FILES)
}

/// The path of a file from the root, links in it left as they are. What `..` leaves goes, unless it is a link:
/// behind that one, `..` is wherever it leads to.
pub(crate) fn absolute(file: &Path) -> PathBuf {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut path = PathBuf::new();
    for part in whole.components() {
        let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if part == Component::ParentDir && path.file_name().is_some() && is_folder(&path) {
            path.pop();
        } else {
            path.push(part);
        }
    }
    path
}

/// Whether two paths lead to one file now.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let real = |file| std::fs::canonicalize(file).ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

fn resolved(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).unwrap_or_else(|_| absolute(file))
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
    fn the_name_of_files_is_their_absolute_paths_in_one_order_with_their_links() {
        let folder = std::env::temp_dir().join(format!("highgate-files-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("v1/deep")).unwrap();
        let folder = std::fs::canonicalize(folder).unwrap();
        std::fs::write(folder.join("v1/shop.toml"), "").unwrap();
        for (to, link) in [("v1/shop.toml", "shop.toml"), ("v1/deep", "deep")] {
            std::os::unix::fs::symlink(to, folder.join(link)).unwrap();
        }
        let path = |name: &str| folder.join(name);
        for (given, whole) in [
            ("shop.toml", "shop.toml"),
            ("./v1/.././shop.toml", "shop.toml"),
            ("v1/../../..//x", "../../x"),
            // There it is another file than beside the link.
            ("deep/../shop.toml", "deep/../shop.toml"),
            ("none/../shop.toml", "none/../shop.toml"),
        ] {
            let whole = whole.strip_prefix("../../").map_or_else(
                || path(whole),
                |rest| folder.parent().and_then(Path::parent).unwrap_or(&folder).join(rest),
            );
            assert_eq!(absolute(&path(given)), whole, "{given}");
        }
        assert_eq!(absolute(Path::new("/../a/.")), Path::new("/../a"));
        assert!(absolute(Path::new("shop.toml")).is_absolute());
        let both = [path("shop.toml"), path("a.toml")];
        assert_eq!(key(&both), format!("{} + {}", both[1].display(), both[0].display()));
        assert_eq!(resolved_key(&both[..1]), path("v1/shop.toml").display().to_string());
        assert!(is_same(&both[0], &path("v1/shop.toml")) && !is_same(&both[1], &both[1]));
        let kept = [key(&both), key(&both[..1])];
        assert_eq!(same_now(kept.iter(), &[path("v1/shop.toml")]), Some(&kept[1]));
        assert_eq!(same_now(kept.iter(), &[path("v1/deep")]), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

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
