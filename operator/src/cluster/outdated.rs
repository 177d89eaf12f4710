//! Sidecars that run with another image than pods get today: those of an earlier release, until their pods are replaced. The replica that
//! acts says how many there are, and names some of them.

use std::{collections::BTreeMap, time::Duration};

use prometheus::{IntGaugeVec, Opts, Registry};
use tokio::sync::watch;
use vectoll_config::ObjectName;

use super::{cluster_state::Sidecar, watch::StateHandle};

/// How often they are counted.
const COUNT_PERIOD: Duration = Duration::from_secs(15);
/// The most pods that are named: enough to begin with, and a bound on what Prometheus has to keep.
const MAX_NAMED: usize = 100;

/// The families. A handle.
#[derive(Clone, Debug)]
pub(super) struct OutdatedSidecars {
    counts: IntGaugeVec,
    named: IntGaugeVec,
}

/// Outdated sidecars by namespace: their pods, with the image of each.
type OutdatedByNamespace = BTreeMap<String, Vec<(String, String)>>;

impl OutdatedSidecars {
    /// Registers them.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counts = IntGaugeVec::new(
            Opts::new(
                "vectoll_operator_outdated_sidecars",
                "Running pods whose sidecar has another image than pods get today, by namespace",
            ),
            &["namespace"],
        )?;
        let named = IntGaugeVec::new(
            Opts::new(
                "vectoll_operator_outdated_sidecar_info",
                "1 for each of these pods, with the image of its sidecar; at most 100 pods",
            ),
            &["namespace", "pod", "image"],
        )?;
        registry.register(Box::new(counts.clone()))?;
        registry.register(Box::new(named.clone()))?;
        Ok(Self { counts, named })
    }

    fn show(&self, outdated_pods: &OutdatedByNamespace) {
        self.counts.reset();
        self.named.reset();
        for (namespace, pods) in outdated_pods {
            let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
            self.counts.with_label_values(&[namespace.as_str()]).set(count);
        }
        let all = outdated_pods.iter().flat_map(|(namespace, pods)| pods.iter().map(move |pod| (namespace, pod)));
        for (namespace, (pod, image)) in all.take(MAX_NAMED) {
            self.named.with_label_values(&[namespace.as_str(), pod.as_str(), image.as_str()]).set(1);
        }
    }

    /// Counts again and again while this replica acts, for ever. `image` is what pods get today.
    pub(super) async fn follow(self, shared: StateHandle, image: String, mut leads: watch::Receiver<bool>) {
        let mut before = OutdatedByNamespace::new();
        loop {
            let acts = *leads.borrow_and_update();
            let outdated_pods = if acts {
                let cluster = shared.cluster();
                outdated(cluster.pods.iter().map(|(name, seen)| (name, &seen.value)), &image)
            } else {
                // Another replica says it.
                OutdatedByNamespace::new()
            };
            if outdated_pods != before {
                self.show(&outdated_pods);
                let pods: usize = outdated_pods.values().map(Vec::len).sum();
                if acts && pods > 0 {
                    let namespaces: Vec<&String> = outdated_pods.keys().take(MAX_NAMED).collect();
                    tracing::info!(pods, ?namespaces, image, "pods run with another sidecar than they would get today");
                }
                before = outdated_pods;
            }
            tokio::select! {
                () = tokio::time::sleep(COUNT_PERIOD) => {}
                changed = leads.changed() => if changed.is_err() { return },
            }
        }
    }
}

fn outdated<'a>(pods: impl Iterator<Item = (&'a ObjectName, &'a Sidecar)>, image: &str) -> OutdatedByNamespace {
    let mut outdated_pods = OutdatedByNamespace::new();
    for (name, sidecar) in pods.filter(|(_, sidecar)| sidecar.lives) {
        if let Some(other) = sidecar.image.as_deref().filter(|other| *other != image) {
            outdated_pods
                .entry(name.namespace().to_owned())
                .or_default()
                .push((name.name().to_owned(), other.to_owned()));
        }
    }
    outdated_pods
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use prometheus::TextEncoder;
    use vectoll_config::Uid;

    use super::*;

    fn pod(image: Option<&str>, lives: bool) -> Sidecar {
        Sidecar {
            uid: Uid::new("p"),
            created: None,
            touched: None,
            contract: "v1".to_owned(),
            image: image.map(Into::into),
            lives,
            runs: lives,
            up: lives,
        }
    }

    #[test]
    fn pods_of_an_earlier_release_are_counted_and_named_within_a_bound() {
        let mut pods: Vec<(ObjectName, Sidecar)> =
            (0..150).map(|n| (ObjectName::new("apps", &format!("app-{n:03}")), pod(Some("a:1"), true))).collect();
        pods.push((ObjectName::new("shop", "new"), pod(Some("a:2"), true)));
        pods.push((ObjectName::new("shop", "done"), pod(Some("a:1"), false)));
        pods.push((ObjectName::new("shop", "strange"), pod(None, true)));
        let outdated_pods = outdated(pods.iter().map(|(name, pod)| (name, pod)), "a:2");
        assert_eq!(outdated_pods.len(), 1);
        let registry = Registry::new();
        let metrics = OutdatedSidecars::register(&registry).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        metrics.show(&outdated_pods);
        assert!(text().contains("vectoll_operator_outdated_sidecars{namespace=\"apps\"} 150"), "{}", text());
        let info = "vectoll_operator_outdated_sidecar_info{image=\"a:1\",namespace=\"apps\",pod=\"app-000\"} 1";
        assert!(text().contains(info), "{}", text());
        assert_eq!(text().matches("outdated_sidecar_info{").count(), MAX_NAMED);
        metrics.show(&OutdatedByNamespace::new());
        assert!(!text().contains("namespace="), "what is gone is not told for ever");
    }
}
