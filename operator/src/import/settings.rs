//! The settings beside the models: what routes take over of them, and what to do about the rest.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value, json};

use super::{fields::Fields, notes::Notes};

/// What to do about each way in which proxies of LiteLLM count together.
const STORE: &str =
    "several sidecars count together by the chart's store: set store.url, see charts/vectoll/docs/store.md";

/// What holds for each route.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    attempts: Option<u64>,
    failures: Option<u64>,
    cooldown: Option<u64>,
    timeout: Option<u64>,
    by_latency: bool,
    cache_seconds: Option<u64>,
    /// Other names of models, and which ones they are for.
    pub(super) aliases: BTreeMap<String, String>,
}

impl Defaults {
    /// Puts them into a route.
    pub(super) fn write(&self, spec: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                spec.insert(name.to_owned(), value);
            }
        };
        set("retry", self.attempts.map(|attempts| json!({"attempts": attempts.min(15)})));
        let mut cooldown = Map::new();
        cooldown.extend(self.failures.map(|failures| ("failures".to_owned(), failures.min(1_000).into())));
        cooldown.extend(self.cooldown.map(|seconds| ("seconds".to_owned(), seconds.min(3_600).into())));
        set("cooldown", (!cooldown.is_empty()).then_some(Value::Object(cooldown)));
        set("timeoutSeconds", self.timeout.map(Value::from));
        set("balance", self.by_latency.then(|| "LeastLatency".into()));
        set("cache", self.cache_seconds.map(|seconds| json!({"ttlSeconds": seconds.min(604_800)})));
    }
}

/// A time in whole seconds, rounded up: what LiteLLM bounds by less than a second, a second bounds here.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to 3600")]
pub(super) fn seconds(number: &Number) -> Option<u64> {
    let seconds = number.as_f64().filter(|seconds| *seconds > 0.0)?.ceil();
    Some(seconds.min(3_600.0) as u64)
}

/// Reads all that is beside the models.
pub(super) fn read(mut config: Fields, notes: &mut Notes) -> Defaults {
    let mut defaults = Defaults::default();
    let (general, mut litellm, mut router) = (
        config.mapping("general_settings", notes),
        config.mapping("litellm_settings", notes),
        config.mapping("router_settings", notes),
    );
    defaults.attempts = router.whole("num_retries", notes).or_else(|| litellm.whole("num_retries", notes));
    defaults.failures = router.whole("allowed_fails", notes).or_else(|| litellm.whole("allowed_fails", notes));
    let cooldown = router.number("cooldown_time", notes).or_else(|| litellm.number("cooldown_time", notes));
    defaults.cooldown = cooldown.as_ref().and_then(seconds);
    let timeout = router.number("timeout", notes).or_else(|| litellm.number("request_timeout", notes));
    defaults.timeout = timeout.as_ref().and_then(seconds);
    strategy(&mut router, &mut defaults, notes);
    let mut aliases = router.mapping("model_group_alias", notes);
    for (alias, group) in aliases.drain() {
        // An entry may be an object that hides the alias from lists.
        match group.as_str().or_else(|| group.get("model")?.as_str()) {
            Some(group) => drop(defaults.aliases.insert(alias, group.to_owned())),
            None => notes.add(aliases.path(), format!("{alias} names no model: left out")),
        }
    }
    cache(&mut litellm, &mut defaults, notes);
    for fields in [&mut litellm, &mut router] {
        fallbacks(fields, notes);
    }
    litellm.ignore(&[
        "drop_params",
        "set_verbose",
        "json_logs",
        "telemetry",
        "modify_params",
        "drop_unknown_params",
        "suppress_debug_info",
    ]);
    router.ignore(&["enable_pre_call_checks", "routing_strategy_args", "retry_after", "set_verbose", "debug_level"]);
    litellm.finish(notes, of_litellm);
    router.finish(notes, of_the_router);
    general.finish(notes, of_the_proxy);
    config.finish(notes, of_the_config);
    defaults
}

fn strategy(router: &mut Fields, defaults: &mut Defaults, notes: &mut Notes) {
    let place = router.place("routing_strategy");
    match router.text("routing_strategy", notes).as_deref() {
        None | Some("simple-shuffle") => {}
        Some("latency-based-routing") => defaults.by_latency = true,
        Some(other) => notes.add(
            &place,
            format!("{other}: backends share calls by weight here, and one whose limits are used up gives way to the next by itself"),
        ),
    }
}

fn cache(litellm: &mut Fields, defaults: &mut Defaults, notes: &mut Notes) {
    let mut params = litellm.mapping("cache_params", notes);
    if litellm.is_on("cache", notes) {
        let types = params.texts("supported_call_types", notes);
        if types.is_empty() || types.iter().any(|kind| kind.ends_with("embedding")) {
            defaults.cache_seconds = Some(params.whole("ttl", notes).unwrap_or(3_600));
            notes.add(
                litellm.path(),
                "cache: vectors are kept in each sidecar's memory here, and no Redis is needed for them",
            );
        }
        params.ignore(&["type", "host", "port", "password", "namespace", "ttl", "mode"]);
        params.finish(notes, |_| None);
    }
}

/// Another model's vectors are no replacement: what was indexed with one cannot be searched with the other.
fn fallbacks(fields: &mut Fields, notes: &mut Notes) {
    for name in ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"] {
        let place = fields.place(name);
        if fields.take(name).is_some() {
            notes.add(
                &place,
                "another model's vectors cannot be compared with those that were asked for, so no route falls back on one: where both \
                 make the same vectors, add the other's backends to the route with priority 1",
            );
        }
    }
}

pub(super) fn of_a_deployment(name: &str) -> Option<&'static str> {
    Some(match name {
        "api_key" => "the provider takes no key here",
        "default_api_key_tpm_limit" | "default_api_key_rpm_limit" => {
            "set keyDefaults.limits on the Teams, or modelLimits"
        }
        "tags" | "tag_regex" => {
            "calls are not sent to backends by tag here: make a route of its own, and let a Team use it"
        }
        "litellm_credential_name" => {
            "the credential is in LiteLLM's database: make a Secret of it, and name it in the backend"
        }
        "azure_ad_token" | "azure_username" | "azure_password" => {
            "set entra: an application's secret, or workload identity"
        }
        "aws_session_token" | "aws_profile_name" | "aws_web_identity_token" => "set webIdentity or podIdentity",
        "itpm" => "set limits.tokensPerMinute",
        _ => return None,
    })
}

pub(super) fn of_a_model(name: &str) -> Option<&'static str> {
    Some(match name {
        "access_groups" => "there are no groups of models here: list the models on Teams and keys",
        "team_id" | "team_public_model_name" => "put the route into the namespace of the Team that it is for",
        "blocked" => "remove the backend, or set its weight to 0",
        _ => return None,
    })
}

fn of_litellm(name: &str) -> Option<&'static str> {
    Some(match name {
        "success_callback" | "failure_callback" | "callbacks" | "service_callback" | "prometheus_metrics_config" => {
            "metrics for Prometheus and the access log are always there: see charts/vectoll/docs/metrics.md"
        }
        "max_budget" | "budget_duration" => "a budget of all: set it on a Team that all keys belong to",
        "default_internal_user_params" | "max_internal_user_budget" | "internal_user_budget_duration" => {
            "set userBudget on the Teams: it holds for each of their users"
        }
        "max_end_user_budget" | "max_end_user_budget_id" => "set userBudget on the Teams",
        "default_team_settings" | "default_team_params" => "set it on each Team",
        "upperbound_key_generate_params" => "set keyBounds on the Teams",
        "default_key_generate_params" => "set keyDefaults on the Teams",
        "ssl_verify" | "ssl_certificate" => "set caSecretRef on the backends: certificates are always verified",
        _ => return None,
    })
}

fn of_the_router(name: &str) -> Option<&'static str> {
    Some(match name {
        "redis_host" | "redis_port" | "redis_password" | "redis_url" | "redis_db" => STORE,
        "retry_policy" | "model_group_retry_policy" => {
            "which errors are tried again is decided by what they mean: set retry on the routes"
        }
        "allowed_fails_policy" => "set cooldown on the routes",
        "provider_budget_config" => "set budgets on the backends",
        "default_max_parallel_requests" | "max_parallel_requests" => "set limits.parallelRequests on the backends",
        _ => return None,
    })
}

fn of_the_proxy(name: &str) -> Option<&'static str> {
    Some(match name {
        "coordination_redis" | "use_redis_transaction_buffer" => STORE,
        "master_key" => "there is no key for everything: who may write ApiKeys is said by Kubernetes' RBAC",
        "database_url" | "database_connection_pool_limit" | "store_model_in_db" | "database_connection_timeout" => {
            "there is no database: resources are in Kubernetes, and spend is in the journal and the store"
        }
        "alerting" | "alerting_threshold" | "alert_types" | "alerting_args" => {
            "set prometheusRule.enabled in the chart's values"
        }
        "max_parallel_requests" | "global_max_parallel_requests" => "set limits.parallelRequests on Teams and keys",
        "max_request_size_mb" | "max_response_size_mb" => "a body may have 16 MiB: the sidecar's --max-body-bytes",
        "user_header_name" => "the header x-litellm-user-id names the user here",
        "custom_auth" | "enable_jwt_auth" | "litellm_jwtauth" => "callers have an ApiKey, or are their pod",
        "pass_through_endpoints" => "only embeddings are served here",
        "proxy_batch_write_at" | "disable_spend_logs" | "background_health_checks" | "health_check_interval" => {
            "not needed: spend is always kept, and backends are judged by their calls"
        }
        _ => return None,
    })
}

fn of_the_config(name: &str) -> Option<&'static str> {
    Some(match name {
        "environment_variables" => "credentials stand in Secrets: see the commands above",
        "callback_settings" => "metrics and the access log need no callbacks",
        "include" => "import each of the files by itself",
        "guardrails" => "inputs are not judged here",
        _ => return None,
    })
}
