//! Settings about prices, for all commands that judge routes, and of the command that prints them.

use std::path::PathBuf;

use clap::Args;

use crate::price::{MAX_AGE_DAYS, PriceSource, VendorDiscount};

/// What models cost where a backend does not say it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Prices")]
pub struct PriceOptions {
    /// A list of prices that go before the built-in ones, as `vectoll-operator prices` prints it below `prices.yaml`. It may change at
    /// any time, and need not be there
    #[arg(long, env = "VECTOLL_PRICES_FILE", value_name = "FILE")]
    pub prices_file: Option<PathBuf>,

    /// Days after which a list price in use is told to be old (the condition `PricesCurrent`); 0: never
    #[arg(long, env = "VECTOLL_PRICE_MAX_AGE_DAYS", value_name = "DAYS", default_value_t = MAX_AGE_DAYS)]
    pub price_max_age_days: u32,

    /// What providers take off their list prices, in percent, separated by commas: `openAI=10,bedrock=12.5`
    #[arg(long, env = "VECTOLL_PROVIDER_DISCOUNTS", value_name = "DISCOUNTS", value_delimiter = ',')]
    pub provider_discounts: Vec<VendorDiscount>,
}

impl PriceOptions {
    /// Where prices are read from.
    pub fn source(&self) -> PriceSource {
        PriceSource::new(self.prices_file.clone(), &self.provider_discounts, self.price_max_age_days)
    }
}

/// Settings of `prices`.
#[derive(Clone, Debug, Args)]
pub struct Prices {
    /// The name of the `ConfigMap`; the chart looks for one that is called like the release, with -prices behind it
    #[arg(long, value_name = "NAME", default_value = "vectoll-prices")]
    pub name: String,

    /// A list that goes before the built-in one
    #[arg(long, env = "VECTOLL_PRICES_FILE", value_name = "FILE")]
    pub prices_file: Option<PathBuf>,
}
