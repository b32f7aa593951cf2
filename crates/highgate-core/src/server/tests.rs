use super::*;

fn key(name: &str) -> ServerKey {
    ServerKey {
        backend: "shop".into(),
        name: name.into(),
        address: Address::Host("db".into(), 3306),
    }
}

#[test]
fn a_server_keeps_its_identity_while_anything_holds_it_and_numbers_are_never_reused() {
    let now = test_now();
    let mut registry = ServerRegistry::new();
    let first = registry.get_or_create(&key("db1"), now);
    assert!(Arc::ptr_eq(&first, &registry.get_or_create(&key("db1"), now)));
    let old = first.id;
    drop(first);
    registry.forget_dead();
    assert!(registry.get(&key("db1")).is_none());
    assert_ne!(registry.get_or_create(&key("db1"), now).id, old);
}

#[test]
fn another_address_is_another_server() {
    let now = test_now();
    let mut registry = ServerRegistry::new();
    let first = registry.get_or_create(&key("db1"), now);
    let moved = ServerKey { address: Address::Host("other".into(), 3306), ..key("db1") };
    assert_ne!(registry.get_or_create(&moved, now).id, first.id);
}

#[test]
fn a_refused_connect_shuns_at_once_and_for_a_moment() {
    let now = test_now();
    let state = ServerState::new(ServerId(1), key("db1"), now);
    assert!(!state.is_shunned(now));
    assert!(state.report_traffic_failure(TrafficFailure::Refused, now));
    assert!(state.is_shunned(now));
    assert!(!state.is_shunned(now + SHUN));
    state.unshun();
    assert!(!state.is_shunned(now));
}

#[test]
fn only_the_first_pending_failure_wakes_the_monitor() {
    let now = test_now();
    let state = ServerState::new(ServerId(1), key("db1"), now);
    assert!(state.report_traffic_failure(TrafficFailure::Lost, now));
    assert!(!state.report_traffic_failure(TrafficFailure::Lost, now));
    let report = state.take_traffic();
    assert_eq!(report.iter().collect::<Vec<_>>(), [(TrafficFailure::Lost, 2)]);
    assert!(state.take_traffic().is_empty());
    assert!(state.report_traffic_failure(TrafficFailure::Timeout, now));
}

/// Who reported beside another, while the monitor looked, left a count that nobody was told of: from then on nobody
/// was told of any.
#[test]
fn no_failure_is_left_that_nobody_was_told_of() {
    let now = test_now();
    let state = ServerState::new(ServerId(1), key("db1"), now);
    let (wake, woken) = std::sync::mpsc::channel();
    let taken: u32 = std::thread::scope(|scope| {
        for reporter in 0..8 {
            let (wake, state) = (wake.clone(), &state);
            let kind = [TrafficFailure::Lost, TrafficFailure::Silent][reporter % 2];
            scope.spawn(move || {
                for _ in 0..20_000 {
                    if state.report_traffic_failure(kind, now) {
                        wake.send(()).unwrap();
                    }
                }
            });
        }
        drop(wake);
        let take = |()| state.take_traffic().iter().map(|(_, count)| count).sum::<u32>();
        woken.into_iter().map(take).sum()
    });
    assert!(state.take_traffic().is_empty());
    assert_eq!(taken, 160_000);
}

#[test]
fn the_connection_limit_holds_under_contention() {
    let state = Arc::new(ServerState::new(ServerId(1), key("db1"), test_now()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    if state.try_open(3) {
                        assert!(state.opened.load(Ordering::Relaxed) <= 3);
                        state.closed();
                    }
                }
            });
        }
    });
    assert_eq!(state.opened.load(Ordering::Relaxed), 0);
    state.closed();
    assert_eq!(state.opened.load(Ordering::Relaxed), 0);
}

#[test]
fn of_connections_above_a_lowered_limit_just_those_too_many_are_not_passed_on() {
    let state = Arc::new(ServerState::new(ServerId(1), key("db1"), test_now()));
    assert!((0..1000).all(|_| state.try_open(1000)));
    assert!(!state.has_too_many_open() && !state.closed_above());
    state.bound_open(3);
    let closed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while state.has_too_many_open() {
                    closed.fetch_add(u32::from(state.closed_above()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(closed.into_inner(), 997);
    assert_eq!(state.opened.load(Ordering::Relaxed), 3);
    state.bound_open(0);
    assert!(!state.has_too_many_open() && !state.closed_above());
}

#[test]
fn latency_follows_its_samples() {
    let state = ServerState::new(ServerId(1), key("db1"), test_now());
    state.record_latency(Duration::from_micros(800));
    assert_eq!(state.hot.latency_us.load(Ordering::Relaxed), 800);
    for _ in 0..100 {
        state.record_latency(Duration::from_micros(80));
    }
    assert!(state.hot.latency_us.load(Ordering::Relaxed) < 100);
}

fn test_now() -> Instant {
    crate::testing::origin()
}

#[test]
fn connections_end_when_a_name_means_another_machine_and_stay_when_it_gains_one() {
    let key = ServerKey {
        backend: "shop".into(),
        name: "db1".into(),
        address: Address::Host("db1.lan".to_owned(), 3306),
    };
    let server = ServerState::new(ServerId(1), key, test_now());
    let address = |last: u8| IpAddr::from([10, 0, 0, last]);
    assert!(!server.resolve(&[address(1)]));
    assert!(!server.resolve(&[address(2), address(1)]));
    assert_eq!(server.generation(), 0);
    assert!(server.resolve(&[address(3)]));
    assert_eq!(server.generation(), 1);
    assert_eq!(&*server.resolved(), &[address(3)]);
}

/// A name that moved by way of both addresses, as names are moved, left its pooled connections at the first
/// machine: writes of one backend went to two.
#[test]
fn connections_to_an_address_that_a_name_loses_are_told_from_those_that_stay() {
    let key = ServerKey { address: Address::Host("db1.lan".to_owned(), 3306), ..key("db1") };
    let server = ServerState::new(ServerId(1), key, test_now());
    let address = |last: u8| IpAddr::from([10, 0, 0, last]);
    let stays = |era: &mut Era, last| server.still_has(era, || Some(address(last)));
    server.resolve(&[address(1)]);
    let (mut at_first, mut at_second) = (server.era(), server.era());
    assert!(!server.resolve(&[address(1), address(2)]), "gained one");
    assert!(server.still_has(&mut at_first, || panic!("nobody is asked where nothing was lost")));
    assert!(server.resolve(&[address(2)]), "lost one");
    assert_eq!(server.generation(), 0, "the server is there, and who waits for it waits on");
    assert!(!stays(&mut at_first, 1) && !stays(&mut at_first, 1));
    assert!(!server.still_has(&mut at_first, || None), "a connection that is dead");
    let mapped = || Some("::ffff:10.0.0.2".parse().unwrap());
    assert!(server.still_has(&mut { at_second }, mapped), "IPv4 is IPv4, however it came");
    assert!(stays(&mut at_second, 2));
    assert!(server.still_has(&mut at_second, || panic!("it is asked once for each loss")));
    // A resolver that fails for an hour takes addresses away, and no connections.
    assert!(!server.resolve(&[]));
    assert!(stays(&mut at_second, 2));
    assert!(!server.resolve(&[address(3)]));
    assert!(!stays(&mut at_second, 2));
}

#[test]
fn idle_connections_are_retired_without_the_end_of_a_generation() {
    let server = ServerState::new(ServerId(1), key("db1"), test_now());
    let before = server.era();
    assert!(server.may_be_shared(before));
    server.retire_idle();
    assert!(!server.may_be_shared(before));
    assert!(server.is_of_this_generation(before), "queues and sessions go on");
    assert_eq!(server.generation(), 0);
    let behind = server.era();
    server.next_generation();
    assert!(server.may_be_shared(behind));
    assert!(!server.is_of_this_generation(behind));
}

#[test]
fn a_name_and_its_address_are_one_place() {
    let at = |id, address| {
        ServerState::new(ServerId(id), ServerKey { address, ..key("db1") }, test_now())
    };
    let (by_name, by_address) = (
        at(1, Address::Host("localhost".to_owned(), 3306)),
        at(2, Address::Ip("127.0.0.1:3306".parse().unwrap())),
    );
    assert!(!by_name.is_at(&by_address), "nobody has looked it up yet");
    by_name.resolve(&["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
    assert!(by_name.is_at(&by_address) && by_address.is_at(&by_name));
    assert!(!by_name.is_at(&at(3, Address::Ip("127.0.0.1:3307".parse().unwrap()))));
    let socket = || Address::Unix("/run/one.sock".into());
    assert!(at(4, socket()).is_at(&at(5, socket())));
    assert!(!at(4, socket()).is_at(&at(5, Address::Unix("/run/other.sock".into()))));
}
