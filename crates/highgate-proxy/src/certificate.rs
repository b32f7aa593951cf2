//! Until when certificates of ours are good, and that operators are told before they are not.

use std::sync::atomic::{AtomicU64, Ordering};

use highgate_core::events::{Event, Kind, Severity};
use highgate_io::clock;
use parking_lot::Mutex;

/// The date of one certificate, and what was told of it.
#[derive(Debug, Default)]
pub struct CertificateDate {
    /// When it expires, in seconds of Unix time; 0 without one.
    expires: AtomicU64,
    told: Mutex<Validity>,
    meets: Meets,
}

/// Whom a certificate meets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Meets {
    #[default]
    Clients,
    Servers,
}

impl Meets {
    /// What comes of one that has expired.
    const fn over(self) -> &'static str {
        match self {
            Self::Clients => "has expired: clients that verify it are lost",
            Self::Servers => "has expired: servers that verify it give no new connections",
        }
    }
}

impl CertificateDate {
    /// Of one that servers are shown.
    #[must_use]
    pub fn towards_servers() -> Self {
        Self { meets: Meets::Servers, ..Self::default() }
    }

    /// Takes over when the certificate in force expires.
    pub fn set(&self, expires: Option<u64>) {
        let expires = expires.unwrap_or(0);
        if self.expires.swap(expires, Ordering::Relaxed) != expires {
            *self.told.lock() = Validity::Good;
        }
    }

    /// Time until it expires, in seconds; below 0 when it has.
    #[must_use]
    pub fn seconds_left(&self) -> Option<i64> {
        let seconds = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match self.expires.load(Ordering::Relaxed) {
            0 => None,
            expires => Some(seconds(expires).saturating_sub(seconds(clock::wall_ms() / 1000))),
        }
    }

    /// What is to be told at `now`, in seconds of Unix time: once when it is about to expire, and once
    /// when it has. `whose` as in "the certificate of listener shop".
    pub fn look(&self, whose: &str, now: u64) -> Option<Event> {
        let expires = self.expires.load(Ordering::Relaxed);
        let validity = Validity::at(expires, now);
        let mut told = self.told.lock();
        if validity <= *told {
            return None;
        }
        *told = validity;
        drop(told);
        let days = expires.saturating_sub(now) / 86_400;
        let (severity, what) = match validity {
            Validity::Good => return None,
            Validity::Soon => (Severity::Warning, format!("expires in {days} days")),
            Validity::Over => (Severity::Error, self.meets.over().to_owned()),
        };
        Some(Event::new(severity, Kind::Limit, sentence(whose, &what)))
    }

    /// That it has expired, whether or not that was told; nothing while it is good.
    #[must_use]
    pub fn has_expired(&self, whose: &str) -> Option<String> {
        self.seconds_left().filter(|&left| left <= 0).map(|_| sentence(whose, self.meets.over()))
    }
}

fn sentence(whose: &str, what: &str) -> String {
    format!(
        "the certificate of {whose} {what}; put a new one in its place, and run `highgate apply` or send SIGHUP"
    )
}

/// How long a certificate is good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Validity {
    /// Long enough, or there is none.
    #[default]
    Good,
    /// Somebody should renew it.
    Soon,
    /// Who verifies refuses it.
    Over,
}

impl Validity {
    /// What an end at `expires` means at `now`, both in seconds of Unix time.
    const fn at(expires: u64, now: u64) -> Self {
        /// Authorities that renew by themselves do so thirty days ahead.
        const SOON: u64 = 14 * 86_400;
        if expires == 0 {
            Self::Good
        } else if expires <= now {
            Self::Over
        } else if expires - now < SOON {
            Self::Soon
        } else {
            Self::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_certificate_is_told_of_two_weeks_before_its_end_and_at_its_end() {
        let end = 1_000 * DAY;
        for (now, is) in [
            (0, Validity::Good),
            (985 * DAY, Validity::Good),
            (987 * DAY, Validity::Soon),
            (end - 1, Validity::Soon),
            (end, Validity::Over),
        ] {
            assert_eq!(Validity::at(end, now), is, "at {now}");
        }
        assert_eq!(Validity::at(0, end), Validity::Good, "no certificate");
    }

    #[test]
    fn each_is_told_once_until_there_is_another_certificate() {
        let date = CertificateDate::default();
        let told = |now| date.look("listener shop", now).map(|event| event.text);
        assert_eq!(told(0), None);
        date.set(Some(20 * DAY));
        assert_eq!(told(0), None);
        assert!(told(15 * DAY).unwrap().contains("listener shop expires in 5 days"));
        assert_eq!(told(16 * DAY), None);
        date.set(Some(20 * DAY));
        assert_eq!(told(16 * DAY), None, "a reload of the same one says nothing new");
        assert!(told(20 * DAY).unwrap().contains("has expired"));
        assert_eq!(told(30 * DAY), None);
        date.set(Some(31 * DAY));
        assert!(told(30 * DAY).unwrap().contains("expires in 1 days"));
    }
}
