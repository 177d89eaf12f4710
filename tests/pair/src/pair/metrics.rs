//! Prometheus's text format, as far as tests look into it.

use std::collections::BTreeMap;

use anyhow::Context;

/// All samples of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name, with `_bucket`, `_sum` or `_count` where it has it.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Metrics {
    /// Reads a scrape: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("not a sample: {line}")));
        Ok(Self { samples: samples.collect::<anyhow::Result<_>>()? })
    }

    /// The samples of this name that have all of these labels.
    pub fn samples<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|has| has == value);
            sample.name == name && labels.iter().all(has)
        })
    }

    /// Their sum; 0 where there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // A sum of nothing is -0.0 otherwise, which a test would print.
        self.samples(name, labels).map(|sample| sample.value).fold(0.0, |sum, value| sum + value)
    }

    /// The value, if exactly one sample matches.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut samples = self.samples(name, labels);
        let first = samples.next()?;
        samples.next().is_none().then_some(first.value)
    }

    /// All names, each once, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.samples.iter().map(|sample| sample.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_ends = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(name_ends);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A time stamp may follow. Rust reads `NaN`, `+Inf` and `-Inf` as Prometheus writes them.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// Reads `a="b",c="d"}` and returns what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquote(quoted)?;
        labels.insert(name.trim().to_owned(), value);
        rest = after;
    }
}

/// Reads up to the closing quote and returns what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP vectoll_key_tokens_total Tokens by key.\n\
        # TYPE vectoll_key_tokens_total counter\n\
        vectoll_key_tokens_total{team=\"default/search\",key=\"default/alice\"} 12\n\
        vectoll_key_tokens_total{team=\"default/other\",key=\"default/alice\"} 30 1700000000000\n\
        vectoll_key_tokens_total{team=\"default/search\",key=\"a \\\"b\\\\c\\nd}\",} 1.5e3\n\
        \n\
        up 1\n\
        x_bucket{le=\"+Inf\"} +Inf\n";

    #[test]
    fn samples_are_summed_by_labels() {
        let metrics = Metrics::parse(TEXT).unwrap();
        let name = "vectoll_key_tokens_total";
        let sum = |labels: &[(&str, &str)]| metrics.sum(name, labels);
        assert!((sum(&[("key", "default/alice")]) - 42.0).abs() < f64::EPSILON);
        assert!((sum(&[]) - 1542.0).abs() < f64::EPSILON);
        assert!(sum(&[("key", "nobody")]).abs() < f64::EPSILON);
        assert_eq!(metrics.value(name, &[("key", "default/alice")]), None, "two match");
        assert_eq!(metrics.value(name, &[("key", "default/alice"), ("team", "default/search")]), Some(12.0));
        assert_eq!(metrics.value(name, &[("key", "a \"b\\c\nd}")]), Some(1500.0));
        assert_eq!(metrics.value("up", &[]), Some(1.0));
        assert_eq!(metrics.value("x_bucket", &[("le", "+Inf")]), Some(f64::INFINITY));
        assert_eq!(metrics.names(), ["up", name, "x_bucket"]);
    }

    #[test]
    fn what_is_not_a_sample_is_an_error() {
        for text in ["up", "up{", "up{a=\"b\" 1", "up x", "{a=\"b\"} 1"] {
            assert!(Metrics::parse(text).is_err(), "{text}");
        }
    }
}
