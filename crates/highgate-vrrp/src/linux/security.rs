//! Whether others than root may change what root is about to run.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Within such a folder, as /tmp is, nobody but its owner can replace a file.
const STICKY: u32 = 0o1000;
const INTERPRETERS: &[&str] =
    &["sh", "bash", "dash", "env", "ksh", "perl", "python", "ruby", "zsh"];

/// Why a command is not safe to be run by root; `None` if it is, or not there at all.
pub(crate) fn weakness(command: &[String], search: &str) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let program = match program.contains('/') {
        true => PathBuf::from(program),
        false => search
            .split(':')
            .map(|folder| Path::new(folder).join(program))
            .find(|it| it.is_file())?,
    };
    // What an interpreter is given first is what is really run; other files are data.
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let runs_files = INTERPRETERS.iter().any(|known| name.starts_with(known));
    let mut files = arguments.iter().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let script = files.find(|path| path.is_file()).filter(|_| runs_files);
    std::iter::once(program).chain(script).find_map(|path| of_path(&path))
}

fn of_path(path: &Path) -> Option<String> {
    // Where links lead, and which folders hold them: whoever may write either decides what is run.
    let real = fs::canonicalize(path).ok()?;
    let whole = std::path::absolute(path).ok()?;
    real.ancestors().chain(whole.ancestors()).find_map(|step| {
        let about = fs::metadata(step).ok()?;
        let is_sticky = about.is_dir() && about.mode() & STICKY != 0;
        let name = step.display();
        if about.uid() != 0 {
            return Some(format!("{name} belongs to user {}, not to root", about.uid()));
        }
        let is_open = about.mode() & WRITABLE_BY_OTHERS != 0 && !is_sticky;
        is_open.then(|| format!("{name} can be written by others than root"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn words(command: &[&str]) -> Vec<String> {
        command.iter().map(|word| (*word).to_owned()).collect()
    }

    fn of(command: &[&str]) -> Option<String> {
        weakness(&words(command), "/usr/sbin:/usr/bin")
    }

    #[test]
    fn programs_of_the_system_are_safe() {
        assert_eq!(of(&["/bin/sh", "-c", "exit 0"]), None);
        assert_eq!(of(&["sh"]), None);
        assert_eq!(of(&["/no/such/program"]), None, "what is not there is told otherwise");
    }

    #[test]
    fn what_others_may_write_is_named_even_behind_a_shell_or_a_link() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let folder = std::env::temp_dir().join(format!("highgate-safe-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [script, link] = ["check", "link"].map(|name| folder.join(name).display().to_string());
        fs::write(&script, "").unwrap();
        std::os::unix::fs::symlink(&script, &link).unwrap();
        let allow = |path: &str, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        allow(&folder.display().to_string(), 0o755);
        allow(&script, 0o755);
        assert_eq!(of(&[&script]), None, "the sticky folder above is no danger");
        allow(&script, 0o757);
        for command in [&[script.as_str()][..], &["/bin/sh", &script], &[link.as_str()]] {
            let why = of(command).unwrap();
            assert!(why.contains("check can be written by others than root"), "{why}");
        }
        assert_eq!(of(&["/usr/bin/test", "-e", &script]), None, "that reads it, and runs nothing");
        allow(&script, 0o755);
        allow(&folder.display().to_string(), 0o775);
        assert!(of(&[&script]).unwrap().contains("can be written"));
        allow(&folder.display().to_string(), 0o755);
        std::os::unix::fs::chown(&script, Some(12345), None).unwrap();
        assert!(of(&[&script]).unwrap().contains("belongs to user 12345"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
