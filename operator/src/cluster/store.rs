//! The store in a cluster: who may log in, and what configs say of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{metrics::StoreMetrics, observed::Observed, store_secret, totals::TotalFamilies, watch::Shared};
use crate::{
    books::{Heard, Question, Reader},
    cli::{Run, StoreOptions},
    judge::Judgement,
    store::{
        Access, Keeper, Logins, Master, Memory, NamespaceStore, Password, Rotation, Standing, Sweeper, Swept, User,
        Valid, Wanted, sweep::Census,
    },
    world::{Counting, World},
};

/// Trouble that lasts so long is told of in the statuses.
const TOLD_AFTER: Duration = Duration::from_secs(30);
/// How often the sweeper is told what there is.
const CENSUS_EVERY: Duration = Duration::from_mins(1);

/// The operator's side of the store.
pub(super) struct Store {
    options: StoreOptions,
    secrets: Api<Secret>,
    secret: String,
    password_from_secret: bool,
    scope: String,
    rotation: Rotation,
    keeper: Keeper,
    reader: Reader,
    sweeper: Sweeper,
    retention: Duration,
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
        shared: &Shared,
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
        let to_hear = shared.clone();
        let heard = Arc::new(move |heard: Heard| {
            let is_news = to_hear.observed().books.hear(heard);
            if is_news {
                to_hear.ring();
            }
        });
        let (for_gauge, for_sweeper) = (metrics.clone(), metrics.clone());
        let shared = shared.clone();
        let report = Box::new(move |standing: &Standing| {
            metrics.stands(standing);
            shared.ring();
        });
        Ok(Some(Self {
            options: store.clone(),
            secrets: Api::namespaced(client.clone(), &settings.operator_namespace),
            secret: store_keeping.store_secret.clone(),
            password_from_secret: store_keeping.store_password_from_secret,
            scope,
            rotation: store_keeping.rotation()?,
            keeper: Keeper::start(report, Box::new(move |memory: Memory| for_gauge.weighs(memory))),
            sweeper: Sweeper::start(Arc::new(move |swept: &Swept| for_sweeper.swept(swept))),
            retention: store_keeping.retention()?,
            counted: Mutex::new(None),
            reader: Reader::start(heard),
            known: None,
        }))
    }

    /// Reads the files, and makes or reads the Secret.
    pub(super) async fn prepare(&mut self) -> anyhow::Result<()> {
        let mut access = self.options.read()?.context("no --store-url")?;
        let content = match self.known.take() {
            Some((_, content)) => content,
            None => store_secret::read_or_make(&self.secrets, &self.secret).await?,
        };
        if self.password_from_secret {
            access.password = Some(content.password.clone());
        }
        self.known = Some((access, content));
        Ok(())
    }

    /// How sidecars count.
    pub(super) fn counting(&self) -> Counting {
        match self.keeper.standing() {
            Standing::Trouble { since, busy } if since.elapsed() >= TOLD_AFTER => {
                if busy {
                    Counting::Busy
                } else {
                    Counting::Unreachable
                }
            }
            // It was full when that was looked at: nothing passes by itself.
            Standing::Good { users: _, count: _, full: Some(_) } => Counting::Full,
            Standing::Unknown
            | Standing::Good { users: _, count: _, full: None }
            | Standing::Trouble { since: _, busy: _ } => Counting::Together,
        }
    }

    /// Has the users kept that the sidecars need. None before it is prepared.
    pub(super) fn look(
        &self,
        observed: &Observed,
        world: &World,
        judgement: &Judgement,
        now: Timestamp,
    ) -> Option<Delivery> {
        let (access, content) = self.known.as_ref()?;
        let users = Arc::new(self.users(&content.master, (observed, world), judgement, now));
        self.keeper.keep(access.clone(), &self.scope, users.clone());
        self.reader.ask(access.clone(), question(&self.scope, observed, judgement));
        self.count(access, observed, world);
        let standing = self.keeper.standing();
        let is_held = |namespace: &&String| standing.is_about_to_have(namespace, users.get(*namespace));
        let held = users.keys().filter(is_held).cloned().collect();
        let logins = Logins::PerNamespace {
            access: access.clone(),
            scope: self.scope.clone(),
            master: content.master.clone(),
            rotation: self.rotation,
        };
        Some(Delivery { logins, held, now })
    }

    /// Tells the sweeper what there is. Who calls this has listed everything.
    fn count(&self, access: &Access, observed: &Observed, world: &World) {
        let is_urgent = matches!(self.keeper.standing(), Standing::Good { users: _, count: _, full: Some(_) });
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.is_some_and(|(at, was)| at.elapsed() < CENSUS_EVERY && was == is_urgent) {
            return;
        }
        *counted = Some((Instant::now(), is_urgent));
        let pods = observed.pods.iter().map(|(name, _)| name.namespace());
        let keys = world.api_keys.keys().map(vectoll_config::ObjectName::namespace);
        let census = Census {
            scope: self.scope.clone(),
            teams: world.teams.values().map(|team| team.uid.to_string()).collect(),
            keys: world.api_keys.values().map(|key| key.uid.to_string()).collect(),
            namespaces: pods.chain(keys).map(str::to_owned).collect(),
            retention_ms: u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX),
            is_urgent,
        };
        self.sweeper.sweep(access.clone(), census);
    }

    fn users(
        &self,
        master: &Master,
        (observed, world): (&Observed, &World),
        judgement: &Judgement,
        now: Timestamp,
    ) -> Wanted {
        // Pods that are about to go still book their last calls.
        let running = observed.pods.iter().filter(|(_, seen)| seen.value.runs);
        let namespaces: BTreeSet<&str> = running.map(|(name, _)| name.namespace()).collect();
        let user = |namespace: &str| {
            let Valid { current, previous } = self.rotation.valid(master, namespace, now);
            let passwords = [Some(current), previous].into_iter().flatten().map(|password: Password| password.hash());
            let limited = judgement.limited_in(world, namespace, &self.scope);
            let accounts = judgement.teams_in(namespace).chain(&limited);
            (namespace.to_owned(), User::of(&self.scope, namespace, accounts, passwords))
        };
        namespaces.into_iter().map(user).collect()
    }

    /// When passwords change next.
    pub(super) fn next(&self, now: Timestamp) -> Timestamp {
        self.rotation.next(now)
    }

    /// Another replica acts now.
    pub(super) fn rest(&mut self) {
        self.keeper.rest();
        self.reader.rest();
        self.sweeper.rest();
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.known = None;
    }
}

/// What the operator tells of, and only the store knows.
fn question(scope: &str, observed: &Observed, judgement: &Judgement) -> Question {
    let pods = observed.pods.iter().map(|(name, _)| name.namespace());
    let namespaces = pods.chain(observed.api_keys.iter().map(|(name, _)| name.namespace()));
    let namespaces: BTreeSet<&str> = namespaces.collect();
    Question {
        scope: scope.to_owned(),
        namespaces: namespaces.into_iter().map(str::to_owned).collect(),
        teams: judgement.accounts(),
    }
}
