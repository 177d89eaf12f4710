//! What namespaces say of the sidecars in them, by annotation. A review does not carry it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::inject::sidecar_annotations;

/// How long the API server may take to say what a namespace is annotated with: far less than it waits for a review itself.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

type ByNamespace = BTreeMap<String, BTreeMap<String, String>>;

/// Fetches the annotations of a namespace from the API server.
pub type FetchAnnotations =
    Arc<dyn Fn(String) -> BoxFuture<'static, anyhow::Result<BTreeMap<String, String>>> + Send + Sync>;

#[derive(Debug, Default)]
struct State {
    /// Also of those that say nothing: whoever is not here may have been made a moment ago.
    by_namespace: ByNamespace,
    /// Whether all namespaces are watched: of others nobody may ask.
    watches_all: bool,
    /// Those of the namespaces that are watched by name which have not been listed yet.
    unlisted: BTreeSet<String>,
}

/// The annotations by namespace, as far as they are known. A handle. Nobody holds its lock for longer than it takes to copy a few
/// words.
#[derive(Clone, Default)]
pub struct NamespaceAnnotations {
    state: Arc<RwLock<State>>,
    fetch: Option<FetchAnnotations>,
}

impl NamespaceAnnotations {
    /// Nothing is known before it was listed, of these namespaces or of all; until then they are fetched with `fetch`.
    pub fn awaiting(only: &[String], fetch: FetchAnnotations) -> Self {
        let unlisted = only.iter().cloned().collect();
        let state = State { by_namespace: ByNamespace::new(), watches_all: only.is_empty(), unlisted };
        Self { state: Arc::new(RwLock::new(state)), fetch: Some(fetch) }
    }

    /// Those of one namespace. An error: they are not known, and cannot be had now.
    pub(super) async fn of(&self, namespace: &str) -> anyhow::Result<BTreeMap<String, String>> {
        if let Some(known) = self.known(namespace) {
            return Ok(known);
        }
        let fetch = self.fetch.as_ref().ok_or_else(|| anyhow::anyhow!("nobody can be asked"))?;
        let answer = timeout(FETCH_TIMEOUT, fetch(namespace.to_owned())).await;
        let annotations = answer.map_err(|_| anyhow::anyhow!("no answer in {FETCH_TIMEOUT:?}"))??;
        Ok(sidecar_annotations(annotations))
    }

    /// None: they have not been listed yet, or not since the namespace was made.
    fn known(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let known = state.by_namespace.get(namespace);
        let says_nothing = !state.watches_all && !state.unlisted.contains(namespace);
        known.cloned().or_else(|| says_nothing.then(BTreeMap::new))
    }

    /// All there is of this one namespace, which is watched by its name, was listed.
    pub fn listed(&self, namespace: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.unlisted.remove(namespace);
    }

    /// Takes over what a namespace says now. What is not about sidecars is dropped.
    pub fn set(&self, namespace: &str, annotations: BTreeMap<String, String>) {
        let annotations = sidecar_annotations(annotations);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.by_namespace.insert(namespace.to_owned(), annotations);
    }

    /// A namespace is gone.
    pub fn forget(&self, namespace: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.by_namespace.remove(namespace);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn says(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("vectoll.dev/sidecar-memory-limit".to_owned(), value.to_owned()),
            ("other".to_owned(), "x".to_owned()),
        ])
    }

    fn fetching(value: &'static str) -> FetchAnnotations {
        Arc::new(move |namespace| {
            Box::pin(async move {
                anyhow::ensure!(namespace != "unknown", "the API server is away");
                Ok(says(value))
            })
        })
    }

    #[tokio::test]
    async fn before_it_was_listed_the_api_server_is_asked() {
        let all = NamespaceAnnotations::awaiting(&[], fetching("1Gi"));
        assert_eq!(all.of("apps").await.unwrap(), sidecar_annotations(says("1Gi")));
        assert!(all.of("unknown").await.is_err(), "no guess is made");
        all.set("apps", says("2Gi"));
        assert_eq!(all.of("apps").await.unwrap(), sidecar_annotations(says("2Gi")));
        all.set("silent", BTreeMap::new());
        assert_eq!(all.of("silent").await.unwrap(), BTreeMap::new(), "it says nothing");
        assert_eq!(all.of("new").await.unwrap().len(), 1, "it was made since");
        assert!(all.of("unknown").await.is_err());
        all.forget("silent");
        assert_eq!(all.of("silent").await.unwrap().len(), 1, "it was recreated");
        let some = NamespaceAnnotations::awaiting(&["apps".to_owned(), "shop".to_owned()], fetching("1Gi"));
        some.listed("apps");
        assert_eq!(some.of("apps").await.unwrap(), BTreeMap::new());
        assert_eq!(some.of("shop").await.unwrap().len(), 1);
        assert_eq!(some.of("elsewhere").await.unwrap(), BTreeMap::new(), "it is not ours to ask for");
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_is_not_waited_for() {
        let all = NamespaceAnnotations::awaiting(&[], Arc::new(|_| Box::pin(std::future::pending())));
        let error = timeout(2 * FETCH_TIMEOUT, all.of("apps")).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "no answer in 3s");
    }
}
