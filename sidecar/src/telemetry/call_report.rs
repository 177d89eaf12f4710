//! The last word on a call, as spans and measures are made of it.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use vectoll_config::PicoUsd;

use super::context::TraceContext;
use crate::call_id::CallId;

/// What is reported of a call, once it is over.
#[derive(Debug)]
pub struct CallReport<'a> {
    /// Its trace.
    pub trace: &'a TraceContext,
    /// Its ID.
    pub call_id: CallId,
    /// The path that was called, and its form without what callers write into it.
    pub path: Cow<'a, str>,
    /// See `path`.
    pub http_route: &'static str,
    /// When it came.
    pub began: SystemTime,
    /// The same, by a clock that only goes forward.
    pub started: Instant,
    /// When the last word on it was known.
    pub ended: Instant,
    /// The answer's status; none: its caller had left.
    pub status: Option<u16>,
    /// How long it took until the answer's headers.
    pub answered: Option<Duration>,
    /// Our own share of the time until the answer.
    pub overhead: Option<Duration>,
    /// Who called, in a gateway's.
    pub client: Option<IpAddr>,
    /// The key's namespace, in a gateway's.
    pub namespace: Option<&'a str>,
    /// `namespace/name` of the key.
    pub key: Option<&'a str>,
    /// `namespace/name` of its Team.
    pub team: Option<&'a str>,
    /// The end user.
    pub user: Option<Cow<'a, str>>,
    /// The model's public name.
    pub model: Option<Cow<'a, str>>,
    /// `namespace/route` and the backend's name.
    pub route: Option<(&'a str, &'a str)>,
    /// How well its tokens are known.
    pub usage: Option<&'static str>,
    /// What it cost.
    pub cost: Option<PicoUsd>,
    /// Attempts after the first.
    pub retries: u32,
    /// Attempts beside another one.
    pub hedges: u32,
    /// Whose limit, or what, refused it, and why.
    pub refused: Option<(&'static str, &'static str)>,
    /// Limits on trial that would have.
    pub would_reject: &'a [(&'static str, &'static str)],
    /// The attempt at a provider that stands for all of them; none: no provider was asked.
    pub attempt: Option<AttemptReport>,
    /// What was wished for.
    pub options: Option<EmbeddingOptions>,
}

/// What is reported of an attempt: which backend, when, and what it used.
#[derive(Clone, Debug)]
pub struct AttemptReport {
    /// The backend, for people.
    pub label: Arc<str>,
    /// The provider, by the conventions' names.
    pub provider: &'static str,
    /// Where it is; none: in this process.
    pub server: Option<Server>,
    /// The model's name there; none: as called.
    pub model: Option<Arc<str>>,
    /// Whether callers make up that name: there is no end to such names.
    pub is_named_by_callers: bool,
    /// When it began; of a call that is reported as a whole, when its first attempt did.
    pub from: Instant,
    /// When the last word on what it cost was known; none: not yet.
    pub until: Option<Instant>,
    /// The tokens that the provider has said it used.
    pub tokens: Option<u64>,
}

impl AttemptReport {
    /// Of all attempts at a call the one that is reported, from the first one on: the one whose answer was taken, if any was, else the last.
    pub fn as_a_whole(attempts: &[Self], taken: Option<&Arc<str>>) -> Option<Self> {
        let from = attempts.iter().map(|attempt| attempt.from).min()?;
        let answered = attempts.iter().rev().find(|attempt| Some(&attempt.label) == taken);
        answered.or(attempts.last()).map(|attempt| Self { from, ..attempt.clone() })
    }
}

/// Where a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its host.
    pub address: Arc<str>,
    /// Its port.
    pub port: u16,
}

/// What a caller wishes for.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingOptions {
    /// Numbers in a vector; none: the model's own number.
    pub dimensions: Option<u64>,
    /// How vectors are written, where that is not as by default.
    pub encoding_format: Option<&'static str>,
}

impl CallReport<'_> {
    /// When something was that a clock which only goes forward has seen.
    pub(super) fn at(&self, moment: Instant) -> SystemTime {
        self.began + moment.saturating_duration_since(self.started)
    }

    /// Why the call has no vectors, in a word that has few values; none: it has.
    pub(super) fn error(&self) -> Option<Cow<'static, str>> {
        match (self.status, self.refused) {
            (Some(status), _) if status < 400 => None,
            (_, Some((_, reason))) => Some(Cow::Borrowed(reason)),
            (None, None) => Some(Cow::Borrowed("caller_left")),
            (Some(status), None) => Some(Cow::Owned(status.to_string())),
        }
    }

    /// The model's name where it was asked for.
    pub(super) fn model_at<'a>(&'a self, attempt: &'a AttemptReport) -> Option<&'a str> {
        attempt.model.as_deref().or(self.model.as_deref())
    }
}

/// The path of a call for embeddings without what callers write into it.
pub fn http_route(path: &str) -> &'static str {
    let behind = path.strip_prefix("/v1").unwrap_or(path);
    match path {
        "/embeddings" => "/embeddings",
        "/openai/v1/embeddings" => "/openai/v1/embeddings",
        _ if behind.starts_with("/engines/") => "/engines/{model}/embeddings",
        _ if behind.starts_with("/openai/deployments/") => "/openai/deployments/{model}/embeddings",
        _ => "/v1/embeddings",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_callers_write_into_a_path_is_in_no_route() {
        for (path, route) in [
            ("/v1/embeddings", "/v1/embeddings"),
            ("/embeddings", "/embeddings"),
            ("/openai/v1/embeddings", "/openai/v1/embeddings"),
            ("//v1//embeddings", "/v1/embeddings"),
            ("/v1/engines/a/deployments/b/embeddings", "/engines/{model}/embeddings"),
            ("/openai/deployments/engines/x/embeddings", "/openai/deployments/{model}/embeddings"),
        ] {
            assert_eq!(http_route(path), route, "{path}");
        }
    }

    #[test]
    fn of_several_attempts_the_one_whose_answer_was_taken_is_told_from_the_first_on() {
        let begin = Instant::now();
        let attempt = |label: &str, from, until: Option<u64>| AttemptReport {
            label: label.into(),
            provider: "openai",
            server: None,
            model: None,
            is_named_by_callers: false,
            from: begin + Duration::from_millis(from),
            until: until.map(|until| begin + Duration::from_millis(until)),
            tokens: until,
        };
        // A hedge: the slow one ends later, and is not waited for.
        let hedged = [attempt("slow", 0, Some(900)), attempt("fast", 100, Some(150))];
        let report = AttemptReport::as_a_whole(&hedged, Some(&"fast".into())).unwrap();
        assert_eq!((&*report.label, report.from, report.tokens), ("fast", begin, Some(150)));
        // Nobody's was.
        let failed = [attempt("one", 0, Some(5)), attempt("two", 10, None)];
        assert_eq!(&*AttemptReport::as_a_whole(&failed, Some(&"three".into())).unwrap().label, "two");
        assert!(AttemptReport::as_a_whole(&[], None).is_none());
    }
}
