//! List prices by the model's name at the provider.

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use vectoll_config::{Price, v1::Encoding};

/// What is listed of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// For input tokens.
    pub(crate) price: Price,
    /// The day on which it was checked.
    pub(crate) date: Date,
    /// The tokenizer, where it is one of OpenAI's.
    pub(crate) encoding: Option<Encoding>,
}

/// An entry as it is written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    input_per_million_tokens: Price,
    date: Date,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
}

/// Prices by model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PriceList(BTreeMap<String, Listed>);

static BUILT_IN: LazyLock<PriceList> = LazyLock::new(|| {
    PriceList::read(include_str!("models.yaml")).expect("the table is part of the program and tested")
});

impl PriceList {
    /// The one that is part of the program.
    pub(super) fn built_in() -> Self {
        BUILT_IN.clone()
    }

    /// Reads a list. An error names the model and the field.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        // What has nothing but comments has no entries; the parser calls it no document.
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self(BTreeMap::new()));
        }
        let read: Result<Option<BTreeMap<String, Entry>>, _> =
            serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text));
        let entries = read.map_err(|error| {
            let path = error.path().to_string();
            let reason = error.into_inner().to_string();
            if path == "." || reason.starts_with(&path) { reason } else { format!("{path}: {reason}") }
        })?;
        let listed = |Entry { input_per_million_tokens: price, date, encoding }| Listed { price, date, encoding };
        Ok(Self(entries.unwrap_or_default().into_iter().map(|(model, entry)| (model, listed(entry))).collect()))
    }

    /// This list with another's entries before its own. What those do not say of a tokenizer stays.
    pub(super) fn with(mut self, others: Self) -> Self {
        for (model, mut listed) in others.0 {
            listed.encoding = listed.encoding.or_else(|| self.get(&model)?.encoding);
            self.0.insert(model, listed);
        }
        self
    }

    pub(super) fn get(&self, model: &str) -> Option<Listed> {
        self.0.get(model).copied()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Listed)> {
        self.0.iter()
    }

    /// As it is written.
    pub(super) fn write(&self) -> Result<String, serde_yaml::Error> {
        let entry = |Listed { price, date, encoding }: &Listed| Entry {
            input_per_million_tokens: *price,
            date: *date,
            encoding: *encoding,
        };
        serde_yaml::to_string(&self.0.iter().map(|(model, listed)| (model, entry(listed))).collect::<BTreeMap<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_wrong_with_a_list_is_named() {
        for (text, words) in [
            ("a: {inputPerMillionTokens: '0.1'}", "a: missing field `date`"),
            ("a: {inputPerMillionTokens: '0.0000001', date: 2026-01-01}", "has more than 6 digits after the point"),
            ("a: {inputPerMillionTokens: '1', date: last week}", "a.date: "),
            (
                "a: {inputPerMillionTokens: '1', date: 2026-01-01, outputPerMillionTokens: '1'}",
                "unknown field `outputPerMillionTokens`",
            ),
            ("- a", "invalid type"),
        ] {
            let error = PriceList::read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert_eq!(PriceList::read("# nothing\n").unwrap().iter().count(), 0);
    }

    #[test]
    fn a_list_goes_before_the_built_in_one_entry_by_entry() {
        let own = "text-embedding-3-small: {inputPerMillionTokens: '0.03', date: 2027-01-02}\nmine: {inputPerMillionTokens: '1', date: 2027-01-02}\n";
        let both = PriceList::built_in().with(PriceList::read(own).unwrap());
        let small = both.get("text-embedding-3-small").unwrap();
        assert_eq!((small.price.to_string(), small.date.to_string()), ("0.03".to_owned(), "2027-01-02".to_owned()));
        assert_eq!(small.encoding, Some(Encoding::cl100k_base), "its tokenizer is what it was");
        assert!(
            both.get("mine").is_some()
                && both.get("text-embedding-3-large") == PriceList::built_in().get("text-embedding-3-large")
        );
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let built_in = PriceList::built_in();
        assert_eq!(PriceList::read(&built_in.write().unwrap()).unwrap(), built_in);
    }
}
