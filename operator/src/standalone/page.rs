//! The page over a folder of manifests: what the last pass made of it, and, with a store, what was spent.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use vectoll_config::ObjectName;

use crate::{
    desired_state::DesiredState,
    ledger::{LedgerEvent, LedgerQuery, Reader},
    observed_state::{Kind, Object, ObservedState, ResourceRef},
    page::{self, Access, Facts, KeyValue, Page, ResourceFacts, Source, Stated},
    store::Logins,
};

/// What tells operators apart in a store: there is none here, as the sidecar has none.
const SCOPE: &str = "";

/// The page, for as long as this is there.
pub(super) struct Served {
    facts: Arc<Mutex<Facts>>,
    /// None: there is no store.
    reader: Option<Reader>,
    task: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Served {
    /// Listens. Before the first pass there is nothing to be seen.
    pub(super) async fn start(address: SocketAddr, has_store: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {address} (--page-listen)"))?;
        let address = listener.local_addr()?;
        let facts = Arc::new(Mutex::new(Facts::default()));
        let heard = facts.clone();
        let on_event = Arc::new(move |event: LedgerEvent| {
            let mut facts = heard.lock().unwrap_or_else(PoisonError::into_inner);
            facts.ledger.on_event(event);
        });
        let reader = has_store.then(|| Reader::start(on_event));
        let read = facts.clone();
        let gather = Arc::new(move || {
            let facts = read.lock().unwrap_or_else(PoisonError::into_inner);
            Facts { at: Timestamp::now(), source: Source::of(&facts.ledger, true), ..facts.clone() }
        });
        let history = reader.iter().map(Reader::history).collect();
        let (stop, stopped) = watch::channel(false);
        let router = page::router(Page { gather, access: Access::Loopback, history });
        let task = tokio::spawn(page::serve(listener, router, stopped));
        tracing::info!(url = format!("http://{address}/page/"), "the page is served");
        Ok(Self { facts, reader, task, _stop: stop })
    }

    /// Takes over what a pass made of the folder, and has the store read accordingly.
    pub(super) fn publish(&self, observed: &ObservedState, desired: &DesiredState, logins: Option<&Logins>) {
        if let (Some(reader), Some(Logins::Given(access))) = (&self.reader, logins) {
            reader.ask(access.clone(), query(observed, desired));
        }
        let new = facts(observed, desired);
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = std::mem::take(&mut facts.ledger);
        *facts = Facts { ledger, ..new };
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is to be read of the store.
fn query(observed: &ObservedState, desired: &DesiredState) -> LedgerQuery {
    let mut teams = desired.accounts();
    let namespaces: BTreeSet<&str> = observed.routes.keys().map(ObjectName::namespace).collect();
    for namespace in namespaces {
        teams.extend(desired.owed_in(namespace, SCOPE));
    }
    LedgerQuery { scope: SCOPE.to_owned(), namespaces: BTreeSet::new(), teams }
}

/// What is known of the folder.
fn facts(observed: &ObservedState, desired: &DesiredState) -> Facts {
    let mut facts = Facts { sidecars: observed.sidecars.clone(), ..Facts::default() };
    for key in observed.api_keys.values() {
        if let Some(resolved) = desired.key(&key.name) {
            let value = KeyValue {
                secret: resolved.value.secret.as_ref().map(|secret| secret.name().to_owned()),
                hint: resolved.value.hint.clone(),
                next_rotation: resolved.value.next_rotation,
            };
            facts.values.insert(key.name.clone(), value);
        }
        facts.keys.push(resource_facts(Kind::ApiKey, key, desired));
    }
    facts.teams = observed.teams.values().map(|team| resource_facts(Kind::Team, team, desired)).collect();
    facts.routes = observed.routes.values().map(|route| resource_facts(Kind::ModelRoute, route, desired)).collect();
    facts
}

fn resource_facts<S>(kind: Kind, object: &Arc<Object<S>>, desired: &DesiredState) -> ResourceFacts<S> {
    let conditions = desired.conditions.get(&ResourceRef { kind, name: object.name.clone() });
    let conditions = conditions.into_iter().flatten().map(Stated::from).collect();
    ResourceFacts { object: object.clone(), conditions, spend: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use vectoll_config::Uid;

    use super::*;
    use crate::desired_state::desired_state;

    #[test]
    fn the_folder_is_shown_with_the_conditions_of_the_last_pass() {
        let (team, key) = (ObjectName::new("default", "team"), ObjectName::new("default", "alice"));
        let mut observed = ObservedState::default();
        let spec = serde_yaml::from_str("{teamRef: {name: nowhere}}").unwrap();
        observed.api_keys.insert(key.clone(), Object::new(key, Uid::new("K"), spec).into());
        let spec = serde_yaml::from_str("{budget: {limit: '1', period: Daily}}").unwrap();
        observed.teams.insert(team.clone(), Object::new(team, Uid::new("T"), spec).into());
        let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
        let facts = facts(&observed, &desired);
        assert_eq!((facts.keys.len(), facts.teams.len(), facts.routes.len()), (1, 1, 0));
        let ready = facts.keys[0].conditions.iter().find(|condition| condition.kind == "Ready").unwrap();
        assert_eq!((&*ready.status, &*ready.reason), ("False", "TeamNotFound"));
        assert_eq!(facts.source, Source::NoStore);
    }
}
