//! An account's place under its limit of client connections.

use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;

/// Clients of each account: of all, since a limit may be set while they are connected.
pub(crate) type Counts = Mutex<HashMap<Box<str>, u32>>;

/// One place; given back when dropped.
#[derive(Debug)]
pub(crate) struct UserPlace {
    counts: Arc<Counts>,
    user: Box<str>,
}

impl UserPlace {
    /// Takes a place unless `max` (0 = no limit) are taken.
    pub(crate) fn take(counts: &Arc<Counts>, user: &str, max: u32) -> Result<Self, Full> {
        let mut taken = counts.lock();
        let count = taken.entry(user.into()).or_default();
        if max > 0 && *count >= max {
            return Err(Full);
        }
        *count += 1;
        Ok(Self { counts: counts.clone(), user: user.into() })
    }
}

/// As many clients of the account are connected as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut taken = self.counts.lock();
        if let Some(count) = taken.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_as_many_places_as_it_may_and_gets_them_back() {
        let counts: Arc<Counts> = Arc::default();
        let first = UserPlace::take(&counts, "app", 1).unwrap();
        assert_eq!(UserPlace::take(&counts, "app", 1).err(), Some(Full));
        assert!(UserPlace::take(&counts, "other", 1).is_ok());
        drop(first);
        assert!(UserPlace::take(&counts, "app", 1).is_ok());
        assert!(counts.lock().is_empty());
    }

    #[test]
    fn a_limit_that_is_set_later_counts_who_is_there() {
        let counts: Arc<Counts> = Arc::default();
        let there = [0; 2].map(|max| UserPlace::take(&counts, "app", max).unwrap());
        assert_eq!(UserPlace::take(&counts, "app", 2).err(), Some(Full));
        assert!(UserPlace::take(&counts, "app", 3).is_ok());
        drop(there);
        assert!(counts.lock().is_empty());
    }
}
