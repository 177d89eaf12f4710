//! The log: one line an event on standard error, and nothing in it that is secret.

use anyhow::Context;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::cli::LogFormat;

/// Starts it, in a form and by a filter.
pub(crate) fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::builder().parse(filter).with_context(|| format!("failed to read the log filter {filter:?}"))?;
    let filter = filter.and(filter_fn(is_harmless));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    let started = match format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(lines.with_ansi(ansi).with_filter(filter)).try_init()
        }
        LogFormat::Json => registry.with(lines.json().with_filter(filter)).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("failed to start the log: {error}"))
}

/// Whether an event can be logged, whatever the filter asks for. The API server's client logs whole answers that it cannot decode, with
/// the values of Secrets, and at the level `trace` the libraries below it log what they send, with the operator's token.
fn is_harmless(metadata: &tracing::Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_ours = target == "vectoll" || target.starts_with("vectoll_");
    is_ours || target != "kube_client::client" && *metadata.level() != tracing::Level::TRACE
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let metadata = event.metadata();
            if let Ok(mut seen) = self.0.lock() {
                seen.push(format!("{} {}", metadata.level(), metadata.target()));
            }
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_logged_at_no_level() {
        let seen = Seen::default();
        let filter = EnvFilter::new("trace,kube_client=trace").and(filter_fn(is_harmless));
        let subscriber = tracing_subscriber::registry().with(seen.clone().with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "kube_client::client", "the body of an answer");
            tracing::error!(target: "kube_client::client::builder", "failed with status 500");
            tracing::trace!(target: "h2::codec", "a header");
            tracing::debug!(target: "kube_runtime::watcher", "an error");
            tracing::trace!(target: "vectoll_operator::cluster", "our own");
        });
        let seen = seen.0.lock().map(|seen| seen.clone()).unwrap_or_default();
        assert_eq!(
            seen,
            ["ERROR kube_client::client::builder", "DEBUG kube_runtime::watcher", "TRACE vectoll_operator::cluster"]
        );
    }
}
