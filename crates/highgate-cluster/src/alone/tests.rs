//! What is acknowledged is on disk, and what is not is nowhere.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use highgate_config::{Change, OverrideKind, Rule, native};

use super::*;

/// Whatever comes of a file can be put in force.
fn fits(_: &Config) -> Result<(), String> {
    Ok(())
}

/// A directory of its own, gone with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("highgate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    fn open(&self) -> Alone {
        Alone::open(&self.data(), node()).unwrap()
    }

    fn open_fails(&self) -> String {
        Alone::open(&self.data(), node()).unwrap_err().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file system of 64 KiB, where the machine lets us have one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "highgate-test"])
            .arg(&at)
            .output();
        mount.is_ok_and(|done| done.status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn node() -> NodeName {
    "one".into()
}

fn config(text: &str) -> Config {
    native::parse("test.toml", text, &node()).unwrap().config
}

fn shop(servers: &[(&str, u16)]) -> Config {
    let mut text = String::from("[[backend]]\nname = \"shop\"\n");
    for (name, port) in servers {
        text.push_str(&format!(
            "[[backend.server]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n"
        ));
    }
    config(&text)
}

fn batch(base: Version, change: Change) -> Batch {
    Batch { base_version: base, changes: vec![change], who: "test".into(), why: "a test".into() }
}

fn drop_server(alone: &Alone, name: &str) -> Batch {
    let change = Change::Server("shop".into(), name.into(), None);
    batch(alone.current().0, change)
}

fn drain(server: &str) -> Override {
    Override {
        server: ("shop".into(), server.into()),
        kind: OverrideKind::Drain,
        who: "test".into(),
        since: 1,
        until: None,
    }
}

fn names(config: &Config) -> Vec<String> {
    let backends = config.shared.backends.values();
    backends.flat_map(|it| it.servers.keys().map(ToString::to_string)).collect()
}

#[tokio::test]
async fn an_accepted_change_is_there_after_a_restart() {
    let dir = Dir::new("restart");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1), ("db2", 2)])).await.unwrap();
    let version = alone.propose(drop_server(&alone, "db1")).await.unwrap();
    alone.set_override(drain("db2")).await.unwrap();
    alone.drain(None, Some("night".to_owned())).await.unwrap();
    alone.drain(Some("VI_1".to_owned()), None).await.unwrap();
    drop(alone);
    let again = dir.open();
    assert_eq!((again.drains().why("VI_2"), again.drains().why("VI_1")), (Some("night"), None));
    let (stored, config) = again.current();
    assert_eq!((version, stored), (Version(2), Version(2)));
    assert_eq!(names(&config), ["db2"]);
    assert_eq!(*again.overrides(), [drain("db2")]);
}

#[tokio::test]
async fn a_kill_right_after_the_answer_loses_nothing() {
    let dir = Dir::new("kill");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    // Nothing of the first process is closed or flushed: the second reads what is on disk.
    let second = Alone::peek(&dir.data(), node()).unwrap();
    assert_eq!(second.current(), alone.current());
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let dir = Dir::new("modes");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.data()), 0o700);
    for name in ["state.json", "state.json.1", "highgate.lock"] {
        assert_eq!(mode(dir.file(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_batch_against_an_older_version_is_stale() {
    let dir = Dir::new("stale");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1), ("db2", 2)])).await.unwrap();
    let late = drop_server(&alone, "db2");
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    let error = alone.propose(late).await.unwrap_err();
    assert!(matches!(error, ProposeError::Stale { now: Version(2) }));
    assert_eq!(names(&alone.current().1), ["db2"]);
}

#[tokio::test]
async fn a_refused_batch_changes_neither_memory_nor_disk() {
    let dir = Dir::new("refused");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    let before = fs::read(dir.file("state.json")).unwrap();
    let error = alone.propose(drop_server(&alone, "db9")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Refused(_)), "{error}");
    assert_eq!(alone.current().0, Version(1));
    assert_eq!(fs::read(dir.file("state.json")).unwrap(), before);
}

#[tokio::test]
async fn watchers_are_told_of_what_changed_only() {
    let dir = Dir::new("watch");
    let alone = dir.open();
    let mut config = alone.watch_config();
    let mut overrides = alone.watch_overrides();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    assert!(config.has_changed().unwrap());
    assert_eq!(names(&config.borrow_and_update()), ["db1"]);
    assert!(!overrides.has_changed().unwrap());
    alone.set_override(drain("db1")).await.unwrap();
    assert!(!config.has_changed().unwrap());
    assert_eq!(**overrides.borrow_and_update(), [drain("db1")]);
}

/// A weight took the place of a drain, which so ended without a word.
#[tokio::test]
async fn a_server_has_a_mark_of_state_beside_one_of_weight_and_both_survive_a_restart() {
    let dir = Dir::new("two-marks");
    let alone = dir.open();
    let weight = |weight| Override { kind: OverrideKind::Weight(weight), ..drain("db2") };
    let maintenance = Override { kind: OverrideKind::Maintenance, ..drain("db2") };
    for mark in [drain("db2"), weight(3), drain("db1"), maintenance.clone(), weight(5)] {
        alone.set_override(mark).await.unwrap();
    }
    drop(alone);
    let alone = dir.open();
    // The state last: a version that knew one mark per server goes by that.
    assert_eq!(*alone.overrides(), [drain("db1"), weight(5), maintenance.clone()]);
    let server: (BackendName, ServerName) = ("shop".into(), "db2".into());
    for ended in [Some(maintenance), Some(weight(5)), None] {
        assert_eq!(alone.clear_override(server.clone()).await.unwrap(), ended);
    }
    assert_eq!(*alone.overrides(), [drain("db1")]);
}

#[tokio::test]
async fn a_server_has_one_mark_of_state_and_marks_are_ordered() {
    let dir = Dir::new("marks");
    let alone = dir.open();
    for server in ["db2", "db1", "db2"] {
        alone.set_override(drain(server)).await.unwrap();
    }
    assert_eq!(*alone.overrides(), [drain("db1"), drain("db2")]);
    let server: (BackendName, ServerName) = ("shop".into(), "db1".into());
    assert_eq!(alone.clear_override(server.clone()).await.unwrap(), Some(drain("db1")));
    assert_eq!(alone.clear_override(server).await.unwrap(), None);
    assert_eq!(*alone.overrides(), [drain("db2")]);
}

#[tokio::test]
async fn a_store_is_seeded_once() {
    let dir = Dir::new("seed");
    let alone = dir.open();
    assert!(alone.is_empty());
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    let error = alone.seed(shop(&[("db2", 2)])).await.unwrap_err();
    assert!(matches!(error, SeedError::NotEmpty(Version(1))));
    assert_eq!(names(&dir_state(&dir).config), ["db1"]);
}

fn dir_state(dir: &Dir) -> State {
    let disk = Disk::open(&dir.data()).unwrap();
    State::read(&disk.state).unwrap()
}

#[tokio::test]
async fn a_torn_or_damaged_file_is_never_an_empty_store() {
    let dir = Dir::new("torn");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    drop(alone);
    let file = dir.file("state.json");
    let whole = fs::read(&file).unwrap();
    for length in [0, 1, 14, 20, 60, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let error = dir.open_fails();
        assert!(error.contains("state.json can't be used"), "{length}: {error}");
        assert!(error.contains("--initial"), "{error}");
    }
    let mut flipped = whole.clone();
    let at = flipped.len() - 10;
    flipped[at] ^= 1;
    fs::write(&file, &flipped).unwrap();
    assert!(dir.open_fails().contains("checksum"));
    fs::write(&file, &whole).unwrap();
    assert_eq!(names(&dir.open().current().1), ["db1"]);
}

#[tokio::test]
async fn a_removed_file_is_not_an_empty_store_and_the_version_before_can_take_its_place() {
    let dir = Dir::new("removed");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1), ("db2", 2)])).await.unwrap();
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    drop(alone);
    fs::remove_file(dir.file("state.json")).unwrap();
    assert!(dir.open_fails().contains("missing"));
    fs::copy(dir.file("state.json.1"), dir.file("state.json")).unwrap();
    assert_eq!(names(&dir.open().current().1), ["db1", "db2"]);
}

#[tokio::test]
async fn a_file_of_a_later_format_says_so() {
    let dir = Dir::new("later");
    dir.open().seed(shop(&[("db1", 1)])).await.unwrap();
    let file = dir.file("state.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("highgate-state 1", "highgate-state 2", 1)).unwrap();
    assert!(dir.open_fails().contains("has format 2"));
}

#[tokio::test]
async fn a_crash_before_the_rename_leaves_the_version_before() {
    let dir = Dir::new("crash");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    drop(alone);
    let leftovers = ["state.json.new", "state.json.1.link", "state.json.link"];
    for name in leftovers {
        fs::write(dir.file(name), "highgate-state 1 99").unwrap();
    }
    let alone = dir.open();
    assert_eq!(names(&alone.current().1), ["db1"]);
    for name in leftovers {
        assert!(!dir.file(name).exists(), "{name}");
    }
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    assert!(names(&dir_state(&dir).config).is_empty());
}

#[tokio::test]
async fn one_process_has_the_directory_until_it_lets_go() {
    let dir = Dir::new("lock");
    let old = dir.open();
    old.seed(shop(&[("db1", 1), ("db2", 2)])).await.unwrap();
    let error = dir.open_fails();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    // The hand-over: the new process is ready before the old one lets go.
    let new = Alone::peek(&dir.data(), node()).unwrap();
    let mut watch = new.watch_config();
    let early = new.propose(drop_server(&new, "db1")).await.unwrap_err();
    assert!(matches!(early, ProposeError::Storage(_)), "{early}");
    old.propose(drop_server(&old, "db1")).await.unwrap();
    old.release();
    new.acquire().unwrap();
    assert_eq!(names(&watch.borrow_and_update()), ["db2"]);
    new.propose(drop_server(&new, "db2")).await.unwrap();
    let late = old.propose(drop_server(&old, "db2")).await.unwrap_err();
    assert!(late.to_string().contains("handed over"), "{late}");
}

#[tokio::test]
async fn a_staged_file_is_in_force_in_memory_and_stored_with_the_hand_over() {
    let dir = Dir::new("staged");
    let old = dir.open();
    old.seed(shop(&[("db1", 1)])).await.unwrap();
    let new = Alone::peek(&dir.data(), node()).unwrap();
    let mut watch = new.watch_config();
    let file = Arc::new(shop(&[("db1", 1), ("db2", 2)]));
    new.stage_file("shop.toml", Arc::clone(&file)).unwrap();
    assert_eq!(names(&watch.borrow_and_update()), ["db1", "db2"]);
    assert_eq!(names(&dir_state(&dir).config), ["db1"], "nothing is stored yet");
    // The old one's last word is not lost.
    old.set_override(drain("db1")).await.unwrap();
    let error = new.acquire_with("shop.toml", Arc::clone(&file)).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    old.release();
    let applied = new.acquire_with("shop.toml", file).unwrap().unwrap();
    assert_eq!(applied.changes.len(), 1);
    assert!(!watch.has_changed().unwrap(), "nobody saw the state between");
    assert_eq!(new.overrides().len(), 1);
    assert_eq!(names(&dir_state(&dir).config), ["db1", "db2"]);
    // The old one could take it back, and goes on from what is stored.
    new.release();
    old.acquire().unwrap();
    assert_eq!(names(&old.current().1), ["db1", "db2"]);
}

#[tokio::test]
async fn a_write_that_fails_changes_nothing() {
    let dir = Dir::new("fails");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    let before = fs::read(dir.file("state.json")).unwrap();
    // Root ignores permissions, but nobody can write into a directory.
    fs::create_dir(dir.file("state.json.new")).unwrap();
    let error = alone.propose(drop_server(&alone, "db1")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Storage(_)), "{error}");
    assert!(alone.set_override(drain("db1")).await.is_err());
    assert_eq!(fs::read(dir.file("state.json")).unwrap(), before);
    assert_eq!(names(&alone.current().1), ["db1"]);
    assert!(alone.overrides().is_empty());
    fs::remove_dir(dir.file("state.json.new")).unwrap();
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_room_makes_it_work_again() {
    let dir = Dir::new("full");
    let Some(_disk) = SmallDisk::new(dir.data()) else {
        eprintln!("no right to mount a small file system here: not tried");
        return;
    };
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    let _ = fs::write(dir.file("filler"), vec![0; 1 << 20]);
    let before = fs::read(dir.file("state.json")).unwrap();
    let error = alone.propose(drop_server(&alone, "db1")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Storage(_)), "{error}");
    let put = alone.records().put("shop".into(), 1.into()).await;
    assert!(put.is_err());
    assert!(alone.records().all().is_empty());
    assert_eq!(fs::read(dir.file("state.json")).unwrap(), before);
    assert_eq!(alone.current().0, Version(1));
    assert_eq!(names(&dir_state(&dir).config), ["db1"]);
    fs::remove_file(dir.file("filler")).unwrap();
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    assert_eq!(alone.current().0, Version(2));
}

#[tokio::test]
async fn a_file_brings_what_changed_in_it_and_edits_elsewhere_stay() {
    let dir = Dir::new("apply");
    let alone = dir.open();
    let who = "test";
    let first = shop(&[("db1", 1), ("db2", 2)]);
    let done = alone.apply_file("a.toml", first, who, fits).await.unwrap();
    assert_eq!(done.version, Version(1));
    alone.propose(drop_server(&alone, "db2")).await.unwrap();
    let second = shop(&[("db1", 1), ("db2", 2), ("db3", 3)]);
    let done = alone.apply_file("a.toml", second.clone(), who, fits).await.unwrap();
    assert_eq!(names(&alone.current().1), ["db1", "db3"]);
    assert_eq!((done.changes.len(), done.conflicts.len()), (1, 0));
    drop(alone);
    let again = dir.open();
    assert_eq!(again.applied(&node(), "a.toml").as_deref(), Some(&second));
    let done = again.apply_file("a.toml", second, who, fits).await.unwrap();
    assert_eq!((done.changes.len(), done.version), (0, Version(3)));
}

#[tokio::test]
async fn a_start_with_other_files_is_compared_with_the_files_of_the_last_start() {
    let dir = Dir::new("others");
    let alone = dir.open();
    alone.start_with("a.toml", shop(&[("db1", 1), ("db2", 2), ("db3", 3)])).await.unwrap();
    // A file that was only applied is none of them.
    alone.apply_file("once.toml", shop(&[]), "t", fits).await.unwrap();
    alone.propose(drop_server(&alone, "db3")).await.unwrap();
    drop(alone);
    // It was split in two, and db2 is gone from both.
    let again = dir.open();
    let split = shop(&[("db1", 1), ("db3", 3), ("db4", 4)]);
    let done = again.start_with("a.toml + b.toml", split.clone()).await.unwrap();
    assert_eq!(names(&again.current().1), ["db1", "db4"], "dropped by hand stays dropped");
    assert_eq!(done.conflicts, []);
    assert_eq!(again.applied(&node(), "a.toml"), None);
    drop(again);
    let back = dir.open();
    back.start_with("a.toml", shop(&[("db1", 1)])).await.unwrap();
    assert_eq!(names(&back.current().1), ["db1"]);
}

/// It was removed, and neither `apply` of the process's own file nor a restart brought it back.
#[tokio::test]
async fn what_a_further_file_takes_back_stays_as_the_processs_own_file_has_it() {
    let dir = Dir::new("over");
    let alone = dir.open();
    let own = shop(&[("db1", 1), ("db2", 2)]);
    alone.start_with("a.toml", own.clone()).await.unwrap();
    let further = shop(&[("db1", 1), ("db9", 9)]);
    alone.apply_file("b.toml", further, "t", fits).await.unwrap();
    assert_eq!(names(&alone.current().1), ["db1", "db2", "db9"]);
    let told = alone.would_apply("b.toml", &shop(&[]));
    let done = alone.apply_file("b.toml", shop(&[]), "t", fits).await.unwrap();
    assert_eq!((&told.changes, told.conflicts), (&done.changes, done.conflicts));
    assert_eq!(*alone.current().1, own);
    drop(alone);
    let again = dir.open();
    again.start_with("a.toml", own.clone()).await.unwrap();
    assert_eq!(*again.current().1, own);
}

/// What went from it in the same edit was in no file, and stayed for ever.
#[tokio::test]
async fn a_further_file_that_becomes_one_of_the_start_takes_along_what_went_from_it() {
    let dir = Dir::new("joined");
    let alone = dir.open();
    alone.start_with("a.toml", shop(&[("db1", 1), ("db2", 2)])).await.unwrap();
    alone.apply_file("c.toml", shop(&[("db3", 3), ("db4", 4)]), "t", fits).await.unwrap();
    alone.apply_file("other.toml", shop(&[("db5", 5)]), "t", fits).await.unwrap();
    drop(alone);
    let again = dir.open();
    again.start_with("a.toml + c.toml", shop(&[("db1", 1), ("db3", 3)])).await.unwrap();
    assert_eq!(names(&again.current().1), ["db1", "db3", "db5"]);
    let kept = |alone: &Alone| alone.all_applied().into_keys().collect::<Vec<_>>();
    assert_eq!(kept(&again), ["a.toml + c.toml", "other.toml"]);
    drop(again);
    // And back: what it says goes with it, and comes when it is applied by itself.
    let back = dir.open();
    back.start_with("a.toml", shop(&[("db1", 1)])).await.unwrap();
    assert_eq!(names(&back.current().1), ["db1", "db5"]);
    back.apply_file("c.toml", shop(&[("db3", 3)]), "t", fits).await.unwrap();
    assert_eq!(names(&back.current().1), ["db1", "db3", "db5"]);
    drop(back);
    // It alone, though it was a further one.
    let only = dir.open();
    only.start_with("c.toml", shop(&[("db3", 3)])).await.unwrap();
    assert_eq!(names(&only.current().1), ["db3", "db5"]);
    assert_eq!(kept(&only), ["c.toml", "other.toml"]);
}

/// It was kept beside them by an earlier version, and applying it did nothing then.
#[tokio::test]
async fn a_file_that_was_kept_beside_those_of_the_last_start_comes_anew_when_it_is_applied() {
    let dir = Dir::new("stale");
    let alone = dir.open();
    let both = shop(&[("db1", 1), ("db3", 3)]);
    alone.start_with("a.toml + c.toml", both).await.unwrap();
    alone.record_applied(&node(), "c.toml", Arc::new(shop(&[("db3", 3)]))).await.unwrap();
    drop(alone);
    let back = dir.open();
    back.start_with("a.toml", shop(&[("db1", 1)])).await.unwrap();
    back.apply_file("c.toml", shop(&[("db3", 3)]), "t", fits).await.unwrap();
    assert_eq!(names(&back.current().1), ["db1", "db3"]);
}

#[tokio::test]
async fn a_file_that_is_known_by_another_name_brings_what_changed_since_it_was_applied() {
    let dir = Dir::new("renamed");
    let alone = dir.open();
    alone.apply_file("v1/a.toml", shop(&[("db1", 1), ("db2", 2)]), "t", fits).await.unwrap();
    alone.rename_applied("v1/a.toml", "a.toml").await.unwrap();
    alone.rename_applied("none.toml", "a.toml").await.unwrap();
    drop(alone);
    let again = dir.open();
    again.apply_file("a.toml", shop(&[("db1", 1)]), "t", fits).await.unwrap();
    assert_eq!(names(&again.current().1), ["db1"]);
    assert_eq!(again.all_applied().into_keys().collect::<Vec<_>>(), ["a.toml"]);
}

#[tokio::test]
async fn a_conflict_is_reported_and_the_file_wins() {
    let dir = Dir::new("conflict");
    let alone = dir.open();
    alone.apply_file("a.toml", shop(&[("db1", 1)]), "t", fits).await.unwrap();
    let (version, now) = alone.current();
    let mut server = now.shared.backends["shop"].servers["db1"].clone();
    server.address = highgate_config::Address::Host("elsewhere".into(), 1);
    let change = Change::Server("shop".into(), "db1".into(), Some(server));
    alone.propose(batch(version, change)).await.unwrap();
    let file = shop(&[("db1", 7)]);
    let done = alone.apply_file("a.toml", file.clone(), "t", fits).await.unwrap();
    assert_eq!(done.conflicts.len(), 1);
    assert_eq!(*alone.current().1, file);
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_not_remembered() {
    let dir = Dir::new("unfit");
    let alone = dir.open();
    let mut bad = shop(&[("db1", 1)]);
    let server = bad.shared.backends.values_mut().next().unwrap();
    server.servers.values_mut().next().unwrap().weight = u32::MAX;
    let error = alone.apply_file("a.toml", bad, "t", fits).await.unwrap_err();
    assert!(matches!(error, ApplyError::Refused { .. }), "{error}");
    assert_eq!(alone.applied(&node(), "a.toml"), None);
    assert!(alone.is_empty());
}

#[tokio::test]
async fn a_file_whose_result_can_not_be_put_in_force_changes_nothing() {
    let dir = Dir::new("unready");
    let alone = dir.open();
    alone.apply_file("a.toml", shop(&[("db1", 1)]), "t", fits).await.unwrap();
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    let (version, before) = alone.current();
    let mut watch = alone.watch_config();
    watch.mark_unchanged();
    let stored = fs::read(dir.file("state.json")).unwrap();
    let seen = |config: &Config| Err(format!("seen {:?}", names(config)));
    let file = shop(&[("db1", 1), ("db2", 2)]);
    let error = alone.apply_file("a.toml", file.clone(), "t", seen).await.unwrap_err();
    // What came of the file, and not the file itself, is what has to be had.
    assert_eq!(error.to_string(), "nothing was changed: seen [\"db2\"]");
    assert_eq!(alone.current(), (version, before));
    assert!(!watch.has_changed().unwrap());
    assert_eq!(fs::read(dir.file("state.json")).unwrap(), stored);
    let done = alone.apply_file("a.toml", file, "t", fits).await.unwrap();
    assert_eq!(done.changes.len(), 1, "the file is compared with what was applied before");
}

#[tokio::test]
async fn who_may_not_store_a_file_does_not_get_ready_for_it() {
    let dir = Dir::new("not-ready");
    let _old = dir.open();
    let new = Alone::peek(&dir.data(), node()).unwrap();
    let asked = |_: &Config| -> Result<(), String> { unreachable!("nobody is to be asked") };
    let error = new.apply_file("a.toml", shop(&[("db1", 1)]), "t", asked).await.unwrap_err();
    assert!(matches!(error, ApplyError::Storage { .. }), "{error}");
}

#[tokio::test]
async fn a_forgotten_store_is_empty_and_set_aside() {
    let dir = Dir::new("forget");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1)])).await.unwrap();
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    assert!(Alone::forget(&dir.data()).is_err(), "in use");
    drop(alone);
    fs::write(dir.file("state.json"), "damaged").unwrap();
    Alone::forget(&dir.data()).unwrap();
    assert!(dir.open().is_empty());
    assert_eq!(fs::read_to_string(dir.file("state.json.forgotten")).unwrap(), "damaged");
}

#[tokio::test]
async fn a_store_that_is_forgotten_by_half_still_has_its_newest_state() {
    let dir = Dir::new("half-forgotten");
    let alone = dir.open();
    alone.seed(shop(&[("db1", 1), ("db2", 2)])).await.unwrap();
    alone.propose(drop_server(&alone, "db1")).await.unwrap();
    drop(alone);
    let newest = fs::read(dir.file("state.json")).unwrap();
    // The version before can't be removed, so that it ends there.
    fs::remove_file(dir.file("state.json.1")).unwrap();
    fs::create_dir(dir.file("state.json.1")).unwrap();
    assert!(Alone::forget(&dir.data()).is_err());
    assert_eq!(fs::read(dir.file("state.json")).unwrap(), newest);
    assert_eq!(names(&dir.open().current().1), ["db2"]);
    fs::remove_dir(dir.file("state.json.1")).unwrap();
    Alone::forget(&dir.data()).unwrap();
    assert_eq!(fs::read(dir.file("state.json.forgotten")).unwrap(), newest);
}

#[tokio::test]
async fn records_survive_a_restart_and_a_hand_over() {
    let dir = Dir::new("records");
    let old = dir.open();
    let shop: BackendName = "shop".into();
    old.records().put(shop.clone(), "db1".into()).await.unwrap();
    let new = Alone::peek(&dir.data(), node()).unwrap();
    let records = new.records();
    old.records().put(shop.clone(), "db2".into()).await.unwrap();
    old.release();
    new.acquire().unwrap();
    assert_eq!(records.get(&shop), Some("db2".into()));
    assert!(old.records().remove(shop.clone()).await.is_err());
    records.remove(shop.clone()).await.unwrap();
    drop((new, records));
    assert_eq!(dir.open().records().get(&shop), None);
    fs::write(dir.file("primaries.json"), "{}").unwrap();
    let error = Alone::peek(&dir.data(), node()).unwrap_err().to_string();
    assert!(error.contains("primaries.json can't be used"), "{error}");
}

#[tokio::test]
async fn edits_from_many_tasks_come_one_after_the_other() {
    let dir = Dir::new("many");
    let alone = dir.open();
    let edits = (0..20_u32).map(|id| {
        let alone = alone.clone();
        async move {
            loop {
                let rule = Change::Rule(id, Some(Rule::default()));
                match alone.propose(batch(alone.current().0, rule)).await {
                    Err(ProposeError::Stale { .. }) => {}
                    done => return done.unwrap(),
                }
            }
        }
    });
    let mut set = tokio::task::JoinSet::new();
    for edit in edits {
        set.spawn(edit);
    }
    let mut versions: Vec<_> = set.join_all().await;
    versions.sort();
    assert_eq!(versions, (1..=20).map(Version).collect::<Vec<_>>());
    assert_eq!(dir_state(&dir).config.shared.rules.len(), 20);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let error = Alone::open(Path::new("/proc/nowhere/data"), node()).unwrap_err();
    assert!(error.to_string().contains("/proc/nowhere/data"), "{error}");
}
