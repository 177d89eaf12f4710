//! From the contract to a [`Policy`].

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use vectoll_config::{ConfigError, ModelPattern, ObjectName, Price, Uid, check_files_v1, store::backend_account, v1};

use super::{
    Backend, Coalesce, Credential, GuestNamespace, Key, OwnKey, PodKey, Policy, Route, RouteIndex, RouteSettings, Team,
    passed_on::passed_on,
    provider::{BackendSettings, ProviderError},
    shared_state::{CredentialFiles, SharedState},
};
use vectoll_limits::store::StoreAccess;
use vectoll_upstream::provider::Provider;

/// Why a config that reads well cannot be served. The path is the contract's.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// What the contract's own check refuses: the operator asks it too, before it writes a config.
    #[error(transparent)]
    Contract(#[from] ConfigError),
    /// What only the sidecar can know: its built-in model cannot be used.
    #[error("{path}: {reason}")]
    Here {
        /// The contract's path.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// Compiles a config that was read ([`vectoll_config::read_v1`], which checks it). `own` is the key that is the pod's own.
pub fn compile(
    config: v1::Config,
    files: &CredentialFiles,
    lasting: &SharedState,
    own: Option<&OwnKey>,
) -> Result<Policy, CompileError> {
    check_files_v1(&config, |name| files.get(name).map(Vec::as_slice))?;
    let store = config.store.as_ref().map(|store| Arc::new(compile_store(store, files)));
    let scope = config.store.as_ref().and_then(|store| store.scope.as_deref());
    let all_passed_on = passed_on(files, lasting)?;
    let mut indexes: HashMap<String, Vec<(ModelPattern, Arc<Route>)>> = HashMap::new();
    let mut limited = HashSet::new();
    for (i, route) in config.routes.into_iter().enumerate() {
        let mut backends = Vec::with_capacity(route.backends.len());
        let takes_patterns = route.models.iter().any(|model| matches!(model, ModelPattern::Prefix(_)));
        // What the vectors of the route depend on.
        let mut space = DefaultHasher::new();
        for (j, backend) in route.backends.into_iter().enumerate() {
            (&backend.provider, &backend.model).hash(&mut space);
            let at = format!("routes[{i}].backends[{j}].provider");
            let mut backend = compile_backend(&route.name, backend, (files, scope), lasting, &at)?;
            backend.is_named_by_callers = backend.model.is_none() && takes_patterns;
            backends.push(Arc::new(backend));
        }
        let with_limits = backends.iter().filter(|backend| backend.is_limited());
        limited.extend(with_limits.map(|backend| backend.account.clone()));
        let name: Arc<str> = route.name.to_string().into();
        let cache = route.cache.map(|settings| {
            let cache = lasting.caches.of(&name, space.finish(), settings);
            (cache, Arc::new(of_cache(&name, lasting)))
        });
        // Vectors that are kept are asked for several at once anyway, a second attempt beside another one goes by itself, and what is
        // owed to a provider with a budget is booked call by call.
        let has_budgets = backends.iter().any(|backend| !backend.budgets.is_empty());
        let is_free = cache.is_none() && route.hedge.is_none() && !has_budgets;
        let coalesce = route.coalesce.filter(|_| is_free).map(compile_coalesce);
        let manner = RouteSettings {
            name,
            cache,
            coalesce,
            tags: route.tags.into_iter().map(Into::into).collect(),
            retry: route.retry,
            hedge: route.hedge.map(|hedge| Duration::from_millis(hedge.delay_milliseconds.into())),
            cooldown: route.cooldown,
            timeout: route.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            balance: route.balance,
            input_type: route.input_type,
            truncate: route.truncate,
            // One that has backends here is carried out here.
            passed_on: all_passed_on.get(&route.name).filter(|_| backends.is_empty()).cloned(),
        };
        let budget = lasting.retries.of(&manner.name, manner.retry.budget_percent);
        let compiled = Arc::new(Route::new(backends, manner, budget));
        let names = indexes.entry(route.name.namespace().to_owned()).or_default();
        names.extend(route.models.into_iter().map(|model| (model, compiled.clone())));
    }
    let indexes: HashMap<String, Arc<RouteIndex>> = indexes
        .into_iter()
        .map(|(namespace, names)| (namespace, Arc::new(RouteIndex::new(names.into_iter()))))
        .collect();
    let namespace: Arc<str> = config.namespace.into();
    let on_failure = config.store.as_ref().map(|store| store.on_failure).unwrap_or_default();
    let mut specs: HashMap<ObjectName, v1::Team> =
        config.teams.into_iter().map(|team| (team.name.clone(), team)).collect();
    let mut teams: HashMap<ObjectName, Arc<Team>> = HashMap::new();
    let names: Vec<ObjectName> = specs.keys().cloned().collect();
    for name in names {
        // From the topmost one that is not there yet down to this one: reading has seen to it that the way up ends.
        let parent = |name: &ObjectName| specs.get(name).and_then(|team| team.parent.clone());
        let mut above: Vec<ObjectName> = std::iter::successors(Some(name), parent).collect();
        while let Some(name) = above.pop() {
            let Some(spec) = specs.remove(&name) else { continue };
            let parent = spec.parent.as_ref().and_then(|parent| teams.get(parent).cloned());
            teams.insert(name, Arc::new(compile_team(spec, parent, &namespace, &indexes, on_failure)));
        }
    }
    let mut policy = Policy { generation: config.generation, namespace, store, ..Policy::default() };
    let mut own_key = None;
    for key in config.keys {
        // Reading has seen to it that each key's Team is there.
        let Some(team) = teams.get(&key.team).cloned() else { continue };
        let credentials = key.credentials.clone();
        let is_own = own.is_some_and(|own| own.name == key.name);
        let key = Arc::new(compile_key(key, team));
        for v1::Credential { sha256, expires_at } in credentials {
            policy.keys.insert(sha256, Credential { key: key.clone(), expires_at });
        }
        if is_own {
            own_key = Some(key.clone());
        }
        policy.by_name.insert(key.name.clone(), key.clone());
        policy.all_keys.push(key);
    }
    policy.limited = limited;
    policy.teams = teams.into_values().map(|team| (team.uid.clone(), team)).collect();
    // Found once for a config, not once for a call.
    policy.pod = own.map(|own| PodKey { name: own.name.to_string().into(), keyless: own.keyless, key: own_key });
    Ok(policy)
}

fn compile_coalesce(v1::Coalesce { window_milliseconds, max_items }: v1::Coalesce) -> Coalesce {
    Coalesce {
        window: Duration::from_millis(window_milliseconds.into()),
        max_items: usize::try_from(max_items).unwrap_or(usize::MAX),
    }
}

/// What calls are booked to that were served without a provider: they cost nothing.
fn of_cache(route: &str, lasting: &SharedState) -> Backend {
    let label: Arc<str> = format!("{route}/_cache").into();
    Backend {
        health: lasting.health.of_none(&label),
        label,
        model: None,
        is_named_by_callers: false,
        priority: 0,
        weight: 0,
        provider: Provider::Cache,
        price: Some(Price::default()),
        tokens: v1::TokenBound::Factor(v1::Factor { max_per_byte: 0, max_per_input: 0 }),
        token_arrays: None,
        max_input_tokens: None,
        timeout: Duration::ZERO,
        limits: v1::Limits::default(),
        budgets: Vec::new(),
        account: Uid::new(""),
    }
}

/// The files are there: the contract's check has seen to that.
fn compile_store(store: &v1::Store, files: &CredentialFiles) -> StoreAccess {
    let v1::Store { url, scope, username, password_file, ca_file, on_failure: _ } = store;
    let content = |name: &Option<String>| name.as_ref().and_then(|name| files.get(name));
    let password = content(password_file).map(|bytes| String::from_utf8_lossy(bytes.trim_ascii()).into_owned());
    StoreAccess {
        url: url.clone(),
        scope: scope.clone(),
        username: username.clone(),
        password,
        ca: content(ca_file).cloned(),
    }
}

fn compile_team(
    team: v1::Team,
    parent: Option<Arc<Team>>,
    namespace: &Arc<str>,
    indexes: &HashMap<String, Arc<RouteIndex>>,
    on_failure: v1::OnStoreFailure,
) -> Team {
    let v1::Team {
        name,
        uid,
        parent: _,
        suspended,
        route_namespaces,
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
        namespace_limits,
        namespace_budget,
        namespace_budgets,
        foreign_routes,
        max_users,
        on_store_failure,
        tags,
    } = team;
    // What a Team above limits by tag is counted, too.
    let of_above = parent.iter().flat_map(|parent| parent.lineage());
    let above: Vec<Arc<str>> = of_above.flat_map(|team| &team.tag_limits).map(|entry| entry.tag.clone()).collect();
    let guest = (name.namespace() != &**namespace).then(|| GuestNamespace {
        namespace: namespace.clone(),
        limits: namespace_limits,
        budgets: all(namespace_budget, namespace_budgets),
        has_foreign_routes: foreign_routes,
    });
    let on_store_failure = on_store_failure.unwrap_or(on_failure);
    // Without the store a call goes by the strictest of them.
    let is_closed = parent.as_ref().is_some_and(|parent| parent.on_store_failure == v1::OnStoreFailure::Closed);
    Team {
        name: name.to_string().into(),
        uid,
        parent,
        suspended,
        search: route_namespaces.iter().filter_map(|namespace| indexes.get(namespace).cloned()).collect(),
        models,
        limits,
        max_tokens_per_call,
        model_limits,
        tag_limits,
        user_limits,
        budgets: all(budget, budgets),
        user_budgets: all(user_budget, user_budgets),
        guest,
        max_users,
        on_store_failure: if is_closed { v1::OnStoreFailure::Closed } else { on_store_failure },
        tags: tags.into_iter().map(Into::into).chain(above).collect(),
    }
}

/// A single budget is written as one: sidecars of all ages read that.
fn all(one: Option<v1::Budget>, several: Vec<v1::Budget>) -> Vec<v1::Budget> {
    one.into_iter().chain(several).collect()
}

fn compile_key(key: v1::Key, team: Arc<Team>) -> Key {
    let v1::Key {
        name,
        uid,
        team: _,
        credentials: _,
        user,
        user_policy,
        models,
        limits,
        max_tokens_per_call,
        model_limits,
        user_limits,
        budget,
        budgets,
        expires_at,
        suspended,
        metadata,
        max_wait_seconds,
    } = key;
    Key {
        name: name.to_string().into(),
        uid,
        team,
        owner: user.map(Into::into),
        user_policy,
        models,
        limits,
        max_tokens_per_call,
        model_limits,
        user_limits,
        budgets: all(budget, budgets),
        expires_at,
        suspended,
        max_wait: max_wait_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        metadata: (!metadata.is_empty()).then(|| Arc::new(metadata)),
    }
}

fn compile_backend(
    route: &ObjectName,
    backend: v1::Backend,
    (files, scope): (&CredentialFiles, Option<&str>),
    lasting: &SharedState,
    at: &str,
) -> Result<Backend, CompileError> {
    let v1::Backend {
        name,
        model,
        priority,
        weight,
        provider,
        price_per_million_tokens,
        tokens,
        token_arrays,
        max_input_tokens,
        timeout_seconds,
        limits,
        budgets,
        batch,
        ca_file,
        headers,
    } = backend;
    let token_arrays = token_arrays.or(encoding_of_arrays(&provider, &tokens));
    let label: Arc<str> = format!("{route}/{name}").into();
    // What a change of may cure a backend that is left alone.
    let mut cure = DefaultHasher::new();
    (&provider, &model, &headers).hash(&mut cure);
    let fault = |field: &str, reason: String| CompileError::Here { path: format!("{at}.{field}"), reason };
    let credential = provider.credential_file().and_then(|file| files.get(file));
    credential.hash(&mut cure);
    ca_file.as_ref().and_then(|file| files.get(file)).hash(&mut cure);
    let beside = BackendSettings { model: model.as_deref(), batch, headers: &headers, ca_file: ca_file.as_deref() };
    let provider = match super::provider::provider(&provider, &beside, files, lasting) {
        Ok(provider) => provider,
        Err(ProviderError::Config(field, reason)) => return Err(fault(&field, reason)),
        Err(ProviderError::Unusable(field, reason)) => {
            let fault = fault(&field, reason);
            tracing::error!(backend = &*label, %fault, "a backend cannot be called");
            Provider::Unusable(fault.to_string())
        }
    };
    let health = lasting.health.of(&label, cure.finish());
    let account = backend_account(scope, &label);
    Ok(Backend {
        label,
        model: model.map(Into::into),
        is_named_by_callers: false,
        priority,
        weight,
        provider,
        price: price_per_million_tokens,
        tokens,
        token_arrays,
        max_input_tokens,
        timeout: Duration::from_secs(u64::from(timeout_seconds)),
        limits,
        budgets,
        account,
        health,
    })
}

/// What token arrays are of where the config has no word of its own for that: a provider that counts with an encoding is taken to
/// have callers who cut their texts with it.
fn encoding_of_arrays(provider: &v1::Provider, tokens: &v1::TokenBound) -> Option<v1::Encoding> {
    match (provider, tokens) {
        (v1::Provider::Builtin(builtin), _) => builtin.token_arrays,
        (_, v1::TokenBound::Encoding(encoding)) => Some(*encoding),
        (_, v1::TokenBound::Builtin(_) | v1::TokenBound::Factor(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::KeyHash;
    use vectoll_upstream::{health::BackendMetrics, provider::egress::Egress};

    use super::*;
    use crate::policy::Identity;

    fn config(value: &str) -> v1::Config {
        config_with(value, " []")
    }

    fn config_with(value: &str, routes: &str) -> v1::Config {
        let hash = KeyHash::of(value.as_bytes());
        let yaml = format!(
            "version: v1\ngeneration: 1\nnamespace: shop\nteams:\n- {{name: shop/search, uid: t, routeNamespaces: \
             [shop], maxUsers: 10}}\nkeys:\n- {{name: shop/alice, uid: k, team: shop/search, credentials: [{{sha256: \
             {hash}}}]}}\nroutes:{routes}\ncomplete: true\n"
        );
        vectoll_config::read_v1(&yaml).unwrap()
    }

    fn lasting() -> SharedState {
        let metrics = BackendMetrics::unseen().unwrap();
        SharedState::new(Identity::default(), Egress::default(), metrics).unwrap()
    }

    fn compiled(value: &str, own: Option<&OwnKey>) -> Result<Policy, CompileError> {
        // A client needs a provider of cryptography, although this one never calls.
        let _ = rustls::crypto::ring::default_provider().install_default();
        compile(config(value), &CredentialFiles::new(), &lasting(), own)
    }

    #[test]
    fn a_backend_that_nobody_can_call_takes_no_other_along() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let route = |name: &str, url: &str| {
            format!(
                "\n- name: shop/{name}\n  models: [{name}]\n  backends:\n  - name: one\n    weight: 1\n    provider:\n      openAI: \
                 {{baseURL: '{url}'}}\n    tokens:\n      factor: {{maxPerByte: 1, maxPerInput: 8}}\n    timeoutSeconds: 60"
            )
        };
        let routes = route("bad", "http://${HOST}/v1")
            + &route("metadata", "https://[::ffff:169.254.169.254]/v1")
            + &route("good", "http://127.0.0.1/v1");
        let config = config_with("sk-test-0123456789", &routes);
        let policy = compile(config, &CredentialFiles::new(), &lasting(), None).unwrap();
        let index = policy.teams.values().next().unwrap().search.first().unwrap().clone();
        let backend = |model: &str| index.route(model).unwrap().reachable().next().unwrap().clone();
        let provider = |model: &str| format!("{:?}", backend(model).provider);
        assert!(provider("bad").starts_with("Unusable"), "{}", provider("bad"));
        assert!(provider("metadata").contains("[::ffff:a9fe:a9fe] is a link-local address: not called"));
        assert!(provider("good").starts_with("Remote"), "{}", provider("good"));
    }

    #[test]
    fn the_pods_own_key_is_found_by_its_whole_name() {
        let own = |namespace: &str, name: &str| OwnKey { name: ObjectName::new(namespace, name), keyless: true };
        let pod = |own: &OwnKey| compiled("sk-test-0123456789", Some(own)).unwrap().pod.unwrap();
        let found = pod(&own("shop", "alice"));
        assert_eq!((&*found.name, found.keyless, found.key.is_some()), ("shop/alice", true, true));
        assert!(pod(&own("shop", "bob")).key.is_none());
        assert!(pod(&own("other", "alice")).key.is_none());
        assert!(compiled("sk-test-0123456789", None).unwrap().pod.is_none());
    }
}
