//! Watching: each kind into its mirror.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinSet};
use vectoll_crds::{ApiKey, ModelRoute, Team};

use super::{
    cluster_state::{self, ClusterState, name_of, version_of},
    metadata_only::metadata_only,
    metrics::Metrics,
    names,
    object_cache::ObjectCache,
    raw::Raw,
    watches::WatchOf,
};
use crate::key_secret;

/// What is observed, and the bell that rings when it changes.
#[derive(Clone, Debug, Default)]
pub(super) struct StateHandle {
    cluster: Arc<Mutex<ClusterState>>,
    changed: Arc<Notify>,
}

impl StateHandle {
    /// The observed state. Nobody holds it across a wait.
    pub(super) fn cluster(&self) -> MutexGuard<'_, ClusterState> {
        // A panic elsewhere leaves at worst one object out of date, which the next event or list puts right.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that something changed.
    pub(super) fn notify(&self) {
        self.changed.notify_one();
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Which namespaces are watched: all, or these.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    All,
    Only(Vec<String>),
}

impl Scope {
    pub(super) fn new(namespaces: Vec<String>) -> Self {
        if namespaces.is_empty() { Self::All } else { Self::Only(namespaces) }
    }

    fn apis<K>(&self, client: &Client) -> Vec<(Option<String>, Api<K>)>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Self::All => vec![(None, Api::all(client.clone()))],
            Self::Only(namespaces) => namespaces
                .iter()
                .map(|namespace| (Some(namespace.clone()), Api::namespaced(client.clone(), namespace)))
                .collect(),
        }
    }
}

/// Begins to watch everything. The tasks run until they are dropped.
pub(super) fn begin(client: &Client, scope: &Scope, shared: &StateHandle, metrics: &Metrics) -> JoinSet<()> {
    let mut watches = Watchers { tasks: JoinSet::new(), client, scope, shared, metrics };
    let all = watcher::Config::default();
    watches.follow(&all, cluster_state::tracked::<ApiKey>, |cluster| &mut cluster.api_keys);
    watches.follow(&all, cluster_state::tracked::<Team>, |cluster| &mut cluster.teams);
    watches.follow(&all, cluster_state::tracked::<ModelRoute>, |cluster| &mut cluster.routes);
    let keys = all.clone().fields(&format!("type={}", key_secret::TYPE));
    watches.follow_as("key Secret", &keys, cluster_state::key_secret, |cluster| &mut cluster.key_secrets);
    let configs = all.clone().fields(&format!("type={}", names::CONFIG_TYPE));
    watches.follow_as("config Secret", &configs, cluster_state::config, |cluster| &mut cluster.configs);
    let pods = all.clone().labels(names::CONTRACT_LABEL);
    watches.follow(&pods, cluster_state::sidecar, |cluster| &mut cluster.pods);
    watches.follow_others();
    watches.follow_namespaces();
    watches.tasks
}

struct Watchers<'a> {
    tasks: JoinSet<()>,
    client: &'a Client,
    scope: &'a Scope,
    shared: &'a StateHandle,
    metrics: &'a Metrics,
}

/// How an object is read, with what was known of it; none: for us it is not there.
type Read<K, T> = fn(K, Option<&T>) -> Option<T>;

/// Where a kind is mirrored.
pub(super) type CacheSelector<T> = fn(&mut ClusterState) -> &mut ObjectCache<T>;

impl Watchers<'_> {
    fn follow<K, T>(&mut self, config: &watcher::Config, read: Read<K, T>, place: CacheSelector<T>)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Default,
        T: PartialEq + Send + 'static,
    {
        self.follow_as(&K::kind(&K::DynamicType::default()), config, read, place);
    }

    /// Several watches of one kind are told apart by what they are for.
    fn follow_as<K, T>(&mut self, what: &str, config: &watcher::Config, read: Read<K, T>, place: CacheSelector<T>)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Default,
        T: PartialEq + Send + 'static,
    {
        self.follow_with(self.client, what, config, read, place);
    }

    /// With a client of its own.
    fn follow_with<K, T>(
        &mut self,
        client: &Client,
        what: &str,
        config: &watcher::Config,
        read: Read<K, T>,
        place: CacheSelector<T>,
    ) where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Default,
        T: PartialEq + Send + 'static,
    {
        for (scope, api) in self.scope.apis::<K>(client) {
            let events = kube::runtime::watcher(api, config.clone());
            self.spawn(WatchOf { what: what.to_owned(), namespace: scope.clone() }, scope, events, read, place);
        }
    }

    /// Everyone else's Secrets: their metadata only, also on the wire.
    fn follow_others(&mut self) {
        let others = format!(
            "type!={},type!={},type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token",
            key_secret::TYPE,
            names::CONFIG_TYPE
        );
        let config = watcher::Config::default().fields(&others);
        let client = metadata_only(self.client);
        self.follow_with(&client, "Secret", &config, cluster_state::other_secret, |cluster| &mut cluster.other_secrets);
    }

    /// Namespaces; where only some are watched, each by its name, as the operator's role allows.
    fn follow_namespaces(&mut self) {
        let api: Api<Raw<Namespace, ()>> = Api::all(self.client.clone());
        let configs: Vec<(Option<String>, watcher::Config)> = match self.scope {
            Scope::All => vec![(None, watcher::Config::default())],
            Scope::Only(names) => names
                .iter()
                .map(|name| (Some(name.clone()), watcher::Config::default().fields(&format!("metadata.name={name}"))))
                .collect(),
        };
        for (only, config) in configs {
            let events = kube::runtime::watcher(api.clone(), config);
            // A namespace's own name stands in no namespace: a list of one never ends another.
            let scope = only.as_ref().map(|_| "-".to_owned());
            let of = WatchOf { what: "Namespace".to_owned(), namespace: only };
            self.spawn(of, scope, events, cluster_state::namespace, |cluster| &mut cluster.namespaces);
        }
    }

    fn spawn<K, T>(
        &mut self,
        of: WatchOf,
        scope: Option<String>,
        events: impl futures_util::Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        read: Read<K, T>,
        place: CacheSelector<T>,
    ) where
        K: Resource + Send + 'static,
        K::DynamicType: Default,
        T: PartialEq + Send + 'static,
    {
        self.shared.cluster().watches.begin(of.clone());
        let (shared, client, metrics) = (self.shared.clone(), self.client.clone(), self.metrics.clone());
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        self.tasks.spawn(async move {
            let events = events.default_backoff();
            pin_mut!(events);
            let mut handler = WatchHandler { of, scope, shared, read, place, listed: BTreeSet::new() };
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => handler.on_event(event),
                    Err(error) if has_come_too_late(&error) => {
                        tracing::debug!(kind, namespace = handler.of.namespace, "a watch begins anew");
                    }
                    // Tried again, with growing pauses.
                    Err(error) => {
                        tracing::warn!(kind, namespace = handler.of.namespace, %error, "watching failed; it is tried again");
                        metrics.watch_failed(&kind);
                        handler.doubt(&client, &error).await;
                    }
                }
            }
        });
    }
}

/// 410: what it would go on from is no longer there. It lists anew then, as watches do; nothing is wrong.
///
/// Source: Kubernetes API Concepts, "Efficient detection of changes".
fn has_come_too_late(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

struct WatchHandler<K, T> {
    of: WatchOf,
    scope: Option<String>,
    shared: StateHandle,
    read: Read<K, T>,
    place: CacheSelector<T>,
    /// What the list under way has named.
    listed: BTreeSet<vectoll_config::ObjectName>,
}

impl<K: Resource, T: PartialEq> WatchHandler<K, T> {
    /// A namespace that is gone has taken its Role along: what cannot be listed there is not there. One whose Role was taken away refuses
    /// to be seen: what stands there stays as it is. In both cases the other namespaces need not wait for it.
    async fn doubt(&mut self, client: &Client, error: &watcher::Error) {
        let refused = is_refused(error);
        if let Some(namespace) = self.of.namespace.clone().filter(|_| refused)
            && matches!(Api::<Raw<Namespace, ()>>::all(client.clone()).get_opt(&namespace).await, Ok(None))
        {
            tracing::warn!(namespace, "this namespace is to be watched and is not there");
            self.on_event(Event::Init);
            self.on_event(Event::InitDone);
            return;
        }
        self.shared.cluster().watches.failed(&self.of, refused, Instant::now());
        self.shared.notify();
    }

    fn on_event(&mut self, event: Event<K>) {
        {
            let mut cluster = self.shared.cluster();
            let mirror = (self.place)(&mut cluster);
            match event {
                Event::Init => self.listed.clear(),
                Event::InitApply(object) => {
                    let name = name_of(&object);
                    let version = version_of(&object);
                    let before = mirror.get(&name).map(|seen| &seen.value);
                    if let Some(value) = (self.read)(object, before) {
                        mirror.set(name.clone(), version, value);
                        self.listed.insert(name);
                    }
                    return;
                }
                Event::InitDone => {
                    mirror.keep(self.scope.as_deref(), &self.listed);
                    self.listed.clear();
                    cluster.watches.on_answer(&self.of, true);
                    // It may have refused to be seen before.
                    cluster.dependent.extend(self.of.namespace.clone());
                }
                Event::Apply(object) => {
                    let (name, version) = (name_of(&object), version_of(&object));
                    let before = mirror.get(&name).map(|seen| &seen.value);
                    match (self.read)(object, before) {
                        Some(value) => mirror.put(name, version, value),
                        None => mirror.take(&name, version),
                    }
                    cluster.watches.on_answer(&self.of, false);
                }
                Event::Delete(object) => {
                    mirror.take(&name_of(&object), version_of(&object));
                    cluster.watches.on_answer(&self.of, false);
                }
            }
        }
        self.shared.notify();
    }
}

/// Whether the API server does not let us see it.
fn is_refused(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return false,
    };
    code == 403
}
