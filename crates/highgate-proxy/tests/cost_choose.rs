//! What choosing a server may cost: no allocation, whatever the balance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::{Address, AdminState, Balance, Server};
use highgate_core::{
    choose::{Request, Turn, choose},
    ramp::Ramp,
    server::{ServerId, ServerKey, ServerState, TrafficFailure},
    snapshot::{Member, Role, Status},
};
use highgate_testkit::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
#[expect(clippy::disallowed_methods, reason = "an Instant can be made in no other way")]
fn a_choice_allocates_nothing_once_it_is_warm() {
    let now = Instant::now();
    let members: Vec<Member> = (0..5).map(|id| member(id, now)).collect();
    let mut seed = 0_u64;
    let mut rng = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        seed.wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    for balance in [
        Balance::First,
        Balance::LeastConnections,
        Balance::Fastest,
        Balance::RandomTwo,
        Balance::RoundRobin,
        Balance::Source,
    ] {
        let mut turn = Turn::default();
        for candidates in [&[0, 1, 2, 3, 4][..], &[4], &[3], &[]] {
            let request = Request {
                members: &members,
                candidates,
                balance,
                key: Some(7),
                exclude: &[ServerId(0)],
                max_lag_ms: None,
                full_ok: false,
                writes: false,
                now,
            };
            let _ = choose(&request, &mut turn, &mut rng);
            let before = CountingAllocator::count();
            for _ in 0..100 {
                let chosen = choose(&request, &mut turn, &mut rng);
                assert_eq!(chosen.is_err(), candidates.is_empty());
            }
            assert_eq!(CountingAllocator::count(), before, "{balance:?}");
        }
    }
}

/// The second is starting, the fourth a backup, the fifth shunned.
fn member(id: u32, now: Instant) -> Member {
    let name = format!("db{id}");
    let address = Address::Host(name.clone(), 3306);
    let key =
        ServerKey { backend: "shop".into(), name: name.as_str().into(), address: address.clone() };
    let state = ServerState::new(ServerId(id), key, now);
    if id == 4 {
        state.report_traffic_failure(TrafficFailure::Refused, now);
    }
    let over = Duration::from_secs(10);
    Member {
        state: Arc::new(state),
        server: Server {
            address,
            weight: 100,
            backup: id == 3,
            max_connections: 100,
            max_lag: None,
            state: AdminState::Enabled,
        },
        role: Role::Member,
        status: Status::Up,
        weight: 100,
        ramp: (id == 1).then_some(Ramp { since: now, over }),
        lag_ms: Some(0),
        reason: Arc::from("test"),
    }
}
