use super::*;
use crate::{
    server::{ServerId, ServerKey},
    testing::{backend, member, origin},
};

/// The server `host` as that backend's, with that number.
fn server(id: u32, backend: &str, host: &str) -> Member {
    let mut member = member(id, 100, origin());
    let address = Address::Host(host.to_owned(), 3306);
    let key = ServerKey { backend: backend.into(), name: host.into(), address };
    member.state = Arc::new(ServerState::new(ServerId(id), key, origin()));
    member
}

/// A backend of the servers `one` and `two`.
fn group(name: &str, topology: Topology, first: u32, primary: Option<usize>) -> Arc<Group> {
    Arc::new(Group {
        name: name.into(),
        backend: Arc::new(backend(topology, &["one", "two"])),
        members: vec![server(first, name, "one"), server(first + 1, name, "two")],
        primary,
        readers: vec![0, 1],
        writers: Vec::new(),
        writes: Writes::Open,
        reason: PlanReason(Arc::from("test")),
    })
}

fn placement(groups: impl IntoIterator<Item = Arc<Group>>) -> Placement {
    Placement { groups: groups.into_iter().map(|it| (it.name.clone(), it)).collect() }
}

/// Of two backends with the server the first by name judged: a static one, for which no other takes the
/// writes. Who wrote in a transaction on the old primary went on there.
#[test]
fn a_server_whose_backend_has_another_name_now_is_judged_by_one_that_has_roles() {
    let roles = group("shop2", Topology::MariadbReplication, 1, Some(1));
    let reports = group("reports", Topology::Static, 3, None);
    let old = server(9, "shop", "one").state;
    let judges = |placement: &Placement| placement.group_of(&old).map(|it| it.name.clone());
    let both = placement([roles.clone(), reports.clone()]);
    assert_eq!(judges(&both), Some("shop2".into()));
    assert!(both.group_of(&old).unwrap().must_part(&old, true), "`two` takes the writes");
    assert_eq!(judges(&placement([reports])), Some("reports".into()), "better than nobody");
    let own = group("shop", Topology::Static, 5, None);
    assert_eq!(judges(&placement([roles, own])), Some("shop".into()));
    assert_eq!(judges(&placement([])), None);
}

/// An idle worker kept the state alive, and with it what was said of it as it was removed for the first time.
#[test]
fn a_server_that_was_removed_while_down_and_added_again_may_be_removed_as_it_serves() {
    let mut member = server(1, "shop", "three");
    let others = group("shop", Topology::MariadbReplication, 2, None);
    let mut parts_as = |status| {
        member.status = status;
        member.removed();
        others.must_part(&member.state, true)
    };
    assert!(parts_as(Status::Down) && parts_as(Status::Quarantined));
    assert!(!parts_as(Status::Up), "what was begun there ends");
}
