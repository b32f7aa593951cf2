//! Failed logins, by account and by address: how long the answer to the next failure is held back.
//!
//! Memory is fixed: each account and each address has one of a few cells, which a keyed hash gives.
//! Where those are all in use, whoever failed least gives its own up. Nobody answers for another, and
//! a flood of names pushes out what was tried once, not what is being guessed. Only answers to
//! *failures* are held back: a right password is never delayed, whoever else failed from there.

use std::{
    hash::BuildHasher,
    net::IpAddr,
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;

/// Cells for accounts, and as many for addresses.
const CELLS: usize = 4096;
/// Cells that one account or address may have.
const WAYS: usize = 4;
/// Failures that cost nothing: people mistype, and pools of clients try several times at once.
const FREE: u32 = 5;
/// A failure is forgotten after that time.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// Delay of the first failure that costs something; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(3);
/// No cell counts further: what is forgotten in time would never be.
const MOST: u32 = 64;
/// Failures at which operators are told, and again at each doubling.
const TOLD_AT: u32 = 10;

/// Failed logins lately.
#[derive(Debug)]
pub struct Attempts {
    hasher: RandomState,
    accounts: Vec<Cell>,
    addresses: Vec<Cell>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Whose it is: the whole hash, of which the place is a part.
    whose: u64,
    /// Failures not forgotten yet, as of `since`.
    count: u32,
    since: Option<Instant>,
    /// Failures since it was last none.
    total: u32,
}

/// What a failed login leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Consequence {
    /// How long its answer is held back.
    pub delay: Duration,
    /// Operators are to be told that this account failed so often lately.
    pub account: Option<u32>,
    /// Operators are to be told that logins from this address failed so often lately.
    pub address: Option<u32>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self::with_hasher(RandomState::default())
    }
}

impl Attempts {
    fn with_hasher(hasher: RandomState) -> Self {
        let cells = || vec![Cell::default(); CELLS];
        Self { hasher, accounts: cells(), addresses: cells() }
    }

    /// Counts a failed login of that account (whether it exists or not) from that address.
    pub fn failed(&mut self, account: &str, from: Option<IpAddr>, now: Instant) -> Consequence {
        let by_account = self.hasher.hash_one(account);
        let (account, mut delay) = count(&mut self.accounts, by_account, now);
        let mut address = None;
        if let Some(from) = from {
            let by_address = self.hasher.hash_one(network(from));
            let (told, own) = count(&mut self.addresses, by_address, now);
            (address, delay) = (told, delay.max(own));
        }
        Consequence { delay, account, address }
    }

    /// Whether logins from that address failed so often lately that more of them are probably guesses.
    /// Nobody becomes a suspect by what others do to an account.
    pub fn is_suspect(&mut self, from: Option<IpAddr>, now: Instant) -> bool {
        let Some(from) = from else { return false };
        let hash = self.hasher.hash_one(network(from));
        let own = places(&mut self.addresses, hash).iter_mut().find(|cell| cell.is_of(hash));
        own.is_some_and(|cell| {
            cell.forget(now);
            cell.count > FREE
        })
    }
}

/// Addresses that one peer can choose among are one: a host has 2^64 of version 6.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Counts in the cell of its own; gives the number to tell, and the delay.
fn count(cells: &mut [Cell], hash: u64, now: Instant) -> (Option<u32>, Duration) {
    let cells = places(cells, hash);
    cells.iter_mut().for_each(|cell| cell.forget(now));
    // Its own goes before any; else the calmest, of which the one that began first.
    let rank = |cell: &&mut Cell| (!cell.is_of(hash), cell.count, cell.since);
    let Some(cell) = cells.iter_mut().min_by_key(rank) else { return (None, Duration::ZERO) };
    if !cell.is_of(hash) {
        *cell = Cell { whose: hash, since: Some(now), ..Cell::default() };
    }
    cell.count = (cell.count + 1).min(MOST);
    cell.total = cell.total.saturating_add(1);
    let tells = cell.total >= TOLD_AT
        && cell.total.is_multiple_of(TOLD_AT)
        && (cell.total / TOLD_AT).is_power_of_two();
    (tells.then_some(cell.total), delay(cell.count))
}

/// The cells that it may have.
fn places(cells: &mut [Cell], hash: u64) -> &mut [Cell] {
    let group = usize::try_from(hash % (CELLS / WAYS) as u64).unwrap_or(0);
    cells.chunks_exact_mut(WAYS).nth(group).unwrap_or_default()
}

impl Cell {
    fn is_of(&self, hash: u64) -> bool {
        self.since.is_some() && self.whose == hash
    }

    fn forget(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_millis() / FORGOTTEN.as_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed == 0 {
            return;
        }
        self.count = self.count.saturating_sub(passed);
        if self.count == 0 {
            *self = Self { whose: self.whose, since: Some(now), ..Self::default() };
        } else {
            self.since = since.checked_add(FORGOTTEN * passed);
        }
    }
}

fn delay(count: u32) -> Duration {
    match count.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn the_first_failures_are_free_and_then_each_costs_twice_as_much() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let delays: Vec<u128> =
            (0..14).map(|_| attempts.failed("app", ip(1), now).delay.as_millis()).collect();
        assert_eq!(delays[..8], [0, 0, 0, 0, 0, 50, 100, 200]);
        assert_eq!(delays[11..], [3000, 3000, 3000]);
    }

    #[test]
    fn one_account_from_many_addresses_is_held_back_as_is_one_address_with_many_accounts() {
        let now = Instant::now();
        let mut attempts = Attempts::default();
        let last = (0..200).map(|at| attempts.failed("root", ip(at), now)).last().unwrap();
        assert_eq!(last.delay, LONGEST);
        let mut attempts = Attempts::default();
        let each = (0..200).map(|at| attempts.failed(&format!("u{at}"), ip(1), now));
        assert_eq!(each.last().unwrap().delay, LONGEST);
    }

    #[test]
    fn what_stopped_is_forgotten() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..1000 {
            let _ = attempts.failed("app", ip(1), now);
        }
        let later = now + FORGOTTEN * (MOST + 1);
        let first = attempts.failed("app", ip(1), later);
        assert_eq!(first, Consequence { delay: Duration::ZERO, account: None, address: None });
    }

    #[test]
    fn operators_are_told_at_ten_and_at_each_doubling() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let told: Vec<u32> =
            (0..100).filter_map(|_| attempts.failed("app", None, now).account).collect();
        assert_eq!(told, [10, 20, 40, 80]);
    }

    #[test]
    fn an_address_is_suspect_by_its_own_failures_and_until_they_are_forgotten() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for at in 0..200 {
            let _ = attempts.failed("app", ip(at), now);
        }
        assert!(!attempts.is_suspect(ip(250), now), "others attack its account");
        for _ in 0..20 {
            let _ = attempts.failed("app", ip(1), now);
        }
        assert!(attempts.is_suspect(ip(1), now) && !attempts.is_suspect(None, now));
        assert!(!attempts.is_suspect(ip(1), now + FORGOTTEN * (MOST + 1)));
    }

    #[test]
    fn addresses_of_version_6_count_by_their_network() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let last = (0..50_u16)
            .map(|at| {
                attempts.failed(&format!("u{at}"), Some([0xfd00, 0, 0, 1, 0, 0, 0, at].into()), now)
            })
            .last()
            .unwrap();
        assert_eq!(last.delay, LONGEST);
    }

    /// "10 logins of `nobody207` failed lately", for a name tried once: it had shared the cell of others.
    #[test]
    fn a_name_tried_once_does_not_answer_for_others() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let free = Consequence { delay: Duration::ZERO, account: None, address: None };
        for at in 0..100_000_u32 {
            assert_eq!(attempts.failed(&format!("nobody{at}"), None, now), free, "nobody{at}");
        }
    }

    #[test]
    fn a_flood_of_names_does_not_hide_the_one_that_is_guessed() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..FREE {
            let _ = attempts.failed("root", None, now);
        }
        for at in 0..100_000_u32 {
            let _ = attempts.failed(&format!("nobody{at}"), None, now);
        }
        assert_eq!(attempts.failed("root", None, now).delay, FIRST_DELAY);
    }

    #[test]
    fn memory_is_the_same_after_a_flood() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for at in 0..100_000_u32 {
            let _ = attempts.failed(&at.to_string(), Some(IpAddr::from(at.to_be_bytes())), now);
        }
        assert_eq!((attempts.accounts.len(), attempts.addresses.capacity()), (CELLS, CELLS));
    }
}
