//! What tests of servers that answer wrongly share: such servers, and which of their connections were
//! used again.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Command, Reply, Script, ScriptedServer, wire},
};

use crate::failure::{self, toml};

pub(crate) const BACKEND: &str =
    "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\nfailover_wait = \"3s\"\n";
/// A word of every statement that is answered wrongly.
pub(crate) const VICTIM: &str = "victim";

/// What every server does besides the statement under test.
pub(crate) fn usual(command: &Command) -> Reply {
    let text = command.text();
    if text.starts_with("SELECT @@") {
        return Reply::variables(&text);
    }
    Reply::Ok
}

/// What a server does that answers statements with [`VICTIM`] in them by `reply`, or rightly where that is
/// `None`; it is told how many came before.
pub(crate) fn script(reply: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) -> Script {
    let times = AtomicUsize::new(0);
    Script::new(move |command| {
        if command.code == 0x03 && command.text().contains(VICTIM) {
            let time = times.fetch_add(1, Ordering::Relaxed);
            return reply(time).unwrap_or_else(|| Reply::value("n", "1"));
        }
        usual(command)
    })
}

/// Such a server.
pub(crate) fn faulty(
    reply: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static,
) -> anyhow::Result<ScriptedServer> {
    ScriptedServer::start(script(reply))
}

pub(crate) fn front(servers: &[SocketAddr], listener: &str) -> anyhow::Result<HighgateProcess> {
    HighgateProcess::start(failure::BINARY, &toml(servers, BACKEND, listener))
}

/// The connections on which statements with [`VICTIM`] in them came so far, each as often as they did.
pub(crate) fn victims(server: &ScriptedServer) -> Vec<usize> {
    let commands = server.commands();
    let found = commands.iter().filter(|command| command.text().contains(VICTIM));
    found.map(|command| command.connection).collect()
}

/// Fails where anything but a farewell came on one of those connections after the statement that was
/// answered wrongly.
pub(crate) fn none_used_again(server: &ScriptedServer, spoilt: &[usize], name: &str) {
    let commands = server.commands();
    for connection in spoilt {
        let mut of_it = commands
            .iter()
            .filter(|command| command.connection == *connection)
            .skip_while(|command| !command.text().contains(VICTIM))
            .skip(1);
        let again = of_it.find(|command| command.code != wire::COM_QUIT);
        assert_eq!(again, None, "{name}: connection {connection} was used again");
    }
}
