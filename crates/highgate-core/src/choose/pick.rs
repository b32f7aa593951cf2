//! The ways of choosing among those that can serve.

use std::{cmp::Ordering as Order, sync::atomic::Ordering};

use highgate_config::Balance;

use super::{Request, Tier};
use crate::{server::ServerId, snapshot::Member};

/// Memory of whose turn it is: one per worker and group.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    credit: Vec<(ServerId, i64)>,
}

pub(super) fn pick(
    request: &Request<'_>,
    tier: Tier,
    turn: &mut Turn,
    rng: &mut impl FnMut() -> u64,
) -> Option<usize> {
    match request.balance {
        Balance::First => able(request, tier).next().map(|(index, _)| index),
        Balance::LeastConnections => least(request, tier, rng, by_load),
        Balance::Fastest => least(request, tier, rng, by_latency),
        Balance::RandomTwo => random_two(request, tier, rng),
        Balance::RoundRobin => turn.next(request, tier),
        Balance::Source => rendezvous(request, tier, rng),
    }
}

fn able<'a>(request: &'a Request<'a>, tier: Tier) -> impl Iterator<Item = (usize, &'a Member)> {
    (request.candidates.iter())
        .filter_map(|index| request.members.get(*index).map(|member| (*index, member)))
        .filter(move |(_, member)| tier.takes(request, member))
}

/// A quantity per weight, compared without division.
#[derive(Debug, Clone, Copy)]
struct Cost {
    amount: u64,
    weight: u32,
}

impl Cost {
    fn compare(self, other: Self) -> Order {
        let left = u128::from(self.amount) * u128::from(other.weight);
        left.cmp(&(u128::from(other.amount) * u128::from(self.weight)))
    }
}

fn by_load(member: &Member, weight: u32) -> Cost {
    // The command to be sent counts: otherwise idle servers of unlike weight would look alike.
    Cost { amount: u64::from(member.state.load()) + 1, weight }
}

fn by_latency(member: &Member, weight: u32) -> Cost {
    // Latency times load: the fastest server must not be buried under its own fame. A server without
    // a sample is tried first.
    let latency = member.state.hot.latency_us.load(Ordering::Relaxed);
    Cost { amount: latency.saturating_mul(u64::from(member.state.load()) + 1), weight }
}

/// The cheapest; among equals one at random, so that workers do not march in step.
fn least(
    request: &Request<'_>,
    tier: Tier,
    rng: &mut impl FnMut() -> u64,
    cost: fn(&Member, u32) -> Cost,
) -> Option<usize> {
    let mut best: Option<(usize, Cost)> = None;
    let mut equals = 1;
    for (index, member) in able(request, tier) {
        let cost = cost(member, member.weight_permille(request.now));
        match best.map_or(Order::Less, |(_, least)| cost.compare(least)) {
            Order::Less => (best, equals) = (Some((index, cost)), 1),
            Order::Greater => {}
            Order::Equal => {
                equals += 1;
                if below(rng(), equals) == 0 {
                    best = Some((index, cost));
                }
            }
        }
    }
    best.map(|(index, _)| index)
}

/// A number below `bound` from 64 random bits, without division.
fn below(bits: u64, bound: u64) -> u64 {
    u64::try_from((u128::from(bits) * u128::from(bound)) >> 64).unwrap_or(0)
}

fn random_two(request: &Request<'_>, tier: Tier, rng: &mut impl FnMut() -> u64) -> Option<usize> {
    let total: u64 = weights(request, tier, None).sum();
    let first = weighted(request, tier, below(rng(), total), None)?;
    let rest: u64 = weights(request, tier, Some(first)).sum();
    let Some(second) = weighted(request, tier, below(rng(), rest), Some(first)) else {
        return Some(first);
    };
    let cost = |index: usize| {
        let member = request.members.get(index)?;
        Some(by_load(member, member.weight_permille(request.now)))
    };
    let second_is_less = cost(second)?.compare(cost(first)?) == Order::Less;
    Some(if second_is_less { second } else { first })
}

fn weights(request: &Request<'_>, tier: Tier, without: Option<usize>) -> impl Iterator<Item = u64> {
    able(request, tier)
        .filter(move |(index, _)| Some(*index) != without)
        .map(|(_, member)| u64::from(member.weight_permille(request.now)))
}

fn weighted(
    request: &Request<'_>,
    tier: Tier,
    mut at: u64,
    without: Option<usize>,
) -> Option<usize> {
    let mut last = None;
    for (index, member) in able(request, tier).filter(|(index, _)| Some(*index) != without) {
        let weight = u64::from(member.weight_permille(request.now));
        if at < weight {
            return Some(index);
        }
        at -= weight;
        last = Some(index);
    }
    last
}

/// Rendezvous hashing: a server that goes moves only its own clients, one that comes takes its share.
fn rendezvous(request: &Request<'_>, tier: Tier, rng: &mut impl FnMut() -> u64) -> Option<usize> {
    let Some(key) = request.key else {
        return least(request, tier, rng, by_load);
    };
    let mut best: Option<(usize, f64)> = None;
    for (index, member) in able(request, tier) {
        // Slow start would move clients twice: the configured weight counts, not the climb.
        let draw = mix(key ^ mix(u64::from(member.state.id.0)));
        // 53 random bits as a number in (0, 1); -w/ln(u) gives each server its share by weight.
        let unit = ((draw >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let score = -f64::from(member.weight) / unit.ln();
        if best.is_none_or(|(_, top)| score > top) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// splitmix64's finalizer.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Turn {
    /// Smooth weighted round robin: everybody earns its weight, the richest pays the round.
    fn next(&mut self, request: &Request<'_>, tier: Tier) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, usize, i64)> = None;
        // Credits of servers that left would pile up; members are few, so a cheap bound is enough.
        if self.credit.len() > 2 * request.members.len() + 8 {
            self.credit.clear();
        }
        for (index, member) in able(request, tier) {
            let weight = i64::from(member.weight_permille(request.now));
            total += weight;
            let slot = self.slot(index, member.state.id);
            let Some((_, credit)) = self.credit.get_mut(slot) else {
                continue;
            };
            *credit = credit.saturating_add(weight);
            if best.is_none_or(|(_, _, top)| *credit > top) {
                best = Some((index, slot, *credit));
            }
        }
        let (index, slot, _) = best?;
        if let Some((_, credit)) = self.credit.get_mut(slot) {
            *credit -= total;
        }
        Some(index)
    }

    /// Where a server's credit is: mostly at its own index, so that 1,000 members stay linear.
    fn slot(&mut self, hint: usize, id: ServerId) -> usize {
        if self.credit.get(hint).is_some_and(|(owner, _)| *owner == id) {
            return hint;
        }
        if let Some(found) = self.credit.iter().position(|(owner, _)| *owner == id) {
            return found;
        }
        self.credit.push((id, 0));
        self.credit.len() - 1
    }
}
