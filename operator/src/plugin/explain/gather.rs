//! What the answer is made of: the key, its Team and those above, and the routes that they look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, Client};
use vectoll_config::{
    KeyHash, ModelPattern, ObjectName, read_v1,
    v1::{self, MAX_TREE_DEPTH},
};
use vectoll_crds::{ApiKey, ApiKeySpec, ApiKeyStatus, ModelRoute, ModelRouteStatus, Team, TeamStatus};

use crate::{
    cluster::Tracked,
    inject::CONFIG_SECRET,
    observed_state::{Kind, Object, ObservedState, ResourceRef, UnreadableResource},
    plugin::{
        connect::Place,
        failure::{Failure, Request},
        objects::{get, get_opt, list},
    },
};

/// A status, the generation of the resource, and what was said of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported<S> {
    pub(super) generation: Option<i64>,
    pub(super) status: Option<Arc<S>>,
}

/// A key, and all that decides about its calls: as far as the user may read it.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyContext {
    /// As the operator would see it, with a hash in place of the key's value.
    pub(super) observed: ObservedState,
    pub(super) key: Reported<ApiKeyStatus>,
    pub(super) teams: BTreeMap<ObjectName, Reported<TeamStatus>>,
    pub(super) routes: BTreeMap<ObjectName, Reported<ModelRouteStatus>>,
    /// What the sidecars of the key's namespace have been told, for whoever may read its Secret.
    pub(super) in_force: Option<v1::Config>,
    /// What the user may not read, and what follows.
    pub(super) unseen: Vec<String>,
}

impl KeyContext {
    /// A backend as it was delivered; none: it was not, or that may not be read.
    pub(super) fn delivered(&self, route: &ObjectName, name: &ModelPattern, backend: &str) -> Option<&v1::Backend> {
        let routes = &self.in_force.as_ref()?.routes;
        let found = routes.iter().find(|found| found.name == *route && found.models.contains(name))?;
        found.backends.iter().find(|found| found.name == backend)
    }

    pub(super) fn put_key(&mut self, key: &Tracked<ApiKeySpec, ApiKeyStatus>) {
        let name = key.object.name.clone();
        self.key = Reported { generation: key.generation, status: key.status.clone() };
        self.unreadable(Kind::ApiKey, &name, key.unreadable.as_ref());
        self.observed.api_keys.insert(name, Arc::new(without_value(&key.object)));
    }

    pub(super) fn put_team(&mut self, team: &Tracked<vectoll_crds::TeamSpec, TeamStatus>) {
        let name = team.object.name.clone();
        let reported = Reported { generation: team.generation, status: team.status.clone() };
        self.unreadable(Kind::Team, &name, team.unreadable.as_ref());
        self.teams.insert(name.clone(), reported);
        self.observed.teams.insert(name, team.object.clone());
    }

    pub(super) fn put_route(&mut self, route: &Tracked<vectoll_crds::ModelRouteSpec, ModelRouteStatus>) {
        let name = route.object.name.clone();
        let reported = Reported { generation: route.generation, status: route.status.clone() };
        self.unreadable(Kind::ModelRoute, &name, route.unreadable.as_ref());
        self.routes.insert(name.clone(), reported);
        self.observed.routes.insert(name, route.object.clone());
    }

    fn unreadable(&mut self, kind: Kind, name: &ObjectName, unreadable: Option<&UnreadableResource>) {
        let of = ResourceRef { kind, name: name.clone() };
        self.observed.unreadable_resources.extend(unreadable.map(|unreadable| (of, unreadable.clone())));
    }

    /// What is not seen is told, and nothing fails.
    fn seen<T>(&mut self, found: Result<T, Failure>, follows: &str) -> Result<Option<T>, Failure> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_forbidden() => {
                self.unseen.push(format!("{failure}. {follows}"));
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// The key as if only its hash were known: then nothing of it depends on a Secret.
fn without_value(key: &Object<ApiKeySpec>) -> Object<ApiKeySpec> {
    let hash = KeyHash::of(key.uid.as_str().as_bytes());
    let spec = ApiKeySpec {
        secret_name: None,
        secret_ref: None,
        rotation: None,
        key_hash: Some(format!("sha256:{hash}")),
        ..key.spec.clone()
    };
    Object { rotate: None, spec, ..key.clone() }
}

/// Reads it.
pub(super) async fn gather(client: &Client, key: &ObjectName) -> Result<KeyContext, Failure> {
    let mut context = KeyContext::default();
    let found = get::<ApiKey>(client, key.namespace(), key.name()).await?;
    context.put_key(&found);
    let of = &found.object.spec.team_ref;
    let mut next = Some(ObjectName::new(of.namespace.as_deref().unwrap_or(key.namespace()), &of.name));
    let mut namespaces = BTreeSet::from([key.namespace().to_owned()]);
    let mut searched = namespaces.clone();
    while let Some(name) = next.take() {
        if context.teams.len() > MAX_TREE_DEPTH || context.teams.contains_key(&name) {
            break;
        }
        let team = get_opt::<Team>(client, name.namespace(), name.name()).await;
        let follows = "What that Team allows is not known, and without it the key seems to belong to none";
        let Some(Some(team)) = context.seen(team, follows)? else { break };
        if context.teams.is_empty() {
            searched.insert(name.namespace().to_owned());
            searched.extend(team.object.spec.route_namespaces.iter().cloned());
        }
        namespaces.insert(name.namespace().to_owned());
        let parent = team.object.spec.parent_ref.as_ref();
        next =
            parent.map(|parent| ObjectName::new(parent.namespace.as_deref().unwrap_or(name.namespace()), &parent.name));
        context.put_team(&team);
    }
    for namespace in &searched {
        let routes = list::<ModelRoute>(client, &Place::Namespace(namespace.clone())).await;
        let routes = context.seen(routes, "The routes there are not known, and one of them may be the right one")?;
        for route in routes.iter().flatten() {
            context.put_route(route);
        }
    }
    context.in_force = in_force(client, key.namespace()).await?;
    // Whom a resource allows may go by labels.
    for namespace in &namespaces {
        let labels = labels(client, namespace).await;
        let labels = context.seen(labels, "Whether something is shared with it by its labels is not known")?;
        if let Some(labels) = labels {
            context.observed.namespaces.insert(namespace.clone(), labels);
        }
    }
    Ok(context)
}

/// The config of the namespace's sidecars, of which the prices are of interest. Most people may not read it: then it is not said.
async fn in_force(client: &Client, namespace: &str) -> Result<Option<v1::Config>, Failure> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let request = || Request::get("secrets", Some(namespace), CONFIG_SECRET);
    match Failure::or_none(api.get(CONFIG_SECRET).await.map_err(|error| Failure::of(error, request()))) {
        Ok(found) => {
            let file = found.and_then(|secret| secret.data?.remove(v1::FILE));
            Ok(file.and_then(|file| read_v1(std::str::from_utf8(&file.0).ok()?).ok()))
        }
        Err(failure) if failure.is_forbidden() => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn labels(client: &Client, namespace: &str) -> Result<BTreeMap<String, String>, Failure> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get(namespace).await;
    let found = found.map_err(|error| Failure::of(error, Request::get("namespaces", None, namespace)))?;
    Ok(found.metadata.labels.unwrap_or_default())
}
