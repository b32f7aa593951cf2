use std::collections::BTreeSet;

use super::*;

#[test]
fn the_oldest_waiter_is_served_first_whatever_its_worker() {
    let mut broker = Broker::new(0);
    let ids: Vec<_> = (0..10).map(|n| broker.enqueue(n % 3, 'k').unwrap()).collect();
    for id in ids {
        let HandOver::Connection(waiter) = broker.on_release(&'k') else { panic!("nobody") };
        assert_eq!(waiter.id, id);
    }
    assert_eq!(broker.on_release(&'k'), HandOver::Keep);
}

#[test]
fn a_waiter_for_another_key_gets_the_room_and_is_not_overtaken() {
    let mut broker = Broker::new(0);
    let first = broker.enqueue(0, 'a').unwrap();
    let second = broker.enqueue(1, 'b').unwrap();
    assert!(matches!(broker.on_release(&'b'), HandOver::Room(w) if w.id == first));
    assert!(matches!(broker.on_release(&'b'), HandOver::Connection(w) if w.id == second));
}

#[test]
fn a_waiter_that_left_is_skipped_and_one_that_was_served_learns_it() {
    let mut broker = Broker::new(0);
    let first = broker.enqueue(0, 'a').unwrap();
    let second = broker.enqueue(0, 'a').unwrap();
    assert!(broker.cancel(first));
    assert_eq!(broker.on_close().unwrap().id, second);
    assert!(!broker.cancel(second));
    assert!(broker.is_idle());
}

#[test]
fn a_full_queue_refuses_at_once() {
    let mut broker = Broker::new(2);
    let first = broker.enqueue(0, ()).unwrap();
    assert!(broker.enqueue(0, ()).is_some());
    assert!(broker.enqueue(0, ()).is_none());
    broker.cancel(first);
    assert!(broker.enqueue(0, ()).is_some());
}

#[test]
fn cancelled_waiters_do_not_pile_up_behind_one_that_stays() {
    let mut broker = Broker::new(0);
    broker.enqueue(0, ()).unwrap();
    for _ in 0..10_000 {
        let id = broker.enqueue(0, ()).unwrap();
        broker.cancel(id);
    }
    assert_eq!(broker.len(), 1);
    assert!(broker.queue.len() < 64);
}

/// Workers as loops over one broker: each step starts, ends or abandons a command.
#[test]
fn limits_hold_nobody_starves_and_all_is_given_back() {
    for workers in [1, 2, 8] {
        for limit in [1, 3, 50] {
            for seed in 0..20 {
                contend(workers, limit, seed);
            }
        }
    }
}

#[expect(clippy::too_many_lines, reason = "one scenario, told in order")]
fn contend(workers: usize, limit: usize, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut below = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let mut broker = Broker::new(0);
    let (mut opened, mut leased, mut idle) = (0, Vec::new(), Vec::new());
    let mut waiting = BTreeSet::new();
    let mut served_to = None;
    for step in 0..4000 {
        let starts = step < 3000 && below(2) == 0;
        if starts {
            let key = below(2);
            if let Some(at) = idle.iter().position(|k| *k == key).filter(|_| broker.is_idle()) {
                leased.push(idle.swap_remove(at));
            } else if opened < limit && broker.is_idle() {
                opened += 1;
                leased.push(key);
            } else if let Some(other) = idle.pop().filter(|_| broker.is_idle()) {
                let _ = other;
                leased.push(key);
            } else {
                waiting.insert(broker.enqueue(below(workers), key).unwrap());
            }
        } else if !waiting.is_empty() && below(8) == 0 {
            let nth = below(waiting.len());
            let id = *waiting.iter().nth(nth).unwrap();
            assert!(broker.cancel(id), "a waiter left that nobody had served");
            waiting.remove(&id);
        } else if !leased.is_empty() {
            let key = leased.swap_remove(below(leased.len()));
            let next = if below(10) == 0 {
                let next = broker.on_close();
                if next.is_none() {
                    opened -= 1;
                }
                next
            } else {
                match broker.on_release(&key) {
                    HandOver::Keep => {
                        idle.push(key);
                        None
                    }
                    HandOver::Connection(waiter) => {
                        assert_eq!(waiter.key, key);
                        Some(waiter)
                    }
                    HandOver::Room(waiter) => Some(waiter),
                }
            };
            if let Some(waiter) = next {
                assert!(waiter.worker < workers);
                assert!(waiting.remove(&waiter.id), "served twice");
                assert!(served_to < Some(waiter.id), "served out of turn");
                served_to = Some(waiter.id);
                leased.push(waiter.key);
            }
        }
        assert!(opened <= limit);
        assert_eq!(opened, leased.len() + idle.len());
        // Nobody waits while there is room.
        assert!(waiting.is_empty() || leased.len() == limit, "{workers} {limit} {seed}");
    }
    assert_eq!(waiting.len(), broker.len());
}

#[test]
fn a_connection_that_none_can_take_the_place_of_goes_to_who_can_use_just_that_one() {
    let mut broker = Broker::new(0);
    let others = broker.enqueue(0, "other").unwrap();
    let far = broker.enqueue(1, "own").unwrap();
    let near = broker.enqueue(0, "own").unwrap();
    let mut of = |here: bool| {
        broker.on_release_of_the_last(&"own", |it| !here || it.worker == 0).map(|it| it.id)
    };
    assert_eq!(of(true), Some(near));
    assert_eq!(of(true), None);
    assert_eq!(of(false), Some(far));
    assert_eq!(of(false), None, "it is kept");
    assert!(broker.cancel(others) && broker.is_idle());
}

/// The queue grew by a number per command that was served behind one that wants another key.
#[test]
fn waiters_that_are_served_out_of_turn_do_not_pile_up_behind_one_that_stays() {
    let mut broker = Broker::new(0);
    broker.enqueue(0, "other").unwrap();
    for _ in 0..10_000 {
        let id = broker.enqueue(0, "own").unwrap();
        let served = broker.on_release_of_the_last(&"own", |_| true);
        assert_eq!(served.map(|it| it.id), Some(id));
    }
    assert_eq!(broker.len(), 1);
    assert!(broker.queue.len() < 64);
}
