#![allow(clippy::unwrap_used, reason = "tests")]
use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use vectoll_config::Uid;
use vectoll_crds::{ApiKeySpec, ModelRouteSpec, TeamSpec};

use super::*;
use crate::{
    condition::Status,
    desired_state::desired_state,
    observed_state::{Kind, Object, ResourceRef},
    reachable_models::reachable_models,
};

fn object<S: serde::de::DeserializeOwned>(name: &ObjectName, spec: &str) -> Arc<Object<S>> {
    let spec = serde_yaml::from_str(spec).unwrap();
    Object::new(name.clone(), Uid::new(&name.to_string()), spec).into()
}

/// A Team of `platform` that `shop` and `web` use, and routes in all three and in `models`.
struct World(ObservedState);

impl World {
    fn new() -> Self {
        Self(ObservedState::default())
    }

    fn team(mut self, spec: &str) -> Self {
        let name = ObjectName::new("platform", "team");
        self.0
            .teams
            .insert(name.clone(), object::<TeamSpec>(&name, &format!("{{allowedNamespaces: {{from: All}}, {spec}}}")));
        self
    }

    fn key(mut self, namespace: &str, spec: &str) -> Self {
        let name = ObjectName::new(namespace, "key");
        let hash = vectoll_config::KeyHash::of(namespace.as_bytes());
        let spec = format!("{{teamRef: {{name: team, namespace: platform}}, keyHash: 'sha256:{hash}'{spec}}}");
        self.0.api_keys.insert(name.clone(), object::<ApiKeySpec>(&name, &spec));
        self
    }

    fn route(mut self, namespace: &str, models: &str, allowed: &str) -> Self {
        let name = ObjectName::new(namespace, "route");
        let spec = format!(
            "{{models: {models}, allowedNamespaces: {{from: {allowed}}}, backends: [{{name: a, builtin: {{}}}}]}}"
        );
        self.0.routes.insert(name.clone(), object::<ModelRouteSpec>(&name, &spec));
        self
    }

    /// Whether a condition of a resource holds, why, and what is said.
    fn condition(&self, kind: Kind, namespace: &str, of: ConditionType) -> Option<(Status, &'static str, String)> {
        let mut observed = self.0.clone();
        let reachable = |namespace: &str| {
            let keys = observed.api_keys.iter().filter(|(name, _)| name.namespace() == namespace);
            let team = |name: &ObjectName| observed.teams.get(name).map(|team| &team.spec);
            reachable_models(namespace, &BTreeMap::new(), keys.map(|(_, key)| &key.spec), team)
        };
        observed.reachable_models = Some(["shop", "web", "platform"].map(|of| (of.to_owned(), reachable(of))).into());
        let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
        let name = match kind {
            Kind::ApiKey => "key",
            Kind::Team => "team",
            Kind::ModelRoute => "route",
        };
        let found = desired.conditions.get(&ResourceRef { kind, name: ObjectName::new(namespace, name) }).unwrap();
        let ready = found.iter().find(|found| found.kind == ConditionType::Ready).unwrap();
        assert_eq!(ready.status, Status::True, "it says nothing of Ready: {found:?}");
        let found = found.iter().find(|found| found.kind == of)?;
        Some((found.status, found.reason, found.message.to_string()))
    }

    fn of_key(&self) -> Option<(Status, &'static str, String)> {
        self.condition(Kind::ApiKey, "shop", ConditionType::ModelsMatched)
    }

    fn of_team(&self) -> Option<(Status, &'static str, String)> {
        self.condition(Kind::Team, "platform", ConditionType::ModelsMatched)
    }

    fn of_route(&self, namespace: &str) -> (&'static str, String) {
        let (status, reason, message) = self.condition(Kind::ModelRoute, namespace, ConditionType::Reachable).unwrap();
        assert_eq!(status == Status::True, reason == "Reachable");
        (reason, message)
    }
}

#[test]
fn the_names_of_a_keys_list_that_match_nothing_are_told() {
    let world = |models: &str, list: &str| {
        World::new()
            .team(&format!("routeNamespaces: [models]{list}"))
            .key("shop", models)
            .route("models", "['text-*', large]", "All")
            .route("platform", "[private]", "Same")
            .route("shop", "[own]", "Same")
    };
    assert_eq!(world("", "").of_key(), None, "without a list there is nothing to match");
    let all = world(", models: [text-embedding-3-small, 'te*', 'text-e*', large, own]", "").of_key().unwrap();
    assert_eq!(all, (Status::True, "ModelsMatched", String::new()));
    let (status, reason, message) = world(", models: [larg, own, private, 'x*']", "").of_key().unwrap();
    assert_eq!((status, reason), (Status::False, "NoMatch"));
    assert_eq!(
        message,
        "spec.models: larg, private, x* are of no ModelRoute that this key can reach: a misspelt name, or a route that is missing or not \
         shared"
    );
    let (_, _, message) = world(", models: [large, own, larg]", ", models: ['own']").of_key().unwrap();
    assert!(message.starts_with("spec.models: larg is of no ModelRoute"), "{message}");
    assert!(message.contains("; large is not among the models of its Team: "), "{message}");
}

#[test]
fn long_lists_are_cut() {
    let many: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    let world = World::new().team("").key("shop", &format!(", models: [{}]", many.join(", ")));
    let (_, _, message) = world.of_key().unwrap();
    assert!(message.contains("m8, m9, … (30 more) are of no ModelRoute") && !message.contains("m10"), "{message}");
}

#[test]
fn a_teams_list_counts_what_any_of_its_namespaces_can_reach() {
    let world = |list: &str| {
        World::new()
            .team(&format!("routeNamespaces: [models], models: {list}"))
            .key("shop", "")
            .key("web", "")
            .route("models", "[shared]", "All")
            .route("platform", "[private]", "Same")
            .route("shop", "[of-the-shop]", "Same")
            .route("elsewhere", "[strange]", "All")
    };
    assert_eq!(World::new().team("").of_team(), None);
    assert_eq!(world("[shared, 'of-the*']").of_team().unwrap().1, "ModelsMatched");
    let (status, _, message) = world("[shared, private, strange, of-the-shop]").of_team().unwrap();
    assert_eq!(status, Status::False);
    assert!(
        message.starts_with("spec.models: private, strange are of no ModelRoute that keys of this Team can reach: "),
        "{message}"
    );
    // Where each namespace is looked at by itself, the routes of the users' are known by what they serve.
    let mut world = world("[of-the-shop]");
    world.0.routes.remove(&ObjectName::new("shop", "route"));
    assert_eq!(world.of_team().unwrap().1, "NoMatch");
    let serves = ModelSet::of_list(Some(&["of-the-shop".to_owned()]));
    world.0.served_elsewhere.insert("shop".to_owned(), serves.into());
    assert_eq!(world.of_team().unwrap().1, "ModelsMatched");
    // A Team that nobody uses yet is held against what its own namespace has.
    let unused = World::new().team("models: [private]").route("platform", "[private]", "Same");
    assert_eq!(unused.of_team().unwrap().1, "ModelsMatched");
}

#[test]
fn a_route_that_no_key_can_reach_says_why() {
    let world = |allowed: &str, key: &str| {
        World::new().team("routeNamespaces: [models]").key("shop", key).route("models", "['text-*']", allowed)
    };
    assert_eq!(world("All", "").of_route("models").0, "Reachable");
    assert_eq!(world("All", ", models: [text-embedding-3-small]").of_route("models").0, "Reachable");
    assert_eq!(world("All", ", suspended: true").of_route("models").0, "Reachable");
    let (reason, message) = world("Same", "").of_route("models");
    assert_eq!(reason, "NotAllowed");
    assert!(message.contains("spec.allowedNamespaces") && !message.contains("shop"), "{message}");
    assert_eq!(world("All", ", models: [other]").of_route("models").0, "NotListed");
    let lonely = world("All", "").route("lonely", "[a]", "All");
    assert_eq!(lonely.of_route("lonely").0, "NoKeys");
    let unknown = {
        let World(observed) = lonely;
        desired_state(&observed, Timestamp::UNIX_EPOCH)
    };
    let of = ResourceRef { kind: Kind::ModelRoute, name: ObjectName::new("lonely", "route") };
    let found = unknown.conditions.get(&of).unwrap();
    assert!(found.iter().all(|found| found.kind != ConditionType::Reachable), "nothing is said where nobody knows");
}
