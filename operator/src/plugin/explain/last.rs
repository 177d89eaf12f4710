//! Why the last call of the key was refused: by the access logs of the sidecars in its namespace, for whoever may read them.
//!
//! Counters of refusals are by scope and reason and know no key, so the log is the only witness.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde::Serialize;
use vectoll_config::ObjectName;

use crate::plugin::{
    access_log::{CALLER_LEFT, CallLine},
    connect::Place,
    failure::Failure,
    logs::{self, LogQuery, Source, Writes},
    why::because,
};

/// The last lines of each log that are looked at, and the most logs: a namespace may have thousands of pods.
const TAIL: i64 = 5_000;
const MAX_LOGS: usize = 50;

/// What the logs say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "known")]
pub(in crate::plugin) enum LastRefusal {
    /// It was refused, or it failed.
    #[serde(rename_all = "camelCase")]
    Found {
        at: Timestamp,
        call_id: String,
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        because: String,
    },
    /// No call of the key was, in so many logs.
    None { logs: usize },
    /// That cannot be told, and why.
    Unknown { because: String },
}

/// Looks for it. None: nobody asks.
pub(super) async fn last_refusal(
    client: &Client,
    key: &ObjectName,
    since: Duration,
) -> Result<Option<LastRefusal>, Failure> {
    if since.is_zero() {
        return Ok(None);
    }
    let read = async {
        let mut sources = logs::sidecars(client, &Place::Namespace(key.namespace().to_owned())).await?;
        sources.retain(|source| source.writes != Writes::Nothing);
        sources.truncate(MAX_LOGS);
        let of_key = format!("\"key\":\"{key}\"");
        let matches = |line: &str| line.contains(&of_key);
        let query = LogQuery { since, tail: Some(TAIL), matches: &matches };
        let read = logs::read(client, &sources, query, |_| false).await?;
        Ok((sources.len(), read.found))
    };
    match read.await {
        Ok((0, _)) => {
            let because = "no pod of the namespace has a sidecar that logs calls".to_owned();
            Ok(Some(LastRefusal::Unknown { because }))
        }
        Ok((logs, found)) => Ok(Some(last(logs, &found, key))),
        Err(failure @ Failure::Forbidden(_)) => Ok(Some(LastRefusal::Unknown { because: failure.to_string() })),
        Err(failure) => Err(failure),
    }
}

/// The last of some lines.
fn last(logs: usize, found: &[(Source, String)], key: &ObjectName) -> LastRefusal {
    let name = key.to_string();
    let lines = found.iter().filter_map(|(_, line)| CallLine::read(line));
    let refused =
        lines.filter(|line| line.status >= 400 && line.status != CALLER_LEFT && line.key.as_deref() == Some(&*name));
    let Some(line) = refused.max_by_key(|line| line.time) else { return LastRefusal::None { logs } };
    let because = because(&line).unwrap_or_else(|| {
        let by = if line.is_passed_on() { "the gateway" } else { "its provider" };
        format!("by {by}: kubectl vectoll why {} may know more", line.call_id)
    });
    LastRefusal::Found { at: line.time, call_id: line.call_id, status: line.status, model: line.model, because }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{
        access_log::tests::{ID, line},
        logs::tests::source,
    };

    #[test]
    fn the_last_refusal_is_that_of_this_key_and_no_call_that_was_served_or_left() {
        let key = ObjectName::new("web", "alice");
        let of = |status, time: &str, fields: &str| {
            (source("app"), line(status, fields).replace("2026-11-24T10:00:00.123456Z", time))
        };
        let budget = ",\"scope\":\"key\",\"reason\":\"budget\"";
        let mut lines = vec![
            of(200, "2026-11-24T10:00:09Z", ""),
            of(499, "2026-11-24T10:00:08Z", ""),
            (source("app"), line(429, budget).replace("web/alice", "web/bob")),
        ];
        assert_eq!(last(3, &lines, &key), LastRefusal::None { logs: 3 });
        lines.push(of(429, "2026-11-24T10:00:05Z", budget));
        lines.push(of(429, "2026-11-24T10:00:01Z", ",\"scope\":\"team\",\"reason\":\"tokens\""));
        let LastRefusal::Found { at, call_id, status, model: _, because } = last(3, &lines, &key) else {
            panic!("none was found")
        };
        assert_eq!((at.to_string(), call_id.as_str(), status), ("2026-11-24T10:00:05Z".to_owned(), ID, 429));
        assert!(because.starts_with("key web/alice: budget: "), "{because}");
        lines.push(of(429, "2026-11-24T10:00:07Z", ",\"backend\":\"_gateway\""));
        let LastRefusal::Found { because, .. } = last(3, &lines, &key) else { panic!("none was found") };
        assert!(because.starts_with("by the gateway: kubectl vectoll why"), "{because}");
    }
}
