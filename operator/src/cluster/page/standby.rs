//! What a replica that stands by reads of the store while its page is looked at: a Service leads to any replica, and whoever is led to this one
//! is to see users, models and months as well. Budgets are not among it: which ones a key has is found out by reconciling.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::{Notify, watch as channel};
use vectoll_config::{ObjectName, Uid};

use crate::{
    cli::{Run, StoreOptions},
    cluster::{cluster_state::ClusterState, store_secret, watch::StateHandle},
    ledger::{History, LedgerEvent, LedgerQuery, LedgerSnapshot, Reader, TeamQuery},
    resolve::Claims,
    store::Access,
};

/// After the last look the store is asked no more.
const KEPT: Duration = Duration::from_mins(1);
/// How often is looked at what there is to be read, and whether anybody still looks.
const REFRESH_PERIOD: Duration = Duration::from_secs(10);

/// Reads while it is looked at. A handle.
#[derive(Clone)]
pub(super) struct Standby(Arc<Inner>);

#[derive(Default)]
struct Inner {
    heard: Mutex<LedgerSnapshot>,
    looked_at: Mutex<Option<Instant>>,
    looked: Notify,
}

impl Standby {
    /// Begins to wait for somebody who looks. None: there is no store. What is begun ends with the runtime that this is called on.
    pub(super) fn start(
        settings: &Run,
        client: &Client,
        (shared, leads): (StateHandle, channel::Receiver<bool>),
    ) -> Option<(Self, History)> {
        settings.store.store_url.as_ref()?;
        let login = Login {
            options: settings.store.clone(),
            secrets: Api::namespaced(client.clone(), &settings.operator_namespace),
            secret: settings.store_keeping.store_secret.clone(),
            password_from_secret: settings.store_keeping.store_password_from_secret,
        };
        let inner = Arc::new(Inner::default());
        let heard = inner.clone();
        let reader = Reader::start(Arc::new(move |event: LedgerEvent| {
            heard.heard.lock().unwrap_or_else(PoisonError::into_inner).on_event(event);
        }));
        let history = reader.history();
        tokio::spawn(run(reader, inner.clone(), login, shared, leads));
        Some((Self(inner), history))
    }

    /// Somebody looks: what was heard until now.
    pub(super) fn look(&self) -> LedgerSnapshot {
        let Inner { heard, looked_at, looked } = &*self.0;
        *looked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        looked.notify_one();
        heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    fn is_looked_at(&self, now: Instant) -> bool {
        let looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        looked_at.is_some_and(|at| now.duration_since(at) < KEPT)
    }
}

async fn run(reader: Reader, inner: Arc<Inner>, login: Login, shared: StateHandle, mut leads: channel::Receiver<bool>) {
    let mut failing: Option<String> = None;
    loop {
        inner.looked.notified().await;
        while !*leads.borrow_and_update() && inner.is_looked_at(Instant::now()) {
            let access = login.access().await.map_err(|error| format!("{error:#}"));
            match &access {
                Ok(access) => reader.ask(access.clone(), query(&shared.cluster())),
                Err(error) if failing.as_ref() != Some(error) => {
                    tracing::warn!(error, "the page cannot read the store while this replica stands by");
                }
                Err(_) => {}
            }
            failing = access.err();
            tokio::select! {
                () = tokio::time::sleep(REFRESH_PERIOD) => {}
                changed = leads.changed() => if changed.is_err() { return },
            }
        }
        reader.pause();
    }
}

/// How the store is logged in to.
struct Login {
    options: StoreOptions,
    secrets: Api<Secret>,
    secret: String,
    password_from_secret: bool,
}

impl Login {
    async fn access(&self) -> anyhow::Result<Access> {
        let mut access = self.options.read()?.context("no --store-url")?;
        if self.password_from_secret {
            access.password = Some(store_secret::read_existing(&self.secrets, &self.secret).await?.password);
        }
        Ok(access)
    }
}

/// All Teams and their keys, without budgets.
fn query(cluster: &ClusterState) -> LedgerQuery {
    let claims = Claims::of(|| cluster.teams.iter().map(|(_, seen)| &*seen.value.object));
    let key_claims = Claims::of(|| cluster.api_keys.iter().map(|(_, seen)| &*seen.value.object));
    let account_of = |team: &ObjectName| cluster.teams.get(team).map(|seen| claims.account(&seen.value.object).clone());
    let mut teams: BTreeMap<Uid, TeamQuery> =
        cluster.teams.iter().filter_map(|(name, _)| Some((account_of(name)?, TeamQuery::default()))).collect();
    for (name, seen) in cluster.api_keys.iter() {
        let team = &seen.value.object.spec.team_ref;
        let team = ObjectName::new(team.namespace.as_deref().unwrap_or(name.namespace()), &team.name);
        if let Some(of) = account_of(&team).and_then(|account| teams.get_mut(&account)) {
            of.keys.insert(key_claims.account(&seen.value.object).clone(), Vec::new());
        }
    }
    // Acknowledgements are for whoever acts: their scope is nobody's here.
    LedgerQuery { teams, ..LedgerQuery::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use serde_json::json;
    use vectoll_crds::{ApiKey, Team};

    use super::*;
    use crate::cluster::{cluster_state, raw::Raw};

    #[test]
    fn every_team_is_read_with_the_keys_that_name_it() {
        let mut cluster = ClusterState::default();
        for (name, uid) in [("team", "T"), ("empty", "E")] {
            let team: Raw<Team> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team",
                "metadata": {"name": name, "namespace": "apps", "uid": uid}, "spec": {}}))
            .unwrap();
            cluster.teams.put(ObjectName::new("apps", name), 1, cluster_state::tracked(team, None).unwrap());
        }
        for (namespace, uid, team) in [
            ("apps", "K1", json!({"name": "team"})),
            ("web", "K2", json!({"name": "team", "namespace": "apps"})),
            ("web", "K3", json!({"name": "team"})),
        ] {
            let key: Raw<ApiKey> =
                serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
                "metadata": {"name": uid, "namespace": namespace, "uid": uid}, "spec": {"teamRef": team}}))
                .unwrap();
            cluster.api_keys.put(ObjectName::new(namespace, uid), 1, cluster_state::tracked(key, None).unwrap());
        }
        let LedgerQuery { namespaces, teams, .. } = query(&cluster);
        assert!(namespaces.is_empty(), "acknowledgements are not read here");
        let keys = |team: &str| teams[&Uid::new(team)].keys.keys().map(Uid::as_str).collect::<Vec<_>>();
        assert_eq!((keys("T"), keys("E")), (vec!["K1", "K2"], vec![]), "K3 names a Team that is not there");
    }

    #[test]
    fn a_look_lasts_for_a_minute() {
        let standby = Standby(Arc::default());
        let now = Instant::now();
        assert!(!standby.0.is_looked_at(now));
        standby.look();
        assert!(standby.0.is_looked_at(now + KEPT / 2) && !standby.0.is_looked_at(Instant::now() + KEPT));
    }
}
