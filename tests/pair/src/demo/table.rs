//! Spend as a small table.

use crate::pair::metrics::Metrics;

/// One series of a family.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) usd: f64,
}

/// The rows of a family, named by some of its labels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
pub(super) fn rows(metrics: &Metrics, family: &str, labels: &[&str]) -> Vec<Row> {
    let requests = format!("vectoll_{family}_requests_total");
    let mut rows = Vec::new();
    for sample in metrics.samples(&requests, &[]) {
        let of: Vec<(&str, &str)> = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let value = |what: &str| metrics.sum(&format!("vectoll_{family}_{what}_total"), &of);
        let name: Vec<&str> = labels.iter().filter_map(|label| sample.labels.get(*label)).map(String::as_str).collect();
        rows.push(Row {
            name: name.join(" "),
            requests: sample.value as u64,
            tokens: value("tokens") as u64,
            usd: value("spend_usd"),
        });
    }
    rows
}

/// The rows as lines under a head.
pub(super) fn lines(family: &str, rows: &[Row]) -> Vec<String> {
    let mut lines = vec![format!("  {family:<28} {:>9} {:>9} {:>14}", "requests", "tokens", "USD")];
    for Row { name, requests, tokens, usd } in rows {
        lines.push(format!("  {name:<28} {requests:>9} {tokens:>9} {usd:>14.8}"));
    }
    lines
}
