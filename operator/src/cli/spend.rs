//! Settings of what spend is allocated to.

use anyhow::ensure;
use clap::Args;

use crate::validate::is_subdomain;

/// The most labels: each makes more of what is told apart.
const MAX_LABELS: usize = 3;
/// The longest name of a label without its prefix.
const LONGEST_NAME: usize = 63;

/// What spend is allocated to, beside `spec.costCenter`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Spend")]
pub struct SpendOptions {
    /// Labels of `ApiKeys` and `Teams` that spend is allocated to in the ledger, separated by commas: at most 3
    #[arg(long, env = "VECTOLL_SPEND_LABELS", value_name = "LABELS", value_delimiter = ',')]
    pub spend_labels: Vec<String>,
}

impl SpendOptions {
    /// As they are used: in order, each once.
    pub(crate) fn labels(&self) -> anyhow::Result<Vec<String>> {
        let mut labels = self.spend_labels.clone();
        labels.sort();
        labels.dedup();
        for label in &labels {
            ensure!(
                is_label_name(label),
                "--spend-labels: {label:?} is not the name of a label, as in app.kubernetes.io/part-of"
            );
        }
        ensure!(labels.len() <= MAX_LABELS, "--spend-labels names {} labels: at most {MAX_LABELS}", labels.len());
        Ok(labels)
    }
}

/// Whether it can be the name of a label (Kubernetes documentation, "Labels and Selectors").
fn is_label_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    prefix.is_none_or(is_subdomain)
        && name.len() <= LONGEST_NAME
        && is_end(name.bytes().next())
        && is_end(name.bytes().last())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn labels_are_names_of_labels_and_few() {
        let of = |labels: &str| {
            let spend_labels = labels.split(',').map(str::to_owned).collect();
            SpendOptions { spend_labels }.labels().map_err(|error| error.to_string())
        };
        assert_eq!(of("tier,app.kubernetes.io/part-of,tier").unwrap(), ["app.kubernetes.io/part-of", "tier"]);
        assert!(SpendOptions::default().labels().unwrap().is_empty());
        assert!(of("a,b,c,d").unwrap_err().contains("at most 3"));
        for other in ["", "a b", "-a", "a/", "A B/c", "/a", &"a".repeat(64)] {
            assert!(of(other).unwrap_err().contains("is not the name of a label"), "{other}");
        }
    }
}
