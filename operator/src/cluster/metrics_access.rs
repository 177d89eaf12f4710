//! Who may read `/metrics`: whoever the API server knows by the token that was sent, and lets `get` the path `/metrics`.
//!
//! The metrics name Teams, keys and end users with what they spend. Probes need no token: they say only `ok`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use kube::Client;
use tokio::{sync::Semaphore, time::timeout};
use vectoll_config::KeyHash;

use crate::reviews::{AccessRequest, Reviews, bearer};

/// How long an answer of the API server's counts: a right that was withdrawn ends after this.
const CACHE_TTL: Duration = Duration::from_mins(1);
/// For so long whoever was let in stays let in while the API server cannot be asked: monitoring is needed just then.
const STALE_TTL: Duration = Duration::from_mins(10);
/// Tokens whose answer is remembered: a Prometheus has one, and renews it once an hour.
const MAX_CACHED: usize = 128;
/// Questions to the API server at a time: however many ask here, it is not flooded.
const MAX_CONCURRENT_REVIEWS: usize = 4;
/// How long both questions together may take.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides on requests for `/metrics`. A handle.
#[derive(Clone)]
pub(super) struct MetricsAccess(Option<Arc<Reviewer>>);

struct Reviewer {
    api: Reviews,
    reviews: Semaphore,
    /// By the token's hash; the token itself is kept nowhere.
    decided: Mutex<BTreeMap<KeyHash, Decision>>,
}

#[derive(Clone, Copy)]
struct Decision {
    at: Instant,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    /// Nobody that the API server knows.
    Unauthenticated,
    /// Somebody who may not.
    Forbidden,
}

impl MetricsAccess {
    /// Asks the API server about each new token; `required` false: everybody may read.
    pub(super) fn new(client: Client, required: bool) -> Self {
        let reviewer = || Reviewer {
            api: Reviews::new(client),
            reviews: Semaphore::new(MAX_CONCURRENT_REVIEWS),
            decided: Mutex::default(),
        };
        Self(required.then(|| Arc::new(reviewer())))
    }
}

/// A layer before `/metrics`.
pub(super) async fn check(
    State(MetricsAccess(reviewer)): State<MetricsAccess>,
    request: Request,
    next: Next,
) -> Response {
    let Some(reviewer) = reviewer else { return next.run(request).await };
    let Some(token) = bearer(request.headers()) else {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "a bearer token of a ServiceAccount that may get /metrics is needed\n",
        );
    };
    match reviewer.verdict(token).await {
        Ok(Verdict::Allowed) => next.run(request).await,
        Ok(Verdict::Unauthenticated) => refuse(StatusCode::UNAUTHORIZED, "the API server does not know this token\n"),
        Ok(Verdict::Forbidden) => refuse(
            StatusCode::FORBIDDEN,
            "the token's owner may not get /metrics: bind the ClusterRole whose name ends in -metrics-reader\n",
        ),
        Err(Unavailable::Busy) => refuse(StatusCode::SERVICE_UNAVAILABLE, "too many tokens are being looked at\n"),
        Err(Unavailable::Failed) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the API server could not be asked\n"),
    }
}

fn refuse(status: StatusCode, message: &'static str) -> Response {
    let mut response = (status, message).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    }
    response
}

/// Why there is no verdict.
enum Unavailable {
    Busy,
    Failed,
}

impl Reviewer {
    async fn verdict(&self, token: &str) -> Result<Verdict, Unavailable> {
        let hash = KeyHash::of(token.as_bytes());
        if let Some(verdict) = self.remembered(&hash, Instant::now(), CACHE_TTL) {
            return Ok(verdict);
        }
        match self.review(token, hash).await {
            Err(unavailable) => {
                let stale = self.remembered(&hash, Instant::now(), STALE_TTL);
                stale.filter(|verdict| *verdict == Verdict::Allowed).ok_or(unavailable)
            }
            verdict => verdict,
        }
    }

    async fn review(&self, token: &str, hash: KeyHash) -> Result<Verdict, Unavailable> {
        let _permit = self.reviews.try_acquire().map_err(|_| Unavailable::Busy)?;
        let verdict = match timeout(REVIEW_TIMEOUT, self.ask(token)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the API server could not be asked who may read the metrics");
                return Err(Unavailable::Failed);
            }
            Err(_) => {
                tracing::warn!("the API server did not say in time who may read the metrics");
                return Err(Unavailable::Failed);
            }
        };
        self.remember(hash, Decision { at: Instant::now(), verdict });
        Ok(verdict)
    }

    fn remembered(&self, hash: &KeyHash, now: Instant, ttl: Duration) -> Option<Verdict> {
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        let decision = decided.get(hash).filter(|decision| now.duration_since(decision.at) < ttl)?;
        Some(decision.verdict)
    }

    /// Who is refused never pushes out who is let in: made-up tokens cost no reader its place.
    fn remember(&self, hash: KeyHash, decision: Decision) {
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        if decided.len() >= MAX_CACHED {
            decided.retain(|_, other| {
                let ttl = if other.verdict == Verdict::Allowed { STALE_TTL } else { CACHE_TTL };
                decision.at.duration_since(other.at) < ttl
            });
        }
        if decided.len() >= MAX_CACHED {
            decided.retain(|_, other| other.verdict == Verdict::Allowed);
        }
        if decided.len() < MAX_CACHED {
            decided.insert(hash, decision);
        }
    }

    async fn ask(&self, token: &str) -> kube::Result<Verdict> {
        let Some(user) = self.api.identify(token).await? else { return Ok(Verdict::Unauthenticated) };
        let allowed = self.api.allows(&user, AccessRequest::GetPath("/metrics")).await?;
        Ok(if allowed { Verdict::Allowed } else { Verdict::Forbidden })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn reviewer() -> Reviewer {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        Reviewer { api: Reviews::new(client), reviews: Semaphore::new(1), decided: Mutex::default() }
    }

    #[tokio::test]
    async fn answers_are_kept_for_a_while_and_never_more_than_there_is_room_for() {
        let reviewer = reviewer();
        let now = Instant::now();
        let hash = |number: usize| KeyHash::of(number.to_string().as_bytes());
        reviewer.remember(hash(0), Decision { at: now, verdict: Verdict::Allowed });
        for number in 1..1000 {
            reviewer.remember(hash(number), Decision { at: now, verdict: Verdict::Unauthenticated });
        }
        assert!(reviewer.decided.lock().unwrap().len() <= MAX_CACHED);
        assert_eq!(
            reviewer.remembered(&hash(0), now, CACHE_TTL),
            Some(Verdict::Allowed),
            "made-up tokens do not push it out"
        );
        assert_eq!(reviewer.remembered(&hash(999), now, CACHE_TTL), Some(Verdict::Unauthenticated));
        assert_eq!(reviewer.remembered(&hash(0), now + CACHE_TTL, CACHE_TTL), None);
    }

    #[tokio::test]
    async fn whoever_was_let_in_stays_so_for_a_while_when_the_api_server_cannot_be_asked() {
        let reviewer = reviewer();
        let decided = |token: &str, ago: Duration, verdict| {
            let at = Instant::now().checked_sub(ago).unwrap();
            reviewer.remember(KeyHash::of(token.as_bytes()), Decision { at, verdict });
        };
        decided("prometheus", CACHE_TTL * 2, Verdict::Allowed);
        decided("long-ago", STALE_TTL, Verdict::Allowed);
        decided("refused", CACHE_TTL * 2, Verdict::Forbidden);
        assert!(matches!(reviewer.verdict("prometheus").await, Ok(Verdict::Allowed)));
        for token in ["long-ago", "refused"] {
            assert!(matches!(reviewer.verdict(token).await, Err(Unavailable::Failed)), "{token}");
        }
        let _all = reviewer.reviews.try_acquire().unwrap();
        assert!(
            matches!(reviewer.verdict("prometheus").await, Ok(Verdict::Allowed)),
            "others' made-up tokens blind nobody"
        );
    }

    #[tokio::test]
    async fn where_the_api_server_cannot_be_asked_nobody_is_let_in() {
        let reviewer = reviewer();
        assert!(matches!(reviewer.verdict("token").await, Err(Unavailable::Failed)));
        let _all = reviewer.reviews.try_acquire().unwrap();
        assert!(matches!(reviewer.verdict("token").await, Err(Unavailable::Busy)));
    }
}
