//! Two to seven nodes on lossy links and a fake clock: one seed decides all.
//!
//! A world has a phase of faults (loss, delay, duplication, reordering, partitions that may be one-way,
//! crashes, restarts, stalls, losses of serving, changes of rank) and then a network that is *whole*:
//! every packet arrives within `D`, and nothing else happens any more. From the bound on after that
//! moment the world must have exactly one active node per segment, if any may be active at all, and
//! all members of a group together.
//!
//! # The bound
//!
//! `U + (k + 2) × I + S + A + 3 × D`, and where a router has a preempt delay `P + k × I + S + A + D` more.
//! `U` and `P` are the longest start-up and preempt delay, `I` is the longest interval of any router,
//! `k` the most adverts that may be missed, `S` the longest skew (255/256 of a second with VRRPv2, of
//! `I` with VRRPv3), and `D` the longest that a packet takes from one router's timer to the other's
//! step, late wake-ups included; `A` how long it asks one that works before it takes over: three times `I` or
//! 100 ms, and 3 s for the other's connections to end; `D` must be below the shortest interval. Why:
//!
//! 1. Who is active when the network becomes whole advertises within `I`; `D` later all have heard it.
//!    What was on its way from before has arrived by then as well, and so has the last advert of whoever
//!    gave way to it. From `I + D` on only the highest of those who are active is, and it stays so until
//!    one that ranks higher is; or nobody is, if all gave way to the late advert of one that is gone.
//! 2. A backup without a preempt delay that ranks higher and may preempt leaves the adverts of a lower
//!    one aside, and is active once its own timer ends and it has asked: `k × I + S + A` after the last advert that counted,
//!    which came in step 1. So is the first of all, if nobody was. Late starters count from `U` on.
//! 3. A backup with a preempt delay respects a lower one for `P` from the moment when it first hears it.
//!    Where nobody was active, that is only when step 2 has ended and `D` has passed: it may miss more
//!    adverts than the lower one, or have counted from later on, so that the lower one is first. From the
//!    last advert that it respects on it waits its own timer once more, and asks: `P + k × I + S + A + D`
//!    in all.
//! 4. Whoever becomes active last says so at once. The one that ranks lower of the two hears it `D`
//!    later and gives way; if it is the new one, it hears the other's answer, or at the latest its next
//!    regular advert: `I + 2 × D`.
//!
//! In step 3 the address has one holder all the while: it only moves once more.
//!
//! Ranks are a total order (priority, then address), and all members of a group of one node share their
//! rank, so each step ends with one winner. A node whose group has members of different ranks is not
//! promised this: two such nodes can send each other back for ever.

mod world;

use std::{thread, time::Instant};

use self::world::World;
use crate::testing::Bug;

/// The first seed of a range in which something is wrong, and what.
fn search(seeds: std::ops::Range<u64>, bug: Bug) -> Option<String> {
    let workers = 2;
    thread::scope(|scope| {
        let mut found = Vec::new();
        for worker in 0..workers {
            let seeds = seeds.clone();
            found.push(scope.spawn(move || {
                let mut mine = seeds.filter(|seed| seed % workers == worker);
                mine.find_map(|seed| {
                    let wrong = World::new(seed, bug).run().err()?;
                    Some(format!("seed {seed}: {wrong}"))
                })
            }));
        }
        found.into_iter().find_map(|worker| worker.join().unwrap())
    })
}

#[test]
fn once_the_network_is_whole_one_node_has_the_address() {
    assert_eq!(search(0..2_000, Bug::None), None);
}

/// Run it with `--release`: one to a few minutes on two cores.
#[test]
#[ignore = "soak: 100,000 worlds"]
fn in_a_hundred_thousand_worlds_one_node_has_the_address_once_the_network_is_whole() {
    let start = Instant::now();
    assert_eq!(search(0..100_000, Bug::None), None);
    println!("100,000 worlds in {:?}", start.elapsed());
}

#[test]
fn equals_that_both_stay_are_found() {
    assert!(search(0..2_000, Bug::EqualsStay).is_some());
}

#[test]
fn a_backup_that_forgets_to_count_anew_is_found() {
    assert!(search(0..2_000, Bug::LostRearm).is_some());
}

#[test]
fn a_node_that_keeps_the_addresses_is_found() {
    assert!(search(0..2_000, Bug::KeepsAddresses).is_some());
}

#[test]
fn two_runs_of_a_seed_are_one_trace() {
    for seed in 0..50 {
        let trace = || {
            let mut world = World::new(seed, Bug::None);
            let outcome = world.run();
            (outcome, world.trace)
        };
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}
