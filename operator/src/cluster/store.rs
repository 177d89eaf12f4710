//! The store in a cluster: who may log in, and what configs say of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use vectoll_config::{KeyHash, Uid};

use super::{
    census, cluster_state::ClusterState, gateway::GATEWAY, metrics::StoreMetrics, snapshot::Snapshot, store_secret,
    totals::TotalFamilies, watch::StateHandle,
};
use crate::{
    cli::{Run, StoreOptions},
    desired_state::DesiredState,
    ledger::{History, LedgerEvent, LedgerQuery, Reader, TeamQuery},
    observed_state::{Counting, ObservedState},
    store::{
        Access, AclReconciler, Logins, Master, Memory, NamespaceStore, Password, Persistence, Rotation, StoreState,
        Sweeper, Swept, User, UsersByName, Valid, sweep::Census,
    },
};

/// Trouble that lasts so long is told of in the statuses.
const REPORTED_AFTER: Duration = Duration::from_secs(30);
/// How often the sweeper is told what there is.
const CENSUS_PERIOD: Duration = Duration::from_mins(1);

/// The operator's side of the store.
pub(super) struct Store {
    options: StoreOptions,
    secrets: Api<Secret>,
    secret: String,
    password_from_secret: bool,
    scope: String,
    rotation: Rotation,
    keeper: AclReconciler,
    reader: Reader,
    /// The users stand otherwise than before.
    changed: Arc<AtomicBool>,
    sweeper: Sweeper,
    retention: Duration,
    /// Whether a gateway logs in.
    gateway: bool,
    /// When the sweeper was told last what there is, and whether it was urgent.
    counted: Mutex<Option<(Instant, bool)>>,
    /// The store and what passwords are derived from, once they are known.
    known: Option<(Access, store_secret::Content)>,
}

/// What a plan needs to know of the store.
pub(super) struct Delivery {
    logins: Logins,
    /// Namespaces whose password does not work yet, and will within moments.
    held: BTreeSet<String>,
    now: Timestamp,
}

impl Delivery {
    #[cfg(test)]
    pub(super) fn new(logins: Logins, held: BTreeSet<String>, now: Timestamp) -> Self {
        Self { logins, held, now }
    }

    /// What a namespace's sidecars are told.
    pub(super) fn of(&self, namespace: &str) -> NamespaceStore {
        self.logins.of(namespace, self.now)
    }

    /// Whether they are not to be told yet.
    pub(super) fn holds_back(&self, namespace: &str) -> bool {
        self.held.contains(namespace)
    }
}

impl Store {
    /// None, if no store is to be used.
    pub(super) fn new(
        settings: &Run,
        client: &Client,
        shared: &StateHandle,
        all_metrics: &super::Metrics,
    ) -> anyhow::Result<Option<Self>> {
        let (store, store_keeping) = (&settings.store, &settings.store_keeping);
        let access = if store_keeping.store_password_from_secret {
            ensure!(
                store.store_password_file.is_none(),
                "--store-password-file and --store-password-from-secret are two passwords: leave one of them out"
            );
            let access = store.read()?;
            ensure!(
                access.is_some(),
                "--store-password-from-secret is of a store, and none is named: set --store-url as well"
            );
            access
        } else {
            store.read_whole()?
        };
        let Some(access) = access else {
            tracing::info!("no --store-url: each sidecar counts for itself");
            return Ok(None);
        };
        let scope = store_keeping.scope(&settings.operator_namespace, &settings.lease)?;
        tracing::info!(store = %access.url, scope, "sidecars count together");
        let metrics = StoreMetrics::register(all_metrics.registry()).context("failed to set up the metrics")?;
        let families = Box::new(TotalFamilies::new(shared.clone()));
        all_metrics.registry().register(families).context("failed to set up the metrics")?;
        let state = shared.clone();
        let on_event = Arc::new(move |event: LedgerEvent| {
            let is_news = state.cluster().on_event(event);
            if is_news {
                state.notify();
            }
        });
        let (for_gauge, for_sweeper) = (metrics.clone(), metrics.clone());
        let shared = shared.clone();
        let changed = Arc::new(AtomicBool::new(false));
        let to_note = changed.clone();
        let report = Box::new(move |state: &StoreState| {
            metrics.record_store_state(state);
            to_note.store(true, Ordering::Relaxed);
            shared.notify();
        });
        Ok(Some(Self {
            options: store.clone(),
            secrets: Api::namespaced(client.clone(), &settings.operator_namespace),
            secret: store_keeping.store_secret.clone(),
            password_from_secret: store_keeping.store_password_from_secret,
            scope,
            rotation: store_keeping.rotation()?,
            keeper: AclReconciler::start(report, Box::new(move |memory: Memory| for_gauge.weighs(memory))),
            sweeper: Sweeper::start(Arc::new(move |swept: &Swept| for_sweeper.swept(swept))),
            retention: store_keeping.retention()?,
            gateway: settings.gateway.gateway_shards > 0,
            counted: Mutex::new(None),
            reader: Reader::start(on_event),
            changed,
            known: None,
        }))
    }

    /// What was spent month by month, while this replica acts.
    pub(super) fn history(&self) -> History {
        self.reader.history()
    }

    /// Reads the files, and makes or reads the Secret. True: something is other than before.
    pub(super) async fn prepare(&mut self) -> anyhow::Result<bool> {
        let mut access = self.options.read()?.context("no --store-url")?;
        let content = match &self.known {
            Some((_, content)) => content.clone(),
            None => store_secret::read_or_make(&self.secrets, &self.secret).await?,
        };
        if self.password_from_secret {
            access.password = Some(content.password.clone());
        }
        let is_new = self.known.as_ref().is_none_or(|(known, _)| *known != access);
        self.known = Some((access, content));
        Ok(is_new)
    }

    /// How sidecars count.
    pub(super) fn counting(&self) -> Counting {
        match self.keeper.state() {
            StoreState::Trouble { since, busy } if since.elapsed() >= REPORTED_AFTER => {
                if busy {
                    Counting::Busy
                } else {
                    Counting::Unreachable
                }
            }
            // It was full when that was looked at: nothing passes by itself.
            StoreState::Good { users: _, count: _, full: Some(_), persistence: _ } => Counting::Full,
            StoreState::Good { users: _, count: _, full: None, persistence: Persistence::Volatile } => {
                Counting::Volatile
            }
            StoreState::Unknown
            | StoreState::Good { users: _, count: _, full: None, persistence: _ }
            | StoreState::Trouble { since: _, busy: _ } => Counting::Together,
        }
    }

    /// Whether its settings are known.
    pub(super) fn is_prepared(&self) -> bool {
        self.known.is_some()
    }

    /// Whether the users stand otherwise than when this was last asked.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Tells the sweeper what there is, once a minute.
    pub(super) fn count(&self, cluster: &ClusterState, now: Instant) {
        let Some((access, _)) = &self.known else { return };
        let is_urgent =
            matches!(self.keeper.state(), StoreState::Good { users: _, count: _, full: Some(_), persistence: _ });
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.is_some_and(|(at, was)| at.elapsed() < CENSUS_PERIOD && was == is_urgent) {
            return;
        }
        let Some(mut census) = census::take(cluster, &self.scope, now) else { return };
        if self.gateway {
            census.namespaces.insert(GATEWAY.to_owned());
        }
        *counted = Some((now, is_urgent));
        let retention_ms = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        let counted_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        self.sweeper.sweep(access.clone(), Census { counted_ms, retention_ms, is_urgent, ..census });
    }

    /// What reconciling a namespace needs to know of it. None before it is prepared.
    pub(super) fn view(&self) -> Option<StoreView> {
        let (access, content) = self.known.clone()?;
        let logins =
            Logins::PerNamespace { access, scope: self.scope.clone(), master: content.master, rotation: self.rotation };
        Some(StoreView { logins, state: self.keeper.state(), gateway: self.gateway })
    }

    /// Has the users kept that the sidecars need, and asks what was spent.
    pub(super) fn set_needs(&self, needs: &Needs) {
        let Some((access, _)) = &self.known else { return };
        self.keeper.keep(access.clone(), &self.scope, Arc::new(needs.users(&self.scope)));
        self.reader.ask(access.clone(), needs.question(&self.scope));
    }

    /// Another replica acts now.
    pub(super) fn pause(&mut self) {
        self.keeper.pause();
        self.reader.pause();
        self.sweeper.pause();
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.known = None;
    }
}

/// The store as it is while a namespace is reconciled.
#[derive(Clone)]
pub(super) struct StoreView {
    logins: Logins,
    state: StoreState,
    gateway: bool,
}

impl StoreView {
    /// What a namespace's sidecars are told of the store, and what they need of it.
    pub(super) fn of(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        desired: &DesiredState,
        now: Timestamp,
    ) -> (Delivery, Need) {
        // Pods that are about to go still book their last calls.
        let is_told = !snapshot.cluster.gateway_only;
        let runs = is_told && snapshot.cluster.pods.iter().any(|(_, seen)| seen.value.runs);
        let user = runs.then(|| self.user(&snapshot.observed, namespace, desired, now)).flatten();
        let is_held = user.as_ref().is_some_and(|user| self.state.is_about_to_have(namespace, Some(user)));
        let held = is_held.then(|| namespace.to_owned()).into_iter().collect();
        let is_read = runs || !snapshot.observed.api_keys.is_empty();
        let mut teams = desired.accounts();
        if let Logins::PerNamespace { scope, .. } = &self.logins {
            teams.extend(desired.owed_in(namespace, scope));
        }
        let has_keys = !snapshot.observed.api_keys.is_empty();
        let gateway = if self.gateway && has_keys { self.gateway_passwords(now) } else { BTreeSet::new() };
        let need = Need { user, is_read, is_held, gateway, teams };
        (Delivery { logins: self.logins.clone(), held, now }, need)
    }

    /// What the gateway is told of the store, and when that changes.
    pub(super) fn of_gateway(&self, now: Timestamp) -> (NamespaceStore, Option<Timestamp>) {
        let next = match &self.logins {
            Logins::PerNamespace { rotation, master, .. } => rotation.next(master, [GATEWAY], now),
            Logins::Given(_) => None,
        };
        (self.logins.of(GATEWAY, now), next)
    }

    /// When the password of a namespace's user changes next.
    pub(super) fn next(&self, need: &Need, namespace: &str, now: Timestamp) -> Option<Timestamp> {
        match &self.logins {
            Logins::PerNamespace { rotation, master, .. } => {
                need.user.as_ref().and_then(|_| rotation.next(master, [namespace], now))
            }
            Logins::Given(_) => None,
        }
    }

    fn gateway_passwords(&self, now: Timestamp) -> BTreeSet<KeyHash> {
        match &self.logins {
            Logins::PerNamespace { access: _, scope: _, master, rotation } => {
                valid_passwords(rotation, master, GATEWAY, now).collect()
            }
            Logins::Given(_) => BTreeSet::new(),
        }
    }

    fn user(&self, observed: &ObservedState, namespace: &str, desired: &DesiredState, now: Timestamp) -> Option<User> {
        let Logins::PerNamespace { access: _, scope, master, rotation } = &self.logins else { return None };
        let passwords = valid_passwords(rotation, master, namespace, now);
        let limited = desired.limited_in(observed, namespace, scope);
        // Who carries out no call counts nothing: the login is for acknowledgements alone.
        let counts = desired.counts(observed, namespace);
        let accounts = desired.teams_in(namespace).filter(|_| counts).chain(&limited);
        Some(User::of(scope, namespace, accounts, passwords))
    }
}

/// The hashes of all passwords that let a user in.
fn valid_passwords(
    rotation: &Rotation,
    master: &Master,
    namespace: &str,
    now: Timestamp,
) -> impl Iterator<Item = KeyHash> + use<> {
    let Valid { current, previous, upcoming } = rotation.valid(master, namespace, now);
    [Some(current), previous, Some(upcoming)].into_iter().flatten().map(|password: Password| password.hash())
}

/// What one namespace needs of the store.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Need {
    /// Its sidecars' user, where some run.
    user: Option<User>,
    /// Whether its sidecars are to be heard of.
    is_read: bool,
    /// Whether its config waits for the user.
    pub(super) is_held: bool,
    /// The passwords by which a gateway logs in that has keys of the namespace.
    gateway: BTreeSet<KeyHash>,
    /// What is to be read of the Teams that its keys belong to, of those above them, and of its routes' backends with budgets.
    teams: BTreeMap<Uid, TeamQuery>,
}

/// What all of them need.
#[derive(Debug, Default)]
pub(super) struct Needs(BTreeMap<String, Need>);

impl Needs {
    /// Notes what a namespace needs. True: it is something else than before.
    pub(super) fn put(&mut self, namespace: &str, need: Need) -> bool {
        if need == Need::default() {
            return self.0.remove(namespace).is_some();
        }
        let is_new = self.0.get(namespace) != Some(&need);
        self.0.insert(namespace.to_owned(), need);
        is_new
    }

    /// The namespaces whose configs wait for their users.
    pub(super) fn held(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, need)| need.is_held).map(|(namespace, _)| namespace.as_str())
    }

    fn users(&self, scope: &str) -> UsersByName {
        let of_namespaces = self.0.iter().filter_map(|(namespace, need)| Some((namespace.clone(), need.user.clone()?)));
        let mut users: UsersByName = of_namespaces.collect();
        let passwords: BTreeSet<KeyHash> = self.0.values().flat_map(|need| &need.gateway).copied().collect();
        if !passwords.is_empty() {
            users.insert(GATEWAY.to_owned(), User::of_all(scope, GATEWAY, passwords));
        }
        users
    }

    /// What the operator tells of, and only the store knows.
    fn question(&self, scope: &str) -> LedgerQuery {
        let mut teams: BTreeMap<Uid, TeamQuery> = BTreeMap::new();
        for (uid, question) in self.0.values().flat_map(|need| &need.teams) {
            match teams.get_mut(uid) {
                Some(known) => {
                    known.in_tree |= question.in_tree;
                    known.keys.extend(question.keys.iter().map(|(key, budgets)| (key.clone(), budgets.clone())));
                }
                None => drop(teams.insert(uid.clone(), question.clone())),
            }
        }
        let read = self.0.iter().filter(|(_, need)| need.is_read);
        LedgerQuery {
            scope: scope.to_owned(),
            namespaces: read.map(|(namespace, _)| namespace.clone()).collect(),
            teams,
        }
    }
}
