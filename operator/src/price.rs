//! What models cost where a backend does not say it: the list prices of well-known models, and what providers take off them.
//!
//! The list is part of the program. A file ([`PriceSource`]) goes before it, entry by entry, and outlives releases: in a cluster it is
//! a `ConfigMap` of yours. Each entry says on which day it was checked, so that old ones are known.

mod discount;
mod list;
mod source;

use std::collections::BTreeMap;

use jiff::civil::Date;
use vectoll_config::v1::Encoding;

pub(crate) use self::list::Listed;
use self::list::PriceList;
pub use self::{
    discount::{Discount, Vendor, VendorDiscount},
    source::PriceSource,
};

/// Days after which a list price is old, where nothing else is set.
pub(crate) const MAX_AGE_DAYS: u32 = 180;

/// What models cost where a backend does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pricing {
    list: PriceList,
    discounts: BTreeMap<Vendor, Discount>,
    /// Days after which an entry is old. None: never.
    max_age_days: Option<u32>,
}

impl Default for Pricing {
    fn default() -> Self {
        Self { list: PriceList::built_in(), discounts: BTreeMap::new(), max_age_days: Some(MAX_AGE_DAYS) }
    }
}

impl Pricing {
    /// What is listed of a model by its name at the provider.
    pub(crate) fn listed(&self, model: &str) -> Option<Listed> {
        self.list.get(model)
    }

    /// The list as it is written.
    pub(crate) fn list_text(&self) -> Result<String, serde_yaml::Error> {
        self.list.write()
    }

    /// The tokenizer of a model, where it is known to be one of OpenAI's.
    pub(crate) fn encoding(&self, model: &str) -> Option<Encoding> {
        self.list.get(model).and_then(|listed| listed.encoding)
    }

    /// What a provider takes off its list prices.
    pub(crate) fn discount(&self, vendor: Vendor) -> Discount {
        self.discounts.get(&vendor).copied().unwrap_or_default()
    }

    /// Days after which an entry is old. None: never.
    pub(crate) fn max_age_days(&self) -> Option<u32> {
        self.max_age_days
    }

    /// Whether an entry of this day is old.
    pub(crate) fn is_old(&self, date: Date, today: Date) -> bool {
        let age = today.since(date).map_or(0, |age| age.get_days());
        self.max_age_days.is_some_and(|days| i64::from(age) > i64::from(days))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::PicoUsd;

    use super::*;

    #[test]
    fn the_table_reads_and_prices_are_exact() {
        let pricing = Pricing::default();
        let small = pricing.listed("text-embedding-3-small").unwrap();
        assert_eq!(small.price.of(1), PicoUsd::new(20_000));
        assert_eq!(pricing.encoding("text-embedding-3-small"), Some(Encoding::cl100k_base));
        assert!(pricing.listed("no-such-model").is_none());
        assert!(pricing.list.iter().all(|(_, listed)| listed.price.of(1) > PicoUsd::ZERO));
    }

    #[test]
    fn an_entry_is_old_after_its_days_and_not_before() {
        let date = |text: &str| text.parse::<Date>().unwrap();
        let pricing = Pricing::default();
        assert!(!pricing.is_old(date("2026-01-01"), date("2026-06-30")), "180 days");
        assert!(pricing.is_old(date("2026-01-01"), date("2026-07-01")), "181 days");
        assert!(!pricing.is_old(date("2027-01-01"), date("2026-07-01")), "a day to come is not old");
        let never = Pricing { max_age_days: None, ..pricing };
        assert!(!never.is_old(date("1990-01-01"), date("2026-07-01")));
    }
}
