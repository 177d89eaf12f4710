//! Families of metrics as Prometheus's text, one after the other: no more than one of them is there as objects.

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::tenancy::Tenancy;

/// Text that grows by families.
pub(super) struct FamilyText {
    text: String,
    tenancy: Tenancy,
}

impl FamilyText {
    /// Goes on behind what is there. Families say whose namespace they are by `tenancy`.
    pub(super) fn after(text: String, tenancy: Tenancy) -> Self {
        Self { text, tenancy }
    }

    /// Adds counters; without samples nothing.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = Metric>,
    ) -> prometheus::Result<()> {
        self.family(name, help, MetricType::COUNTER, samples.collect())
    }

    /// Adds gauges; without samples nothing.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = Metric>,
    ) -> prometheus::Result<()> {
        self.family(name, help, MetricType::GAUGE, samples.collect())
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, samples: Vec<Metric>) -> prometheus::Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(samples);
        let mut families = [family];
        self.tenancy.add(&mut families);
        TextEncoder::new().encode_utf8(&families, &mut self.text)
    }

    /// All of it.
    pub(super) fn end(self) -> String {
        self.text
    }
}

/// A sample of a counter.
pub(super) fn counter(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

/// A sample of a gauge.
pub(super) fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|&(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}
