//! `vectoll-operator prices`: the list as a `ConfigMap`, to be kept and changed.

use std::{collections::BTreeMap, io::Write};

use anyhow::Context;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::{cli::Prices, price::PriceSource};

/// Its entry with the list.
const ENTRY: &str = "prices.yaml";

/// Prints the list.
pub(crate) fn print_prices(settings: &Prices, out: &mut impl Write) -> anyhow::Result<()> {
    let Prices { name, prices_file } = settings;
    let mut source = PriceSource::new(prices_file.clone(), &[], 0);
    let list = source.refresh().list_text().context("failed to write the list")?;
    anyhow::ensure!(!source.is_stale(), "the file with prices cannot be used: see above");
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let data = Some(BTreeMap::from([(ENTRY.to_owned(), list)]));
    let map = ConfigMap { metadata, data, ..ConfigMap::default() };
    let text = serde_yaml::to_string(&map).context("failed to write the ConfigMap")?;
    writeln!(
        out,
        "# List prices in US dollars for a million input tokens, and the day on which each was checked. Entries here go before those of the\n\
         # operator, and stay through upgrades: keep those that you want to keep, and delete the rest."
    )?;
    out.write_all(text.as_bytes()).context("failed to print the list")
}
