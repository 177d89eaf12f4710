//! Whether figures say whose namespace they are.

use prometheus::proto::{LabelPair, MetricFamily};
use vectoll_config::namespace_of;

/// Whose calls a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenancy {
    /// One namespace's: a sidecar. Whoever scrapes it knows which.
    One,
    /// Many namespaces': a gateway. Figures have the label `namespace`.
    Many,
}

const NAMESPACE: &str = "namespace";

impl Tenancy {
    /// Whether there are many.
    pub fn is_many(self) -> bool {
        self == Self::Many
    }

    /// The names of labels, with that of the namespace before them where there are many.
    pub fn labels(self, names: &[&'static str]) -> Vec<&'static str> {
        self.is_many().then_some(NAMESPACE).into_iter().chain(names.iter().copied()).collect()
    }

    /// The values to those names.
    pub fn values<'v>(self, namespace: &'v str, values: &[&'v str]) -> Vec<&'v str> {
        self.is_many().then_some(namespace).into_iter().chain(values.iter().copied()).collect()
    }

    /// Adds the namespace to what has a key or a Team and says no namespace yet: the key's, else the Team's own.
    pub fn add(self, families: &mut [MetricFamily]) {
        if !self.is_many() {
            return;
        }
        for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
            let labels = metric.get_label();
            if labels.iter().any(|label| label.name() == NAMESPACE) {
                continue;
            }
            let of = |name: &str| labels.iter().find(|label| label.name() == name);
            let Some(owner) = of("key").or_else(|| of("team")) else { continue };
            let mut pair = LabelPair::default();
            pair.set_name(NAMESPACE.to_owned());
            pair.set_value(namespace_of(owner.value()).to_owned());
            let mut labels = metric.take_label();
            labels.insert(0, pair);
            metric.set_label(labels);
        }
    }
}
