//! Routes over test providers, and what is asked of the pair afterwards.

use serde_json::{Value, json};
use vectoll_tests::{
    caller::{Answer, Caller},
    manifest::{self, PROVIDER_KEY, api_key, file, key_value, on_top, resource, secret, team},
    pair::{Pair, metrics::Metrics},
    provider::{Options, Provider},
};

/// A model that answers at once.
pub(crate) const GOOD: &str = "text-embedding-3-small";

/// A backend at a provider; `more` goes on top.
pub(crate) fn backend(name: &str, provider: &Provider, model: &str, more: Value) -> Value {
    let quick = json!({"timeoutSeconds": 1});
    manifest::backend(name, model, &provider.url(), on_top(quick, more))
}

pub(crate) fn route(name: &str, backends: Vec<Value>, more: Value) -> Value {
    // Every retry is wanted here, however many calls fail.
    let spec = json!({"models": [name], "backends": backends, "retry": {"budgetPercent": 100}});
    resource("ModelRoute", name, on_top(spec, more))
}

pub(crate) async fn start(routes: Vec<Value>) -> anyhow::Result<(Pair, Caller)> {
    let mut all = vec![team("search", json!({})), secret("default", "provider", json!({"api-key": PROVIDER_KEY}))];
    all.extend(routes);
    all.extend(api_key("alice", "search", json!({"budget": {"limit": "10", "period": "Total"}})));
    let pair = Pair::start(&[("all.yaml", file(all))]).await?;
    let caller = Caller::new(&pair.base_url(), &key_value("alice"))?;
    Ok((pair, caller))
}

pub(crate) async fn two_providers() -> anyhow::Result<(Provider, Provider)> {
    Ok((Provider::start(Options::new(PROVIDER_KEY)).await?, Provider::start(Options::new(PROVIDER_KEY)).await?))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
pub(crate) fn count(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> u64 {
    metrics.sum(name, labels) as u64
}

pub(crate) fn said(answer: &Answer) -> (u16, &str, &str, &str) {
    let header = |name| answer.header(name).unwrap_or("-");
    let backend = header("x-litellm-model-id");
    (answer.status, backend, header("x-litellm-attempted-retries"), header("x-litellm-attempted-fallbacks"))
}
