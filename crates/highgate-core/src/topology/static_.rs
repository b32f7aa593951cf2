//! No roles: every server takes everything.

use std::sync::Arc;

use super::{Assigned, Input, Outcome};
use crate::snapshot::{Role, Writes};

/// Every server is a member; whether it serves is for health alone to say.
#[must_use]
pub fn judge(inputs: &[Input<'_>]) -> Outcome {
    let reason: Arc<str> = Arc::from("no roles");
    let roles = inputs
        .iter()
        .map(|input| {
            let assigned = Assigned {
                role: Role::Member,
                unfit: None,
                ails: false,
                lag_ms: None,
                reason: Arc::clone(&reason),
            };
            (input.name.clone(), assigned)
        })
        .collect();
    Outcome { roles, primary: None, writes: Writes::Open }
}
