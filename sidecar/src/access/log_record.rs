//! One line, as JSON. Fields that have nothing to say are left out.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{
    record::{Facts, Record},
    redact::Redaction,
};
use vectoll_ledger::books::Certainty;

/// The status of a call whose caller left before the answer, as nginx writes it. It is never sent.
const CALLER_LEFT: u16 = 499;

#[derive(Serialize)]
pub(super) struct LogRecord<'a> {
    /// Tells these lines from the program's own log.
    log: &'static str,
    #[serde(serialize_with = "as_text")]
    time: Timestamp,
    #[serde(serialize_with = "as_text")]
    call_id: crate::call_id::CallId,
    /// What a sidecar that passes the call on calls it, in a gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_call_id: Option<String>,
    status: u16,
    /// The address that called, in a gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    /// The key's, in a gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    /// A decimal number as text: exact to the pico-USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'static str>,
    /// Until the answer's headers; of a caller that left, until the call was settled.
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    overhead_ms: Option<f64>,
    retries: u32,
    #[serde(skip_serializing_if = "is_none")]
    hedges: u32,
    /// Inputs that were cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Limits on trial that would have refused the call: `scope reason` of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_reject: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Cow<'a, RawValue>>,
    /// What the key's owner has written on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_metadata: Option<&'a BTreeMap<String, String>>,
}

impl<'a> LogRecord<'a> {
    pub(super) fn of(record: &Record, facts: &'a Facts) -> Self {
        let (route, backend) = facts.route().unzip();
        let (scope, reason) = facts.refused.unzip();
        // What callers may have written. All else is the config's.
        let redaction = Redaction::of(&facts.credentials);
        let clean = |text: &'a str| redaction.apply(text);
        let metadata = facts.metadata.as_deref();
        Self {
            log: "access",
            time: record.at,
            call_id: record.id,
            caller_call_id: facts.caller_call_id.map(|id| id.to_string()),
            status: facts.status.map_or(CALLER_LEFT, |status| status.as_u16()),
            client: facts.client,
            namespace: facts.namespace(record.tenancy),
            key: facts.key.as_ref(),
            team: facts.team.as_ref(),
            user: facts.user.as_deref().map(clean),
            model: facts.model.as_deref().map(clean),
            route,
            backend,
            tokens: facts.tokens,
            cost_usd: facts.cost.map(|cost| cost.to_string()),
            usage: facts.certainty.map(word),
            duration_ms: millis(facts.answered.unwrap_or_else(|| record.started.elapsed())),
            overhead_ms: facts.overhead.map(millis),
            retries: facts.retries,
            hedges: facts.hedges,
            truncated: Some(facts.truncated).filter(|inputs| *inputs > 0),
            scope,
            reason,
            would_reject: facts.would_reject.iter().map(|(scope, reason)| format!("{scope} {reason}")).collect(),
            tags: metadata.map(|metadata| metadata.tags().iter().map(|tag| clean(tag)).collect()).unwrap_or_default(),
            key_metadata: facts.key_metadata.as_deref(),
            metadata: metadata.and_then(|metadata| redaction.apply_to_json(metadata.json()?)),
        }
    }
}

/// How well the tokens are known.
pub(super) fn word(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Known => "known",
        Certainty::Estimated => "estimated",
        Certainty::Unsettled => "unsettled",
        Certainty::Refused => "refused",
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// To the microsecond.
#[allow(clippy::cast_precision_loss, reason = "exact for 285 years")]
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn as_text<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
