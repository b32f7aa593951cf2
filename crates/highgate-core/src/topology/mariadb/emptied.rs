//! A primary that comes back without its data: a volume that was lost, a datadir that was made anew.
//!
//! Quirk: the position of a MariaDB primary is that of its binary log. Where that is lost, or has another name behind a
//! restart, all rows may be there. Nothing that a monitor's account may ask tells the two apart, and writes to an
//! empty server are worse than writes that wait for a person.

use std::time::Instant;

use super::Machine;
use crate::topology::{Input, gtid};

impl Machine {
    /// Takes note of whether the primary of record was away, so that it may come back as another. One that goes on
    /// answering is the same, whatever its position: `RESET MASTER` forgets that and no row.
    pub(super) fn notice_absence(&mut self, inputs: &[Input<'_>], now: Instant) {
        let Some(record) = &self.record else { return };
        let old = inputs.iter().find(|input| *input.name == record.server);
        self.was_away |= old.is_none_or(|input| input.doubted || input.live(now).is_none());
    }

    /// Whether this one is the primary of record, and has begun anew while it was away, and another server has the
    /// data, or is not read yet. Where nobody else has them it is the best there is; and whoever makes it
    /// writable once more says that it is the primary all the same.
    pub(super) fn is_emptied(&self, inputs: &[Input<'_>], input: &Input<'_>, now: Instant) -> bool {
        let Some((record, seen)) = self.record.as_ref().zip(input.live(now)) else { return false };
        let has_them = |other: &Input<'_>| {
            other.is_awaited()
                || other.live(now).is_some_and(|seen| !gtid::starts_over(&seen.gtid, &record.gtid))
        };
        self.was_away
            && record.is(input.name, seen)
            && gtid::starts_over(&seen.gtid, &record.gtid)
            && !self.promoted.contains_key(input.name)
            && inputs.iter().any(|other| other.name != input.name && has_them(other))
    }
}
