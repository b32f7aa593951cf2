//! What operators do by the SQL port and by the command line, on a whole process.

#[path = "client/raw.rs"]
mod raw;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpStream,
    process::Command,
};

use highgate_testkit::{HighgateProcess, wait, wait::Deadline};
use raw::{Part, RawClient, USUAL};

const BINARY: &str = env!("CARGO_BIN_EXE_highgate");

const TOML: &str = "[admin]\nsql = \"127.0.0.1:0\"\nweb = \"off\"\n\
     [[admin.user]]\nname = \"admin\"\npassword = \"secret\"\n\
     [[listener]]\nname = \"raw\"\nmode = \"tcp\"\nbind = \"127.0.0.1:0\"\nbackend = \"shop\"\n\
     [[backend]]\nname = \"shop\"\nmonitor = { check = \"off\" }\n\
     [[backend.server]]\nname = \"db1\"\naddress = \"127.0.0.1:1\"\n\
     [[backend.server]]\nname = \"db2\"\naddress = \"127.0.0.1:2\"\n";

/// It is stored before it is acknowledged: work that the port's own thread hands over.
#[test]
fn an_action_that_is_stored_is_carried_out_as_those_of_the_command_line_are() {
    let process = HighgateProcess::start(BINARY, TOML).unwrap();
    let address = process.admin_sql().unwrap();
    let mut operator = RawClient::connect(address, "admin", "secret", None, USUAL).unwrap();
    let said = operator.ok("CALL servers.drain('shop/db1')").unwrap();
    let Part::Ok { info, .. } = said else { panic!("{said:?}") };
    assert!(info.contains("shop/db1 is draining"), "{info}");
    operator.ok("CALL servers.weight('shop/db2', 2)").unwrap();
    let shows = |operator: &mut RawClient, wanted: &str| {
        let text = "SELECT GROUP_CONCAT(name || ' ' || status, ', ') FROM servers";
        wait::eventually(Deadline::seconds(10), wanted, || {
            let told = operator.value(text)?;
            anyhow::ensure!(told == wanted, "{told}");
            Ok(())
        })
    };
    shows(&mut operator, "db1 draining, db2 up").unwrap();
    operator.ok("CALL servers.enable('shop/db1')").unwrap();
    shows(&mut operator, "db1 up, db2 up").unwrap();
    let refused = operator.query("CALL servers.drain('shop/db9')").unwrap();
    let Part::Err { text, .. } = &refused[0] else { panic!("{refused:?}") };
    assert!(text.contains("db9") && !text.contains("bug"), "{text}");
}

#[test]
fn where_no_terminal_reads_a_table_each_row_is_whole_and_on_one_line() {
    let process = HighgateProcess::start(BINARY, TOML).unwrap();
    let shown = Command::new(BINARY)
        .args(["ctl", "show", "servers", "--data-dir"])
        .arg(process.folder().join("highgate-data"))
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "a head and two servers: {text}");
    assert!(lines[0].ends_with("LAST_ERROR") && lines[0].len() > 200, "{text}");
    assert!(lines[1].contains("127.0.0.1:1 "), "{text}");
}

/// It was Highgate's own: Connector/Python refuses servers before 4.1.
#[test]
fn the_version_is_one_that_drivers_take_and_the_same_wherever_they_look() {
    let process = HighgateProcess::start(BINARY, TOML).unwrap();
    let address = process.admin_sql().unwrap();
    let mut greeting = [0; 5];
    let mut stream = TcpStream::connect(address).unwrap();
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting[4], 10, "protocol version");
    let mut version = Vec::new();
    BufReader::new(stream).read_until(0, &mut version).unwrap();
    version.pop();
    let version = String::from_utf8(version).unwrap();
    assert_eq!(version, concat!("8.0.36-highgate-", env!("CARGO_PKG_VERSION")));
    let mut operator = RawClient::connect(address, "admin", "secret", None, USUAL).unwrap();
    for asked in ["SELECT VERSION()", "SELECT @@version", "SELECT @@global.version"] {
        assert_eq!(operator.value(asked).unwrap(), version, "{asked}");
    }
    let shown = operator.query("SHOW VARIABLES LIKE 'version'").unwrap();
    assert_eq!(shown[0].texts(), [[Some("version".to_owned()), Some(version)]]);
}
