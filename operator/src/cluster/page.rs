//! What the page is made of, in a cluster: the caches of the watches, and what the store said.

mod standby;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use kube::Client;
use tokio::{net::TcpListener, runtime::Handle, sync::watch as channel, task::JoinHandle};
use vectoll_config::ObjectName;
use vectoll_crds::{ApiKeySpec, ApiKeyStatus, ModelRouteSpec, ModelRouteStatus, Spend, TeamSpec, TeamStatus};

use self::standby::Standby;
use super::{
    cluster_state::ClusterState,
    object_cache::{CacheEntry, ObjectCache},
    tracked::Tracked,
    watch::StateHandle,
};
use crate::{
    cli::Run,
    ledger::{History, LedgerSnapshot},
    page::{self, Access, Facts, KeyValue, Page, Readers, ResourceFacts, Source, Stated},
};

/// Serves the page until `stop`.
pub(super) async fn serve(
    serving: &Handle,
    address: SocketAddr,
    settings: &Run,
    (client, shared, leads): (Client, StateHandle, channel::Receiver<bool>),
    history: Option<History>,
    stop: channel::Receiver<bool>,
) -> anyhow::Result<JoinHandle<()>> {
    let bound = serving.spawn(TcpListener::bind(address)).await.context("the listener of the page did not start")?;
    let listener = bound.with_context(|| format!("failed to listen on {address} (--page-listen)"))?;
    tracing::info!(address = %listener.local_addr()?, "listening for readers of the page");
    let standby = {
        let _on = serving.enter();
        Standby::start(settings, &client, (shared.clone(), leads.clone()))
    };
    let (standby, beside) = standby.unzip();
    let history = history.into_iter().chain(beside).collect();
    let gather = Arc::new(move || {
        let acts = *leads.borrow();
        // Nobody waits for the state longer than it takes to copy handles.
        let mut copied = Copied::of(&shared.cluster());
        if let Some(standby) = standby.as_ref().filter(|_| !acts) {
            copied.ledger = standby.look();
        }
        copied.facts(acts, Timestamp::now())
    });
    let router = page::router(Page { gather, access: Access::Reviewed(Readers::new(client)), history });
    Ok(serving.spawn(page::serve(listener, router, stop)))
}

/// Handles of what the page shows.
struct Copied {
    teams: Vec<Tracked<TeamSpec, TeamStatus>>,
    keys: Vec<Tracked<ApiKeySpec, ApiKeyStatus>>,
    routes: Vec<Tracked<ModelRouteSpec, ModelRouteStatus>>,
    ledger: LedgerSnapshot,
    sidecars: BTreeMap<String, usize>,
}

impl Copied {
    fn of(cluster: &ClusterState) -> Self {
        let mut sidecars = BTreeMap::<String, usize>::new();
        for (name, _) in cluster.pods.iter().filter(|(_, seen)| seen.value.lives) {
            *sidecars.entry(name.namespace().to_owned()).or_default() += 1;
        }
        Self {
            teams: all(&cluster.teams),
            keys: all(&cluster.api_keys),
            routes: all(&cluster.routes),
            ledger: cluster.books.clone(),
            sidecars,
        }
    }

    fn facts(self, acts: bool, at: Timestamp) -> Facts {
        let Self { teams, keys, routes, ledger, sidecars } = self;
        let mut facts = Facts { at, source: Source::of(&ledger, acts), ledger, sidecars, ..Facts::default() };
        for key in keys {
            if let Some(status) = &key.status {
                facts.values.insert(key.object.name.clone(), value(status));
            }
            facts.keys.push(resource_facts(&key, |status| (&*status.conditions, status.spend.as_ref())));
        }
        for team in teams {
            facts.teams.push(resource_facts(&team, |status| (&*status.conditions, status.spend.as_ref())));
        }
        for route in routes {
            if let Some(status) = &route.status {
                facts.owed.insert(route.object.name.clone(), owed(status));
            }
            facts.routes.push(resource_facts(&route, |status| (&*status.conditions, None)));
        }
        facts
    }
}

fn all<S, T>(cache: &ObjectCache<Tracked<S, T>>) -> Vec<Tracked<S, T>> {
    let handles = |(_, seen): (&ObjectName, &CacheEntry<Tracked<S, T>>)| {
        let Tracked { object, generation, status, adopts, unreadable, labels } = &seen.value;
        Tracked {
            object: object.clone(),
            generation: *generation,
            status: status.clone(),
            adopts: *adopts,
            unreadable: unreadable.clone(),
            labels: labels.clone(),
        }
    };
    cache.iter().map(handles).collect()
}

fn resource_facts<S, T>(of: &Tracked<S, T>, said: fn(&T) -> (&[ApiCondition], Option<&Spend>)) -> ResourceFacts<S> {
    let (conditions, spend) = of.status.as_deref().map_or((&[][..], None), said);
    ResourceFacts {
        conditions: conditions.iter().map(Stated::from).collect(),
        spend: spend.cloned(),
        object: of.object.clone(),
    }
}

fn value(status: &ApiKeyStatus) -> KeyValue {
    KeyValue {
        secret: status.secret_name.clone(),
        hint: status.key_hint.clone(),
        next_rotation: status.next_rotation.as_ref().map(|at| at.0),
    }
}

fn owed(status: &ModelRouteStatus) -> Vec<(String, Spend)> {
    status.backends.iter().map(|backend| (backend.name.clone(), backend.spend.clone())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use serde_json::json;
    use vectoll_crds::{ApiKey, Team};

    use super::*;
    use crate::cluster::{cluster_state, raw::Raw};

    #[test]
    fn what_stands_in_statuses_is_what_a_replica_that_stands_by_shows() {
        let mut cluster = ClusterState::default();
        let condition = json!({"type": "Ready", "status": "False", "reason": "TeamNotFound", "message": "there is none",
            "lastTransitionTime": "2026-11-30T09:00:00Z"});
        let key: Raw<ApiKey> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
            "metadata": {"name": "alice", "namespace": "apps", "uid": "K"}, "spec": {"teamRef": {"name": "team"}},
            "status": {"conditions": [condition], "keyHint": "abcd", "secretName": "alice",
                "spend": {"amount": "1.00", "updatedAt": "2026-11-30T09:59:00Z"}}}))
        .unwrap();
        let team: Raw<Team> = serde_json::from_value(json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team",
            "metadata": {"name": "team", "namespace": "apps", "uid": "T"}, "spec": {}}))
        .unwrap();
        let (key_name, team_name) = (ObjectName::new("apps", "alice"), ObjectName::new("apps", "team"));
        cluster.api_keys.put(key_name.clone(), 1, cluster_state::tracked(key, None).unwrap());
        cluster.teams.put(team_name, 1, cluster_state::tracked(team, None).unwrap());
        cluster.books.acknowledgements = crate::ledger::Acknowledgements::NotYet;
        let facts = Copied::of(&cluster).facts(false, Timestamp::UNIX_EPOCH);
        assert_eq!((facts.keys.len(), facts.teams.len(), facts.source), (1, 1, Source::StandsBy));
        assert_eq!(facts.keys[0].conditions[0].reason, "TeamNotFound");
        assert_eq!(facts.keys[0].spend.as_ref().unwrap().amount, "1.00");
        assert_eq!(facts.values[&key_name].hint.as_deref(), Some("abcd"));
        assert!(facts.teams[0].conditions.is_empty(), "nobody has looked at it yet");
    }
}
