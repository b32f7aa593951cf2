use std::ops::Deref;

use super::*;
use crate::{MariaDb, MySql};

/// Runs a check on a database of each make that is installed.
fn each(check: impl Fn(Box<dyn Deref<Target = Database>>)) {
    if MariaDb::is_installed() {
        check(Box::new(MariaDb::start().unwrap()));
    } else {
        eprintln!("skipped: MariaDB is not installed");
    }
    if MySql::is_installed() {
        check(Box::new(MySql::start().unwrap()));
    } else {
        eprintln!("skipped: MySQL is not installed");
    }
}

#[test]
fn a_write_survives_kill_9_and_a_restart_on_the_same_port() {
    each(|database| {
        let port = database.port();
        database.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)").unwrap();
        database.sql("INSERT INTO shop.t VALUES (1), (2)").unwrap();
        database.kill9();
        assert!(!database.is_running());
        database.restart().unwrap();
        assert_eq!(database.port(), port);
        assert_eq!(database.value("SELECT COUNT(*) FROM shop.t").unwrap(), "2");
    });
}

#[test]
fn a_frozen_database_answers_again_after_sigcont() {
    each(|database| {
        database.create_user("app", "secret", "SELECT ON *.*").unwrap();
        database.sigstop().unwrap();
        database.sigcont().unwrap();
        assert_eq!(database.sql("SELECT 1, NULL, 'x'").unwrap(), [["1", "NULL", "x"]]);
        database.stop_graceful().unwrap();
    });
}

#[test]
fn a_dropped_database_leaves_no_process_and_no_files() {
    each(|database| {
        let pid = database.pid().unwrap();
        let data = database.data_dir();
        drop(database);
        assert!(!data.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    });
}
