//! How an attempt has failed, as its backend's health is told.

use vectoll_clock::Clock;
use vectoll_config::v1::Cooldown;

use super::failure::{Blame, Failure};
use crate::{call::Call, policy::Backend};
use vectoll_upstream::health::Attempt;

/// Notes with the backend's health how an attempt has failed.
pub(super) fn failed(
    attempt: Attempt,
    failure: &Failure,
    (call, backend): (&Call, &Backend),
    cooldown: Cooldown,
    clock: Clock,
) {
    let Failure { refusal, blame, result, rest: _ } = failure;
    // Not the message: a provider may repeat the input in it.
    tracing::warn!(
        call_id = %call.id, backend = &*backend.label, status = refusal.status.as_u16(), reason = refusal.reason,
        "a backend did not serve a call"
    );
    match blame {
        Blame::Backend(fault) => attempt.failed(*fault, result, cooldown, clock.now().elapsed),
        Blame::Call => attempt.refused(result, clock.now().elapsed),
        Blame::Name => attempt.passed_by(result),
        Blame::Sidecar => drop(attempt),
    }
}
