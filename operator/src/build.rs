//! The contract for one namespace, and the credentials that go with it. Everything was decided before; nothing here can
//! fail.

mod backend;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vectoll_config::{ObjectName, v1, write_gateway_v1};

use self::backend::{backend_of, is_complete};
use crate::{
    delivery::{Carrier, GATEWAY_CA_FILE, GatewayCa, GatewayPlace},
    observed_state::ObservedState,
    resolve::{Lineages, ResolvedKey, ResolvedRoute, searched, seen},
    store::NamespaceStore,
    validate::{ValidTeam, of_contract},
};

/// What is written for a namespace.
#[derive(Clone, PartialEq)]
pub struct NamespaceConfig {
    /// The contract, its generation not set yet.
    pub config: v1::Config,
    /// Credential files, by name.
    pub credentials: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for NamespaceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The credentials stay unseen.
        let files: Vec<&String> = self.credentials.keys().collect();
        f.debug_struct("NamespaceConfig").field("config", &self.config).field("credentials", &files).finish()
    }
}

/// Whom a namespace's config is for, and whether it has the credentials of providers and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A gateway, which has all of them, also of routes that sidecars pass on.
    Gateway,
    /// Sidecars run there.
    Deliver,
    /// None does: whoever can read Secrets there has no need of them.
    Withhold,
    /// Sidecars run there, and none of them is to have any: their routes keep their names only, and nobody is called.
    GatewayOnly,
}

/// Builds a namespace's config from the keys in it.
pub(crate) fn build(
    namespace: &str,
    observed: &ObservedState,
    (teams, lineages): (&BTreeMap<ObjectName, Arc<ValidTeam>>, &Lineages),
    keys: &[ResolvedKey],
    routes: &[Arc<ResolvedRoute>],
    delivery: Credentials,
    store: Option<NamespaceStore>,
) -> NamespaceConfig {
    let own: BTreeSet<&ObjectName> = keys.iter().map(|key| &key.key.team).collect();
    let used = lineages.with_above(own.iter().copied());
    let teams: Vec<v1::Team> =
        used.iter().filter_map(|name| teams.get(name)).map(|team| team_of(team, namespace)).collect();
    // Those above are no place where keys look for routes.
    let looking = teams.iter().filter(|team| own.contains(&team.name));
    let searched = looking.flat_map(|team| team.route_namespaces.iter().map(String::as_str)).collect();
    let mut credentials = BTreeMap::new();
    let mut passed_on = Vec::new();
    let mut built = Vec::new();
    for route in seen(namespace, observed, &searched, routes) {
        let carrier = match delivery {
            // What reads this carries all of them out.
            Credentials::Gateway => Carrier::Sidecars,
            Credentials::Deliver | Credentials::Withhold | Credentials::GatewayOnly => {
                observed.carrier(namespace, route.carrier)
            }
        };
        match carrier {
            Carrier::Sidecars => built.extend(route_of(route, observed, &mut credentials)),
            Carrier::Gateway => {
                passed_on.push(v1::PassedOn { name: route.name.clone(), timeout_seconds: longest(route) });
                built.push(names_of(route));
            }
            Carrier::Nobody => built.push(names_of(route)),
        }
    }
    credentials.extend(gateway_files(observed, passed_on));
    let store = store.map(|NamespaceStore { section, files }| {
        credentials.extend(files);
        section
    });
    let mut config = v1::Config {
        version: v1::Version::V1,
        generation: 0,
        namespace: namespace.to_owned(),
        store,
        teams,
        keys: keys.iter().map(key_of).collect(),
        routes: built,
        complete: v1::Complete,
    };
    match delivery {
        Credentials::Gateway | Credentials::Deliver => {}
        Credentials::Withhold => credentials.clear(),
        Credentials::GatewayOnly => {
            credentials.clear();
            config.store = None;
            for route in &mut config.routes {
                route.backends.clear();
            }
        }
    }
    NamespaceConfig { config, credentials }
}

fn team_of(team: &ValidTeam, namespace: &str) -> v1::Team {
    let ValidTeam {
        name,
        account,
        parent,
        allowed_namespaces: _,
        route_namespaces: _,
        models,
        limits,
        max_tokens_per_call,
        model_limits,
        tag_limits,
        user_limits,
        budgets,
        user_budgets,
        namespace_limits,
        namespace_budgets,
        key_defaults: _,
        key_bounds: _,
        max_users,
        on_store_failure,
        tags,
        suspended,
    } = team.clone();
    let search = searched(team, namespace);
    // What is limited is counted.
    let mut tags = tags;
    let limited = tag_limits.iter().map(|entry| entry.tag.to_string()).filter(|tag| !tags.contains(tag));
    tags.extend(limited.collect::<Vec<_>>());
    let is_guest = name.namespace() != namespace;
    let (budget, budgets) = of_contract(budgets.into_iter().map(|valid| valid.budget));
    let (user_budget, user_budgets) = of_contract(user_budgets);
    // Whoever may write in the Team's own namespace may write the Team: a limit there would hold nobody.
    let (namespace_budget, namespace_budgets) = of_contract(namespace_budgets.into_iter().filter(|_| is_guest));
    let foreign_routes = is_guest && !team.route_namespaces.iter().any(|listed| listed == namespace);
    v1::Team {
        name,
        uid: account,
        parent,
        suspended,
        route_namespaces: search,
        models,
        limits,
        max_tokens_per_call,
        model_limits,
        tag_limits,
        user_limits,
        budget,
        budgets,
        user_budget,
        user_budgets,
        namespace_limits: if is_guest { namespace_limits } else { v1::Limits::default() },
        namespace_budget,
        namespace_budgets,
        foreign_routes,
        max_users,
        on_store_failure,
        tags,
    }
}

fn key_of(resolved: &ResolvedKey) -> v1::Key {
    let ResolvedKey { key, value } = resolved.clone();
    let mut credentials = vec![v1::Credential { sha256: value.hash, expires_at: None }];
    credentials.extend(
        value
            .previous
            .iter()
            .map(|previous| v1::Credential { sha256: previous.hash, expires_at: Some(previous.until) }),
    );
    let (budget, budgets) = of_contract(key.budgets.into_iter().map(|valid| valid.budget));
    v1::Key {
        name: key.name,
        uid: key.account,
        team: key.team,
        credentials,
        user: key.user,
        user_policy: key.user_policy,
        models: key.models,
        limits: key.limits,
        max_tokens_per_call: key.max_tokens_per_call,
        model_limits: key.model_limits,
        user_limits: key.user_limits,
        budget,
        budgets,
        max_wait_seconds: key.max_wait_seconds,
        expires_at: key.expires_at,
        suspended: key.suspended,
        metadata: key.metadata,
    }
}

/// What sidecars are told of a route whose calls are not theirs to carry out: its names, lest another route draw its callers' inputs.
fn names_of(route: &ResolvedRoute) -> v1::Route {
    v1::Route {
        name: route.name.clone(),
        models: route.models.clone(),
        tags: Vec::new(),
        retry: v1::Retry::default(),
        hedge: None,
        coalesce: None,
        cooldown: v1::Cooldown::default(),
        timeout_seconds: None,
        balance: v1::Balance::default(),
        cache: None,
        input_type: v1::InputType::default(),
        truncate: None,
        backends: Vec::new(),
    }
}

/// The longest that a call may take at whoever carries it out, in seconds: all attempts one after the other, and the pauses between them.
fn longest(route: &ResolvedRoute) -> u32 {
    /// What a backend has that says nothing.
    const OF_A_BACKEND: u32 = 60;
    /// The longest pause before another attempt: what a provider asks for and a sidecar grants.
    const PAUSE: u32 = 10;
    let slowest = route.backends.iter().map(|backend| backend.timeout_seconds).max().unwrap_or(OF_A_BACKEND);
    let attempts = route.serving.retry.attempts.saturating_add(1);
    let all = slowest.saturating_mul(attempts).saturating_add(PAUSE.saturating_mul(route.serving.retry.attempts));
    route.serving.timeout_seconds.unwrap_or(all).max(1)
}

/// What sidecars are told of the gateway: where it is, whom to trust there, and which routes' calls go there.
fn gateway_files(observed: &ObservedState, routes: Vec<v1::PassedOn>) -> BTreeMap<String, Vec<u8>> {
    let GatewayPlace::At(address) = &observed.delivery.gateway else { return BTreeMap::new() };
    if routes.is_empty() {
        return BTreeMap::new();
    }
    let ca = match &address.ca {
        GatewayCa::These(ca) => Some(ca),
        GatewayCa::WellKnown => None,
        GatewayCa::Unknown => observed.delivered.files.get(GATEWAY_CA_FILE),
    };
    let gateway = v1::Gateway {
        version: v1::Version::V1,
        url: address.url.clone(),
        ca_file: ca.map(|_| GATEWAY_CA_FILE.to_owned()),
        routes,
        complete: v1::Complete,
    };
    // Texts and numbers can be written.
    let text = write_gateway_v1(&gateway).unwrap_or_default();
    let ca = ca.map(|ca| (GATEWAY_CA_FILE.to_owned(), ca.clone()));
    ca.into_iter().chain([(v1::GATEWAY_FILE.to_owned(), text.into_bytes())]).collect()
}

/// One route of the contract for each set of names whose backends come out the same: price and tokenizer of a
/// well-known model depend on its name.
fn route_of(
    route: &ResolvedRoute,
    observed: &ObservedState,
    credentials: &mut BTreeMap<String, Vec<u8>>,
) -> Vec<v1::Route> {
    let mut routes: Vec<v1::Route> = Vec::new();
    // What was delivered elsewhere of a Secret that cannot be read may not have come here. It keeps its names all the same.
    let can_serve =
        observed.unreadable.is_empty() || route.backends.iter().all(|backend| is_complete(route, backend, observed));
    let serving = if can_serve { route.backends.as_slice() } else { &[] };
    for model in &route.models {
        let backends: Vec<v1::Backend> =
            serving.iter().map(|backend| backend_of(route, backend, model, observed, credentials)).collect();
        match routes.iter_mut().find(|route| route.backends == backends) {
            Some(same) => same.models.push(model.clone()),
            None => routes.push(v1::Route {
                name: route.name.clone(),
                models: vec![model.clone()],
                tags: route.tags.clone(),
                retry: route.serving.retry,
                hedge: route.serving.hedge,
                coalesce: route.serving.coalesce,
                cooldown: route.serving.cooldown,
                timeout_seconds: route.serving.timeout_seconds,
                balance: route.serving.balance,
                cache: route.serving.cache,
                input_type: route.serving.input_type,
                truncate: route.serving.truncate,
                backends,
            }),
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::Uid;
    use vectoll_crds::TeamSpec;

    use super::*;
    use crate::{observed_state::Object, validate};

    #[test]
    fn a_team_holds_other_namespaces_to_their_part_and_its_own_to_none() {
        let spec: TeamSpec = serde_yaml::from_str(
            "{routeNamespaces: [models], namespaceLimits: {requestsPerMinute: 5}, namespaceBudget: {limit: '1', period: Daily}}",
        )
        .unwrap();
        let name = ObjectName::new("platform", "team");
        let object = Object::new(name, Uid::new("t"), spec);
        let team = validate::team(&object).unwrap();
        let held = |namespace: &str| {
            let team = team_of(&team, namespace);
            (team.namespace_limits.requests_per_minute, team.namespace_budget.is_some(), team.foreign_routes)
        };
        assert_eq!(held("shop"), (Some(5), true, true));
        assert_eq!(held("models"), (Some(5), true, false), "its routes are the Team's choice");
        assert_eq!(held("platform"), (None, false, false));
    }
}
