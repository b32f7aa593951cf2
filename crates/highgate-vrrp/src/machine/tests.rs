//! One file per state of the RFCs' tables (RFC 3768 §6.4, RFC 9568 §6.4), each transition a test
//! that is run for VRRPv2, VRRPv3 over IPv4 and VRRPv3 over IPv6; then what goes beyond the tables.

mod active;
mod announcements;
mod backup;
mod handover;
mod init;
mod needs;
mod refusals;
mod reload;
mod shown;

use std::time::Duration;

use super::{Effect, Input, Link, Need, State};
use crate::{
    advert::{self, OWNER, RESIGNS, Version},
    event::{Kind, Severity},
    settings::{Announce, Settings},
    testing::{Desk, each_kind, ms, node, settings},
};

/// Active_Down_Interval at an interval of 1 s and priority 100, whatever the version.
const DOWN: Duration = ms(3_609);
/// Skew_Time at the same.
const SKEW: Duration = ms(609);

/// Fractions of milliseconds left out.
fn whole(time: Option<Duration>) -> Option<Duration> {
    time.map(|time| ms(u64::try_from(time.as_millis()).unwrap()))
}

fn v2() -> Settings {
    settings(Version::V2, true)
}

fn v3() -> Settings {
    settings(Version::V3, true)
}

fn ranked(priority: u8) -> Settings {
    Settings { priority, ..v3() }
}
