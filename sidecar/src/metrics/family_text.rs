//! Families of metrics as Prometheus's text, piece by piece: as objects they take thirty times what they take as text.

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::tenancy::Tenancy;

/// Samples that are there as objects at a time.
const PIECE: usize = 1_000;

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
        self.family((name, help, MetricType::COUNTER), samples)
    }

    /// Adds gauges; without samples nothing.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = Metric>,
    ) -> prometheus::Result<()> {
        self.family((name, help, MetricType::GAUGE), samples)
    }

    fn family(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        samples: impl Iterator<Item = Metric>,
    ) -> prometheus::Result<()> {
        let (mut samples, mut piece) = (samples.peekable(), String::new());
        let mut has_head = false;
        while samples.peek().is_some() {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family.set_metric(samples.by_ref().take(PIECE).collect());
            let mut families = [family];
            self.tenancy.add(&mut families);
            piece.clear();
            TextEncoder::new().encode_utf8(&families, &mut piece)?;
            self.text.push_str(if has_head { without_head(&piece) } else { &piece });
            has_head = true;
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn end(self) -> String {
        self.text
    }
}

/// The samples alone: a family says once what it is.
fn without_head(piece: &str) -> &str {
    let mut rest = piece;
    while rest.starts_with('#') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_family_of_many_samples_is_the_same_as_in_one_piece() {
        let names: Vec<String> = (0..=2 * PIECE).map(|n| format!("web/#{n}\n\"\\")).collect();
        let samples = || names.iter().map(|name| gauge(&[("key", name)], 1.5));
        let mut text = FamilyText::after("before\n".to_owned(), Tenancy::Many);
        text.gauges("vectoll_many", "Of many\nkeys.", samples()).unwrap();
        text.counters("vectoll_none_total", "None.", std::iter::empty()).unwrap();
        text.counters("vectoll_one_total", "One.", std::iter::once(counter(&[], 2.0))).unwrap();

        let mut family = MetricFamily::default();
        family.set_name("vectoll_many".to_owned());
        family.set_help("Of many\nkeys.".to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(samples().collect());
        let mut whole = [family];
        Tenancy::Many.add(&mut whole);
        let mut expected = "before\n".to_owned();
        TextEncoder::new().encode_utf8(&whole, &mut expected).unwrap();
        expected += "# HELP vectoll_one_total One.\n# TYPE vectoll_one_total counter\nvectoll_one_total 2\n";
        assert_eq!(text.end(), expected);
    }
}
