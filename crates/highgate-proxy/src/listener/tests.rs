use std::net::TcpListener;

use highgate_config::{NodeName, native};
use highgate_core::snapshot::{Placement, Policy, Snapshot};
use tokio::sync::mpsc;

use super::*;
use crate::shared::WorkerHandle;

fn settings(more: &str) -> Arc<highgate_config::Listener> {
    let text = format!(
        "[[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nbackend = \"shop\"\n{more}\
         [[backend]]\nname = \"shop\"\n"
    );
    let parsed = native::parse("test.toml", &text, &NodeName::from("here")).unwrap();
    Arc::new(parsed.config.shared.listeners["shop"].clone())
}

/// What a node of one worker shares, and that worker's mail.
fn shared() -> (Arc<Shared>, mpsc::Receiver<Mail>) {
    let policy = Policy {
        listeners: Default::default(),
        binds: Default::default(),
        renamed: Default::default(),
        users: Default::default(),
        backends: Default::default(),
        heirs: Default::default(),
        rules: Arc::default(),
        written_rules: Arc::default(),
    };
    let placement = Arc::new(Placement::default());
    let snapshot = Snapshot { version: 0, policy: Arc::new(policy), placement };
    let (mail, letters) = mpsc::channel(8);
    let (sessions, alive_ms) = Default::default();
    let worker = WorkerHandle { mail, sessions, alive_ms };
    (Shared::new(Arc::new(snapshot), vec![worker], None), letters)
}

/// A client that connects while `settings` are in force, as its worker finds it.
fn accepted(
    (shared, letters): &mut (Arc<Shared>, mpsc::Receiver<Mail>),
    listener: &Arc<ListenerState>,
) -> Option<Box<Accepted>> {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let (client, peer) = socket.accept().unwrap();
    admit(shared, listener, Detached::Tcp(client), Some(peer), 0);
    match letters.try_recv() {
        Ok(Mail::Client(accepted)) => Some(accepted),
        _ => None,
    }
}

const TRUSTED: &str = "proxy_protocol_from = [\"127.0.0.0/8\"]\nallow = [\"10.0.0.0/8\"]\n";

#[test]
fn a_peer_accepted_to_speak_for_others_is_judged_by_them_whatever_changes_meanwhile() {
    let mut node = shared();
    let listener = Arc::new(ListenerState::new("shop".into(), settings(TRUSTED)));
    let accepted = accepted(&mut node, &listener).unwrap();
    // Before its worker came to it, the network is trusted no more.
    listener.settings.store(settings("allow = [\"10.0.0.0/8\"]\n"));
    assert!(accepted.speaks_for_others, "its own address was not judged");
}

#[test]
fn a_client_counted_when_it_was_accepted_is_not_counted_again() {
    let mut node = shared();
    let settings = |more| settings(&format!("max_connections_per_address = 1\n{more}"));
    let listener = Arc::new(ListenerState::new("shop".into(), settings("")));
    let first = accepted(&mut node, &listener).unwrap();
    listener.settings.store(settings("proxy_protocol_from = [\"127.0.0.0/8\"]\n"));
    assert!(!first.speaks_for_others, "it was counted under its own address");
    listener.settings.store(settings(""));
    assert!(accepted(&mut node, &listener).is_none(), "one per address");
    drop(first);
    assert!(accepted(&mut node, &listener).is_some());
}
