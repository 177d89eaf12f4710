//! Who reads the page, and what they may list: asked of the API server, and remembered for a minute.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use tokio::{sync::Semaphore, time::timeout};
use vectoll_config::KeyHash;

use super::grants::{Grants, Scope};
use crate::{
    observed_state::Kind,
    reviews::{AccessRequest, Reviews},
};

/// How long an answer of the API server's counts: a right that was withdrawn ends after this. While the API server cannot be asked nobody
/// new is let in, and nobody stays.
const CACHE_TTL: Duration = Duration::from_mins(1);
/// Tokens that are remembered at a time.
const MAX_READERS: usize = 256;
/// Namespaces that are asked about for a reader who may not list all of them. Beyond that the reader names one.
const MAX_NAMESPACES: usize = 500;
/// Unknown tokens that are looked at a time: made-up ones do not flood the API server.
const MAX_CONCURRENT_IDENTIFICATIONS: usize = 4;
/// Questions about what known readers may list, at a time.
const MAX_CONCURRENT_QUESTIONS: usize = 8;
/// How long all questions of one request may take.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

const KINDS: [Kind; 3] = [Kind::Team, Kind::ApiKey, Kind::ModelRoute];

/// Asks the API server about each new token. A handle.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Inner>);

struct Inner {
    api: Reviews,
    identifying: Semaphore,
    asking: Semaphore,
    /// By the token's hash; the token itself is kept nowhere.
    known: Mutex<BTreeMap<KeyHash, Arc<Reader>>>,
}

/// A token that was asked about.
pub(super) struct Reader {
    at: Instant,
    /// None: nobody that the API server knows.
    user: Option<UserInfo>,
    /// What was answered since: whether they may list a kind in a namespace, or in all of them.
    answers: Mutex<HashMap<(Kind, Option<String>), bool>>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody that the API server knows.
    Unauthenticated,
    /// Too many new tokens are being looked at.
    Busy,
    /// The API server could not be asked.
    Failed,
}

impl Reader {
    /// As the API server names its owner.
    pub(super) fn name(&self) -> Option<&str> {
        self.user.as_ref()?.username.as_deref()
    }
}

impl Readers {
    pub(crate) fn new(client: Client) -> Self {
        Self(Arc::new(Inner {
            api: Reviews::new(client),
            identifying: Semaphore::new(MAX_CONCURRENT_IDENTIFICATIONS),
            asking: Semaphore::new(MAX_CONCURRENT_QUESTIONS),
            known: Mutex::default(),
        }))
    }

    /// Who sends a token: somebody that the API server knows.
    pub(super) async fn identify(&self, token: &str) -> Result<Arc<Reader>, Refused> {
        let reader = in_time(self.reader(token)).await?;
        if reader.user.is_some() { Ok(reader) } else { Err(Refused::Unauthenticated) }
    }

    /// What a reader may see in the namespaces that hold something; `only`: in this one, where there are too many to ask about all.
    pub(super) async fn grants(
        &self,
        reader: &Reader,
        namespaces: &BTreeSet<String>,
        only: Option<&str>,
    ) -> Result<Grants, Refused> {
        in_time(self.ask(reader, namespaces, only)).await
    }

    async fn ask(&self, reader: &Reader, namespaces: &BTreeSet<String>, only: Option<&str>) -> Result<Grants, Refused> {
        let user = reader.user.as_ref().ok_or(Refused::Unauthenticated)?;
        // What is asked for may speak of other namespaces as well: as long as all can be asked about, all are.
        let only = only.filter(|_| namespaces.len() > MAX_NAMESPACES);
        let candidates: Vec<String> =
            namespaces.iter().filter(|namespace| only.is_none_or(|only| only == *namespace)).cloned().collect();
        let mut grants = Grants::nothing();
        for kind in KINDS {
            if self.may_list(reader, user, kind, None).await? {
                *grants.of_mut(kind) = Scope::All;
                continue;
            }
            grants.not_asked = candidates.len().saturating_sub(MAX_NAMESPACES);
            let allowed = move |namespace: String| async move {
                let may = self.may_list(reader, user, kind, Some(&namespace)).await?;
                Ok::<_, Refused>(may.then_some(namespace))
            };
            let asked: Vec<String> = candidates.iter().take(MAX_NAMESPACES).cloned().collect();
            let answers = stream::iter(asked).map(allowed).buffer_unordered(MAX_CONCURRENT_QUESTIONS);
            let found: Vec<Option<String>> = answers.try_collect().await?;
            *grants.of_mut(kind) = Scope::Only(found.into_iter().flatten().collect());
        }
        Ok(grants)
    }

    /// What is known of a token, or becomes known now.
    async fn reader(&self, token: &str) -> Result<Arc<Reader>, Refused> {
        let Inner { api, identifying, .. } = &*self.0;
        let hash = KeyHash::of(token.as_bytes());
        if let Some(reader) = self.remembered(&hash, Instant::now()) {
            return Ok(reader);
        }
        let _place = identifying.try_acquire().map_err(|_| Refused::Busy)?;
        let user = api.identify(token).await.map_err(|error| failed(&error))?;
        let reader = Arc::new(Reader { at: Instant::now(), user, answers: Mutex::default() });
        self.remember(hash, &reader);
        Ok(reader)
    }

    async fn may_list(
        &self,
        reader: &Reader,
        user: &UserInfo,
        kind: Kind,
        namespace: Option<&str>,
    ) -> Result<bool, Refused> {
        let question = (kind, namespace.map(str::to_owned));
        let answers = || reader.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answers().get(&question) {
            return Ok(*answer);
        }
        // The semaphore is never closed.
        let _place = self.0.asking.acquire().await;
        let request = AccessRequest::List { resource: plural(kind), namespace };
        let answer = self.0.api.allows(user, request).await.map_err(|error| failed(&error))?;
        answers().insert(question, answer);
        Ok(answer)
    }

    fn remembered(&self, hash: &KeyHash, now: Instant) -> Option<Arc<Reader>> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|reader| is_fresh(reader, now)).cloned()
    }

    /// Who is refused never pushes out who is known: made-up tokens cost no reader its place.
    fn remember(&self, hash: KeyHash, reader: &Arc<Reader>) {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_READERS {
            known.retain(|_, other| is_fresh(other, reader.at));
        }
        if known.len() >= MAX_READERS {
            known.retain(|_, other| other.user.is_some());
        }
        if known.len() < MAX_READERS {
            known.insert(hash, reader.clone());
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    timeout(REVIEW_TIMEOUT, asked).await.unwrap_or_else(|_| {
        tracing::warn!("the API server did not say in time who may see what on the page");
        Err(Refused::Failed)
    })
}

fn is_fresh(reader: &Reader, now: Instant) -> bool {
    now.duration_since(reader.at) < CACHE_TTL
}

fn failed(error: &kube::Error) -> Refused {
    tracing::warn!(%error, "the API server could not be asked who may see what on the page");
    Refused::Failed
}

/// As roles name it.
fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::ApiKey => "apikeys",
        Kind::ModelRoute => "modelroutes",
        Kind::Team => "teams",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::page::sample::api_server;

    async fn grants(
        readers: &Readers,
        token: &str,
        namespaces: &BTreeSet<String>,
        only: Option<&str>,
    ) -> Result<Grants, Refused> {
        let reader = readers.identify(token).await?;
        assert_eq!(reader.name(), Some(token));
        readers.grants(&reader, namespaces, only).await
    }

    fn namespaces() -> BTreeSet<String> {
        ["apps", "secret", "web"].map(str::to_owned).into()
    }

    #[tokio::test]
    async fn one_sees_the_kinds_and_namespaces_that_one_may_list() {
        let (client, reviews) = api_server().await;
        let readers = Readers::new(client);
        let of_alice = grants(&readers, "alice", &namespaces(), None).await.unwrap();
        let only = |names: &[&str]| Scope::Only(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            (&of_alice.keys, &of_alice.teams, &of_alice.routes),
            (&only(&["apps"]), &only(&["apps"]), &only(&[]))
        );
        let all = grants(&readers, "admin", &namespaces(), None).await.unwrap();
        assert_eq!(all, Grants::everything());
        assert_eq!(grants(&readers, "mallory", &namespaces(), None).await, Err(Refused::Unauthenticated));
        // A namespace by its name brings no more than there is.
        let secret = grants(&readers, "alice", &namespaces(), Some("secret")).await.unwrap();
        assert!(!secret.may_list(Kind::ApiKey, "secret") && !secret.may_list(Kind::Team, "secret"));
        // Answers are remembered: nobody is asked twice.
        let before = (reviews.token.load(Ordering::Relaxed), reviews.access.load(Ordering::Relaxed));
        for token in ["alice", "admin", "mallory"] {
            let _ = grants(&readers, token, &namespaces(), None).await;
        }
        assert_eq!((reviews.token.load(Ordering::Relaxed), reviews.access.load(Ordering::Relaxed)), before);
        assert_eq!(
            before,
            (3, 3 + 9 + 3),
            "all namespaces first, then each; an administrator is asked about once a kind"
        );
    }

    #[tokio::test]
    async fn a_reader_of_many_namespaces_is_told_that_not_all_were_asked_about_and_may_name_one() {
        let readers = Readers::new(api_server().await.0);
        let mut many: BTreeSet<String> = (0..MAX_NAMESPACES + 7).map(|n| format!("0-{n}")).collect();
        many.insert("apps".to_owned());
        let of_all = grants(&readers, "alice", &many, None).await.unwrap();
        assert_eq!((of_all.not_asked, of_all.is_empty()), (8, true));
        let of_one = grants(&readers, "alice", &many, Some("apps")).await.unwrap();
        assert!(of_one.may_list(Kind::ApiKey, "apps"));
        assert_eq!(of_one.not_asked, 0);
    }

    #[tokio::test]
    async fn where_the_api_server_cannot_be_asked_nobody_is_let_in() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let readers = Readers::new(client);
        assert_eq!(readers.identify("alice").await.err(), Some(Refused::Failed));
        let _all =
            readers.0.identifying.try_acquire_many(u32::try_from(MAX_CONCURRENT_IDENTIFICATIONS).unwrap()).unwrap();
        assert_eq!(readers.identify("alice").await.err(), Some(Refused::Busy));
    }

    #[tokio::test]
    async fn answers_are_kept_for_a_minute_and_made_up_tokens_push_nobody_out() {
        let readers = Readers::new(api_server().await.0);
        let now = Instant::now();
        let hash = |number: usize| KeyHash::of(number.to_string().as_bytes());
        let reader = |user: Option<UserInfo>| Arc::new(Reader { at: now, user, answers: Mutex::default() });
        readers.remember(hash(0), &reader(Some(UserInfo::default())));
        for number in 1..2_000 {
            readers.remember(hash(number), &reader(None));
        }
        assert!(readers.0.known.lock().unwrap().len() <= MAX_READERS);
        assert!(readers.remembered(&hash(0), now).is_some());
        assert!(readers.remembered(&hash(0), now + CACHE_TTL).is_none());
    }
}
