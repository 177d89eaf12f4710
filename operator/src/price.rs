//! What is known of well-known models: the list price and the tokenizer.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use vectoll_config::{Price, v1::Encoding};

/// A well-known model.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Known {
    /// List price for a million input tokens.
    pub(crate) input_per_million_tokens: Price,
    /// The tokenizer, where it is one of OpenAI's.
    pub(crate) encoding: Option<Encoding>,
}

static TABLE: LazyLock<BTreeMap<String, Known>> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("price/models.yaml")).expect("the table is part of the program and tested")
});

/// What is known of a model by its name at the provider.
pub(crate) fn known(model: &str) -> Option<Known> {
    TABLE.get(model).copied()
}

#[cfg(test)]
mod tests {
    use vectoll_config::PicoUsd;

    use super::*;

    #[test]
    fn the_table_reads_and_prices_are_exact() {
        assert_eq!(
            known("text-embedding-3-small").map(|known| known.input_per_million_tokens.of(1)),
            Some(PicoUsd::new(20_000))
        );
        assert_eq!(known("text-embedding-3-small").and_then(|known| known.encoding), Some(Encoding::cl100k_base));
        assert!(known("no-such-model").is_none());
        assert!(TABLE.values().all(|known| known.input_per_million_tokens.of(1) > PicoUsd::ZERO));
    }
}
