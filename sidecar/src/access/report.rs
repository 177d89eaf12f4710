//! What a collector is told of a call: as the access log, without a credential.

use std::{
    borrow::Cow,
    time::{Instant, SystemTime},
};

use super::{
    log_record::word,
    record::{Facts, Record, Traced},
    redact::Redaction,
};
use crate::telemetry::{AttemptReport, CallReport, short};

pub(super) fn of<'a>(record: &'a Record, traced: &'a Traced, facts: &'a Facts) -> CallReport<'a> {
    let redaction = Redaction::of(&facts.credentials);
    // Cut after it is clean: half a credential looks like none.
    let of_caller = |text: &'a str| match redaction.apply(text) {
        Cow::Borrowed(text) => Cow::Borrowed(short(text)),
        Cow::Owned(text) => Cow::Owned(short(&text).to_owned()),
    };
    CallReport {
        trace: &traced.trace,
        call_id: record.id,
        path: redaction.apply(&traced.path),
        http_route: traced.http_route,
        began: SystemTime::from(record.at),
        started: record.started,
        ended: Instant::now(),
        status: facts.status.map(|status| status.as_u16()),
        answered: facts.answered,
        overhead: facts.overhead,
        client: facts.client,
        namespace: facts.namespace(record.tenancy),
        key: facts.key.as_deref(),
        team: facts.team.as_deref(),
        user: facts.user.as_deref().map(of_caller),
        model: facts.model.as_deref().map(of_caller),
        route: facts.route(),
        usage: facts.certainty.map(word),
        cost: facts.cost,
        retries: facts.retries,
        hedges: facts.hedges,
        refused: facts.refused,
        would_reject: &facts.would_reject,
        attempt: AttemptReport::as_a_whole(&facts.attempts, facts.backend.as_ref()),
        options: facts.options,
    }
}
