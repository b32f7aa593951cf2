use std::collections::BTreeMap;

use super::*;
use crate::{
    ramp::Ramp,
    testing::{Dice, member, ms, origin},
};

fn members(weights: &[u32], now: Instant) -> Vec<Member> {
    (0..).zip(weights).map(|(id, weight)| member(id, *weight, now)).collect()
}

fn request<'a>(
    members: &'a [Member],
    candidates: &'a [usize],
    balance: Balance,
    now: Instant,
) -> Request<'a> {
    Request {
        members,
        candidates,
        balance,
        key: None,
        exclude: &[],
        max_lag_ms: None,
        full_ok: false,
        writes: false,
        now,
    }
}

const ALL: [Balance; 6] = [
    Balance::Fastest,
    Balance::First,
    Balance::LeastConnections,
    Balance::RandomTwo,
    Balance::RoundRobin,
    Balance::Source,
];

/// How often each member is chosen; `busy` commands stay in flight.
fn shares(request: &Request<'_>, rounds: usize, busy: usize) -> Vec<usize> {
    let (mut turn, mut dice) = (Turn::default(), Dice::new(7));
    let mut counts = vec![0; request.members.len()];
    let mut flying = std::collections::VecDeque::new();
    for round in 0..rounds {
        let request = Request { key: Some(round as u64), ..*request };
        let chosen = choose(&request, &mut turn, &mut || dice.bits()).unwrap();
        counts[chosen] += 1;
        request.members[chosen].state.hot.leased.fetch_add(1, Ordering::Relaxed);
        flying.push_back(chosen);
        if flying.len() > busy {
            let done = flying.remove(dice.index(flying.len())).unwrap();
            request.members[done].state.hot.leased.fetch_sub(1, Ordering::Relaxed);
        }
    }
    counts
}

#[test]
fn shares_follow_the_weights_under_load() {
    let now = origin();
    for balance in
        [Balance::LeastConnections, Balance::RandomTwo, Balance::RoundRobin, Balance::Source]
    {
        let members = members(&[100, 100, 200], now);
        let counts = shares(&request(&members, &[0, 1, 2], balance, now), 8000, 40);
        let share = counts[2] as f64 / 8000.0;
        // Comparing two by load evens the shares out a little.
        assert!((0.38..0.56).contains(&share), "{balance:?} {counts:?}");
        assert!(counts[0].abs_diff(counts[1]) < 600, "{balance:?} {counts:?}");
    }
}

#[test]
fn round_robin_is_smooth() {
    let now = origin();
    let members = members(&[5, 1, 1], now);
    let request = request(&members, &[0, 1, 2], Balance::RoundRobin, now);
    let mut turn = Turn::default();
    let order: Vec<_> = (0..7).map(|_| choose(&request, &mut turn, &mut || 0).unwrap()).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn first_takes_the_first_that_serves() {
    let now = origin();
    let mut members = members(&[1, 1], now);
    let take = |members: &[Member]| {
        choose(&request(members, &[0, 1], Balance::First, now), &mut Turn::default(), &mut || 0)
    };
    assert_eq!(take(&members), Ok(0));
    members[0].status = Status::Down;
    assert_eq!(take(&members), Ok(1));
}

#[test]
fn the_fastest_is_preferred_until_it_is_busy_and_the_unmeasured_is_tried() {
    let now = origin();
    let members = members(&[1, 1, 1], now);
    for (member, latency) in members.iter().zip([900, 300, 0]) {
        member.state.hot.latency_us.store(latency, Ordering::Relaxed);
    }
    let take = |candidates: &[usize]| {
        let request = request(&members, candidates, Balance::Fastest, now);
        choose(&request, &mut Turn::default(), &mut || 0).unwrap()
    };
    assert_eq!(take(&[0, 1]), 1);
    assert_eq!(take(&[0, 1, 2]), 2);
    members[1].state.hot.leased.store(9, Ordering::Relaxed);
    assert_eq!(take(&[0, 1]), 0);
}

#[test]
fn a_source_keeps_its_server_and_only_those_of_a_lost_server_move() {
    let now = origin();
    let mut members = members(&[100; 5], now);
    let place = |members: &[Member]| -> Vec<usize> {
        (0..2000)
            .map(|key| {
                let request = request(members, &[0, 1, 2, 3, 4], Balance::Source, now);
                let request = Request { key: Some(key), ..request };
                choose(&request, &mut Turn::default(), &mut || 0).unwrap()
            })
            .collect()
    };
    let before = place(&members);
    assert_eq!(before, place(&members));
    members[3].status = Status::Down;
    let after = place(&members);
    for (old, new) in before.iter().zip(&after) {
        assert!(*old == 3 || old == new);
    }
    let mut counts = BTreeMap::new();
    before.iter().for_each(|index| *counts.entry(index).or_insert(0) += 1);
    assert!(counts.values().all(|count| (300..500).contains(count)), "{counts:?}");
}

#[test]
fn backups_serve_only_when_nobody_else_can() {
    let now = origin();
    for balance in ALL {
        let mut members = members(&[1, 100], now);
        members[1].server.backup = true;
        assert_eq!(shares(&request(&members, &[0, 1], balance, now), 50, 0), [50, 0]);
        members[0].status = Status::Lagging;
        assert_eq!(shares(&request(&members, &[0, 1], balance, now), 50, 0), [0, 50]);
    }
}

#[test]
fn a_shunned_server_is_the_last_resort() {
    let now = origin();
    let members = members(&[100, 1], now);
    members[0].state.shun(now + ms(1000));
    assert_eq!(shares(&request(&members, &[0, 1], Balance::RoundRobin, now), 20, 0), [0, 20]);
    assert_eq!(shares(&request(&members, &[0], Balance::RoundRobin, now), 20, 0), [20, 0]);
}

#[test]
fn nobody_left_is_an_error_that_counts_the_reasons() {
    let now = origin();
    let mut members = members(&[1, 0, 1, 1], now);
    members[0].status = Status::Down;
    members[2].server.max_connections = 1;
    members[2].state.opened.store(1, Ordering::Relaxed);
    members[2].state.hot.leased.store(1, Ordering::Relaxed);
    let exclude = [members[3].state.id];
    for balance in ALL {
        let request =
            Request { exclude: &exclude, ..request(&members, &[0, 1, 2, 3], balance, now) };
        let none = choose(&request, &mut Turn::default(), &mut || 0).unwrap_err();
        assert!(none.may_queue());
        assert_eq!(
            none.to_string(),
            "no server of 4 can serve: 1 not up, 1 tried already, 1 of weight 0, 1 at the connection limit"
        );
        let full_ok = Request { full_ok: true, ..request };
        assert_eq!(choose(&full_ok, &mut Turn::default(), &mut || 0), Ok(2));
    }
}

/// As many at work as may be, and that many more waiting.
fn fill(member: &mut Member, max: u32, queued: u32) {
    member.server.max_connections = max;
    member.state.opened.store(max, Ordering::Relaxed);
    member.state.hot.leased.store(max, Ordering::Relaxed);
    member.state.hot.queued.store(queued, Ordering::Relaxed);
}

/// Commands waited behind a full server to the end of `queue_timeout` while another one had room.
#[test]
fn a_full_server_is_passed_over_while_another_has_room_and_waited_for_when_all_are_full() {
    let now = origin();
    for balance in ALL.into_iter().filter(|balance| *balance != Balance::Source) {
        // By weight, order and load it would be the first's turn each time.
        let mut members = members(&[10_000, 1], now);
        fill(&mut members[0], 2, 0);
        members[1].server.max_connections = 60;
        members[1].state.hot.leased.store(20, Ordering::Relaxed);
        members.iter().for_each(|one| one.state.hot.latency_us.store(100, Ordering::Relaxed));
        let (mut turn, mut dice) = (Turn::default(), Dice::new(7));
        let mut take = |members: &[Member]| {
            let request = request(members, &[0, 1], balance, now);
            let request = Request { full_ok: true, ..request };
            choose(&request, &mut turn, &mut || dice.bits()).unwrap()
        };
        for _ in 0..50 {
            assert_eq!(take(&members), 1, "{balance:?}");
        }
        fill(&mut members[1], 60, 0);
        let mut all_full = [0, 0];
        (0..50).for_each(|_| all_full[take(&members)] += 1);
        assert!(all_full[0] > 40, "as its weight asks for: {balance:?} {all_full:?}");
        // A place came free, for which others wait already.
        fill(&mut members[0], 2, 3);
        members[0].state.hot.leased.store(1, Ordering::Relaxed);
        members[1].state.hot.leased.store(59, Ordering::Relaxed);
        assert_eq!(take(&members), 1, "{balance:?}");
        // An idle connection, and nobody waits for it.
        fill(&mut members[1], 60, 0);
        members[0].state.hot.queued.store(0, Ordering::Relaxed);
        assert_eq!(take(&members), 0, "{balance:?}");
    }
}

#[test]
fn a_source_waits_at_its_full_server_and_who_has_no_address_passes_it_over() {
    let now = origin();
    let mut members = members(&[10_000, 1], now);
    fill(&mut members[0], 2, 5);
    let request = request(&members, &[0, 1], Balance::Source, now);
    let request = Request { full_ok: true, ..request };
    let take = |key| choose(&Request { key, ..request }, &mut Turn::default(), &mut || 0).unwrap();
    assert_eq!(take(Some(7)), 0);
    assert_eq!(take(None), 1);
}

#[test]
fn a_backup_does_not_serve_because_the_others_are_full() {
    let now = origin();
    for balance in ALL {
        let mut members = members(&[1, 1], now);
        members[1].server.backup = true;
        fill(&mut members[0], 2, 0);
        let request = request(&members, &[0, 1], balance, now);
        let full_ok = Request { full_ok: true, ..request };
        assert_eq!(choose(&full_ok, &mut Turn::default(), &mut || 0), Ok(0), "{balance:?}");
    }
}

#[test]
fn round_robin_goes_on_smoothly_among_those_with_room() {
    let now = origin();
    let mut members = members(&[1, 1, 1], now);
    fill(&mut members[0], 2, 0);
    let mut turn = Turn::default();
    let mut take = |members: &[Member]| {
        let request = request(members, &[0, 1, 2], Balance::RoundRobin, now);
        choose(&Request { full_ok: true, ..request }, &mut turn, &mut || 0).unwrap()
    };
    let mut counts = [0_u32; 3];
    (0..300).for_each(|_| counts[take(&members)] += 1);
    assert_eq!(counts[0], 0);
    assert!(counts[1].abs_diff(counts[2]) <= 1, "{counts:?}");
    // Nothing is made up for.
    members[0].state.hot.leased.store(0, Ordering::Relaxed);
    counts = [0; 3];
    (0..30).for_each(|_| counts[take(&members)] += 1);
    assert!(counts.iter().all(|count| (9..=11).contains(count)), "{counts:?}");
}

#[test]
fn where_nobody_has_the_role_it_is_told_who_is_not_up() {
    let now = origin();
    let mut members = members(&[1, 1], now);
    let told = |members: &[Member]| {
        let request = request(members, &[], Balance::RoundRobin, now);
        choose(&request, &mut Turn::default(), &mut || 0).unwrap_err().to_string()
    };
    assert_eq!(told(&members), "no server can serve: none has the role");
    members[0].status = Status::Down;
    let one = "no server of 2 can serve: 1 not up, and none of the others has the role";
    assert_eq!(told(&members), one);
    members[1].status = Status::Down;
    assert_eq!(told(&members), "no server of 2 can serve: 2 not up");
    assert_eq!(told(&[]), "no server can serve: the backend has none");
}

#[test]
fn a_server_that_came_back_climbs_to_its_share() {
    let now = origin();
    let mut members = members(&[100, 100], now);
    members[1].ramp = Some(Ramp { since: now, over: ms(10_000) });
    let share =
        |at| shares(&request(&members, &[0, 1], Balance::RoundRobin, now + ms(at)), 1000, 0)[1];
    assert!((40..60).contains(&share(0)));
    assert!((300..360).contains(&share(5000)));
    assert_eq!(share(10_000), 500);
}

#[test]
fn a_command_that_tolerates_less_lag_passes_over_those_behind() {
    let now = origin();
    let mut members = members(&[1, 1, 1], now);
    for (member, lag) in members.iter_mut().zip([Some(5000), None, Some(100)]) {
        (member.role, member.lag_ms) = (crate::snapshot::Role::Replica, lag);
    }
    let request =
        Request { max_lag_ms: Some(1000), ..request(&members, &[0, 1, 2], Balance::First, now) };
    assert_eq!(choose(&request, &mut Turn::default(), &mut || 0), Ok(2));
}

#[test]
fn explain_gives_every_member_its_reason() {
    let now = origin();
    let mut members = members(&[1, 1, 1, 1, 1], now);
    members[1].status = Status::Broken;
    members[2].server.backup = true;
    fill(&mut members[4], 5, 0);
    let request = request(&members, &[4, 0, 2], Balance::First, now);
    let request = Request { full_ok: true, ..request };
    let chosen = choose(&request, &mut Turn::default(), &mut || 0).unwrap();
    assert_eq!(
        explain(&request, Some(chosen)),
        [
            (0, None),
            (1, Some(Passed::Status(Status::Broken))),
            (2, Some(Passed::Backup)),
            (3, Some(Passed::NotCandidate)),
            (4, Some(Passed::Full)),
        ]
    );
}

#[test]
fn a_thousand_members_are_chosen_among() {
    let now = origin();
    let members = members(&[100; 1000], now);
    let candidates: Vec<_> = (0..1000).collect();
    for balance in ALL {
        let counts = shares(&request(&members, &candidates, balance, now), 1000, 1000);
        let busiest = counts.iter().max().unwrap();
        assert!(
            balance == Balance::First
                || balance == Balance::Source
                || *busiest <= 4
                || balance == Balance::Fastest,
            "{balance:?} {busiest}"
        );
    }
}

#[test]
fn a_server_that_refused_a_write_gets_no_other_until_it_is_judged_and_reads_go_on() {
    let now = origin();
    let members = members(&[1], now);
    let (mut turn, mut dice) = (Turn::default(), Dice::new(7));
    let reads = request(&members, &[0], Balance::First, now);
    let writes = Request { writes: true, ..reads };
    members[0].state.hold_writes(now);
    let mut take = |request: &Request<'_>| choose(request, &mut turn, &mut || dice.bits());
    assert_eq!(take(&reads), Ok(0));
    let none = take(&writes).unwrap_err();
    assert_eq!((none.candidates, none.refusing), (1, 1));
    assert!(none.to_string().contains("refused or lost a write a moment ago"), "{none}");
    // Should nobody judge, this is no reason for ever.
    assert_eq!(take(&Request { now: now + ms(1000), ..writes }), Ok(0));
    members[0].state.judged();
    assert_eq!(take(&writes), Ok(0));
}
