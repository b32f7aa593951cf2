//! A server and Highgate before it, for tests that speak the protocol themselves.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;

use highgate_mysql::Capabilities;
use highgate_testkit::{HighgateProcess, MariaDb, MariaDbOptions};

use crate::raw::{Part, RawClient};

/// A server with 64 MiB packets, and Highgate before it.
pub(crate) struct Shop {
    pub(crate) db: MariaDb,
    pub(crate) highgate: HighgateProcess,
}

/// A server, and Highgate with so many workers and connections, and more settings of the account.
/// `None` and a word where there is no MariaDB.
pub(crate) fn shop(workers: u32, max: u32, user: &str) -> Option<Shop> {
    if !MariaDb::is_installed() {
        eprintln!("MariaDB is not installed");
        return None;
    }
    let args =
        ["--max-allowed-packet=67108864", "--local-infile=1", "--log-bin=binlog", "--server-id=1"];
    let options = MariaDbOptions { args: args.map(str::to_owned).to_vec(), ..Default::default() };
    let db = MariaDb::start_with(options).unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.create_user("app", "app", "ALL ON *.*").unwrap();
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    let port = db.port();
    let toml = format!(
        "workers = {workers}\nadmin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\nqueue_timeout = \"20s\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"500ms\" }}\n\
         [[backend.server]]\nname = \"db1\"\naddress = \"127.0.0.1:{port}\"\nmax_connections = {max}\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\nbackend = \"shop\"\n{user}"
    );
    let highgate = HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &toml).unwrap();
    Some(Shop { db, highgate })
}

impl Shop {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.highgate.listener("shop").unwrap()
    }

    pub(crate) fn client(&self, capabilities: Capabilities) -> RawClient {
        RawClient::connect(self.addr(), "app", "app", Some("shop"), capabilities).unwrap()
    }
}

/// The number of a prepared statement.
pub(crate) fn id(part: &Part) -> u32 {
    match part {
        Part::Prepared { id, .. } => *id,
        other => panic!("{other:?}"),
    }
}

/// The first value of an answer's first row.
pub(crate) fn first(parts: &[Part]) -> String {
    parts[0].texts()[0][0].clone().unwrap_or_default()
}
