//! The config folder of a gateway: a folder for each namespace, of the form that a sidecar's own has; or, as Secrets are mounted, a file
//! for each, which holds what the folder would.
//!
//! Each namespace has its own word: what cannot be read or served of one leaves the others in force, and its own last good config. Only
//! what has changed is read and compiled again. A namespace whose folder is gone is gone, with its keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use notify::RecursiveMode;
use prometheus::{IntGauge, Registry};
use vectoll_config::{ISSUER_FILE, StoreUrl};

use super::{
    counting::{StoreSender, count_by},
    folder::{self, Version},
    load::{Loaded, ReloadError, load},
    watch::Reload,
};
use crate::{
    call_id::CallId,
    metrics::OneConfig,
    pod_token::{Issuer, PodTokens},
    policy::{Policy, SharedState, union},
    proxy::Proxy,
    via::pseudonym,
};
use vectoll_limits::store::StoreAccess;

/// What a gateway calls itself at the store, where sidecars say their namespace. No namespace has this name.
const GATEWAY: &str = "_gateway";

/// What Prometheus sees of all namespaces.
#[derive(Clone, Debug)]
pub struct NamespacesMetrics {
    served: IntGauge,
    ambiguous: IntGauge,
}

impl NamespacesMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Values that keys of several namespaces hold: calls with them are refused.";
        let metrics = Self {
            served: IntGauge::new("vectoll_gateway_namespaces", "Namespaces with a config in force.")?,
            ambiguous: IntGauge::new("vectoll_gateway_ambiguous_keys", help)?,
        };
        registry.register(Box::new(metrics.served.clone()))?;
        registry.register(Box::new(metrics.ambiguous.clone()))?;
        Ok(metrics)
    }
}

/// Keeps the policy in step with the folders of all namespaces.
#[derive(Debug)]
pub struct Namespaces {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    folder: PathBuf,
    proxy: Arc<Proxy>,
    lasting: SharedState,
    store: StoreSender,
    metrics: NamespacesMetrics,
    namespaces: BTreeMap<String, Namespace>,
    /// How often the policy was made anew; 0: there is none yet.
    generation: u64,
    /// What tells this process from others.
    id: String,
    /// Whether the namespaces are files of Secrets, as in a cluster.
    is_mounted: bool,
    /// Who issues the tokens of pods, with the file that says so.
    issuer: Option<(Vec<u8>, Arc<Issuer>)>,
    /// One that cannot be used, so that it is logged once.
    bad_issuer: Option<Vec<u8>>,
    /// Pairs of keys that hold one value, as they were logged.
    ambiguous: BTreeSet<[Arc<str>; 2]>,
    /// The last failure with the whole folder, so that a lasting one is logged once.
    failing: Option<String>,
}

#[derive(Debug)]
struct Namespace {
    lasting: SharedState,
    metrics: OneConfig,
    in_force: Option<(folder::Fingerprint, Arc<Policy>)>,
    /// What was looked at last, where that can be told without reading it.
    version: Option<Version>,
    /// Content that was refused: it is not compiled again before it changes.
    refused: Option<folder::Fingerprint>,
    failing: Option<String>,
}

impl Namespaces {
    /// For a folder.
    pub fn new(
        folder: &Path,
        proxy: Arc<Proxy>,
        lasting: SharedState,
        store: StoreSender,
        metrics: NamespacesMetrics,
    ) -> Self {
        let state = State {
            folder: folder.to_owned(),
            proxy,
            lasting,
            store,
            metrics,
            namespaces: BTreeMap::new(),
            generation: 0,
            id: CallId::random().to_string(),
            is_mounted: false,
            issuer: None,
            bad_issuer: None,
            ambiguous: BTreeSet::new(),
            failing: None,
        };
        Self { folder: folder.to_owned(), state: Arc::new(Mutex::new(state)) }
    }
}

impl Reload for Namespaces {
    const MODE: RecursiveMode = RecursiveMode::Recursive;

    fn folder(&self) -> &Path {
        &self.folder
    }

    async fn reload(&mut self) {
        let state = self.state.clone();
        // On a thread of its own, to the last table of keys that is dropped: there may be tens of thousands.
        let looked = tokio::task::spawn_blocking(move || state.lock().unwrap_or_else(PoisonError::into_inner).look());
        // It fails where it panicked, which is logged: the next look may do better.
        let _ = looked.await;
    }
}

impl State {
    fn look(&mut self) {
        let places = match places(&self.folder) {
            Ok(places) => places,
            Err(source) => {
                let message = ReloadError::Folder { folder: self.folder.clone(), source }.to_string();
                if self.failing.as_ref() != Some(&message) {
                    tracing::error!(error = message, "the namespaces' configs cannot be listed: all stays as it is");
                    self.failing = Some(message);
                }
                return;
            }
        };
        self.failing = None;
        self.is_mounted = places.values().any(|place| matches!(place, Place::File(_)));
        let mut changed = self.forget(&places);
        changed |= self.take_issuer();
        let version = folder::version(&self.folder);
        let mut found: Vec<(String, Option<Version>, Loaded)> = Vec::new();
        for (name, place) in places {
            // It is made before it is filled.
            if let Place::Folder(folder) = &place
                && !self.namespaces.contains_key(&name)
                && !folder::has_config(folder)
            {
                continue;
            }
            let (lasting, metrics) = (&self.lasting, &self.proxy.metrics.config);
            let namespace = self.namespaces.entry(name.clone()).or_insert_with(|| Namespace {
                lasting: lasting.of_namespace(&name),
                metrics: metrics.of(&name),
                in_force: None,
                version: None,
                refused: None,
                failing: None,
            });
            if let Some((version, loaded)) = namespace.look(&place, version.as_ref()) {
                found.push((name, version, loaded));
            }
        }
        let store = self.store_of_most(&found);
        for (name, version, loaded) in found {
            if let Some(namespace) = self.namespaces.get_mut(&name) {
                changed |= namespace.take(&name, version, loaded, store.as_ref());
            }
        }
        let has_any = store.is_some() || self.namespaces.is_empty();
        if (changed || self.generation == 0) && (has_any || self.generation > 0) {
            self.apply();
        }
    }

    /// The store that most namespaces name, of those that have a config, and of their logins there the one that most have: what is left
    /// behind of one namespace keeps the others from nothing. The first of those that as many name; none: there is no config at all.
    #[allow(clippy::option_option, reason = "no config at all is not one that names no store")]
    fn store_of_most(&self, found: &[(String, Option<Version>, Loaded)]) -> Option<Option<Arc<StoreAccess>>> {
        let mut stores: BTreeMap<&str, Option<&Arc<StoreAccess>>> = BTreeMap::new();
        for (name, namespace) in &self.namespaces {
            if let Some((_, policy)) = &namespace.in_force {
                stores.insert(name, policy.store.as_ref());
            }
        }
        for (name, _, loaded) in found {
            if let Loaded::New(_, policy) = loaded
                && *policy.namespace == **name
            {
                stores.insert(name, policy.store.as_ref());
            }
        }
        let place = most(stores.values().map(|store| place(*store)))?;
        most(stores.into_values().filter(|store| self::place(*store) == place)).map(Option::<&Arc<StoreAccess>>::cloned)
    }

    /// Who issues the tokens of pods. What is gone, or cannot be used, leaves the last one. True: it is another one.
    fn take_issuer(&mut self) -> bool {
        let Ok(file) = fs::read(self.folder.join(ISSUER_FILE)) else { return false };
        let is_known = self.issuer.as_ref().is_some_and(|(known, _)| *known == file);
        if is_known || self.bad_issuer.as_ref() == Some(&file) {
            return false;
        }
        match Issuer::read(&file) {
            Ok(issuer) => {
                tracing::info!("the keys by which the cluster signs the tokens of pods were read");
                self.issuer = Some((file, Arc::new(issuer)));
                self.bad_issuer = None;
                true
            }
            Err(error) => {
                tracing::error!(%error, file = ISSUER_FILE, "who issues the tokens of pods cannot be used: the last one stays");
                self.bad_issuer = Some(file);
                false
            }
        }
    }

    /// Those whose folder is gone.
    fn forget(&mut self, places: &BTreeMap<String, Place>) -> bool {
        let before = self.namespaces.len();
        let metrics = &self.proxy.metrics.config;
        self.namespaces.retain(|name, _| {
            let stays = places.contains_key(name);
            if !stays {
                tracing::info!(namespace = name, "namespace gone: its keys work no more");
                metrics.forget(name);
            }
            stays
        });
        self.namespaces.len() != before
    }

    fn apply(&mut self) {
        let in_force = || self.namespaces.values().filter_map(|namespace| Some(&namespace.in_force.as_ref()?.1));
        let (mut policy, ambiguous) = union(in_force());
        policy.store = self.store_of_most(&[]).flatten();
        self.metrics.served.set(i64::try_from(in_force().count()).unwrap_or(i64::MAX));
        self.metrics.ambiguous.set(i64::try_from(policy.ambiguous.len()).unwrap_or(i64::MAX));
        self.generation += 1;
        policy.generation = self.generation;
        policy.namespace = GATEWAY.into();
        policy.pseudonym = Some(pseudonym(&made_of(&policy).unwrap_or_else(|| self.id.clone())).into());
        policy.pod_tokens = match &self.issuer {
            Some((_, issuer)) => PodTokens::Of(issuer.clone()),
            None if self.is_mounted => PodTokens::Awaited,
            None => PodTokens::Refused,
        };
        count_by(&self.proxy, &self.store, policy.store.clone());
        let policy = Arc::new(policy);
        self.proxy.policy.store(policy.clone());
        self.lasting.health.put_in_force(policy.backends().map(|backend| &backend.health));
        self.proxy.accounting.counters.together().ring();
        let found: BTreeSet<_> = ambiguous.into_iter().map(|found| found.keys).collect();
        for [one, other] in found.difference(&self.ambiguous) {
            tracing::error!(api_key = %one, other = %other, "two keys hold one value: calls with it are refused until one of them has another");
        }
        self.ambiguous = found;
    }
}

impl Namespace {
    /// Looks at its folder or file; `of_files` is the version of all files. None: it is as it was when it was looked at last.
    fn look(&self, place: &Place, of_files: Option<&Version>) -> Option<(Option<Version>, Loaded)> {
        let version = match place {
            Place::Folder(folder) => folder::version(folder),
            Place::File(_) => of_files.cloned(),
        };
        if version.is_some() && version == self.version {
            return None;
        }
        let applied = self.in_force.as_ref().map(|(fingerprint, _)| *fingerprint);
        let (at, read) = match place {
            Place::Folder(folder) => (folder, folder::read(folder)),
            Place::File(file) => (file, folder::read_bundle(file)),
        };
        Some((version, load(at, read, applied, self.refused, &self.lasting, None)))
    }

    /// Takes in what was found. Whether what is in force has changed. `store` is where all namespaces count.
    fn take(
        &mut self,
        name: &str,
        version: Option<Version>,
        loaded: Loaded,
        store: Option<&Option<Arc<StoreAccess>>>,
    ) -> bool {
        let loaded = match loaded {
            Loaded::New(fingerprint, policy) => match fits(name, &policy, store) {
                Ok(()) => Loaded::New(fingerprint, policy),
                // The others may be about to change as well: it is looked at again.
                Err(error @ ReloadError::OtherStore) => Loaded::Refused(None, error),
                Err(error) => Loaded::Refused(Some(fingerprint), error),
            },
            other @ (Loaded::InForce | Loaded::RefusedBefore | Loaded::Refused(..)) => other,
        };
        self.version = version.filter(|_| !matches!(loaded, Loaded::Refused(None, _)));
        match loaded {
            Loaded::RefusedBefore => false,
            Loaded::InForce => {
                self.refused = None;
                if self.failing.take().is_some() {
                    tracing::info!(namespace = name, "the config folder is again as it was applied");
                }
                self.metrics.stale.set(0);
                false
            }
            Loaded::New(fingerprint, policy) => {
                let generation = policy.generation;
                tracing::info!(namespace = name, generation, keys = policy.all_keys.len(), "config applied");
                self.in_force = Some((fingerprint, Arc::new(*policy)));
                self.refused = None;
                self.failing = None;
                self.metrics.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
                self.metrics.applied.set(jiff::Timestamp::now().as_second());
                self.metrics.reloads.inc();
                self.metrics.stale.set(0);
                true
            }
            Loaded::Refused(fingerprint, error) => {
                self.refused = fingerprint;
                let message = error.to_string();
                if self.failing.as_ref() != Some(&message) {
                    let in_force = self.in_force.as_ref().map_or(0, |(_, policy)| policy.generation);
                    let told = "config refused: the namespace's last good one stays, and the others are not affected";
                    tracing::error!(namespace = name, error = message, in_force, "{told}");
                    self.metrics.refusals.inc();
                    self.failing = Some(message);
                }
                self.metrics.stale.set(1);
                false
            }
        }
    }
}

/// Whether a namespace's config can be served beside the others.
fn fits(name: &str, policy: &Policy, store: Option<&Option<Arc<StoreAccess>>>) -> Result<(), ReloadError> {
    if &*policy.namespace != name {
        return Err(ReloadError::Namespace { folder: name.to_owned(), namespace: policy.namespace.to_string() });
    }
    match store {
        Some(store) if place(store.as_ref()) != place(policy.store.as_ref()) => Err(ReloadError::OtherStore),
        Some(_) | None => Ok(()),
    }
}

/// What the gateway's pseudonym is made of where replicas count by one store; none: whoever counts alone is the only one. A store has the
/// same URL in many clusters, and a Team's UID is in one alone: the lowest one, which seldom changes. While replicas do not agree on it, a
/// circle is found as soon as a call comes back to one that it has come by.
fn made_of(policy: &Policy) -> Option<String> {
    let (url, scope) = place(policy.store.as_ref())?;
    let lowest = policy.teams.keys().min().map(ToString::to_string).unwrap_or_default();
    Some(format!("{url} {} {lowest}", scope.unwrap_or_default()))
}

/// What tells one store from another.
fn place(store: Option<&Arc<StoreAccess>>) -> Option<(&StoreUrl, Option<&str>)> {
    store.map(|store| (&store.url, store.scope.as_deref()))
}

/// What is there most often; the first of those that are as often. There are hardly ever more than two.
fn most<T: PartialEq>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for one in all {
        match counts.iter_mut().find(|(other, _)| *other == one) {
            Some((_, count)) => *count += 1,
            None => counts.push((one, 1)),
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(one, _)| one)
}

/// Where a namespace's config is.
#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    File(PathBuf),
}

/// The namespaces that have a folder or a file. What is hidden, and what no namespace can be called, is somebody else's.
fn places(folder: &Path) -> io::Result<BTreeMap<String, Place>> {
    let mut found = BTreeMap::new();
    let mounted = folder.join(folder::LINK);
    if mounted.is_dir() {
        for (name, file) in named_by_namespaces(&mounted)? {
            if file.is_file() {
                // By the version that was looked at: what is swapped meanwhile is looked at next.
                found.insert(name, Place::File(file));
            }
        }
    }
    for (name, folder) in named_by_namespaces(folder)? {
        if folder.is_dir() {
            found.insert(name, Place::Folder(folder));
        }
    }
    Ok(found)
}

fn named_by_namespaces(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_name = name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if is_name {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use vectoll_config::KeyHash;
    use vectoll_upstream::{health::BackendMetrics, provider::egress::Egress};

    use super::*;
    use crate::policy::{CredentialFiles, Identity, compile};

    fn cluster(teams: &[&str]) -> Policy {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let team = |uid: &&str| format!("- {{name: shop/{uid}, uid: {uid}, routeNamespaces: [shop], maxUsers: 10}}\n");
        let yaml = format!(
            "version: v1\ngeneration: 1\nnamespace: shop\nteams:\n{}keys:\n- {{name: shop/alice, uid: k, team: shop/{}, credentials: [{{sha256: \
             {}}}]}}\nroutes: []\nstore: {{url: 'redis://vectoll-store.vectoll-system.svc:6379', scope: vectoll-system.vectoll}}\ncomplete: \
             true\n",
            teams.iter().map(team).collect::<Vec<_>>().concat(),
            teams[0],
            KeyHash::of(b"sk-test-0123456789")
        );
        let lasting =
            SharedState::new(Identity::default(), Egress::default(), BackendMetrics::unseen().unwrap()).unwrap();
        compile(vectoll_config::read_v1(&yaml).unwrap(), &CredentialFiles::new(), &lasting, None).unwrap()
    }

    #[test]
    fn gateways_of_two_clusters_have_two_names_and_replicas_of_one_have_one() {
        let name = |teams: &[&str]| made_of(&cluster(teams)).map(|made_of| pseudonym(&made_of)).unwrap();
        assert_ne!(name(&["a1"]), name(&["b2"]), "the store has the same URL in both");
        assert_eq!(name(&["a1", "c3"]), name(&["d4", "a1"]));
        assert_eq!(made_of(&Policy::default()), None);
    }
}
